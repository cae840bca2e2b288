"""Defaults of volume sources: file modes, field API versions, and those of the old block storages."""

from __future__ import annotations

from timonel.api.kinds.images import default_pull_policy
from timonel.api.kinds.resource_lists import canonical_quantity_field, canonical_resource_list
from timonel.api.objects import Object

_FILE_MODE = 0o644
_WITH_MODE = ("secret", "configMap", "downwardAPI", "projected")
_EMPTY_MEANS_UNSET: dict[str, tuple[tuple[str, str], ...]] = {
    "iscsi": (("iscsiInterface", "default"),),
    "rbd": (("pool", "rbd"), ("user", "admin"), ("keyring", "/etc/ceph/keyring")),
    "scaleIO": (("storageMode", "ThinProvisioned"), ("fsType", "xfs")),
}
_AZURE_DISK = {"cachingMode": "ReadWrite", "fsType": "ext4", "readOnly": False, "kind": "Shared"}


def default_volume(volume: Object) -> None:
    if len(volume) == 1 and "name" in volume:
        volume["emptyDir"] = {}
        return
    for kind, source in volume.items():
        if kind == "name" or not isinstance(source, dict):
            continue
        if kind in _WITH_MODE:
            source.setdefault("defaultMode", _FILE_MODE)
            if kind == "downwardAPI":
                _default_downward_items(source)
            elif kind == "projected":
                _default_projected(source)
        elif kind == "emptyDir":
            if "sizeLimit" in source:
                canonical_quantity_field(source, "sizeLimit")
        elif kind == "hostPath":
            source.setdefault("type", "")
        elif kind == "image":
            if not source.get("pullPolicy"):
                source["pullPolicy"] = default_pull_policy(source.get("reference") or "")
        elif kind == "ephemeral":
            _default_claim_template(source.get("volumeClaimTemplate"))
        elif kind == "azureDisk":
            for field, text in _AZURE_DISK.items():
                source.setdefault(field, text)
        elif kind in _EMPTY_MEANS_UNSET:
            for field, value in _EMPTY_MEANS_UNSET[kind]:
                if not source.get(field):
                    source[field] = value


def default_field_ref(ref: Object | None) -> None:
    if ref is not None and not ref.get("apiVersion"):
        ref["apiVersion"] = "v1"


def _default_downward_items(source: Object) -> None:
    for item in source.get("items") or ():
        default_field_ref(item.get("fieldRef"))
        if item.get("resourceFieldRef") is not None:
            canonical_quantity_field(item["resourceFieldRef"], "divisor", missing="0")


def _default_projected(source: Object) -> None:
    for projection in source.get("sources") or ():
        if projection.get("downwardAPI") is not None:
            _default_downward_items(projection["downwardAPI"])
        if projection.get("serviceAccountToken") is not None:
            projection["serviceAccountToken"].setdefault("expirationSeconds", 3600)


def _default_claim_template(template: Object | None) -> None:
    spec = (template or {}).get("spec")
    if spec is not None:
        spec.setdefault("volumeMode", "Filesystem")
        for kind in ("limits", "requests"):
            amounts = (spec.get("resources") or {}).get(kind)
            if amounts:
                canonical_resource_list(amounts)
