"""Writes to a pod through `ephemeralcontainers` and `resize`: what each may change, and nothing else.

`prepare_*` puts back all that the subresource is not about, metadata included. Every write that changes the spec raises
the pod's generation.
Source: kubernetes.io/docs/concepts/workloads/pods/ephemeral-containers and
kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources
"""

from __future__ import annotations

from typing import Any

from timonel.api.field_errors import Path, forbidden, invalid, quote
from timonel.api.kinds.pod.annotations import MIRROR, check_annotation_updates
from timonel.api.kinds.pod.qos import qos_class
from timonel.api.kinds.pod.update import describe_difference, without_empties
from timonel.api.kinds.pod.validation import check_pod
from timonel.api.kinds.rules import Errors
from timonel.api.objects import Object, annotations_of, copy_object, find_by, get_path

_SPEC = Path("spec")
_OWN_METADATA = ("managedFields", "resourceVersion")
"""What the server itself wrote for this very request."""
_RESIZED = ("cpu", "memory")
_RESIZE_FIELDS = ("resources", "resizePolicy")
_ONLY_COMPUTE = "only cpu and memory resources are mutable"


def prepare_ephemeral_containers(new: Object, old: Object) -> None:
    containers = get_path(new, "spec", "ephemeralContainers")
    _restore(new, old)
    _set(new["spec"], "ephemeralContainers", containers)


def validate_ephemeral_containers(new: Object, old: Object) -> Errors:
    """Containers may be added; those that are there stay as they are."""
    if MIRROR in annotations_of(old):
        return [forbidden(Path(""), "static pods do not support ephemeral containers")]
    errors: Errors = []
    check_pod(errors, new)
    annotations = Path("metadata") / "annotations"
    check_annotation_updates(
        errors, annotations, new["metadata"].get("annotations"), old["metadata"].get("annotations")
    )
    path = _SPEC / "ephemeralContainers"
    containers = get_path(new, "spec", "ephemeralContainers", default=[])
    for was in get_path(old, "spec", "ephemeralContainers", default=[]):
        name = was.get("name") or ""
        container = find_by(containers, "name", was.get("name"))
        if container is None:
            errors.append(forbidden(path, f"existing ephemeral containers {quote(name)} may not be removed\n"))
        elif without_empties(container) != without_empties(was):
            lines = "\n".join(describe_difference(was, container, name))
            errors.append(forbidden(path, f"existing ephemeral containers {quote(name)} may not be changed\n{lines}"))
    return errors


def prepare_resize(new: Object, old: Object) -> None:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    if any(len(spec.get(kind) or ()) != len(before.get(kind) or ()) for kind in ("containers", "initContainers")):
        return  # validation refuses it
    resources = spec.get("resources")
    merged = {kind: _merged(spec.get(kind), before.get(kind)) for kind in ("containers", "initContainers")}
    _restore(new, old)
    for field, value in (("resources", resources), *merged.items()):
        _set(new["spec"], field, value)


