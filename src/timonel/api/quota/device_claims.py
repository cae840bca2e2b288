"""What ResourceClaims use: themselves and devices, by device class, and by the extended resource a class stands for.

Source: kubernetes.io/docs/concepts/policy/resource-quotas "Quota for DRA"
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from timonel.api.objects import Object, annotations_of, controller_of, name_of, namespace_of, uid_of
from timonel.api.quota.amounts import Amounts, add, minus, raise_to, value_of
from timonel.api.quota.evaluator import Evaluator, Surroundings
from timonel.api.quota.pods import DEVICE_CLASS_RESOURCE, REQUESTS, PodEvaluator, is_quota_for_extended
from timonel.api.refs import RESOURCE_CLAIMS

DEVICES = ".deviceclass.resource.k8s.io/devices"
_IMPLICIT = REQUESTS + DEVICE_CLASS_RESOURCE
_FOR_POD = "resource.kubernetes.io/extended-resource-claim"
_MOST_DEVICES = 32
"""As many as one claim can be allocated; a claim for all devices counts as so many."""


class DeviceClaimEvaluator(Evaluator):
    def __init__(self) -> None:
        super().__init__(RESOURCE_CLAIMS.group_resource)
        self._pods = PodEvaluator()

    def handles(self, operation: str, subresource: str, new: Object, old: Object | None) -> bool:
        return operation in ("CREATE", "UPDATE") and not subresource

    def matching(self, names: Iterable[str], around: Surroundings) -> set[str]:
        found = set()
        extended: Mapping[str, str] | None = None
        for name in names:
            if name == self.count_name or name.endswith(DEVICES):
                found.add(name)
            elif is_quota_for_extended(name):
                if extended is None:
                    extended = extended_resources(around)
                if name.startswith(_IMPLICIT):
                    if name.removeprefix(_IMPLICIT) in extended:
                        found.add(name)
                elif name.removeprefix(REQUESTS) in extended.values():
                    found.add(name)
        return found

    def usage(self, obj: Object, around: Surroundings) -> Amounts:
        devices: Amounts = {}
        for request in ((obj.get("spec") or {}).get("devices") or {}).get("requests") or ():
            add(devices, _most(request))
        used = {self.count_name: "1", **{f"{name}{DEVICES}": amount for name, amount in devices.items()}}
        if devices:
            self._count_as_extended(used, devices, obj, around)
        return used

    def _count_as_extended(self, used: Amounts, devices: Amounts, claim: Object, around: Surroundings) -> None:
        """Devices that the pod's own requests do not account for already."""
        by_class = extended_resources(around)
        pod = _pod_behind(claim, around)
        counted = self._pods.usage(pod, around) if pod is not None else {}
        found: Amounts = {}
        for name, amount in devices.items():
            found[_IMPLICIT + name] = amount
            if name in by_class:
                found[REQUESTS + by_class[name]] = amount
        for name, amount in found.items():
            left = minus(amount, counted.get(name, "0"))
            if value_of(left):
                used[name] = left


def extended_resources(around: Surroundings) -> dict[str, str]:
    """The extended resource each device class stands for, of those that stand for one."""
    return {
        name_of(item): name
        for item in around.device_classes()
        if (name := (item.get("spec") or {}).get("extendedResourceName"))
    }


def _most(request: Object) -> Amounts:
    """The most devices a request can be given, by class; of alternatives, the most of each."""
    alternatives = request.get("firstAvailable")
    if alternatives:
        found: Amounts = {}
        for alternative in alternatives:
            raise_to(found, _count(alternative))
        return found
    exactly = request.get("exactly")
    return _count(exactly) if exactly else {}


def _count(request: Object) -> Amounts:
    match request.get("allocationMode") or "ExactCount":
        case "ExactCount":
            count = request.get("count") or 1
        case "All":
            count = _MOST_DEVICES
        case _:
            count = 0
    return {request.get("deviceClassName") or "": str(count)}


def _pod_behind(claim: Object, around: Surroundings) -> Object | None:
    """The pod that a claim was made for because the pod requests extended resources."""
    if annotations_of(claim).get(_FOR_POD) != "true":
        return None
    owner = _pod_owner(claim)
    if owner is None:
        return None
    pod = around.pod(namespace_of(claim), owner["name"])
    if pod is None or uid_of(pod) != owner["uid"]:
        return None
    known = (pod.get("status") or {}).get("extendedResourceClaimStatus")
    if known is not None:
        return pod if known.get("resourceClaimName") == name_of(claim) else None
    mine = _age(claim)
    for other in around.claims(namespace_of(claim)):
        if annotations_of(other).get(_FOR_POD) == "true" and _age(other) < mine:
            other_owner = _pod_owner(other)
            if other_owner is not None and other_owner["uid"] == owner["uid"]:
                return None  # only the first is covered by what the pod requests
    return pod


def _pod_owner(claim: Object) -> Object | None:
    owner = controller_of(claim)
    return owner if owner is not None and owner["kind"] == "Pod" and owner["apiVersion"] == "v1" else None


def _age(claim: Object) -> tuple[str, str]:
    return claim["metadata"].get("creationTimestamp") or "", claim["metadata"].get("name") or ""
