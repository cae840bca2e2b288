"""NodeMetrics and PodMetrics: what nodes and pods use, as of a moment ago; asked of the nodes, never stored.

Source: kubernetes.io/docs/tasks/debug/debug-cluster/resource-metrics-pipeline
"""

from __future__ import annotations

from decimal import Decimal

from timonel.api import refs
from timonel.api.kinds.columns import NAME, plain
from timonel.api.metrics_definitions import PACKAGE
from timonel.api.objects import Object
from timonel.api.quantity import format_quantity, parse_quantity
from timonel.api.resource import Cell, Column, Resource


def _used(obj: Object, name: str) -> Cell:
    usages = [obj["usage"]] if "usage" in obj else [each["usage"] for each in obj.get("containers") or ()]
    texts = [usage[name] for usage in usages if name in usage]
    if not texts:
        return "<unknown>"
    return format_quantity(sum(map(parse_quantity, texts), Decimal(0)), like=texts[0])


_COLUMNS = (
    NAME,
    Column("CPU", plain(lambda obj: _used(obj, "cpu")), description="Cores used, on average over the window."),
    Column("Memory", plain(lambda obj: _used(obj, "memory")), description="The working set, in bytes."),
    Column("Window", plain(lambda obj: str(obj.get("window", ""))), description="What CPU was averaged over."),
)

NODE_METRICS = Resource(
    ref=refs.NODE_METRICS,
    definition=f"{PACKAGE}.NodeMetrics",
    singular="",
    verbs=("get", "list"),
    columns=_COLUMNS,
)
POD_METRICS = Resource(
    ref=refs.POD_METRICS,
    definition=f"{PACKAGE}.PodMetrics",
    singular="",
    verbs=("get", "list"),
    columns=_COLUMNS,
)
RESOURCE_METRICS_ROWS = (NODE_METRICS, POD_METRICS)
