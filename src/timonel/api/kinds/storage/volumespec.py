"""Rules of a PersistentVolume's spec; a VolumeAttachment may carry one too, with fewer fields."""

from __future__ import annotations

from posixpath import normpath

from timonel.api.field_errors import Path, forbidden, invalid, not_supported, required
from timonel.api.kinds.pod.persistent_claim import ACCESS_MODES
from timonel.api.kinds.pod.scheduling import check_node_selector
from timonel.api.kinds.resource_lists import quantity_of
from timonel.api.kinds.rules import POSITIVE, Errors, check_option, check_subdomain
from timonel.api.kinds.storage.sources import check_sources
from timonel.api.objects import Object
from timonel.api.quantity import int_value

_INLINE = "may not be specified in the context of inline volumes"
_RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
_VOLUME_MODES = ("Block", "Filesystem")


def check_volume_spec(errors: Errors, path: Path, spec: Object, volume_name: str, *, inline: bool = False) -> None:
    """`inline`: inside a VolumeAttachment, where nobody claims, sizes or reclaims the volume."""
    if inline:
        _check_inline(errors, path, spec)
    _check_access_modes(errors, path / "accessModes", spec.get("accessModes") or [])
    if not inline:
        _check_capacity(errors, path / "capacity", spec.get("capacity") or {})
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy and inline and policy != "Retain":
        why = "may only be Retain in the context of inline volumes"
        errors.append(forbidden(path / "persistentVolumeReclaimPolicy", why))
    elif policy and not inline:
        check_option(errors, path / "persistentVolumeReclaimPolicy", policy, _RECLAIM_POLICIES)
    affinity = spec.get("nodeAffinity")
    if affinity is not None and inline:
        errors.append(forbidden(path / "nodeAffinity", _INLINE))
    elif affinity is not None:
        _check_affinity(errors, path / "nodeAffinity", affinity)
    check_sources(errors, path, spec, volume_name)
    host_path = (spec.get("hostPath") or {}).get("path")
    # normpath keeps two leading slashes, which POSIX allows to mean something.
    if host_path and normpath(host_path) in ("/", "//") and policy == "Recycle":
        why = "may not be 'recycle' for a hostPath mount of '/'"
        errors.append(forbidden(path / "persistentVolumeReclaimPolicy", why))
    if spec.get("storageClassName") and inline:
        errors.append(forbidden(path / "storageClassName", _INLINE))
    elif spec.get("storageClassName"):
        check_subdomain(errors, path / "storageClassName", spec["storageClassName"])
    mode = spec.get("volumeMode")
    if mode is not None and inline and mode != "Filesystem":
        why = "may not specify volumeMode other than Filesystem in the context of inline volumes"
        errors.append(forbidden(path / "volumeMode", why))
    elif not inline:
        check_option(errors, path / "volumeMode", mode, _VOLUME_MODES)
    if not inline:
        _check_attributes_class(errors, path, spec)


def _check_inline(errors: Errors, path: Path, spec: Object) -> None:
    if spec.get("claimRef") is not None:
        errors.append(forbidden(path / "claimRef", _INLINE))
    if spec.get("capacity"):
        errors.append(forbidden(path / "capacity", _INLINE))
    if spec.get("csi") is None:
        errors.append(required(path / "csi", "has to be specified in the context of inline volumes"))


def _check_access_modes(errors: Errors, path: Path, modes: list[str]) -> None:
    if not modes:
        errors.append(required(path))
    for mode in modes:
        check_option(errors, path, mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and any(m != "ReadWriteOncePod" and m in ACCESS_MODES for m in modes):
        errors.append(forbidden(path, "may not use ReadWriteOncePod with other access modes"))


def _check_capacity(errors: Errors, path: Path, capacity: Object) -> None:
    if not capacity:
        errors.append(required(path))
    if "storage" not in capacity or len(capacity) > 1:
        errors.append(not_supported(path, capacity or None, ("storage",)))
    for name, amount in capacity.items():
        check_basic_quantity(errors, path[name], amount)
        if (quantity_of(amount) or 0) <= 0:
            errors.append(invalid(path[name], str(amount), POSITIVE))


def check_basic_quantity(errors: Errors, path: Path, amount: object) -> bool:
    """A quantity that is not negative. True when it is fine."""
    value = quantity_of(amount)
    if value is None:
        errors.append(invalid(path, str(amount), "must be a valid resource quantity"))
    elif value < 0:
        errors.append(invalid(path, int_value(str(amount)), "must be a valid resource quantity"))
    return value is not None and value >= 0


def _check_affinity(errors: Errors, path: Path, affinity: Object) -> None:
    if affinity.get("required") is None:
        errors.append(required(path / "required", "must specify required node constraints"))
    else:
        check_node_selector(errors, path / "required", affinity["required"])


def _check_attributes_class(errors: Errors, path: Path, spec: Object) -> None:
    name = spec.get("volumeAttributesClassName")
    if name is None:
        return
    if not name:
        errors.append(required(path / "volumeAttributesClassName", "an empty string is disallowed"))
    else:
        check_subdomain(errors, path / "volumeAttributesClassName", name)
    if spec.get("csi") is None:
        errors.append(required(path / "csi", "has to be specified when using volumeAttributesClassName"))
