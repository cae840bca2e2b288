"""PodResizeValidator and NodeDeclaredFeatureValidator: a pod on a node becomes only what that node can make of it.

Source: kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources,
kubernetes.io/docs/concepts/scheduling-eviction/node-declared-features
"""

from __future__ import annotations

from collections.abc import Iterator

from timonel.api.errors import Forbidden
from timonel.api.objects import Object, get_path, labels_of, name_of
from timonel.api.quantity import int_value, milli_value
from timonel.api.quota.amounts import value_of
from timonel.api.quota.pod_amounts import pod_amounts
from timonel.api.refs import NODES
from timonel.apiserver.admission.chain import AdmissionRequest, Meeting, Plugin
from timonel.apiserver.readers import Reader, Readers


class PodResizeValidator(Plugin):
    name = "PodResizeValidator"
    operations = frozenset({"UPDATE"})
    resources = frozenset({("", "pods")})

    def __init__(self, *, readers: Readers) -> None:
        self._nodes = readers.reader(NODES)

    def cares(self, meeting: Meeting) -> bool:
        return meeting.subresource == "resize"

    async def validate(self, request: AdmissionRequest) -> None:
        if request.subresource != "resize" or not _changes_spec(request):
            return
        node = _node_of(request, self._nodes)
        if node is None or request.obj is None:
            return
        system = labels_of(node).get("kubernetes.io/os", "linux")
        if system != "linux":
            why = f'pod resize is only supported on linux nodes, node "{name_of(node)}" is "{system}"'
            raise _refused(request, why, "UnsupportedPlatform")
        if too_much := list(_beyond(request.obj, node)):
            why = f"node didn't have enough allocatable resources: {'; '.join(too_much)}"
            raise _refused(request, why, "NodeCapacity")


class NodeDeclaredFeatureValidator(Plugin):
    name = "NodeDeclaredFeatureValidator"
    operations = frozenset({"UPDATE"})
    resources = frozenset({("", "pods")})

    def __init__(self, *, readers: Readers) -> None:
        self._nodes = readers.reader(NODES)

    def cares(self, meeting: Meeting) -> bool:
        return meeting.subresource in ("", "resize")

    async def validate(self, request: AdmissionRequest) -> None:
        if request.subresource not in ("", "resize") or not _changes_spec(request):
            return
        needed = sorted(_needed_features(request.obj or {}, request.old or {}))
        node = _node_of(request, self._nodes) if needed else None
        if node is None:
            return
        declared = get_path(node, "status", "declaredFeatures", default=[])
        missing = [feature for feature in needed if feature not in declared]
        if missing:
            raise request.forbidden(
                f'pod update requires features {", ".join(missing)} which are not available on node "{name_of(node)}"'
            )


def _changes_spec(request: AdmissionRequest) -> bool:
    new, old = request.obj, request.old
    if new is None or old is None:
        return False
    return bool(new["metadata"].get("generation") != old["metadata"].get("generation"))


def _node_of(request: AdmissionRequest, nodes: Reader) -> Object | None:
    """None for a pod that is not on a node yet. Raises Forbidden when its node is gone."""
    name = get_path(request.obj, "spec", "nodeName", default="")
    if not name:
        return None
    node = nodes.get("", name)
    if node is None:
        raise request.forbidden(f'node "{name}" not found')
    return node


def _beyond(pod: Object, node: Object) -> Iterator[str]:
    requests = pod_amounts(pod, "requests", with_status=False)
    allocatable = get_path(node, "status", "allocatable", default={})
    for name, spelled in (("cpu", milli_value), ("memory", int_value)):
        wanted, there = str(requests.get(name, "0")), str(allocatable.get(name, "0"))
        if value_of(wanted) > value_of(there):
            yield f"{name}, requested: {spelled(wanted)}, allocatable: {spelled(there)}"


def _refused(request: AdmissionRequest, why: str, reason: str) -> Forbidden:
    error = request.forbidden(why)
    error.details["causes"] = [{"reason": reason}]
    return error


def _needed_features(new: Object, old: Object) -> Iterator[str]:
    """What the kubelet must be able to change in a pod that runs."""
    if get_path(new, "spec", "resources") != get_path(old, "spec", "resources"):
        yield "InPlacePodLevelResourcesVerticalScaling"
    before, after = (get_path(pod, "spec", "initContainers", default=[]) for pod in (old, new))
    for one, other in zip(before, after, strict=False):
        if one.get("restartPolicy") != "Always" and one.get("resources") != other.get("resources"):
            yield "InPlacePodVerticalScalingInitContainers"
            return
