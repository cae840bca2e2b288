"""Extended resources that a DeviceClass stands for: asked for as ever, given as devices by a claim made for the pod.

Source: kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#extended-resource; KEP-5004
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from timonel.api.objects import Object, name_of, namespace_of, uid_of
from timonel.api.quantity import int_value

IMPLICIT_PREFIX = "deviceclass.resource.kubernetes.io/"
ANNOTATION = "resource.kubernetes.io/extended-resource-claim"


class ClassesByResource:
    """Which class is meant by a resource: the one that names it; of several the newest, then the first by name."""

    def __init__(self) -> None:
        self._named: dict[str, dict[str, Object]] = {}
        self._implicit: dict[str, Object] = {}

    def put(self, obj: Object) -> None:
        self.remove(name_of(obj))
        self._implicit[IMPLICIT_PREFIX + name_of(obj)] = obj
        if resource := (obj.get("spec") or {}).get("extendedResourceName"):
            self._named.setdefault(resource, {})[name_of(obj)] = obj

    def remove(self, name: str) -> None:
        old = self._implicit.pop(IMPLICIT_PREFIX + name, None)
        resource = ((old or {}).get("spec") or {}).get("extendedResourceName")
        if resource:
            there = self._named[resource]
            del there[name]
            if not there:
                del self._named[resource]

    def class_of(self, resource: str) -> str:
        """ "" for one that no class stands for."""
        named = self._named.get(resource)
        if named:
            newest = max(each["metadata"].get("creationTimestamp") or "" for each in named.values())
            return min(
                name for name, each in named.items() if (each["metadata"].get("creationTimestamp") or "") == newest
            )
        return name_of(self._implicit[resource]) if resource in self._implicit else ""

    def __contains__(self, resource: str) -> bool:
        return resource in self._named or resource in self._implicit


@dataclass(frozen=True, slots=True)
class Mapped:
    """`requests` for the claim's spec; `mappings` for the pod's status: which container has which of them."""

    requests: tuple[Object, ...]
    mappings: tuple[Object, ...]


def map_requests(pod: Object, classes: Mapping[str, str]) -> Mapped:
    """`classes`: for each resource that devices are to be allocated for, the class.

    A container that runs for as long as the pod has devices of its own. Those that run before it may use these, and of
    what they need beyond that, the largest request is made once, for they run one after the other.
    """
    spec = pod.get("spec") or {}
    first: list[Object] = spec.get("initContainers") or []
    containers = [*first, *(spec.get("containers") or [])]
    passing = [index for index, each in enumerate(first) if each.get("restartPolicy") != "Always"]
    lasting = [index for index in range(len(containers)) if index not in passing]
    requests: list[Object] = []
    mappings: list[Object] = []
    for resource in sorted(classes):
        own: dict[int, Object] = {}
        for index in lasting:
            made, told = _request(index, containers[index], resource, classes[resource], ())
            mappings += told
            if made:
                own[index] = made
        beyond: list[Object] = []
        later: list[Object] = []
        for index in passing:
            reusable = [own[each] for each in sorted(own) if each >= index]
            made, told = _request(index, containers[index], resource, classes[resource], reusable)
            later += told
            if made:
                beyond.append(made)
        if beyond:
            largest = max(beyond, key=lambda each: int(each["exactly"]["count"]))  # the first of equal ones
            others = {each["name"] for each in beyond} - {largest["name"]}
            later = [
                each | {"requestName": largest["name"]} if each["requestName"] in others else each for each in later
            ]
            requests.append(largest)
        requests += [own[index] for index in sorted(own)]
        mappings += later
    return Mapped(tuple(sorted(requests, key=lambda each: str(each["name"]))), tuple(mappings))


def _request(
    index: int, container: Object, resource: str, device_class: str, reusable: Sequence[Object]
) -> tuple[Object | None, Iterable[Object]]:
    amounts = (container.get("resources") or {}).get("requests") or {}
    count = int_value(str(amounts.get(resource, "0")))
    if count <= 0:
        return None, ()
    told: list[Object] = []
    found = 0
    for each in reusable:
        found += each["exactly"]["count"]
        told.append(_mapping(container, resource, each["name"]))
        if found >= count:
            return None, told
    name = f"container-{index}-request-{sorted(amounts).index(resource)}"
    exactly = {"deviceClassName": device_class, "allocationMode": "ExactCount", "count": count - found}
    return {"name": name, "exactly": exactly}, [*told, _mapping(container, resource, name)]


def _mapping(container: Object, resource: str, request: str) -> Object:
    return {"containerName": container["name"], "resourceName": resource, "requestName": request}


def render_claim(pod: Object, requests: Sequence[Object]) -> Object:
    """The claim to be made for a pod; it has no name yet."""
    return {
        "kind": "ResourceClaim",
        "apiVersion": "resource.k8s.io/v1",
        "metadata": {
            "generateName": f"{name_of(pod)}-extended-resources-",
            "namespace": namespace_of(pod),
            "annotations": {ANNOTATION: "true"},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Pod", "name": name_of(pod), "uid": uid_of(pod), "controller": True}
            ],
        },
        "spec": {"devices": {"requests": list(requests)}},
    }
