"""RuntimeClass: the handler of the container runtime that runs a pod, and what it costs."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, duplicate, required
from timonel.api.kinds.columns import AGE, NAME, cell_at
from timonel.api.kinds.pod.resources import check_overhead
from timonel.api.kinds.pod.scheduling import check_tolerations
from timonel.api.kinds.pod.warnings import DEPRECATED_LABELS
from timonel.api.kinds.resource_lists import canonical_resource_list
from timonel.api.kinds.rules import Errors, check_immutable, check_label, check_labels
from timonel.api.objects import Object, get_path
from timonel.api.resource import Column, Resource, Strategy

_SCHEDULING = Path("scheduling")
_TOLERATION_KEYS = ("key", "operator", "value", "effect")


class RuntimeClassStrategy(Strategy):
    tracks_generation = False
    allow_unconditional_update = False

    def default(self, obj: Object) -> None:
        amounts = get_path(obj, "overhead", "podFixed")
        if amounts:
            canonical_resource_list(amounts)

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        if obj.get("handler"):
            check_label(errors, Path("handler"), obj["handler"])
        else:
            errors.append(required(Path("handler")))
        if obj.get("overhead") is not None:
            check_overhead(errors, Path("overhead"), obj["overhead"].get("podFixed") or {})
        scheduling = obj.get("scheduling") or {}
        check_labels(errors, _SCHEDULING / "nodeSelector", scheduling.get("nodeSelector"))
        tolerations = scheduling.get("tolerations") or []
        check_tolerations(errors, _SCHEDULING / "tolerations", tolerations)
        seen: set[tuple[str, ...]] = set()
        for index, toleration in enumerate(tolerations):
            key = tuple(toleration.get(part) or "" for part in _TOLERATION_KEYS)
            if key in seen:
                errors.append(duplicate((_SCHEDULING / "tolerations")[index], toleration))
            seen.add(key)
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.validate_create(new)
        check_immutable(errors, Path("handler"), new.get("handler") or "", old.get("handler") or "")
        return errors

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        selector = get_path(obj, "scheduling", "nodeSelector", default={})
        return [
            f"{_SCHEDULING / 'nodeSelector'}: {DEPRECATED_LABELS[key]}" for key in selector if key in DEPRECATED_LABELS
        ]


RUNTIME_CLASSES = Resource(
    ref=refs.RUNTIME_CLASSES,
    definition="io.k8s.api.node.v1.RuntimeClass",
    singular="runtimeclass",
    strategy=RuntimeClassStrategy(),
    columns=(NAME, Column("Handler", cell_at("handler"), description="What the runtime calls it."), AGE),
    storage_prefix="/registry/runtimeclasses/",
)

NODE_ROWS = (RUNTIME_CLASSES,)
