"""PriorityClass: a name for a pod priority."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, forbidden
from timonel.api.kinds.columns import AGE, NAME, cell_at
from timonel.api.kinds.rules import Errors, check_choice, check_immutable
from timonel.api.objects import Object
from timonel.api.resource import Column, Resource, Strategy

HIGHEST_USER_PRIORITY = 1_000_000_000
SYSTEM_PREFIX = "system-"
SYSTEM_CLASSES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
_POLICIES = ("PreemptLowerPriority", "Never")


class PriorityClassStrategy(Strategy):
    generation_rises = False

    def default(self, obj: Object) -> None:
        obj.setdefault("value", 0)
        if obj.get("preemptionPolicy") is None:
            obj["preemptionPolicy"] = "PreemptLowerPriority"

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        name, value = obj["metadata"].get("name") or "", obj.get("value") or 0
        if name.startswith(SYSTEM_PREFIX):
            problem = _system_problem(name, value, bool(obj.get("globalDefault")))
            if problem:
                why = f"priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use only. error: "
                errors.append(forbidden(Path("metadata") / "name", why + problem))
        elif value > HIGHEST_USER_PRIORITY:
            why = f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}"
            errors.append(forbidden(Path("value"), why))
        check_choice(errors, Path("preemptionPolicy"), obj.get("preemptionPolicy"), _POLICIES)
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        if (new.get("value") or 0) != (old.get("value") or 0):
            errors.append(forbidden(Path("value"), "may not be changed in an update."))
        policy = new.get("preemptionPolicy")
        check_immutable(errors, Path("preemptionPolicy"), policy, old.get("preemptionPolicy"))
        return errors


def _system_problem(name: str, value: int, global_default: bool) -> str:
    known = SYSTEM_CLASSES.get(name)
    if known is None:
        return f"{name} is not a known system priority class"
    if value != known:
        return f"value of {name} PriorityClass must be {known}"
    if global_default:
        return f"globalDefault of {name} PriorityClass must be false"
    return ""


PRIORITY_CLASSES = Resource(
    ref=refs.PRIORITY_CLASSES,
    definition="io.k8s.api.scheduling.v1.PriorityClass",
    singular="priorityclass",
    short_names=("pc",),
    strategy=PriorityClassStrategy(),
    columns=(
        NAME,
        Column("Value", cell_at("value", default=0), type="integer", description="The priority that pods get."),
        Column(
            "Global-Default",
            cell_at("globalDefault", default=False),
            type="boolean",
            description="Whether pods that name no class get this one.",
        ),
        AGE,
        Column("PreemptionPolicy", cell_at("preemptionPolicy"), description="Whether pods may evict lesser ones."),
    ),
    storage_prefix="/registry/priorityclasses/",
)
