"""Volume sources of storage systems that in-tree drivers once mounted: still valid API, checked field by field."""

from __future__ import annotations

import re
from collections.abc import Callable

from timonel.api.field_errors import Path, invalid, not_supported, required
from timonel.api.kinds.rules import Errors, check_between, check_option
from timonel.api.objects import Object

Check = Callable[[Errors, Path, Object], None]

_iqn_match = re.compile(r"iqn\.\d{4}-\d{2}\.([a-z0-9-.:]*[a-z0-9])?(:.*)?", re.IGNORECASE | re.ASCII).fullmatch
_eui_match = re.compile(r"eui.[a-zA-Z0-9]{16}").fullmatch
_naa_match = re.compile(r"naa.[a-zA-Z0-9]{32}").fullmatch
_HOST_PORTS = "must be a host:port pair or multiple pairs separated by commas"


def _needs(*fields: str) -> Check:
    """All of `fields` must be there."""

    def check(errors: Errors, path: Path, source: Object) -> None:
        for field in fields:
            if not source.get(field):
                errors.append(required(path / field))

    return check


def _partitioned(name_field: str) -> Check:
    def check(errors: Errors, path: Path, source: Object) -> None:
        if not source.get(name_field):
            errors.append(required(path / name_field))
        partition = source.get("partition") or 0
        if not 0 <= partition <= 255:
            errors.append(invalid(path / "partition", partition, "must be between 1 and 255, inclusive"))

    return check


def _check_nfs(errors: Errors, path: Path, source: Object) -> None:
    for field in ("server", "path"):
        if not source.get(field):
            errors.append(required(path / field))
    target = source.get("path") or ""
    if not target.startswith("/"):
        errors.append(invalid(path / "path", target, "must be an absolute path"))


def initiator_problem(name: str) -> str:
    """What is wrong with the name of an iSCSI initiator or target; "" when nothing is."""
    prefix = name[:3]
    match = {"iqn": _iqn_match, "eui": _eui_match, "naa": _naa_match}.get(prefix)
    if match is None:
        return "must be valid format starting with iqn, eui, or naa"
    return "" if match(name) else "must be valid format"


def check_iscsi(errors: Errors, path: Path, source: Object) -> None:
    if not source.get("targetPortal"):
        errors.append(required(path / "targetPortal"))
    name = source.get("iqn") or ""
    if not name:
        errors.append(required(path / "iqn"))
    elif problem := initiator_problem(name):
        errors.append(invalid(path / "iqn", name, problem))
    check_between(errors, path / "lun", source.get("lun") or 0, 0, 255)
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and source.get("secretRef") is None:
        errors.append(required(path / "secretRef"))
    initiator = source.get("initiatorName")
    if initiator is not None and (problem := initiator_problem(initiator)):
        errors.append(invalid(path / "initiatorname", initiator, problem))


def _check_flocker(errors: Errors, path: Path, source: Object) -> None:
    name, uuid = source.get("datasetName"), source.get("datasetUUID")
    if not name and not uuid:
        errors.append(required(path, "one of datasetName and datasetUUID is required"))
    if name and uuid:
        errors.append(invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously"))
    if name and "/" in name:
        errors.append(invalid(path / "datasetName", name, "must not contain '/'"))


def _check_cinder(errors: Errors, path: Path, source: Object) -> None:
    if not source.get("volumeID"):
        errors.append(required(path / "volumeID"))
    if source.get("secretRef") is not None and not source["secretRef"].get("name"):
        errors.append(required(path / "secretRef" / "name"))


def _check_quobyte(errors: Errors, path: Path, source: Object) -> None:
    registry = source.get("registry") or ""
    if not registry:
        errors.append(required(path / "registry", _HOST_PORTS))
    elif len(source.get("tenant") or "") >= 65:
        errors.append(required(path / "tenant", "must be a UUID and may not exceed a length of 64 characters"))
    else:
        for pair in registry.split(","):
            host, colon, _ = pair.rpartition(":")
            if not colon or (":" in host and not (host.startswith("[") and host.endswith("]"))):
                errors.append(invalid(path / "registry", registry, _HOST_PORTS))
    if not source.get("volume"):
        errors.append(required(path / "volume"))


def _check_fc(errors: Errors, path: Path, source: Object) -> None:
    names, ids = source.get("targetWWNs") or [], source.get("wwids") or []
    if not names and not ids:
        errors.append(required(path / "targetWWNs", "must specify either targetWWNs or wwids, but not both"))
    if names and ids:
        why = "targetWWNs and wwids can not be specified simultaneously"
        errors.append(invalid(path / "targetWWNs", names, why))
    if names:
        if source.get("lun") is None:
            errors.append(required(path / "lun", "lun is required if targetWWNs is specified"))
        else:
            check_between(errors, path / "lun", source["lun"], 0, 255)


def _check_flex(errors: Errors, path: Path, source: Object) -> None:
    if not source.get("driver"):
        errors.append(required(path / "driver"))
    for key in source.get("options") or {}:
        namespace = "." + key.partition("/")[0].lower()
        if namespace.endswith((".kubernetes.io", ".k8s.io")):
            why = "kubernetes.io and k8s.io namespaces are reserved"
            errors.append(invalid((path / "options")[key], key, why))


def _check_azure_disk(errors: Errors, path: Path, source: Object) -> None:
    for field in ("diskName", "diskURI"):
        if not source.get(field):
            errors.append(required(path / field))
    check_option(errors, path / "cachingMode", source.get("cachingMode"), ("None", "ReadOnly", "ReadWrite"))
    kind, uri = source.get("kind"), source.get("diskURI") or ""
    check_option(errors, path / "kind", kind, ("Dedicated", "Managed", "Shared"))
    if kind == "Managed" and not uri.startswith("/subscriptions/"):
        form = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
        errors.append(not_supported(path / "diskURI", uri, (form,)))
    if kind is not None and kind != "Managed" and not uri.startswith("https://"):
        form = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
        errors.append(not_supported(path / "diskURI", uri, (form,)))


REMOTE_CHECKS: dict[str, Check] = {
    "gcePersistentDisk": _partitioned("pdName"),
    "awsElasticBlockStore": _partitioned("volumeID"),
    "nfs": _check_nfs,
    "glusterfs": _needs("endpoints", "path"),
    "flocker": _check_flocker,
    "rbd": _needs("monitors", "image"),
    "cinder": _check_cinder,
    "cephfs": _needs("monitors"),
    "quobyte": _check_quobyte,
    "fc": _check_fc,
    "flexVolume": _check_flex,
    "azureFile": _needs("secretName", "shareName"),
    "vsphereVolume": _needs("volumePath"),
    "photonPersistentDisk": _needs("pdID"),
    "portworxVolume": _needs("volumeID"),
    "azureDisk": _check_azure_disk,
    "scaleIO": _needs("gateway", "system", "volumeName"),
}
