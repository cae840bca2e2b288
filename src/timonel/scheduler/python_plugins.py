"""Plugins of other packages: found by entry points, asked with a time limit, their answers looked at.

What goes wrong concerns the pod that is being placed and no other. A plugin that keeps taking too long is not asked for
a while, for each question costs everybody the limit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from timonel.api.objects import Object
from timonel.scheduler.configuration.errors import InvalidConfiguration
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import MAX_SCORE, Attempt, PluginFailed, PodScope, Ratings, Refusal, Slots
from timonel.scheduler.core.profile import PluginRow
from timonel.scheduler.plugin import Nodes, Plugin, PodToPlace
from timonel.scheduler.time_limit import TimeLimit, TookTooLong

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

log = logging.getLogger(__name__)

GROUP = "timonel.scheduler"

_TIMEOUTS_UNTIL_REST = 3
_FIRST_REST_SECONDS, _LONGEST_REST_SECONDS = 10.0, 300.0


def load_plugins(
    names: Collection[str], *, limit: TimeLimit, monotonic: Callable[[], float], group: str = GROUP
) -> list[PluginRow]:
    """Of the names, those that an installed package offers. Raises InvalidConfiguration when one cannot be loaded."""
    from importlib.metadata import entry_points

    rows: dict[str, PluginRow] = {}
    for point in entry_points(group=group):
        if point.name in names:
            if point.name in rows:
                raise InvalidConfiguration(f'plugin "{point.name}" is offered by more than one package')
            rows[point.name] = _row(point, limit, monotonic)
    return list(rows.values())


def _row(point: EntryPoint, limit: TimeLimit, monotonic: Callable[[], float]) -> PluginRow:
    try:
        kind = point.load()
    except Exception as exc:
        raise InvalidConfiguration(f'plugin "{point.name}" cannot be loaded from {point.value}: {exc!r}') from exc
    if not (isinstance(kind, type) and issubclass(kind, Plugin)):
        raise InvalidConfiguration(f'plugin "{point.name}": {point.value} is no subclass of {Plugin.__module__}.Plugin')
    points = [
        point_name
        for point_name, methods in (
            ("filter", ("filter_nodes", "filter_node")),
            ("score", ("score_nodes", "score_node")),
        )
        if any(getattr(kind, method) is not getattr(Plugin, method) for method in methods)
    ]
    if not points:
        raise InvalidConfiguration(f'plugin "{point.name}": {point.value} neither filters nor scores')

    def make(args: Object | None) -> ForeignPlugin:
        try:
            plugin = kind(args or {})
        except Exception as exc:
            raise InvalidConfiguration(f'initializing plugin "{point.name}": {exc}') from exc
        return ForeignPlugin(point.name, plugin, limit=limit, monotonic=monotonic)

    return PluginRow(point.name, tuple(points), make, is_default=False)


class ForeignPlugin:
    """A filter and a score over the node table, as the core asks them. Raises PluginFailed."""

    is_static = False
    pod_scope = PodScope.CLUSTER

    def __init__(self, name: str, plugin: Plugin, *, limit: TimeLimit, monotonic: Callable[[], float]) -> None:
        self.name = name
        self.helped_by = plugin.helped_by
        self._plugin = plugin
        if not plugin.name:
            plugin.name = name  # type: ignore[misc]
        self._limit = limit
        self._monotonic = monotonic
        self._timeouts = 0
        self._rests_until = 0.0
        kind = type(plugin)
        self._filters_all = kind.filter_nodes is not Plugin.filter_nodes
        self._scores_all = kind.score_nodes is not Plugin.score_nodes

    def refuse(self, cluster: Cluster, attempt: Attempt) -> Sequence[Refusal]:
        slots = np.flatnonzero(cluster.nodes.alive)
        pod, nodes = PodToPlace(attempt), Nodes(cluster, slots)
        running = f'running "{self.name}" filter plugin'
        if self._filters_all:
            allowed = self._asked(running, lambda: self._plugin.filter_nodes(pod, nodes))
            mask = _checked(running, allowed, len(slots), "a mask of true and false", "b")
            reason = self._asked(running, self._plugin.refusal)
            return (Refusal(str(reason), _over_slots(cluster, slots[~mask])),) if not mask.all() else ()
        reasons = self._asked(running, lambda: [self._plugin.filter_node(pod, node) for node in nodes])
        found: dict[str, list[int]] = {}
        for slot, why in zip(slots, reasons, strict=True):
            if why is not None:
                if not isinstance(why, str):
                    raise PluginFailed(f"{running}: the answer must be a reason or None, not {why!r}"[:1000])
                found.setdefault(why, []).append(int(slot))
        return [Refusal(why, _over_slots(cluster, refused)) for why, refused in found.items()]

    def score(self, cluster: Cluster, attempt: Attempt, nodes: Slots) -> Ratings | None:
        pod, seen = PodToPlace(attempt), Nodes(cluster, nodes)
        running = f'running Score plugins: plugin "{self.name}" failed with'
        if self._scores_all:
            answer = self._asked(running, lambda: self._plugin.score_nodes(pod, seen))
        else:
            answer = self._asked(running, lambda: [self._plugin.score_node(pod, node) for node in seen])
        ratings = _checked(running, answer, len(nodes), "numbers", "biuf")
        if not np.isfinite(ratings).all() or ratings.min() < 0 or ratings.max() > MAX_SCORE:
            shown = f"{ratings.min()} to {ratings.max()}"
            raise PluginFailed(f"{running}: scores must be from 0 to {MAX_SCORE}, not {shown}")
        rounded: Ratings = np.rint(ratings).astype(np.int64)
        return rounded

    def _asked(self, running: str, call: Callable[[], Any]) -> Any:
        left = self._rests_until - self._monotonic()
        if left > 0:
            raise PluginFailed(f"{running}: it took too long {self._timeouts} times, and is asked again in {left:.0f}s")
        seconds = self._plugin.time_limit_seconds
        try:
            answer = self._limit.run(seconds, call)
        except TookTooLong:
            self._timeouts += 1
            if self._timeouts >= _TIMEOUTS_UNTIL_REST:
                rest = _FIRST_REST_SECONDS * 2 ** min(self._timeouts - _TIMEOUTS_UNTIL_REST, 10)
                self._rests_until = self._monotonic() + min(rest, _LONGEST_REST_SECONDS)
            log.warning("A plugin took too long plugin=%s seconds=%s times=%d", self.name, seconds, self._timeouts)
            raise PluginFailed(f"{running}: it took longer than {seconds}s") from None
        except Exception as exc:
            log.warning("A plugin failed plugin=%s error=%r", self.name, exc)
            raise PluginFailed(f"{running}: {exc!r}"[:1000]) from exc
        self._timeouts = 0
        return answer


def _checked(running: str, answer: Any, count: int, wanted: str, kinds: str) -> NDArray[Any]:
    try:
        found = np.asarray(answer)
    except Exception as exc:  # whatever an object may do that says it is an array
        raise PluginFailed(f"{running}: the answer is no array: {exc!r}"[:1000]) from exc
    if found.shape != (count,) or found.dtype.kind not in kinds:
        raise PluginFailed(
            f"{running}: the answer must be {wanted}, one for each of {count} nodes, "
            f"not an array of shape {found.shape} and type {found.dtype}"
        )
    return found


def _over_slots(cluster: Cluster, slots: Sequence[int] | Slots) -> NDArray[np.bool_]:
    mask = np.zeros(cluster.nodes.capacity, np.bool_)
    mask[np.asarray(slots, np.intp)] = True
    return mask
