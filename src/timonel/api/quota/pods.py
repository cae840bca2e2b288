"""What pods use: themselves, what their containers request, and what they are limited to, until they have finished."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from timonel.api.clock import parse_time
from timonel.api.objects import Object
from timonel.api.quota.amounts import Amounts, add, value_of
from timonel.api.quota.evaluator import Evaluator, Surroundings, names_match
from timonel.api.quota.pod_amounts import has_pod_level, pod_amounts
from timonel.api.refs import PODS

REQUESTS, LIMITS = "requests.", "limits."
HUGE_PAGES = "hugepages-"
DEVICE_CLASS_RESOURCE = "deviceclass.resource.kubernetes.io/"
"""Before the name of a device class: the extended resource that every class is."""

_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_NAMES = frozenset(
    ("pods", *_COMPUTE, *(f"{kind}{name}" for kind in (REQUESTS, LIMITS) for name in _COMPUTE))
)  # fmt: skip
_MUST_BE_SAID = frozenset(
    ("cpu", "memory", *(f"{kind}{name}" for kind in (REQUESTS, LIMITS) for name in ("cpu", "memory")))
)  # fmt: skip
_TERMS = ("requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution")


def is_extended(name: str) -> bool:
    """A resource under a domain of its own, as device plugins advertise them."""
    return "/" in name and "kubernetes.io/" not in name and not name.startswith(REQUESTS)


def is_quota_for_extended(name: str) -> bool:
    """Only requests of such can be limited, since they are what limits are."""
    if not name.startswith(REQUESTS):
        return False
    return ("/" in name and "kubernetes.io/" not in name) or name.startswith(REQUESTS + DEVICE_CLASS_RESOURCE)


class PodEvaluator(Evaluator):
    def __init__(self) -> None:
        super().__init__(PODS.group_resource)
        self.names = _NAMES | {self.count_name}

    def handles(self, operation: str, subresource: str, new: Object, old: Object | None) -> bool:
        if subresource == "resize":
            return operation == "UPDATE"
        if subresource:
            return False
        return operation == "CREATE" or (operation == "UPDATE" and has_deadline(new) != has_deadline(old or {}))

    def matching(self, names: Iterable[str], around: Surroundings) -> set[str]:
        return {
            name
            for name in names
            if name in self.names
            or name.startswith((HUGE_PAGES, REQUESTS + HUGE_PAGES))
            or is_quota_for_extended(name)
        }  # fmt: skip

    def is_in_scope(self, scope: Object, obj: Object) -> bool:
        match scope.get("scopeName"):
            case "Terminating":
                return has_deadline(obj)
            case "NotTerminating":
                return not has_deadline(obj)
            case "BestEffort":
                return is_best_effort(obj)
            case "NotBestEffort":
                return not is_best_effort(obj)
            case "PriorityClass":
                return names_match(scope, [(obj.get("spec") or {}).get("priorityClassName") or ""])
            case "CrossNamespacePodAffinity":
                return uses_other_namespaces(obj)
        return False

    def missing(self, names: Iterable[str], obj: Object) -> str:
        """Once cpu or memory are limited, each container must say how much it takes, or the pod as a whole."""
        wanted = _MUST_BE_SAID.intersection(names)
        spec = obj.get("spec") or {}
        if not wanted or has_pod_level(spec):
            return ""
        lacking: dict[str, set[str]] = {}
        for field in ("containers", "initContainers"):
            for container in spec.get(field) or ():
                resources = container.get("resources") or {}
                said = _by_quota_name(resources.get("requests") or {}, resources.get("limits") or {})
                for name in wanted - said.keys():
                    lacking.setdefault(name, set()).add(container.get("name") or "")
        if not lacking:
            return ""
        return "must specify " + "; ".join(f"{name} for: {','.join(sorted(lacking[name]))}" for name in sorted(lacking))

    def usage(self, obj: Object, around: Surroundings) -> Amounts:
        used = {self.count_name: "1"}
        if not has_ended(obj, around.now):
            add(used, _by_quota_name(pod_amounts(obj, "requests"), pod_amounts(obj, "limits")))
            used["pods"] = "1"
        return used

    def releases(self, old: Object, new: Object, around: Surroundings) -> bool:
        if has_deadline(old) != has_deadline(new):
            return True
        if has_ended(new, around.now) and not has_ended(old, around.now):
            return True
        return _resources_had(old) != _resources_had(new) or _resources_asked(old) != _resources_asked(new)


def _by_quota_name(requests: Amounts, limits: Amounts) -> Amounts:
    used: Amounts = {}
    for name, amount in requests.items():
        if name in _COMPUTE or name.startswith(HUGE_PAGES):
            used[name] = used[REQUESTS + name] = amount
        elif is_extended(name) or name.startswith(DEVICE_CLASS_RESOURCE):
            used[REQUESTS + name] = amount
    for name in _COMPUTE:
        if name in limits:
            used[LIMITS + name] = limits[name]
    return used


def has_deadline(pod: Object) -> bool:
    """What the scope calls Terminating: it will end by itself."""
    seconds = (pod.get("spec") or {}).get("activeDeadlineSeconds")
    return seconds is not None and seconds >= 0


def has_ended(pod: Object, now: datetime) -> bool:
    """Finished, or deleted for so long that only a lost node can keep it."""
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return True
    ends = end_of_deletion(pod)
    return ends is not None and now > ends


def end_of_deletion(pod: Object) -> datetime | None:
    """When a pod that is being deleted stops to count, whatever becomes of it."""
    metadata = pod["metadata"]
    deleted, grace = metadata.get("deletionTimestamp"), metadata.get("deletionGracePeriodSeconds")
    if not deleted or grace is None:
        return None
    return parse_time(deleted) + timedelta(seconds=grace)


def is_best_effort(pod: Object) -> bool:
    if known := (pod.get("status") or {}).get("qosClass"):
        return bool(known == "BestEffort")
    spec = pod.get("spec") or {}
    holders = (
        [spec] if spec.get("resources") else [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    )
    return not any(
        value_of(amount)
        for holder in holders
        for kind in ("requests", "limits")
        for name, amount in ((holder.get("resources") or {}).get(kind) or {}).items()
        if name in ("cpu", "memory")
    )


def uses_other_namespaces(pod: Object) -> bool:
    """Whether a term of its affinity looks beyond its own namespace."""
    affinity = (pod.get("spec") or {}).get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        for field in _TERMS:
            for term in (affinity.get(kind) or {}).get(field) or ():
                term = term.get("podAffinityTerm") or term
                if term.get("namespaces") or term.get("namespaceSelector") is not None:
                    return True
    return False


def _resources_asked(pod: Object) -> list[object]:
    spec = pod.get("spec") or {}
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    return [spec.get("resources"), *(container.get("resources") for container in containers)]


def _resources_had(pod: Object) -> list[object]:
    status = pod.get("status") or {}
    return [
        (item.get("name"), item.get("resources"))
        for field in ("containerStatuses", "initContainerStatuses")
        for item in status.get(field) or ()
        if item.get("resources") is not None
    ]