def validate_resize(new: Object, old: Object) -> Errors:
    """CPU and memory of containers, or of the pod as a whole, may become more or less, never go away."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    if MIRROR in annotations_of(old):
        return [forbidden(Path(""), "static pods cannot be resized")]
    if get_path(before, "os", "name") == "windows":
        return [forbidden(Path(""), "windows pods cannot be resized")]
    errors: Errors = []
    check_pod(errors, new)
    if (get_path(old, "status", "qosClass") or qos_class(before)) != qos_class(spec):
        shown = get_path(new, "status", "qosClass", default="")
        errors.append(invalid(_SPEC, shown, "Pod QOS Class may not change as a result of resizing"))
    if not _node_can_resize(old):
        errors.append(forbidden(_SPEC, "Pod running on node without support for resize"))
    remaining = copy_object(spec)
    if _has_amounts(spec) or _has_amounts(before):
        _check_pod_level(errors, remaining, spec, before)
    if get_path(old, "status", "nodeAllocatableResourceClaimStatuses"):
        errors.append(forbidden(_SPEC, "pods with node allocatable resource claims cannot be resized"))
    if not _check_same_containers(errors, spec, before):
        return errors
    for kind in ("initContainers", "containers"):
        for index, was in enumerate(before.get(kind) or ()):
            here = (_SPEC / kind)[index] / "resources"
            _check_kept(errors, here, spec[kind][index], was, "resource")
    for kind in ("containers", "initContainers"):
        for index, was in enumerate(before.get(kind) or ()):
            _check_container(errors, kind, index, remaining[kind][index], was)
    if not errors and without_empties(remaining) != without_empties(before):
        errors.append(forbidden(_SPEC, _ONLY_COMPUTE))
    return errors


def _restore(new: Object, old: Object) -> None:
    kept = {field: new["metadata"][field] for field in _OWN_METADATA if field in new["metadata"]}
    new["metadata"].clear()
    new["metadata"].update({**copy_object(old["metadata"]), **kept})
    new["spec"] = copy_object(old.get("spec") or {})
    _set(new, "status", copy_object(old["status"]) if old.get("status") is not None else None)


def _set(obj: Object, field: str, value: Any) -> None:
    if value is None:
        obj.pop(field, None)
    else:
        obj[field] = value


def _merged(containers: list[Object] | None, known: list[Object] | None) -> list[Object] | None:
    """The known containers with new resources; the new ones when others were meant, which validation refuses."""
    merged = []
    for container, was in zip(containers or (), known or (), strict=True):
        if container.get("name") != was.get("name"):
            return containers
        kept = {field: value for field, value in was.items() if field not in _RESIZE_FIELDS}
        merged.append(kept | {field: container[field] for field in _RESIZE_FIELDS if field in container})
    return merged or None


def _has_amounts(spec: Object) -> bool:
    resources = spec.get("resources") or {}
    return bool(resources.get("requests") or resources.get("limits"))


def _node_can_resize(pod: Object) -> bool:
    """A kubelet that resizes reports the resources of what runs; while nothing runs, it is believed to."""
    for status in get_path(pod, "status", "containerStatuses", default=()):
        if (status.get("state") or {}).get("running") is not None:
            return status.get("resources") is not None
    return True


def _check_pod_level(errors: Errors, remaining: Object, spec: Object, before: Object) -> None:
    resources, known = spec.get("resources"), before.get("resources")
    path = _SPEC / "resources"
    if known is not None and resources is None:
        errors.append(forbidden(path, "pod-level resources cannot be removed"))
        return
    if known is not None:
        _check_kept(errors, path, spec, before, "pod-level resource")
    restored = _without_compute_changes(resources or {}, known or {})
    if (resources or {}).get("claims"):
        restored["claims"] = resources["claims"] if resources else []
    if without_empties(restored) != without_empties(known or {}):
        errors.append(forbidden(_SPEC, "only cpu and memory resources are mutable at pod-level"))
    if known is None and not without_empties(restored):
        remaining.pop("resources", None)
    else:
        remaining["resources"] = restored


def _check_kept(errors: Errors, path: Path, holder: Object, before: Object, called: str) -> None:
    """Nothing that was asked for is no longer asked for."""
    for kind in ("requests", "limits"):
        amounts, known = (
            get_path(holder, "resources", kind, default={}),
            get_path(before, "resources", kind, default={}),
        )
        if any(name not in amounts for name in known):
            errors.append(forbidden(path / kind, f"{called} {kind} cannot be removed"))


def _without_compute_changes(resources: Object, known: Object) -> Object:
    """The new resources with CPU and memory as they were."""
    restored = {}
    for kind in ("limits", "requests"):
        others = {name: value for name, value in (resources.get(kind) or {}).items() if name not in _RESIZED}
        kept = {name: value for name, value in (known.get(kind) or {}).items() if name in _RESIZED}
        restored[kind] = others | kept
    return restored


def _check_same_containers(errors: Errors, spec: Object, before: Object) -> bool:
    count = len(errors)
    for kind in ("containers", "initContainers"):
        containers, known = spec.get(kind) or [], before.get(kind) or []
        if len(containers) != len(known):
            errors.append(forbidden(_SPEC / kind, f"{kind} may not be added or removed on resize"))
            continue
        for index, (container, was) in enumerate(zip(containers, known, strict=True)):
            if container.get("name") != was.get("name"):
                why = f"{kind} may not be renamed or reordered on resize"
                errors.append(forbidden((_SPEC / kind)[index] / "name", why))
    return len(errors) == count


def _check_container(errors: Errors, kind: str, index: int, container: Object, was: Object) -> None:
    """Puts CPU and memory of `container` back to what they were; nothing else may differ then."""
    modified = without_empties(container) != without_empties(was)
    # Claims are left out: a container that has any cannot be resized.
    container["resources"] = _without_compute_changes(container.get("resources") or {}, was.get("resources") or {})
    differs = without_empties(container) != without_empties(was)
    if kind == "containers":
        if differs:
            errors.append(forbidden(_SPEC, _ONLY_COMPUTE))
        return
    path = (_SPEC / kind)[index]
    if differs:
        errors.append(forbidden(path, "only cpu and memory resources for init or sidecar containers are mutable"))
    if modified and container.get("restartPolicy") != "Always":
        for policy in container.get("resizePolicy") or ():
            if policy.get("restartPolicy") == "RestartContainer":
                why = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized"
                errors.append(forbidden(path, why))
