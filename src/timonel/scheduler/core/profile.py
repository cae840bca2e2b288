"""A profile: which plugins decide about the pods of one scheduler name, in which order, with which weights.

Extension points are upstream's. The core asks filters and scores; the others say what the loop around it does for the
pods of a profile: `profile.runs("preBind", "VolumeBinding")`.
Source: kubernetes.io/docs/reference/scheduling/config
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from timonel.scheduler.core.framework import Filter, Score

DEFAULT_SCHEDULER = "default-scheduler"

EXTENSION_POINTS = (
    "preEnqueue", "queueSort", "preFilter", "filter", "postFilter", "preScore", "score", "reserve", "permit", "preBind",
    "bind", "postBind", "placementGenerate", "placementScore",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PluginRow:
    """A plugin that profiles can name. `points`: where upstream's has something to do, whether the core asks or not.

    `make` is called once for each profile with the plugin's arguments (an instance of `args`, or None) and gives a
    Filter, a Score or both; without it, the loop does what the plugin stands for.
    """

    name: str
    points: tuple[str, ...]
    make: Callable[[Any], Any] | None = None
    args: type | None = None
    weight: int = 1
    """As a score, by default."""
    is_default: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    name: str
    """The scheduler name that pods choose it by."""
    filters: tuple[Filter, ...]
    """In order: the first that refuses a node gives the reason."""
    scores: tuple[tuple[Score, int], ...]
    """With their weights."""
    points: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Extension point -> names of its plugins, in order."""
    args: Mapping[str, Any] = field(default_factory=dict)
    """Plugin -> its arguments."""

    def runs(self, point: str, plugin: str) -> bool:
        return plugin in self.points.get(point, ())


def build_profile(
    name: str,
    rows: Mapping[str, PluginRow],
    points: Mapping[str, Iterable[str]],
    *,
    weights: Mapping[str, int] | None = None,
    args: Mapping[str, Any] | None = None,
) -> Profile:
    """`points` name plugins of `rows`; what `weights` and `args` leave out is the row's default."""
    ordered = {point: tuple(names) for point, names in points.items()}
    named = list(dict.fromkeys(plugin for names in ordered.values() for plugin in names))
    given = dict(args or {})
    for plugin in named:
        kind = rows[plugin].args
        if kind is not None:
            given.setdefault(plugin, kind())
    made = {plugin: make(given.get(plugin)) for plugin in named if (make := rows[plugin].make)}
    return Profile(
        name=name,
        filters=tuple(made[plugin] for plugin in ordered.get("filter", ()) if plugin in made),
        scores=tuple(
            (made[plugin], (weights or {}).get(plugin) or rows[plugin].weight)
            for plugin in ordered.get("score", ())
            if hasattr(made.get(plugin), "score")
        ),
        points=ordered,
        args=given,
    )


def default_profile(rows: Iterable[PluginRow], name: str = DEFAULT_SCHEDULER) -> Profile:
    known = {row.name: row for row in rows}
    points = {
        point: [row.name for row in known.values() if row.is_default and point in row.points]
        for point in EXTENSION_POINTS
    }
    return build_profile(name, known, points)
