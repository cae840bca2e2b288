"""Where a PersistentVolume's bytes are: exactly one source, each well-formed.

The sources look like those of pods, but refer to secrets and endpoints in any namespace, so some have rules of their
own here. Source: kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/persistent-volume-v1
"""

from __future__ import annotations

from collections.abc import Callable

from timonel.api.field_errors import Path, forbidden, invalid, required
from timonel.api.kinds.pod.paths import check_no_backsteps
from timonel.api.kinds.pod.remote_volumes import REMOTE_CHECKS, initiator_problem
from timonel.api.kinds.pod.volume_defaults import default_volume
from timonel.api.kinds.pod.volumes import ONLY_ONE, check_csi_driver, check_host_path
from timonel.api.kinds.rules import Errors, check_between, check_label, check_required_label, check_subdomain
from timonel.api.objects import Object

Check = Callable[[Errors, Path, Object], None]

_ISCSI_NAME_LIMIT = 64
_CSI_SECRETS = (
    "controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef",
)  # fmt: skip


def default_sources(spec: Object) -> None:
    """Fills the defaults of whatever sources there are."""
    for kind in _CHECKS:
        if spec.get(kind) is not None:
            default_volume({kind: spec[kind]})


def check_sources(errors: Errors, path: Path, spec: Object, volume_name: str) -> None:
    given = [kind for kind in _CHECKS if spec.get(kind) is not None]
    for position, kind in enumerate(given):
        # A second flexVolume is checked like a first one: upstream never refused it.
        if position and kind != "flexVolume":
            errors.append(forbidden(path / _CALLED_SECOND.get(kind, kind), ONLY_ONE))
            continue
        here = path / _CALLED.get(kind, kind)
        _CHECKS[kind](errors, here, spec[kind])
        if kind == "iscsi":
            _check_portal(errors, here, spec[kind], volume_name)
        elif kind == "local" and spec.get("nodeAffinity") is None:
            errors.append(required(path / "nodeAffinity", "Local volume requires node affinity"))
    if not given:
        errors.append(required(path, "must specify a volume type"))


def sources_of(spec: Object) -> Object:
    """The part of a spec that says where the volume is."""
    return {kind: spec[kind] for kind in _CHECKS if spec.get(kind) is not None}


def _check_secret(errors: Errors, path: Path, secret: Object | None, *, strict: bool = False) -> None:
    """A reference to a Secret in any namespace; `strict` looks at the names too."""
    if secret is None:
        return
    for part, check in (("name", check_subdomain), ("namespace", check_label)):
        if not secret.get(part):
            errors.append(required(path / part))
        elif strict:
            check(errors, path / part, secret[part])


def _check_iscsi(errors: Errors, path: Path, source: Object) -> None:
    if not source.get("targetPortal"):
        errors.append(required(path / "targetPortal"))
    if not source.get("iqn"):
        errors.append(required(path / "iqn"))
    elif initiator_problem(source["iqn"]):
        errors.append(invalid(path / "iqn", source["iqn"], "must be valid format"))
    check_between(errors, path / "lun", source.get("lun") or 0, 0, 255)
    secret = source.get("secretRef")
    if secret is None and (source.get("chapAuthDiscovery") or source.get("chapAuthSession")):
        errors.append(required(path / "secretRef"))
    if secret is not None and not secret.get("name"):
        errors.append(required(path / "secretRef" / "name"))
    initiator = source.get("initiatorName")
    if initiator is not None and initiator_problem(initiator):
        errors.append(invalid(path / "initiatorname", initiator, "must be valid format"))


def _check_portal(errors: Errors, path: Path, source: Object, volume_name: str) -> None:
    portal = source.get("targetPortal") or ""
    if source.get("initiatorName") is not None and len(f"{volume_name}:{portal}") > _ISCSI_NAME_LIMIT:
        why = (
            "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is "
            "specified."
        )
        errors.append(invalid(path / "targetportal", portal, why))


def _check_glusterfs(errors: Errors, path: Path, source: Object) -> None:
    REMOTE_CHECKS["glusterfs"](errors, path, source)
    namespace = source.get("endpointsNamespace")
    if namespace == "":
        why = "if the endpointnamespace is set, it must be a valid namespace name"
        errors.append(invalid(path / "endpointsNamespace", namespace, why))
    elif namespace is not None:
        check_label(errors, path / "endpointsNamespace", namespace)


def _check_cinder(errors: Errors, path: Path, source: Object) -> None:
    if not source.get("volumeID"):
        errors.append(required(path / "volumeID"))
    _check_secret(errors, path / "secretRef", source.get("secretRef"))


def _check_azure_file(errors: Errors, path: Path, source: Object) -> None:
    REMOTE_CHECKS["azureFile"](errors, path, source)
    if source.get("secretNamespace") == "":
        errors.append(required(path / "secretNamespace"))


def _check_local(errors: Errors, path: Path, source: Object) -> None:
    if not source.get("path"):
        errors.append(required(path / "path"))
        return
    check_no_backsteps(errors, path / "path", source["path"])


def _check_storageos(errors: Errors, path: Path, source: Object) -> None:
    check_required_label(errors, path / "volumeName", source.get("volumeName") or "")
    if source.get("volumeNamespace"):
        check_label(errors, path / "volumeNamespace", source["volumeNamespace"])
    # Here the reference is a whole ObjectReference, of which only these two parts count.
    _check_secret(errors, path / "secretRef", source.get("secretRef"))


def _check_csi(errors: Errors, path: Path, source: Object) -> None:
    check_csi_driver(errors, path / "driver", source.get("driver") or "")
    if not source.get("volumeHandle"):
        errors.append(required(path / "volumeHandle"))
    for field in _CSI_SECRETS:
        _check_secret(errors, path / field, source.get(field), strict=True)


# In upstream's order: of several sources the first counts, the others are refused.
_CHECKS: dict[str, Check] = {
    "hostPath": check_host_path,
    "gcePersistentDisk": REMOTE_CHECKS["gcePersistentDisk"],
    "awsElasticBlockStore": REMOTE_CHECKS["awsElasticBlockStore"],
    "glusterfs": _check_glusterfs,
    "flocker": REMOTE_CHECKS["flocker"],
    "nfs": REMOTE_CHECKS["nfs"],
    "rbd": REMOTE_CHECKS["rbd"],
    "quobyte": REMOTE_CHECKS["quobyte"],
    "cephfs": REMOTE_CHECKS["cephfs"],
    "iscsi": _check_iscsi,
    "cinder": _check_cinder,
    "fc": REMOTE_CHECKS["fc"],
    "flexVolume": REMOTE_CHECKS["flexVolume"],
    "azureFile": _check_azure_file,
    "vsphereVolume": REMOTE_CHECKS["vsphereVolume"],
    "photonPersistentDisk": REMOTE_CHECKS["photonPersistentDisk"],
    "portworxVolume": REMOTE_CHECKS["portworxVolume"],
    "azureDisk": REMOTE_CHECKS["azureDisk"],
    "scaleIO": REMOTE_CHECKS["scaleIO"],
    "local": _check_local,
    "storageos": _check_storageos,
    "csi": _check_csi,
}
_CALLED = {"gcePersistentDisk": "persistentDisk"}
_CALLED_SECOND = {"cephfs": "cephFS"}
