"""What printer columns share: names, ages, lists cut short. `kubectl get` prints these cells as they are.

Source: kubernetes.io/docs/reference/using-api/api-concepts "Receiving resources as Tables".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from timonel.api.clock import parse_time
from timonel.api.labels import InvalidSelector, selector_from_object
from timonel.api.objects import Object, get_path
from timonel.api.resource import Cell, Column

NONE = "<none>"
UNKNOWN = "<unknown>"
UNSET = "<unset>"


def human_duration(seconds: float) -> str:
    """How kubectl shortens a length of time: at most two units, the second only while it still tells something.

    119s → "119s", 121s → "2m1s", 9m59s → "9m59s", 2h59m → "179m", 7h30m → "7h30m", 47h → "47h", 3d2h → "3d2h".
    A time slightly ahead of ours is "0s" (clocks differ), one further ahead "<invalid>".
    """
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 120:
        return f"{whole}s"
    minutes, hours = whole // 60, whole // 3600
    if minutes < 10:
        return _two_units(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two_units(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if days < 8:
        return _two_units(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _two_units(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two_units(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def since(timestamp: str | None, now: datetime) -> str:
    """How long ago a wire timestamp was; "<unknown>" when there is none."""
    if not timestamp:
        return UNKNOWN
    try:
        return human_duration((now - parse_time(timestamp)).total_seconds())
    except ValueError:
        return UNKNOWN


def age(obj: Object, now: datetime) -> str:
    return since(obj["metadata"].get("creationTimestamp"), now)


def cell_at(*path: str | int, default: Cell = "") -> Callable[[Object, datetime], Cell]:
    """A cell that shows the value at a path."""

    def value(obj: Object, now: datetime) -> Cell:
        cell: Cell = get_path(obj, *path, default=default)
        return cell

    return value


def plain(function: Callable[[Object], Cell]) -> Callable[[Object, datetime], Cell]:
    """A cell that does not depend on the time."""

    def value(obj: Object, now: datetime) -> Cell:
        return function(obj)

    return value


def joined(items: Iterable[Any], separator: str = ",", empty: str = NONE) -> str:
    return separator.join(str(item) for item in items) or empty


def format_labels(labels: dict[str, str] | None) -> str:
    """Gives "a=b,c=d" in the order of keys, "<none>" for no labels."""
    return joined(f"{key}={value}" for key, value in sorted((labels or {}).items()))


NAME = Column(
    "Name", lambda obj, now: obj["metadata"].get("name", ""), format="name", description="Name of the object."
)
AGE = Column("Age", age, description="Time since the object was created.")
CREATED_AT = Column(
    "Created At",
    lambda obj, now: obj["metadata"].get("creationTimestamp", ""),
    type="date",
    description="When the object was created.",
)
DEFAULT_COLUMNS = (NAME, CREATED_AT)
"""For kinds without columns of their own."""


REPLICA_COLUMNS = (
    NAME,
    Column("Desired", cell_at("spec", "replicas", default=0), type="integer", description="Pods wanted."),
    Column("Current", cell_at("status", "replicas", default=0), type="integer", description="Pods there are."),
    Column("Ready", cell_at("status", "readyReplicas", default=0), type="integer", description="Pods that are ready."),
    AGE,
)
"""Of kinds that keep a number of like pods."""


def container_columns(*template: str, priority: int = 1) -> tuple[Column, Column]:
    """Columns of the containers of the pod template at a path."""

    def joined_of(field: str) -> Callable[[Object, datetime], Cell]:
        def value(obj: Object, now: datetime) -> Cell:
            return ",".join(c.get(field, "") for c in get_path(obj, *template, "spec", "containers", default=()))

        return value

    return (
        Column("Containers", joined_of("name"), description="Names of the template's containers.", priority=priority),
        Column("Images", joined_of("image"), description="Images of the template's containers.", priority=priority),
    )


TEMPLATE_COLUMNS = container_columns("spec", "template")
"""Wide columns of most kinds with a pod template."""


def format_label_selector(selector: dict[str, Any] | None) -> str:
    """The text form of a LabelSelector; "<none>" for one that is missing or empty."""
    try:
        return str(selector_from_object(selector)) or NONE
    except InvalidSelector:
        return "<error>"


def cut_list(items: list[str], total: int, shown: int = 3) -> str:
    """The first few of a list and how many more there are: "a,b,c + 2 more..."."""
    text = ",".join(items[:shown])
    return f"{text} + {total - shown} more..." if total > shown else text
