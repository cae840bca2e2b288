"""Optional rules for pods that look at nothing but the pod: off unless they are enabled by name.

Source: kubernetes.io/docs/reference/access-authn-authz/admission-controllers
"""

from __future__ import annotations

from collections.abc import Iterator

from timonel.api.errors import join_errors
from timonel.api.field_errors import Path, not_supported
from timonel.api.objects import Object, get_path
from timonel.api.quota.pods import is_extended
from timonel.apiserver.admission.chain import AdmissionRequest, Plugin

_PODS = frozenset({("", "pods")})
_WRITES = frozenset({"CREATE", "UPDATE"})
_HOSTNAME = "kubernetes.io/hostname"


class LimitPodHardAntiAffinityTopology(Plugin):
    """Required anti-affinity keeps pods apart by node, and not out of whole zones."""

    name = "LimitPodHardAntiAffinityTopology"
    operations, resources = _WRITES, _PODS

    async def validate(self, request: AdmissionRequest) -> None:
        if request.subresource:
            return
        required = "requiredDuringSchedulingIgnoredDuringExecution"
        for term in get_path(request.obj, "spec", "affinity", "podAntiAffinity", required, default=[]):
            if term.get("topologyKey") != _HOSTNAME:
                raise request.forbidden(
                    f"affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {term.get('topologyKey') or ''}"
                    f" but only key {_HOSTNAME} is allowed"
                )


class AlwaysPullImages(Plugin):
    """Whoever runs an image must be able to pull it, even if it is on the node already."""

    name = "AlwaysPullImages"
    operations, resources = _WRITES, _PODS

    async def mutate(self, request: AdmissionRequest) -> None:
        if request.obj is None or not _brings_images(request):
            return
        request.own("spec")
        for _, container in _containers(request.obj):
            container["imagePullPolicy"] = "Always"
        for _, image in _image_volumes(request.obj):
            image["pullPolicy"] = "Always"

    async def validate(self, request: AdmissionRequest) -> None:
        if request.obj is None or not _brings_images(request):
            return
        found = [
            not_supported(path / "imagePullPolicy", container.get("imagePullPolicy") or "", ("Always",))
            for path, container in _containers(request.obj)
            if container.get("imagePullPolicy") != "Always"
        ]
        found += [
            not_supported(path / "pullPolicy", image.get("pullPolicy") or "", ("Always",))
            for path, image in _image_volumes(request.obj)
            if image.get("pullPolicy") != "Always"
        ]
        if found:
            raise request.forbidden(join_errors(found))


class ExtendedResourceToleration(Plugin):
    """Nodes with devices may be tainted with the name of the device: who asks for it tolerates it."""

    name = "ExtendedResourceToleration"
    operations, resources = _WRITES, _PODS

    async def mutate(self, request: AdmissionRequest) -> None:
        if request.obj is None or request.subresource:
            return
        spec = request.obj["spec"]
        names = {
            name
            for field in ("containers", "initContainers")
            for container in spec.get(field) or ()
            for name in get_path(container, "resources", "requests", default={})
            if is_extended(name)
        }
        for name in sorted(names):
            wanted = {"key": name, "operator": "Exists", "effect": "NoSchedule"}
            given = spec.get("tolerations") or []
            kept = [wanted if _is_same(item, wanted) else item for item in given]
            tolerated = kept if wanted in kept else [*kept, wanted]
            if tolerated != given:
                spec = request.own("spec")
                spec["tolerations"] = tolerated


def _is_same(one: Object, other: Object) -> bool:
    return all((one.get(part) or "") == (other.get(part) or "") for part in ("key", "effect", "operator", "value"))


def _brings_images(request: AdmissionRequest) -> bool:
    if request.subresource or request.obj is None:
        return False
    if request.operation == "CREATE" or request.old is None:
        return True
    known = {container.get("image") for _, container in _containers(request.old)}
    return any(container.get("image") not in known for _, container in _containers(request.obj))


def _containers(pod: Object) -> Iterator[tuple[Path, Object]]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(pod["spec"].get(field) or ()):
            yield (Path("spec") / field)[index], container


def _image_volumes(pod: Object) -> Iterator[tuple[Path, Object]]:
    for index, volume in enumerate(pod["spec"].get("volumes") or ()):
        if volume.get("image") is not None:
            yield (Path("spec") / "volumes")[index] / "image", volume["image"]
