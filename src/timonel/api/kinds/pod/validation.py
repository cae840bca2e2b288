"""The rules of a pod's spec, for pods and for the templates of workloads.

`validate_pod` and `check_template` are the entries. A usual pod of 2 KB takes about 125 µs, and
below 10 when its spec is known.
Source: the field documentation of kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1
"""

from __future__ import annotations

from functools import cache

from timonel.api.field_errors import Path, duplicate, forbidden, go_struct, invalid, not_found, required
from timonel.api.kinds.pod.annotations import check_pod_annotations, check_profile_annotations
from timonel.api.kinds.pod.containers import (
    PodFacts,
    check_containers,
    check_ephemeral_containers,
    check_image_padding,
    check_init_containers,
)
from timonel.api.kinds.pod.known_specs import known_specs
from timonel.api.kinds.pod.networking import check_dns, check_host_aliases, check_host_names, check_host_network
from timonel.api.kinds.pod.resources import check_overhead, check_pod_resources
from timonel.api.kinds.pod.scheduling import check_affinity, check_gates, check_tolerations, check_topology_spread
from timonel.api.kinds.pod.security import (
    check_host_users,
    check_pod_security,
    check_shared_namespaces,
    each_container,
)
from timonel.api.kinds.pod.volumes import check_volumes
from timonel.api.kinds.pod.windows import check_host_process, check_operating_system
from timonel.api.kinds.rules import (
    Errors,
    check_annotations,
    check_between,
    check_choice,
    check_label,
    check_labels,
    check_qualified_name,
    check_subdomain,
)
from timonel.api.objects import Object

_SPEC = Path("spec")
_ANNOTATIONS = Path("metadata") / "annotations"
_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_CLAIM = {"name": "", "resourceClaimName": None, "resourceClaimTemplateName": None}
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
PREEMPTION_POLICIES = ("PreemptLowerPriority", "Never")
MAX_INT32 = 2**31 - 1
_FIELDS = (
    "activeDeadlineSeconds", "affinity", "containers", "dnsConfig", "dnsPolicy", "ephemeralContainers",
    "hostAliases", "initContainers", "nodeSelector", "overhead", "preemptionPolicy", "readinessGates",
    "resourceClaims", "resources", "restartPolicy", "runtimeClassName", "schedulingGates", "securityContext",
    "terminationGracePeriodSeconds", "tolerations", "topologySpreadConstraints", "volumes",
)  # fmt: skip


def check_pod(errors: Errors, pod: Object) -> None:
    """What holds for a pod at creation and at every update."""
    spec, metadata = pod.get("spec") or {}, pod["metadata"]
    annotations = metadata.get("annotations")
    if annotations:
        check_pod_annotations(errors, _ANNOTATIONS, annotations, spec)
    check_pod_spec(errors, _SPEC, spec, metadata)
    if not spec.get("serviceAccountName"):
        _check_no_tokens(errors, spec)
    for kind in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(kind) or ()):
            image = container.get("image") or ""
            if image != image.strip():
                check_image_padding(errors, (_SPEC / kind)[index], container)


