"""Where volumes appear in a container: as files (volumeMounts) or as block devices (volumeDevices)."""

from __future__ import annotations

from timonel.api.field_errors import Path, forbidden, invalid, not_found, not_supported, required
from timonel.api.kinds.pod.paths import check_descending
from timonel.api.kinds.rules import Errors
from timonel.api.objects import Object

_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE_READ_ONLY = ("Disabled", "Enabled", "IfPossible")


def check_mounts(errors: Errors, path: Path, container: Object, volumes: dict[str, Object]) -> None:
    mounts, devices = container.get("volumeMounts") or [], container.get("volumeDevices") or []
    if mounts:
        _check_volume_mounts(errors, path / "volumeMounts", container, mounts, devices, volumes)
    if devices:
        _check_volume_devices(errors, path / "volumeDevices", mounts, devices, volumes)


def _check_volume_mounts(
    errors: Errors,
    path: Path,
    container: Object,
    mounts: list[Object],
    devices: list[Object],
    volumes: dict[str, Object],
) -> None:
    device_names = {device.get("name") for device in devices}
    device_paths = {device.get("devicePath") for device in devices}
    seen: set[str] = set()
    for index, mount in enumerate(mounts):
        name, target = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            errors.append(required(path[index] / "name"))
        if name not in volumes:
            errors.append(not_found(path[index] / "name", name))
        if not target:
            errors.append(required(path[index] / "mountPath"))
        if target in seen:
            errors.append(invalid(path[index] / "mountPath", target, "must be unique"))
        seen.add(target)
        if devices:
            if name in device_names:
                errors.append(invalid(path[index] / "name", name, "must not already exist in volumeDevices"))
            if target in device_paths:
                why = "must not already exist as a path in volumeDevices"
                errors.append(invalid(path[index] / "mountPath", target, why))
        if mount.get("subPath"):
            check_descending(errors, path / "subPath", mount["subPath"])
        expression = mount.get("subPathExpr")
        if expression:
            if mount.get("subPath"):
                why = "subPathExpr and subPath are mutually exclusive"
                errors.append(invalid(path[index] / "subPathExpr", expression, why))
            check_descending(errors, path / "subPathExpr", expression)
        if mount.get("mountPropagation") is not None:
            _check_propagation(errors, path / "mountPropagation", mount["mountPropagation"], container)
        if mount.get("recursiveReadOnly") is not None:
            _check_recursive_read_only(errors, path / "recursiveReadOnly", mount)


def _check_propagation(errors: Errors, path: Path, mode: str, container: Object) -> None:
    if mode not in _PROPAGATIONS:
        errors.append(not_supported(path, mode, _PROPAGATIONS))
    if mode == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
        errors.append(forbidden(path, "Bidirectional mount propagation is available only to privileged containers"))


def _check_recursive_read_only(errors: Errors, path: Path, mount: Object) -> None:
    mode = mount["recursiveReadOnly"]
    if mode not in _RECURSIVE_READ_ONLY:
        errors.append(not_supported(path, mode, _RECURSIVE_READ_ONLY))
    elif mode != "Disabled":
        if not mount.get("readOnly"):
            errors.append(forbidden(path, "may only be specified when readOnly is true"))
        if mount.get("mountPropagation") not in (None, "None"):
            errors.append(forbidden(path, "may only be specified when mountPropagation is None or not specified"))


def _check_volume_devices(
    errors: Errors, path: Path, mounts: list[Object], devices: list[Object], volumes: dict[str, Object]
) -> None:
    mount_names = {mount.get("name") for mount in mounts}
    mount_paths = {mount.get("mountPath") for mount in mounts}
    names: set[str] = set()
    paths: set[str] = set()
    for index, device in enumerate(devices):
        name, target, here = device.get("name") or "", device.get("devicePath") or "", path[index]
        volume = volumes.get(name)
        if not name:
            errors.append(required(here / "name"))
        if name in names:
            errors.append(invalid(here / "name", name, "must be unique"))
        if volume is None:
            errors.append(not_found(here / "name", name))
        elif "persistentVolumeClaim" not in volume and "ephemeral" not in volume:
            why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            errors.append(invalid(here / "name", name, why))
        if not target:
            errors.append(required(here / "devicePath"))
        if target in paths:
            errors.append(invalid(here / "devicePath", target, "must be unique"))
        if ".." in target.split("/"):
            errors.append(invalid(here / "devicePath", target, "can not contain backsteps ('..')"))
        else:
            paths.add(target)
        if name in mount_names:
            errors.append(invalid(here / "name", name, "must not already exist in volumeMounts"))
        if target in mount_paths:
            errors.append(invalid(here / "devicePath", target, "must not already exist as a path in volumeMounts"))
        if name:
            names.add(name)
