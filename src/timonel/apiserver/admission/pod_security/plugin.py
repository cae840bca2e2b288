"""The admission plugin: refuses pods, warns of pods and of templates that would make them, notes both for the audit."""

from __future__ import annotations

from collections.abc import Iterable

from timonel.api.errors import invalid
from timonel.api.objects import Object, controller_of, get_path, labels_of, name_of
from timonel.api.pod_references import CONTAINER_LISTS
from timonel.api.refs import NAMESPACES, PODS
from timonel.apiserver.admission.chain import AdmissionRequest, Meeting, Plugin
from timonel.apiserver.admission.pod_security.policy import LABEL, Policy, Standard, parse_policy, violations
from timonel.apiserver.readers import Readers

MAX_PODS_CHECKED = 3000
_EVALUATED = frozenset({"", "ephemeralcontainers", "resize"})
_TEMPLATES: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "podtemplates"): ("template",),
    ("", "replicationcontrollers"): ("spec", "template"),
    ("apps", "deployments"): ("spec", "template"),
    ("apps", "replicasets"): ("spec", "template"),
    ("apps", "statefulsets"): ("spec", "template"),
    ("apps", "daemonsets"): ("spec", "template"),
    ("batch", "jobs"): ("spec", "template"),
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template"),
}


class PodSecurity(Plugin):
    name = "PodSecurity"
    operations = frozenset({"CREATE", "UPDATE"})
    resources = frozenset({("", "pods"), ("", "namespaces"), *_TEMPLATES})

    def __init__(self, *, readers: Readers) -> None:
        self._namespaces = readers.reader(NAMESPACES)
        self._pods = readers.reader(PODS)

    def cares(self, meeting: Meeting) -> bool:
        return meeting.subresource in (_EVALUATED if meeting.plural == "pods" else ("",))

    async def validate(self, request: AdmissionRequest) -> None:
        obj = request.obj
        if obj is None:
            return
        ref = request.resource.ref
        if (ref.group, ref.plural) == ("", "namespaces"):
            if not request.subresource:
                self._check_namespace(request, obj)
            return
        if request.subresource not in (_EVALUATED if ref.plural == "pods" else ("",)):
            return
        namespace = self._namespaces.get("", request.namespace)
        policy, errors = parse_policy(labels_of(namespace) if namespace else {})
        if policy.is_privileged and not errors:
            return
        if errors:
            request.audit[f"{LABEL}error"] = f"Failed to parse policy: {errors[0]}"
        if ref.plural == "pods":
            if request.operation == "UPDATE" and not _is_significant(obj, request.old or obj):
                return
            _evaluate(request, policy, obj, enforce=True)
        else:
            template = get_path(obj, *_TEMPLATES[ref.group, ref.plural])
            if template and template.get("spec"):
                _evaluate(request, policy, {"metadata": {}, **template}, enforce=False)

    def _check_namespace(self, request: AdmissionRequest, namespace: Object) -> None:
        policy, errors = parse_policy(labels_of(namespace))
        old_policy, old_errors = parse_policy(labels_of(request.old)) if request.old else (None, [])
        if errors and errors != old_errors:
            raise invalid(NAMESPACES, name_of(namespace), errors)
        if old_policy is None or not policy.enforce.strictness or policy.enforce == old_policy.enforce:
            return
        same_version = policy.enforce.version == old_policy.enforce.version
        if same_version and policy.enforce.strictness <= old_policy.enforce.strictness:
            return
        request.warnings += warn_of_existing(name_of(namespace), policy.enforce, self._pods.list(name_of(namespace)))


def _evaluate(request: AdmissionRequest, policy: Policy, pod: Object, *, enforce: bool) -> None:
    if enforce:
        request.audit[f"{LABEL}enforce-policy"] = str(policy.enforce)
        if found := violations(policy.enforce, pod):
            raise request.forbidden(f'violates PodSecurity "{policy.enforce}": {", ".join(map(str, found))}')
    if found := violations(policy.audit, pod):
        request.audit[f"{LABEL}audit-violations"] = _would_violate(policy.audit, found)
    if found := violations(policy.warn, pod):
        request.warnings.append(_would_violate(policy.warn, found))


def _would_violate(standard: Standard, found: Iterable[object]) -> str:
    return f'would violate PodSecurity "{standard}": {", ".join(map(str, found))}'


def _is_significant(pod: Object, old: Object) -> bool:
    """Of all that may change in a pod, only images and new ephemeral containers matter to the standards."""
    for field in CONTAINER_LISTS:
        before = {item.get("name"): item.get("image") for item in old["spec"].get(field) or ()}
        after = {item.get("name"): item.get("image") for item in pod["spec"].get(field) or ()}
        if before != after:
            return True
    return False


def warn_of_existing(namespace: str, standard: Standard, pods: Iterable[Object]) -> list[str]:
    """What a namespace's pods would violate of a standard that is about to be enforced; a controller's pods are alike,
    so only the first of each is looked at before all others."""
    first: list[Object] = []
    alike: list[Object] = []
    controllers: set[str] = set()
    for pod in pods:
        owner = controller_of(pod)
        if owner is None or owner.get("uid") not in controllers:
            first.append(pod)
            if owner is not None:
                controllers.add(owner.get("uid") or "")
        else:
            alike.append(pod)
    ordered = first + alike
    names: dict[str, list[str]] = {}
    for pod in ordered[:MAX_PODS_CHECKED]:
        if found := violations(standard, pod):
            names.setdefault(", ".join(finding.reason for finding in found), []).append(name_of(pod))
    warnings = []
    if len(ordered) > MAX_PODS_CHECKED:
        warnings.append(
            f"new PodSecurity enforce level only checked against the first {MAX_PODS_CHECKED} of {len(ordered)}"
            " existing pods"
        )
    if names:
        warnings.append(
            f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{standard}"'
        )
    return warnings + sorted(f"{_several(pods)}: {reason}" for reason, pods in names.items())


def _several(names: list[str]) -> str:
    first, others = min(names), len(names) - 1
    if not others:
        return first
    return f"{first} (and {others} other {'pod' if others == 1 else 'pods'})"
