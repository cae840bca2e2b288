"""Plugins with a watch beside them, for the decisions whose plugins are timed: one in ten, as upstream has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import Attempt, Filter, Ratings, Refusal, Score, Slots
from timonel.scheduler.core.profile import Profile
from timonel.scheduler.core.schedule import refusals_of
from timonel.scheduler.figures import SchedulingFigures

ONE_IN = 10


def timed(profile: Profile, figures: SchedulingFigures, monotonic: Callable[[], float]) -> Profile:
    """Decides like `profile`, and tells `figures` how long each plugin took."""
    return replace(
        profile,
        filters=tuple(_TimedFilter(each, profile.name, figures, monotonic) for each in profile.filters),
        scores=tuple((_TimedScore(each, profile.name, figures, monotonic), weight) for each, weight in profile.scores),
    )


class _TimedFilter:
    is_static = False
    """What the plugin remembers, it remembers by itself."""

    def __init__(
        self, plugin: Filter, profile: str, figures: SchedulingFigures, monotonic: Callable[[], float]
    ) -> None:
        self.name, self.pod_scope, self.helped_by = plugin.name, plugin.pod_scope, plugin.helped_by
        self._plugin, self._profile, self._figures, self._monotonic = plugin, profile, figures, monotonic

    def refuse(self, cluster: Cluster, attempt: Attempt) -> Sequence[Refusal]:
        began, status = self._monotonic(), "Error"
        try:
            refusals = refusals_of(self._plugin, cluster, attempt)
            status = "Unschedulable" if refusals else "Success"
            return refusals
        finally:
            self._figures.ran(self.name, "Filter", status, self._profile, self._monotonic() - began)


class _TimedScore:
    def __init__(self, plugin: Score, profile: str, figures: SchedulingFigures, monotonic: Callable[[], float]) -> None:
        self.name = plugin.name
        self._plugin, self._profile, self._figures, self._monotonic = plugin, profile, figures, monotonic

    def score(self, cluster: Cluster, attempt: Attempt, nodes: Slots) -> Ratings | None:
        began, status = self._monotonic(), "Error"
        try:
            ratings = self._plugin.score(cluster, attempt, nodes)
            status = "Success"
            return ratings
        finally:
            self._figures.ran(self.name, "Score", status, self._profile, self._monotonic() - began)
