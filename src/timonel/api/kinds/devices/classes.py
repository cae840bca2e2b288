"""DeviceClass: devices that are alike for those who ask."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, invalid
from timonel.api.kinds.columns import AGE, NAME
from timonel.api.kinds.devices.common import check_configuration, check_list
from timonel.api.kinds.devices.requests import MOST_CONFIGURATIONS, check_selectors
from timonel.api.kinds.pod.resources import is_extended_resource
from timonel.api.kinds.rules import Errors
from timonel.api.objects import Object
from timonel.api.resource import Resource, Strategy

_SPEC = Path("spec")


class DeviceClassStrategy(Strategy):
    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        spec = obj.get("spec") or {}
        check_selectors(errors, _SPEC / "selectors", spec.get("selectors") or [])
        check_list(errors, _SPEC / "config", spec.get("config") or [], MOST_CONFIGURATIONS, check_configuration)
        name = spec.get("extendedResourceName")
        if name is not None and not is_extended_resource(name):
            why = "must be a valid extended resource name"
            errors.append(invalid(_SPEC / "extendedResourceName", name, why))
        return errors


DEVICE_CLASSES = Resource(
    ref=refs.DEVICE_CLASSES,
    definition="io.k8s.api.resource.v1.DeviceClass",
    singular="deviceclass",
    strategy=DeviceClassStrategy(),
    columns=(NAME, AGE),
    storage_prefix="/registry/deviceclasses/",
)
