"""ResourceClaim: a wish for devices, and what was allocated. ResourceClaimTemplate: one per pod."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, forbidden
from timonel.api.kinds.columns import AGE, NAME, plain
from timonel.api.kinds.devices.allocation import check_claim_status, drop_deallocated
from timonel.api.kinds.devices.requests import check_device_claim, default_requests
from timonel.api.kinds.rules import Errors, check_annotations, check_immutable, check_labels
from timonel.api.kinds.subresources import STATUS
from timonel.api.objects import Object, get_path, is_deleting
from timonel.api.resource import Column, Resource, Strategy

_SPEC = Path("spec")
_TEMPLATE_METADATA = ("annotations", "labels")


class ResourceClaimStrategy(Strategy):
    status_carries = ()
    tracks_generation = False

    def default(self, obj: Object) -> None:
        default_requests(obj.get("spec"))

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        check_device_claim(errors, _SPEC / "devices", get_path(obj, "spec", "devices", default={}))
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        check_immutable(errors, _SPEC, new.get("spec"), old.get("spec"))
        return errors

    def prepare_status_update(self, new: Object, old: Object) -> None:
        drop_deallocated(new, old)

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        check_claim_status(errors, new, old)
        return errors


class ResourceClaimTemplateStrategy(Strategy):
    tracks_generation = False

    def default(self, obj: Object) -> None:
        default_requests(get_path(obj, "spec", "spec"))

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        metadata, path = get_path(obj, "spec", "metadata", default={}), _SPEC / "metadata"
        check_annotations(errors, path / "annotations", metadata.get("annotations"))
        check_labels(errors, path / "labels", metadata.get("labels"))
        for field, value in metadata.items():
            if value and field not in _TEMPLATE_METADATA:
                errors.append(forbidden(path / field, "cannot be set"))
        check_device_claim(errors, _SPEC / "spec" / "devices", get_path(obj, "spec", "spec", "devices", default={}))
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.validate_create(new)
        check_immutable(errors, _SPEC, new.get("spec"), old.get("spec"))
        return errors


def _state(claim: Object) -> str:
    states = ["deleted"] if is_deleting(claim) else []
    if get_path(claim, "status", "allocation") is not None:
        states.append("allocated")
        if get_path(claim, "status", "reservedFor"):
            states.append("reserved")
    elif not states:
        states.append("pending")
    return ",".join(states)


RESOURCE_CLAIMS = Resource(
    ref=refs.RESOURCE_CLAIMS,
    definition="io.k8s.api.resource.v1.ResourceClaim",
    singular="resourceclaim",
    subresources=(STATUS,),
    strategy=ResourceClaimStrategy(),
    columns=(NAME, Column("State", plain(_state), description="Whether it is allocated and in use."), AGE),
    storage_prefix="/registry/resourceclaims/",
    has_status=True,
)

RESOURCE_CLAIM_TEMPLATES = Resource(
    ref=refs.RESOURCE_CLAIM_TEMPLATES,
    definition="io.k8s.api.resource.v1.ResourceClaimTemplate",
    singular="resourceclaimtemplate",
    strategy=ResourceClaimTemplateStrategy(),
    columns=(NAME, AGE),
    storage_prefix="/registry/resourceclaimtemplates/",
)
