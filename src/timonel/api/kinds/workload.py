"""What the kinds that keep pods by a template and a selector share."""

from __future__ import annotations

from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, forbidden, invalid, not_supported, required
from timonel.api.kinds.columns import plain
from timonel.api.kinds.pod.validation import check_template
from timonel.api.kinds.pod.warnings import pod_warnings
from timonel.api.kinds.rules import Errors, check_label_selector, check_not_negative
from timonel.api.labels import InvalidSelector, selector_from_object
from timonel.api.names import validate_dns1123_label
from timonel.api.objects import Object, get_path
from timonel.api.resource import Column

SPEC = Path("spec")
STATUS = Path("status")
_MORE_THAN_REPLICAS = "cannot be greater than status.replicas"


def label_mismatch(path: Path, labels: Object | None) -> FieldError:
    """`path` is the template's labels."""
    shown = labels and dict(sorted(labels.items()))
    return invalid(path, shown, "`selector` does not match template `labels`")


def selector_text(obj: Object) -> str:
    try:
        return str(selector_from_object((obj.get("spec") or {}).get("selector")))
    except InvalidSelector:
        return "<invalid>"


SELECTOR_COLUMN = Column("Selector", plain(selector_text), priority=1, description="Labels its pods are known by.")


def check_selector_and_template(errors: Errors, spec: Object, *, called: str = "ReplicaSet") -> None:
    """A selector that says something, and a template whose pods it selects and that run for ever."""
    selector, template = spec.get("selector"), spec.get("template") or {}
    if selector is None:
        errors.append(required(SPEC / "selector"))
    else:
        check_label_selector(errors, SPEC / "selector", selector)
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            errors.append(invalid(SPEC / "selector", selector, "empty selector is invalid for deployment"))
    path = SPEC / "template"
    try:
        parsed = selector_from_object(selector)
    except InvalidSelector:
        errors.append(invalid(SPEC / "selector", selector, "invalid label selector"))
        return
    labels = (template.get("metadata") or {}).get("labels")
    if not parsed.matches(labels or {}):
        errors.append(
            invalid(
                path / "metadata" / "labels",
                labels and dict(sorted(labels.items())),
                "`selector` does not match template `labels`",
            )
        )
    check_template(errors, path, template)
    check_endless_pods(errors, template, called=called, path=path)


def check_replica_counts(
    errors: Errors, status: Object, fields: tuple[str, ...], bounded: tuple[str, ...], *, ready: str = "readyReplicas"
) -> None:
    """Counts of a status: none negative, none of `bounded` above the number of replicas, available ones are ready.

    `ready` is what the message calls the number of ready replicas.
    """
    for field in fields:
        check_not_negative(errors, STATUS / field, status.get(field))
    replicas = status.get("replicas") or 0
    for field in bounded:
        count = status.get(field) or 0
        if count > replicas:
            errors.append(invalid(STATUS / field, count, _MORE_THAN_REPLICAS))
    available = status.get("availableReplicas") or 0
    if available > (status.get("readyReplicas") or 0):
        errors.append(invalid(STATUS / "availableReplicas", available, f"cannot be greater than {ready}"))


def check_collision_count(errors: Errors, status: Object, before: Object) -> None:
    count, known = status.get("collisionCount"), before.get("collisionCount")
    if known is not None and (count is None or count < known):
        errors.append(invalid(STATUS / "collisionCount", count or 0, "cannot be decremented"))


def check_endless_pods(errors: Errors, template: Object, *, called: str, path: Path = SPEC / "template") -> None:
    """Pods that are replaced when they end, for as long as their owner lives."""
    pod_spec = template.get("spec") or {}
    if pod_spec.get("restartPolicy") != "Always":
        errors.append(not_supported(path / "spec" / "restartPolicy", pod_spec.get("restartPolicy") or "", ("Always",)))
    if pod_spec.get("activeDeadlineSeconds") is not None:
        where = path / "spec" / "activeDeadlineSeconds"
        errors.append(forbidden(where, f"activeDeadlineSeconds in {called} is not Supported"))


def workload_warnings(obj: Object, old: Object | None) -> list[str]:
    if old is not None and obj.get("spec") == old.get("spec"):
        return []
    found = name_warnings(obj) if old is None else []
    return found + template_warnings(obj, "spec", "template")


def name_warnings(obj: Object) -> list[str]:
    problems = validate_dns1123_label(obj["metadata"].get("name") or "")
    if not problems:
        return []
    return [
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "
        f"a DNS label is recommended: [{' '.join(problems)}]"
    ]


def template_warnings(obj: Object, *path: str) -> list[str]:
    """What is doubtful about the pod template at a path."""
    template = get_path(obj, *path, default={})
    return pod_warnings(Path(".".join(path)), template.get("metadata") or {}, template.get("spec") or {})
