"""Volumes of a pod: exactly one source each, and every source well-formed, also those this kubelet does not run.

Source: kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/volume
"""

from __future__ import annotations

from collections.abc import Callable

from timonel.api.field_errors import Path, duplicate, forbidden, invalid, not_supported, required, too_long
from timonel.api.kinds.pod.env import VOLUME_FIELDS, check_field_ref, check_resource_ref
from timonel.api.kinds.pod.paths import check_descending, check_mode, check_no_backsteps, check_unreserved
from timonel.api.kinds.pod.persistent_claim import check_claim_template
from timonel.api.kinds.pod.projected import check_projected
from timonel.api.kinds.pod.remote_volumes import REMOTE_CHECKS, check_iscsi
from timonel.api.kinds.resource_lists import quantity_of
from timonel.api.kinds.rules import Errors, check_label, check_required_label
from timonel.api.names import validate_dns1123_subdomain
from timonel.api.objects import Object

Check = Callable[[Errors, Path, Object], None]

ONLY_ONE = "may not specify more than 1 volume type"
_PORTAL_TOO_LONG = (
    "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters "
    + "if iscsi.initiatorName is specified."
)
_HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")


def check_volumes(
    errors: Errors, path: Path, volumes: list[Object], pod_name: str | None, *, is_pod: bool
) -> dict[str, Object]:
    """Returns the sound volumes by name; `pod_name` is None in templates. Used by mounts to find their volume."""
    sound: dict[str, Object] = {}
    created = {f"{pod_name}-{v.get('name')}" for v in volumes if v.get("ephemeral") is not None} if pod_name else set()
    for index, volume in enumerate(volumes):
        here = path[index]
        before = len(errors)
        name = volume.get("name") or ""
        _check_source(errors, here, volume, name, pod_name, is_pod)
        check_required_label(errors, here / "name", name)
        if name in sound:
            errors.append(duplicate(here / "name", name))
        if len(errors) == before:
            sound[name] = volume
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim and claim in created:
            why = "must not reference a PVC that gets created for an ephemeral volume"
            errors.append(invalid(here / "persistentVolumeClaim" / "claimName", claim, why))
    return sound


def _check_source(errors: Errors, path: Path, volume: Object, name: str, pod_name: str | None, is_pod: bool) -> None:
    given = [kind for kind in volume if kind in _CHECKS and volume[kind] is not None]
    if not given:
        errors.append(required(path, "must specify a volume type"))
        return
    if len(given) > 1:
        given.sort(key=_ORDER.index)
    for position, kind in enumerate(given):
        source = volume[kind]
        if position:
            errors.append(forbidden(path / _REFUSED.get(kind, kind), ONLY_ONE))
            continue
        _CHECKS[kind](errors, path / _CALLED.get(kind, kind), source)
        if kind == "ephemeral" and pod_name and name:
            claim = f"{pod_name}-{name}"
            for why in validate_dns1123_subdomain(claim):
                errors.append(invalid(path / "name", name, f'PVC name "{claim}": {why}'))
        elif kind == "image" and is_pod and not source.get("reference"):
            errors.append(required(path / "image" / "reference"))
        elif kind == "iscsi" and source.get("initiatorName") is not None and len(_portal(name, source)) > 64:
            errors.append(invalid(path / "name", name, _PORTAL_TOO_LONG))


def _portal(name: str, source: Object) -> str:
    return f"{name}:{source.get('targetPortal') or ''}"


def _check_empty_dir(errors: Errors, path: Path, source: Object) -> None:
    limit = source.get("sizeLimit")
    if limit is not None:
        size = quantity_of(limit)
        if size is None or size < 0:
            errors.append(forbidden(path / "sizeLimit", "SizeLimit field must be a valid resource quantity"))


def check_host_path(errors: Errors, path: Path, source: Object) -> None:
    if not source.get("path"):
        errors.append(required(path / "path"))
        return
    check_no_backsteps(errors, path / "path", source["path"])
    if source.get("type", "") not in _HOST_PATH_TYPES:
        errors.append(not_supported(path / "type", source["type"], _HOST_PATH_TYPES))


def _check_git_repo(errors: Errors, path: Path, source: Object) -> None:
    if not source.get("repository"):
        errors.append(required(path / "repository"))
    check_descending(errors, path / "directory", source.get("directory") or "")


def check_items(errors: Errors, path: Path, items: list[Object]) -> None:
    """Keys of a ConfigMap or Secret and the files they become."""
    for index, item in enumerate(items):
        for field in ("key", "path"):
            if not item.get(field):
                errors.append(required(path[index] / field))
        check_unreserved(errors, path[index] / "path", item.get("path") or "")
        check_mode(errors, path[index] / "mode", item.get("mode"))


def _keyed(name_field: str) -> Check:
    def check(errors: Errors, path: Path, source: Object) -> None:
        if not source.get(name_field):
            errors.append(required(path / name_field))
        check_mode(errors, path / "defaultMode", source.get("defaultMode"))
        check_items(errors, path / "items", source.get("items") or [])

    return check


