"""PersistentVolumeClaim: a wish for storage, and the volume that fulfils it."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, forbidden, invalid, not_supported, quote
from timonel.api.kinds.columns import AGE, NAME, cell_at, plain
from timonel.api.kinds.pod.persistent_claim import check_claim_spec
from timonel.api.kinds.pod.resources import is_native_resource
from timonel.api.kinds.pod.update import describe_difference
from timonel.api.kinds.resource_lists import amount_of, canonical_resource_list, quantity_of
from timonel.api.kinds.rules import IMMUTABLE, Errors, check_immutable
from timonel.api.kinds.storage.cells import (
    BETA_CLASS,
    VOLUME_MODE,
    access_modes,
    attributes_class_column,
    class_of,
    phase,
)
from timonel.api.kinds.storage.volumespec import check_basic_quantity
from timonel.api.kinds.subresources import STATUS
from timonel.api.names import validate_qualified_name
from timonel.api.objects import Object, annotations_of, copy_object, get_path
from timonel.api.resource import Column, Resource, Strategy

_SPEC = Path("spec")
_STATUS = Path("status")
_STORAGE_REQUEST = _SPEC / "resources" / "requests" / "storage"
_RESIZE_STATES = (
    "ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible",
    "NodeResizePending",
)  # fmt: skip
_SNAPSHOT = ("VolumeSnapshot", "snapshot.storage.k8s.io")


class PersistentVolumeClaimStrategy(Strategy):
    tracks_generation = False

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("volumeMode", "Filesystem")
        for kind in ("limits", "requests"):
            amounts = (spec.get("resources") or {}).get(kind)
            if amounts:
                canonical_resource_list(amounts)
        status = obj.setdefault("status", {})
        if not status.get("phase"):
            status["phase"] = "Pending"
        for field in ("capacity", "allocatedResources"):
            if status.get(field):
                canonical_resource_list(status[field])

    def prepare_create(self, obj: Object) -> None:
        _settle_data_sources(obj["spec"], {})

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        check_claim_spec(errors, _SPEC, obj["spec"])
        return errors

    def prepare_update(self, new: Object, old: Object) -> None:
        _settle_data_sources(new["spec"], old.get("spec") or {})

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        spec, before = new["spec"], old.get("spec") or {}
        errors = self.validate_create(new)
        if any((before.get(field) or {}).get("apiGroup") for field in ("dataSource", "dataSourceRef")):
            # Groups that were accepted before anybody looked at them may stay.
            errors = [error for error in errors if not error.field.endswith(".apiGroup")]
        remaining = _without_changeable(errors, new, old)
        expected = copy_object(before)
        if not before.get("volumeName") and spec.get("volumeName"):
            expected["volumeName"] = spec["volumeName"]  # bound, once
        if remaining != expected:
            lines = "\n".join(describe_difference(expected, remaining))
            why = (
                "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound "
                f"claims\n{lines}"
            )
            errors.append(forbidden(_SPEC, why))
        _check_size_update(errors, new, old)
        check_immutable(errors, Path("volumeMode"), spec.get("volumeMode"), before.get("volumeMode"))
        _check_attributes_class_update(errors, spec, before, new.get("status") or {})
        return errors

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        status = new.get("status") or {}
        for name, amount in (status.get("capacity") or {}).items():
            check_basic_quantity(errors, (_STATUS / "capacity")[name], amount)
        path = _STATUS / "allocatedResourceStatuses"
        for name, state in (status.get("allocatedResourceStatuses") or {}).items():
            _check_resource_key(errors, path, name)
            if state not in _RESIZE_STATES:
                errors.append(not_supported(path, name, _RESIZE_STATES))
        path = _STATUS / "allocatedResources"
        for name, amount in (status.get("allocatedResources") or {}).items():
            if _check_resource_key(errors, path, name):
                check_basic_quantity(errors, path[name], amount)
        return errors

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        found = []
        if BETA_CLASS in annotations_of(obj):
            here = (Path("metadata") / "annotations")[BETA_CLASS]
            found.append(f'{here}: deprecated since v1.8; use "storageClassName" attribute instead')
        for kind in ("requests", "limits"):
            amount = get_path(obj, "spec", "resources", kind, "storage")
            value = quantity_of(amount) if amount is not None else None
            if value is not None and value != value.to_integral_value():
                here = (_SPEC / "resources" / kind)["storage"]
                found.append(f"{here}: fractional byte value {quote(str(amount))} is invalid, must be an integer")
        return found


def _settle_data_sources(spec: Object, before: Object) -> None:
    """`dataSource` and `dataSourceRef` say the same; what the older field never could say is dropped from it.

    Sources in other namespaces are an alpha feature, off by default, and dropped too. Source: KEP-1495, KEP-3294.
    """
    if (spec.get("dataSourceRef") or {}).get("namespace") and before.get("dataSourceRef") is None:
        del spec["dataSourceRef"]
    source, ref = spec.get("dataSource"), spec.get("dataSourceRef")
    in_use = before.get("dataSource") is not None or before.get("dataSourceRef") is not None
    if source is not None and ref is None and not in_use:
        kind, group = source.get("kind"), source.get("apiGroup") or ""
        if (kind, group) not in (("PersistentVolumeClaim", ""), _SNAPSHOT):
            del spec["dataSource"]
            source = None
    if source is not None and ref is None:
        spec["dataSourceRef"] = dict(source)
    elif ref is not None and source is None and not ref.get("namespace"):
        spec["dataSource"] = {part: ref[part] for part in ("apiGroup", "kind", "name") if part in ref}


def _without_changeable(errors: Errors, new: Object, old: Object) -> Object:
    """The new spec with everything that may change now put back to the old."""
    spec, before = copy_object(new["spec"]), old.get("spec") or {}
    annotation = annotations_of(old).get(BETA_CLASS)
    name, name_before = spec.get("storageClassName"), before.get("storageClassName")
    if annotation is not None and name_before is None and name == annotation:
        if annotations_of(new).get(BETA_CLASS, annotation) == annotation:
            del spec["storageClassName"]  # the annotation became the field
    else:
        if annotations_of(new).get(BETA_CLASS, "") != (annotation or ""):
            path = (Path("metadata") / "annotations")[BETA_CLASS]
            errors.append(invalid(path, annotations_of(new).get(BETA_CLASS, ""), IMMUTABLE))
    if name is not None and name_before is None and annotation in (None, name):
        spec.pop("storageClassName", None)  # a default class may be filled in later
    if get_path(new, "status", "phase") == "Bound":
        size = get_path(before, "resources", "requests", "storage")
        if size is not None and get_path(spec, "resources", "requests") is not None:
            spec["resources"]["requests"]["storage"] = size
        spec.pop("volumeAttributesClassName", None)
        if "volumeAttributesClassName" in before:
            spec["volumeAttributesClassName"] = before["volumeAttributesClassName"]
    return spec


def _check_size_update(errors: Errors, new: Object, old: Object) -> None:
    """A request may shrink again after an expansion that failed, but not to what the volume already has."""
    wanted = amount_of(get_path(new, "spec", "resources", "requests"), "storage")
    before = amount_of(get_path(old, "spec", "resources", "requests"), "storage")
    actual = amount_of(get_path(old, "status", "capacity"), "storage")
    if wanted < before and wanted <= actual:
        errors.append(forbidden(_STORAGE_REQUEST, "field can not be less than status.capacity"))


def _check_attributes_class_update(errors: Errors, spec: Object, before: Object, status: Object) -> None:
    name = spec.get("volumeAttributesClassName")
    if name == before.get("volumeAttributesClassName") or status.get("currentVolumeAttributesClassName") is None:
        return
    applied = "is forbidden when status.currentVolumeAttributesClassName is not nil"
    if name is None:
        errors.append(forbidden(_SPEC / "volumeAttributesClassName", f"update to nil {applied}"))
    elif not name:
        errors.append(forbidden(_SPEC / "volumeAttributesClassName", f"update to empty string {applied}"))


def _check_resource_key(errors: Errors, path: Path, name: str) -> bool:
    """True when `name` is storage or a resource of somebody's own."""
    wrong = validate_qualified_name(name)
    for why in wrong:
        errors.append(invalid(path, name, why))
    if not wrong and is_native_resource(name) and name != "storage":
        errors.append(not_supported(path, name, ("storage",)))
        return False
    return not wrong


