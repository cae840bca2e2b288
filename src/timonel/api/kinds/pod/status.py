"""Status of pods as kubelets report it: well-formed, and no ended container of a pod that is done starts again."""

from __future__ import annotations

from timonel.api.field_errors import Path, forbidden, invalid
from timonel.api.kinds.pod.annotations import check_annotation_updates
from timonel.api.kinds.pod.claim_status import check_claim_statuses, check_container_statuses
from timonel.api.kinds.rules import (
    Errors,
    check_immutable,
    check_ip,
    check_qualified_name,
    check_subdomain,
    is_dual_stack,
)
from timonel.api.objects import Object

_STATUS = Path("status")
_SYSTEM_CONDITIONS = ("PodScheduled", "Ready", "Initialized")
_NON_NEGATIVE = "must be a non-negative integer"


def prepare_status(new: Object, old: Object) -> None:
    """Keeps what writers of old versions leave out: the class and the observed generations."""
    status, before = new.setdefault("status", {}), old.get("status") or {}
    for field in ("qosClass", "observedGeneration"):
        if not status.get(field) and before.get(field):
            status[field] = before[field]
    generations: dict[str, list[int]] = {}
    for condition in before.get("conditions") or ():
        generations.setdefault(condition.get("type", ""), []).append(condition.get("observedGeneration") or 0)
    for condition in status.get("conditions") or ():
        known = generations.get(condition.get("type", ""))
        generation = known.pop(0) if known else 0
        if generation and not condition.get("observedGeneration"):
            condition["observedGeneration"] = generation


def validate_status_update(new: Object, old: Object) -> Errors:
    errors: Errors = []
    status, before = new.get("status") or {}, old.get("status") or {}
    spec = old.get("spec") or {}
    annotations = Path("metadata") / "annotations"
    check_annotation_updates(
        errors, annotations, new["metadata"].get("annotations"), old["metadata"].get("annotations")
    )
    for index, condition in enumerate(status.get("conditions") or ()):
        here = (_STATUS / "conditions")[index]
        if (condition.get("observedGeneration") or 0) < 0:
            errors.append(invalid(here / "observedGeneration", condition["observedGeneration"], _NON_NEGATIVE))
        if condition.get("type") not in _SYSTEM_CONDITIONS:
            check_qualified_name(errors, here / "Type", condition.get("type") or "")
    nominated = status.get("nominatedNodeName") or ""
    if nominated and nominated != (before.get("nominatedNodeName") or ""):
        check_subdomain(errors, _STATUS / "nominatedNodeName", nominated)
        if spec.get("nodeName"):
            why = "may not be set on pods that are already bound to a node"
            errors.append(forbidden(_STATUS / "nominatedNodeName", why))
    generation = status.get("observedGeneration") or 0
    if generation < 0:
        errors.append(invalid(_STATUS / "observedGeneration", generation, _NON_NEGATIVE))
    check_immutable(errors, _STATUS / "qosClass", status.get("qosClass") or "", before.get("qosClass") or "")
    for kind, containers in (("containerStatuses", "containers"), ("initContainerStatuses", "initContainers")):
        _check_transitions(errors, kind, status, before, spec, spec.get(containers) or [])
    _check_transitions(errors, "ephemeralContainerStatuses", status, before, {"restartPolicy": "Never"}, [])
    check_claim_statuses(errors, status, new.get("spec") or {})
    _check_addresses(errors, "podIPs", status, before)
    _check_addresses(errors, "hostIPs", status, before)
    host_ips = status.get("hostIPs") or []
    if host_ips and host_ips[0].get("ip") != status.get("hostIP"):
        why = "must be equal to `hostIP`"
        errors.append(invalid((_STATUS / "hostIPs")[0] / "ip", host_ips[0].get("ip") or "", why))
    check_container_statuses(errors, status, new.get("spec") or {})
    return errors


def _check_transitions(
    errors: Errors, kind: str, status: Object, before: Object, spec: Object, containers: list[Object]
) -> None:
    """A terminated container may run again only where its restart policy says so."""
    if _all_may_restart(spec):
        return
    now = {item.get("name"): item for item in status.get(kind) or ()}
    for index, was in enumerate(before.get(kind) or ()):
        ended = (was.get("state") or {}).get("terminated")
        current = now.get(was.get("name"))
        if ended is None or current is None or (current.get("state") or {}).get("terminated") is not None:
            continue
        container = next((c for c in containers if c.get("name") == was.get("name")), None)
        if container is None and containers:
            allowed = False
        else:
            allowed = should_restart(container or {}, spec, ended.get("exitCode") or 0)
        if not allowed:
            errors.append(
                forbidden((_STATUS / kind)[index] / "state", "may not be transitioned to non-terminated state")
            )


def _all_may_restart(spec: Object) -> bool:
    """Whether some rule restarts every container of the pod."""
    return any(
        rule.get("action") == "RestartAllContainers"
        for kind in ("containers", "initContainers")
        for container in spec.get(kind) or ()
        for rule in container.get("restartPolicyRules") or ()
    )


def should_restart(container: Object, spec: Object, exit_code: int) -> bool:
    """Whether a container that ended so runs again: its first matching rule, its own policy, the pod's."""
    policy = container.get("restartPolicy")
    if policy is not None:
        for rule in container.get("restartPolicyRules") or ():
            codes = rule.get("exitCodes") or {}
            listed = exit_code in (codes.get("values") or ())
            if codes and listed == (codes.get("operator") == "In"):
                return rule.get("action") in ("Restart", "RestartAllContainers")
    else:
        policy = spec.get("restartPolicy") or "Always"
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def _check_addresses(errors: Errors, field: str, status: Object, before: Object) -> None:
    addresses = [item.get("ip") or "" for item in status.get(field) or ()]
    known = [item.get("ip") or "" for item in before.get(field) or ()]
    path = _STATUS / field
    for index, address in enumerate(addresses):
        check_ip(errors, path[index], address, known)
    if len(addresses) > 2 or (len(addresses) == 2 and not is_dual_stack(addresses)):
        errors.append(invalid(path, status[field], "may specify no more than one IP for each IP family"))