def check_downward_file(errors: Errors, path: Path, item: Object) -> None:
    if not item.get("path"):
        errors.append(required(path / "path"))
    check_unreserved(errors, path / "path", item.get("path") or "")
    field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
    if field is not None:
        check_field_ref(errors, path / "fieldRef", field, VOLUME_FIELDS)
        if resource is not None:
            why = "fieldRef and resourceFieldRef can not be specified simultaneously"
            errors.append(invalid(path, "resource", why))
    elif resource is not None:
        check_resource_ref(errors, path / "resourceFieldRef", resource, volume=True)
    else:
        errors.append(required(path, "one of fieldRef and resourceFieldRef is required"))
    check_mode(errors, path / "mode", item.get("mode"))


def _check_downward(errors: Errors, path: Path, source: Object) -> None:
    check_mode(errors, path / "defaultMode", source.get("defaultMode"))
    for item in source.get("items") or ():
        check_downward_file(errors, path, item)


def _check_projected(errors: Errors, path: Path, source: Object) -> None:
    check_mode(errors, path / "defaultMode", source.get("defaultMode"))
    check_projected(errors, path, source, check_items=check_items, check_downward_file=check_downward_file)


def _check_claim(errors: Errors, path: Path, source: Object) -> None:
    if not source.get("claimName"):
        errors.append(required(path / "claimName"))


def _check_csi(errors: Errors, path: Path, source: Object) -> None:
    check_csi_driver(errors, path / "driver", source.get("driver") or "")
    secret = source.get("nodePublishSecretRef")
    if secret is not None:
        name = secret.get("name") or ""
        if not name:
            errors.append(required(path / "nodePublishSecretRef" / "name"))
        else:
            for why in validate_dns1123_subdomain(name):
                errors.append(invalid(path / "name", name, why))


def check_csi_driver(errors: Errors, path: Path, driver: str) -> None:
    if not driver:
        errors.append(required(path))
        return
    if len(driver) > 63:
        errors.append(too_long(path, 63))
    for why in validate_dns1123_subdomain(driver.lower()):
        errors.append(invalid(path, driver, why))


def _check_ephemeral(errors: Errors, path: Path, source: Object) -> None:
    template = source.get("volumeClaimTemplate")
    if template is None:
        errors.append(required(path / "volumeClaimTemplate"))
    else:
        check_claim_template(errors, path / "volumeClaimTemplate", template)


def _check_image(errors: Errors, path: Path, source: Object) -> None:
    policy = source.get("pullPolicy") or ""
    if not policy:
        errors.append(required(path / "pullPolicy"))
    elif policy not in _PULL_POLICIES:
        errors.append(not_supported(path / "pullPolicy", policy, _PULL_POLICIES))


def _check_storageos(errors: Errors, path: Path, source: Object) -> None:
    check_required_label(errors, path / "volumeName", source.get("volumeName") or "")
    if source.get("volumeNamespace"):
        check_label(errors, path / "volumeNamespace", source["volumeNamespace"])
    if source.get("secretRef") is not None and not source["secretRef"].get("name"):
        errors.append(required(path / "secretRef" / "name"))


# In upstream's order: of several sources the first counts, the others are refused.
_CHECKS: dict[str, Check] = {
    "emptyDir": _check_empty_dir,
    "hostPath": check_host_path,
    "gitRepo": _check_git_repo,
    "gcePersistentDisk": REMOTE_CHECKS["gcePersistentDisk"],
    "awsElasticBlockStore": REMOTE_CHECKS["awsElasticBlockStore"],
    "secret": _keyed("secretName"),
    "nfs": REMOTE_CHECKS["nfs"],
    "iscsi": check_iscsi,
    "glusterfs": REMOTE_CHECKS["glusterfs"],
    "flocker": REMOTE_CHECKS["flocker"],
    "persistentVolumeClaim": _check_claim,
    "rbd": REMOTE_CHECKS["rbd"],
    "cinder": REMOTE_CHECKS["cinder"],
    "cephfs": REMOTE_CHECKS["cephfs"],
    "quobyte": REMOTE_CHECKS["quobyte"],
    "downwardAPI": _check_downward,
    "fc": REMOTE_CHECKS["fc"],
    "flexVolume": REMOTE_CHECKS["flexVolume"],
    "configMap": _keyed("name"),
    "azureFile": REMOTE_CHECKS["azureFile"],
    "vsphereVolume": REMOTE_CHECKS["vsphereVolume"],
    "photonPersistentDisk": REMOTE_CHECKS["photonPersistentDisk"],
    "portworxVolume": REMOTE_CHECKS["portworxVolume"],
    "azureDisk": REMOTE_CHECKS["azureDisk"],
    "storageos": _check_storageos,
    "projected": _check_projected,
    "scaleIO": REMOTE_CHECKS["scaleIO"],
    "csi": _check_csi,
    "ephemeral": _check_ephemeral,
    "image": _check_image,
}
_ORDER = tuple(_CHECKS)
_CALLED = {"gcePersistentDisk": "persistentDisk"}
_REFUSED = {"cephfs": "cephFS", "downwardAPI": "downwarAPI"}
"""Upstream's spelling, where it is another: clients see it."""