def _modes(claim: Object) -> str:
    return access_modes(get_path(claim, "status", "accessModes")) if claim["spec"].get("volumeName") else ""


def _capacity(claim: Object) -> str:
    if not claim["spec"].get("volumeName"):
        return ""
    capacity: str = get_path(claim, "status", "capacity", "storage", default="0")
    return capacity


PERSISTENT_VOLUME_CLAIMS = Resource(
    ref=refs.PERSISTENT_VOLUME_CLAIMS,
    definition="io.k8s.api.core.v1.PersistentVolumeClaim",
    singular="persistentvolumeclaim",
    short_names=("pvc",),
    subresources=(STATUS,),
    strategy=PersistentVolumeClaimStrategy(),
    columns=(
        NAME,
        Column("Status", plain(phase), description="Whether it is bound to a volume."),
        Column("Volume", cell_at("spec", "volumeName"), description="The volume it is bound to."),
        Column("Capacity", plain(_capacity), description="Size of that volume."),
        Column("Access Modes", plain(_modes), description="How nodes may mount it."),
        Column("StorageClass", plain(class_of), description="Class of the claim."),
        attributes_class_column("Class of the changeable attributes."),
        AGE,
        VOLUME_MODE,
    ),
    storage_prefix="/registry/persistentvolumeclaims/",
    has_status=True,
)
