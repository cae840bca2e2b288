"""ControllerRevision: a past state of a StatefulSet or DaemonSet, to go back to; never changed once written."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, required
from timonel.api.kinds.columns import AGE, NAME, NONE, cell_at, plain
from timonel.api.kinds.rules import Errors, check_immutable, check_not_negative
from timonel.api.objects import Object, controller_of
from timonel.api.resource import Column, Resource, Strategy, split_api_version

_DATA = Path("data")


class ControllerRevisionStrategy(Strategy):
    tracks_generation = False

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        check_not_negative(errors, Path("revision"), obj.get("revision"))
        data = obj.get("data")
        if data is None:
            errors.append(required(_DATA, "data is mandatory"))
        elif not isinstance(data, dict):
            errors.append(required(_DATA, "data must be a valid JSON object"))
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        check_not_negative(errors, Path("revision"), new.get("revision"))
        check_immutable(errors, _DATA, new.get("data"), old.get("data"))
        return errors


def _controller(revision: Object) -> str:
    owner = controller_of(revision)
    if owner is None:
        return NONE
    group, _ = split_api_version(owner.get("apiVersion"))
    kind = owner.get("kind") or ""
    return f"{f'{kind}.{group}' if group else kind}".lower() + f"/{owner.get('name') or ''}"


CONTROLLER_REVISIONS = Resource(
    ref=refs.CONTROLLER_REVISIONS,
    definition="io.k8s.api.apps.v1.ControllerRevision",
    singular="controllerrevision",
    strategy=ControllerRevisionStrategy(),
    columns=(
        NAME,
        Column("Controller", plain(_controller), description="Whose state it is."),
        Column("Revision", cell_at("revision", default=0), description="Which state it is, counted up."),
        AGE,
    ),
    storage_prefix="/registry/controllerrevisions/",
)
