"""How much of a priority level one request occupies: seats while it runs, and seats for its echo among watchers.

Source: kubernetes.io/docs/concepts/cluster-administration/flow-control ("Seats Occupied by a Request"), KEP-1040
"Width of the request".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil

from timonel.apiserver.routing import Route

SERVICE_SECONDS = 0.003
"""What a request is charged before anybody knows how long it takes; corrected when it ends."""

_MOST_LIST_SEATS = 100
_MOST_WRITE_SEATS = 10
_BYTES_PER_SEAT = 100_000
_CACHED_LIST_BYTES = 1_000_000
"""A list from the cache is streamed: no more of it than this is in memory at once."""
_WATCHES_PER_SEAT = 10
_EVENT_SECONDS = 0.005

Stored = Callable[[str, str], "tuple[int, int] | None"]
"""(group, resource) -> (number of objects, average bytes of one); None: not stored here."""


@dataclass(frozen=True, slots=True)
class Work:
    """`seats` are held from dispatch until the request has ended and `echo_seconds` more have passed."""

    initial_seats: int = 1
    final_seats: int = 0
    echo_seconds: float = 0.0
    seats: int = field(init=False)
    """The wider of both."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "seats", max(self.initial_seats, self.final_seats))

    @property
    def final_seconds(self) -> float:
        """Seat-seconds of the echo."""
        return self.final_seats * self.echo_seconds

    @property
    def charge(self) -> float:
        """Seat-seconds, as estimated at dispatch."""
        return self.initial_seats * SERVICE_SECONDS + self.final_seconds

    def within(self, limit: int) -> Work:
        """The same work with an echo no wider than `limit` seats: narrower and longer."""
        if self.final_seats <= limit or limit <= 0:
            return self
        return Work(self.initial_seats, limit, self.final_seconds / limit)


ONE_SEAT = Work()


class WatchCounts:
    """How many watches there are on what: a write costs more the more of them hear of it."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, str, str], int] = {}

    def add(self, route: Route) -> Callable[[], None]:
        """Counts a watch; call the result once when it has ended. Pods watched by node are left out: each write is
        of one node only."""
        if route.resource == "pods" and "spec.nodeName=" in (selector := route.text("fieldSelector")):
            named = [part.partition("=")[2].lstrip("=") for part in selector.split(",") if "spec.nodeName=" in part]
            if any(named):
                return _nothing
        key = (route.group, route.resource, route.namespace, route.name or route.selector_name)
        self._counts[key] = self._counts.get(key, 0) + 1
        ended = False

        def forget() -> None:
            nonlocal ended
            if not ended:
                ended = True
                if (left := self._counts[key] - 1) > 0:
                    self._counts[key] = left
                else:
                    del self._counts[key]

        return forget

    def of(self, route: Route) -> int:
        """Watches that hear of a write of this object."""
        counts = self._counts
        if not counts:
            return 0
        group, resource, namespace = route.group, route.resource, route.namespace
        total = counts.get((group, resource, "", ""), 0)
        if namespace:
            total += counts.get((group, resource, namespace, ""), 0)
        if route.name:
            total += counts.get((group, resource, namespace, route.name), 0)
        return total


def _nothing() -> None:
    return None


def list_work(route: Route, stored: tuple[int, int] | None, most_seats: int) -> Work:
    """Of a list, or of a watch that begins with one. `most_seats` 0: the level sets no limit of its own."""
    if route.verb == "watch":
        begins_with_list = route.flag("sendInitialEvents") or route.text("resourceVersion") in ("", "0")
        if not begins_with_list:
            return ONE_SEAT
    if stored is None:
        return ONE_SEAT
    most = min(most_seats or _MOST_LIST_SEATS, _MOST_LIST_SEATS)
    try:
        limit = int(route.text("limit") or 0)
    except ValueError:
        return Work(most)  # will be refused, by somebody who says why
    count, size = stored
    limited = min(limit, count) if limit > 0 else count
    from_cache = route.verb == "watch" or not _wants_history(route, limit)
    if route.name or route.selector_name:
        read = 1
    elif from_cache:
        read = limited
    elif route.text("fieldSelector") or route.text("labelSelector"):
        read = max(limited, count // 2)
    else:
        read = limited
    in_memory = read * size
    if from_cache:
        in_memory = min(in_memory, _CACHED_LIST_BYTES)
    seats = max(1, min(most, ceil(in_memory / _BYTES_PER_SEAT)))
    return ONE_SEAT if seats == 1 else Work(seats)


def _wants_history(route: Route, limit: int) -> bool:
    """Whether a list asks for an old revision, which the store has and the cache has not."""
    match, revision = route.text("resourceVersionMatch"), route.text("resourceVersion")
    if match == "Exact":
        return True
    if match:
        return match != "NotOlderThan"
    return bool(route.text("continue")) or (limit > 0 and revision not in ("", "0"))


def write_work(watches: int, most_seats: int) -> Work:
    """Of a write that `watches` watches hear of: from ten on, they cost seats for a while after it."""
    if watches < _WATCHES_PER_SEAT:
        return ONE_SEAT
    most = min(most_seats or _MOST_WRITE_SEATS, _MOST_WRITE_SEATS)
    seats = ceil(watches / _WATCHES_PER_SEAT)
    return Work(1, seats, _EVENT_SECONDS).within(most)
