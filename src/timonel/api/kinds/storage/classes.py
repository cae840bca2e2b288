"""StorageClass: how volumes are made on demand. VolumeAttributesClass: what of a volume may change later."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, duplicate, forbidden, invalid, required, too_long
from timonel.api.kinds.columns import AGE, NAME, cell_at
from timonel.api.kinds.pod.warnings import DEPRECATED_LABELS
from timonel.api.kinds.rules import Errors, check_immutable, check_option, check_qualified_name
from timonel.api.kinds.storage.cells import name_column
from timonel.api.objects import Object
from timonel.api.resource import Column, Resource, Strategy

_PARAMETERS_LIMIT = 512
_PARAMETERS_SIZE_LIMIT = 256 * 1024  # bytes, keys and values together
_TOPOLOGIES = Path("allowedTopologies")
_DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")


class StorageClassStrategy(Strategy):
    tracks_generation = False

    def default(self, obj: Object) -> None:
        obj.setdefault("reclaimPolicy", "Delete")
        obj.setdefault("volumeBindingMode", "Immediate")

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        _check_driver(errors, Path("provisioner"), obj.get("provisioner") or "")
        _check_parameters(errors, obj.get("parameters") or {})
        if obj.get("reclaimPolicy"):
            check_option(errors, Path("reclaimPolicy"), obj["reclaimPolicy"], ("Delete", "Retain"))
        mode = obj.get("volumeBindingMode")
        if mode is None:
            errors.append(required(Path("volumeBindingMode")))
        check_option(errors, Path("volumeBindingMode"), mode, ("Immediate", "WaitForFirstConsumer"))
        _check_topologies(errors, obj.get("allowedTopologies") or [])
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.validate_create(new)
        for field in ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"):
            check_immutable(errors, Path(field), new.get(field), old.get(field))
        return errors

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        return [
            f"{(_TOPOLOGIES[index] / 'matchLabelExpressions')[position] / 'key'}: {DEPRECATED_LABELS[key]}"
            for index, term in enumerate(obj.get("allowedTopologies") or ())
            for position, expression in enumerate(term.get("matchLabelExpressions") or ())
            if (key := expression.get("key")) in DEPRECATED_LABELS
        ]


class VolumeAttributesClassStrategy(Strategy):
    tracks_generation = False

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        _check_driver(errors, Path("driverName"), obj.get("driverName") or "")
        parameters = obj.get("parameters") or {}
        _check_parameters(errors, parameters)
        if not parameters:
            errors.append(required(Path("parameters"), "must contain at least one key/value pair"))
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = [
            forbidden(Path(field), f"updates to {field} are forbidden.")
            for field in ("driverName", "parameters")
            if new.get(field) != old.get(field)
        ]
        return errors + self.validate_create(new)


def _check_driver(errors: Errors, path: Path, name: str) -> None:
    if name:
        check_qualified_name(errors, path, name.lower())
    else:
        errors.append(required(path))


def _check_parameters(errors: Errors, parameters: dict[str, str]) -> None:
    path = Path("parameters")
    if len(parameters) > _PARAMETERS_LIMIT:
        errors.append(too_long(path, _PARAMETERS_LIMIT))
        return
    if "" in parameters:
        errors.append(invalid(path, "", "field can not be empty."))
    if sum(len(key.encode()) + len(value.encode()) for key, value in parameters.items()) > _PARAMETERS_SIZE_LIMIT:
        errors.append(too_long(path, _PARAMETERS_SIZE_LIMIT))


def _check_topologies(errors: Errors, topologies: list[Object]) -> None:
    # As upstream compares: a term that says nothing counts as a repetition, once for every term there is.
    seen: list[dict[str, set[str]]] = [{} for _ in topologies]
    for index, term in enumerate(topologies):
        path = _TOPOLOGIES[index] / "matchLabelExpressions"
        values_of: dict[str, set[str]] = {}
        for position, expression in enumerate(term.get("matchLabelExpressions") or ()):
            here, key = path[position], expression.get("key") or ""
            values = expression.get("values") or []
            if not values:
                errors.append(required(here / "values"))
            for place, value in enumerate(values):
                if value in values[:place]:
                    errors.append(duplicate((here / "values")[place], value))
            check_qualified_name(errors, here / "key", key)
            if key in values_of:
                errors.append(duplicate(here / "key", key))
            values_of[key] = set(values)
        errors += [duplicate(path, "") for known in seen if known == values_of]
        seen.append(values_of)


STORAGE_CLASSES = Resource(
    ref=refs.STORAGE_CLASSES,
    definition="io.k8s.api.storage.v1.StorageClass",
    singular="storageclass",
    short_names=("sc",),
    strategy=StorageClassStrategy(),
    columns=(
        name_column(*_DEFAULT_CLASS),
        Column("Provisioner", cell_at("provisioner"), description="Who makes the volumes."),
        Column("ReclaimPolicy", cell_at("reclaimPolicy", default="Delete"), description="Policy of its volumes."),
        Column(
            "VolumeBindingMode",
            cell_at("volumeBindingMode", default="Immediate"),
            description="Whether volumes wait for the first pod.",
        ),
        Column(
            "AllowVolumeExpansion",
            cell_at("allowVolumeExpansion", default=False),
            description="Whether claims may grow.",
        ),
        AGE,
    ),
    storage_prefix="/registry/storageclasses/",
)

VOLUME_ATTRIBUTES_CLASSES = Resource(
    ref=refs.VOLUME_ATTRIBUTES_CLASSES,
    definition="io.k8s.api.storage.v1.VolumeAttributesClass",
    singular="volumeattributesclass",
    short_names=("vac",),
    strategy=VolumeAttributesClassStrategy(),
    columns=(NAME, Column("DriverName", cell_at("driverName"), description="The driver it is for."), AGE),
    storage_prefix="/registry/volumeattributesclasses/",
)
