"""ComponentStatus: whether the parts of the control plane are well, asked when somebody looks; never stored."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.kinds.columns import NAME, plain
from timonel.api.objects import Object, find_by
from timonel.api.resource import Cell, Column, Resource

_HEALTHY = "Healthy"


def component_status(name: str, healthy: bool | None, message: str = "", error: str = "") -> Object:
    """The object for a component that was asked; `healthy` is None when no answer came."""
    status = {True: "True", False: "False", None: "Unknown"}[healthy]
    condition = {"type": _HEALTHY, "status": status}
    condition |= {field: text for field, text in (("message", message), ("error", error)) if text}
    return {
        "kind": "ComponentStatus",
        "apiVersion": "v1",
        "metadata": {"name": name},
        "conditions": [condition],
    }


def _status(obj: Object) -> str:
    condition = find_by(obj.get("conditions"), "type", _HEALTHY)
    if condition is None:
        return "Unknown"
    return "Healthy" if condition.get("status") == "True" else "Unhealthy"


def _of_condition(title: str, field: str, description: str) -> Column:
    def value(obj: Object) -> Cell:
        return str((find_by(obj.get("conditions"), "type", _HEALTHY) or {}).get(field) or "")

    return Column(title, plain(value), description=description)


COMPONENT_STATUSES = Resource(
    ref=refs.COMPONENT_STATUSES,
    definition="io.k8s.api.core.v1.ComponentStatus",
    singular="componentstatus",
    short_names=("cs",),
    verbs=("get", "list"),
    columns=(
        NAME,
        Column("Status", plain(_status), description="Whether the component is well."),
        _of_condition("Message", "message", "What it answered."),
        _of_condition("Error", "error", "Why it could not be asked."),
    ),
    deprecation="v1 ComponentStatus is deprecated in v1.19+",
)
