"""CSIStorageCapacity: how much storage of a class a part of the cluster has left."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, invalid
from timonel.api.kinds.columns import DEFAULT_COLUMNS
from timonel.api.kinds.pod.warnings import DEPRECATED_LABELS
from timonel.api.kinds.resource_lists import canonical_quantity_field, quantity_of
from timonel.api.kinds.rules import IMMUTABLE, NOT_NEGATIVE, Errors, check_label_selector, check_subdomain
from timonel.api.objects import Object
from timonel.api.resource import Resource, Strategy

_TOPOLOGY = Path("nodeTopology")


class CSIStorageCapacityStrategy(Strategy):
    tracks_generation = False
    allow_unconditional_update = False

    def default(self, obj: Object) -> None:
        for field in ("capacity", "maximumVolumeSize"):
            if field in obj:
                canonical_quantity_field(obj, field)

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        check_label_selector(errors, _TOPOLOGY, obj.get("nodeTopology"))
        check_subdomain(errors, Path("storageClassName"), obj.get("storageClassName") or "")
        amount = obj.get("capacity")
        if amount is not None and (value := quantity_of(amount)) is not None and value < 0:
            errors.append(invalid(Path("capacity"), str(amount), NOT_NEGATIVE))
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.validate_create(new)
        for field in ("nodeTopology", "storageClassName"):
            if new.get(field) != old.get(field):
                errors.append(invalid(Path(field), new.get(field), IMMUTABLE))
        return errors

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        topology = obj.get("nodeTopology") or {}
        found = []
        for index, expression in enumerate(topology.get("matchExpressions") or ()):
            key = expression.get("key")
            if key in DEPRECATED_LABELS:
                found.append(f"{(_TOPOLOGY / 'matchExpressions')[index] / 'key'}: {key} is {DEPRECATED_LABELS[key]}")
        for key in topology.get("matchLabels") or ():
            if key in DEPRECATED_LABELS:
                found.append(f"{_TOPOLOGY / 'matchLabels' / key}: {DEPRECATED_LABELS[key]}")
        return found


CSI_STORAGE_CAPACITIES = Resource(
    ref=refs.CSI_STORAGE_CAPACITIES,
    definition="io.k8s.api.storage.v1.CSIStorageCapacity",
    singular="csistoragecapacity",
    strategy=CSIStorageCapacityStrategy(),
    columns=DEFAULT_COLUMNS,
    storage_prefix="/registry/csistoragecapacities/",
)