def validate_pod(pod: Object) -> Errors:
    """Findings for a pod to be created."""
    errors: Errors = []
    check_pod(errors, pod)
    spec = pod.get("spec") or {}
    if spec.get("ephemeralContainers"):
        errors.append(forbidden(_SPEC / "ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        errors.append(forbidden(_SPEC / "nodeName", "cannot be set until all schedulingGates have been cleared"))
    check_profile_annotations(errors, _SPEC, pod["metadata"].get("annotations"), spec)
    return errors


def check_template(errors: Errors, path: Path, template: Object) -> None:
    """A pod template (`spec.template` of workloads)."""
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    annotations = metadata.get("annotations")
    check_labels(errors, path / "labels", metadata.get("labels"))
    check_annotations(errors, path / "annotations", annotations)
    if annotations:
        check_pod_annotations(errors, path / "annotations", annotations, spec)
    check_pod_spec(errors, path / "spec", spec, None)
    check_profile_annotations(errors, path / "spec", annotations, spec)
    if spec.get("ephemeralContainers"):
        errors.append(
            forbidden(path / "spec" / "ephemeralContainers", "ephemeral containers not allowed in pod template")
        )


@cache
def _spec_paths(path: Path) -> dict[str, Path]:
    """Paths of the fields every pod is checked for. There are few roots, and making paths is a third of the cost."""
    return {name: path / name for name in _FIELDS}


def check_pod_spec(errors: Errors, path: Path, spec: Object, metadata: Object | None) -> None:
    """`metadata` is None for templates, whose pods have no name yet."""
    known = known_specs()
    key = known.key(spec, b"template" if metadata is None else b"pod")
    if known.is_good(key):
        return
    before = len(errors)
    _check_spec(errors, path, spec, metadata)
    if len(errors) == before:
        known.learn(key)


def _check_spec(errors: Errors, path: Path, spec: Object, metadata: Object | None) -> None:
    paths = _spec_paths(path)
    grace_period = spec.get("terminationGracePeriodSeconds")
    if grace_period is None:
        errors.append(required(paths["terminationGracePeriodSeconds"]))
    is_pod = metadata is not None
    name = (metadata or {}).get("name")
    volumes = check_volumes(errors, paths["volumes"], spec.get("volumes") or [], name, is_pod=is_pod)
    claims = spec.get("resourceClaims") or []
    if claims:
        _check_resource_claims(errors, paths["resourceClaims"], claims, metadata)
    facts = PodFacts(
        volumes=volumes,
        claims=frozenset(claim["name"] for claim in claims if claim.get("name")),
        grace_period=grace_period,
        restart_policy=spec.get("restartPolicy") or "",
        host_users=spec.get("hostUsers") is not False,
        system=None if spec.get("os") is None else spec["os"].get("name") or "",
    )
    containers, init = spec.get("containers") or [], spec.get("initContainers") or []
    check_containers(errors, paths["containers"], containers, facts)
    if init:
        check_init_containers(errors, paths["initContainers"], init, containers, facts)
    if spec.get("ephemeralContainers"):
        ephemeral = spec["ephemeralContainers"]
        check_ephemeral_containers(errors, paths["ephemeralContainers"], ephemeral, [*containers, *init], facts)
    check_pod_resources(errors, paths["resources"], spec, facts.claims)
    check_host_network(errors, path, spec, is_pod=is_pod)
    check_choice(errors, paths["restartPolicy"], facts.restart_policy, _RESTART_POLICIES)
    policy = spec.get("dnsPolicy") or ""
    check_choice(errors, paths["dnsPolicy"], policy, _DNS_POLICIES)
    check_labels(errors, paths["nodeSelector"], spec.get("nodeSelector"))
    check_pod_security(errors, paths["securityContext"], spec)
    check_shared_namespaces(errors, paths["securityContext"], spec)
    check_affinity(errors, paths["affinity"], spec.get("affinity"))
    check_dns(errors, paths["dnsConfig"], spec.get("dnsConfig"), policy)
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        here = paths["readinessGates"][index] / "conditionType"
        check_qualified_name(errors, here, gate.get("conditionType") or "")
    check_gates(errors, paths["schedulingGates"], spec.get("schedulingGates") or [])
    check_topology_spread(errors, paths["topologySpreadConstraints"], spec.get("topologySpreadConstraints") or [])
    check_host_process(errors, path, spec)
    check_host_users(errors, path, spec)
    check_host_names(errors, path, spec)
    for field in ("serviceAccountName", "nodeName", "priorityClassName"):
        if spec.get(field):
            check_subdomain(errors, path / field, spec[field])
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None:
        check_between(errors, paths["activeDeadlineSeconds"], deadline, 1, MAX_INT32)
    check_tolerations(errors, paths["tolerations"], spec.get("tolerations") or [])
    check_host_aliases(errors, paths["hostAliases"], spec.get("hostAliases") or [])
    if spec.get("runtimeClassName") is not None:
        check_subdomain(errors, paths["runtimeClassName"], spec["runtimeClassName"])
    if spec.get("preemptionPolicy") is not None:
        check_choice(errors, paths["preemptionPolicy"], spec["preemptionPolicy"], PREEMPTION_POLICIES)
    if spec.get("overhead"):
        check_overhead(errors, paths["overhead"], spec["overhead"])
    check_operating_system(errors, path, spec)
    _check_env_files(errors, path, spec)


def _check_no_tokens(errors: Errors, spec: Object) -> None:
    for index, volume in enumerate(spec.get("volumes") or ()):
        for position, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
            if source.get("serviceAccountToken") is not None:
                where = ((_SPEC / "volumes")[index] / "projected" / "sources")[position] / "serviceAccountToken"
                errors.append(forbidden(where, "must not be specified when serviceAccountName is not set"))


def _check_resource_claims(errors: Errors, path: Path, claims: list[Object], metadata: Object | None) -> None:
    if "kubernetes.io/config.mirror" in ((metadata or {}).get("annotations") or ()):
        errors.append(forbidden(Path(""), "static pods do not support resource claims"))
        return
    names: set[str] = set()
    for index, claim in enumerate(claims):
        here, name = path[index], claim.get("name") or ""
        if not name:
            errors.append(required(here / "name"))
        elif name in names:
            errors.append(duplicate(here / "name", name))
        else:
            check_label(errors, here / "name", name)
            names.add(name)
        by_name, by_template = claim.get("resourceClaimName"), claim.get("resourceClaimTemplateName")
        if by_name is not None and by_template is not None:
            why = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            errors.append(invalid(here, go_struct(claim, _CLAIM), why))
        if by_name is None and by_template is None:
            why = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            errors.append(invalid(here, go_struct(claim, _CLAIM), why))
        for field, value in (("resourceClaimName", by_name), ("resourceClaimTemplateName", by_template)):
            if value is not None:
                check_subdomain(errors, here / field, value)


def _check_env_files(errors: Errors, path: Path, spec: Object) -> None:
    """Variables read from files: the files lie in an emptyDir of the pod."""
    volumes: dict[str, Object] | None = None
    for container, here in each_container(spec, path):
        for index, variable in enumerate(container.get("env") or ()):
            ref = (variable.get("valueFrom") or {}).get("fileKeyRef")
            if ref is None:
                continue
            if volumes is None:
                volumes = {volume.get("name") or "": volume for volume in spec.get("volumes") or ()}
            name = ref.get("volumeName") or ""
            where = (here / "env")[index] / "valueFrom" / "fileKeyRef" / "volumeName"
            if name not in volumes:
                errors.append(not_found(where, name))
            elif volumes[name].get("emptyDir") is None:
                errors.append(invalid(where, name, "referenced volume must be of type emptyDir"))
