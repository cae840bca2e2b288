"""How long a level was how busy: histograms of nanoseconds, as upstream's are."""

from __future__ import annotations

import pytest

from tests.unit.apiserver.flowcontrol.worlds import USER, flow, level
from timonel.api.buckets import Buckets
from timonel.apiserver.flowcontrol.work import ONE_SEAT, Work
from timonel.apiserver.routing import parse_route

ROUTE = parse_route("GET", "/api/v1/namespaces/a/pods")


def up_to(buckets: Buckets) -> dict[float, int]:
    """Seconds in each bound that has any."""
    pairs = zip((*buckets.bounds, float("inf")), buckets.counts, strict=True)
    return {bound: round(count / 1e9) for bound, count in pairs if count}


def test_time_is_counted_under_what_was_then() -> None:
    queue_set = level(4, queues=2, hand_size=1)
    queue_set.times.measure_by(nominal=10, limit=4, places=20, now=0.0)
    one, two = (flow(queue_set, name) for name in ("one", "two"))
    alone = queue_set.begin(one, ONE_SEAT, ROUTE, USER, 5.0)  # idle for 5 s
    assert alone is not None
    assert queue_set.finish(alone, 8.0) == 0.0  # one of four seats for 3 s
    wide = queue_set.begin(one, Work(3), ROUTE, USER, 10.0)  # idle for 2 s
    narrow = queue_set.begin(two, ONE_SEAT, ROUTE, USER, 11.0)  # three seats, one request, for 1 s
    assert wide is not None
    assert narrow is not None
    waits = queue_set.enqueue(two, ONE_SEAT, ROUTE, USER, 15.0, held=False)  # four seats for 4 s
    assert not isinstance(waits, str)
    queue_set.advance(22.0)  # and one waited for, 7 s
    times = queue_set.times
    times.sort(22.0)
    assert up_to(times.seats) == {0.0: 7, 0.3: 3, 0.8: 1, 1.0: 11}
    assert up_to(times.running) == {0.0: 7, 0.25: 3 + 1, 0.5: 11}
    assert up_to(times.waiting) == {0.0: 15, 0.1: 7}
    assert up_to(times.demand) == {0.2: 7 + 3, 0.4: 1 + 4, 0.6: 7}
    assert times.seats.total / 1e9 == pytest.approx(3 * 0.25 + 1 * 0.75 + 11)


def test_a_changed_limit_counts_from_then_on() -> None:
    queue_set = level(4, queues=0)
    queue_set.times.measure_by(nominal=4, limit=4, places=0, now=0.0)
    assert queue_set.begin(flow(queue_set, "one"), Work(2), ROUTE, USER, 0.0) is not None
    queue_set.advance(1.0)
    queue_set.times.measure_by(nominal=4, limit=2, places=0, now=1.0)
    queue_set.advance(3.0)
    queue_set.times.sort(3.0)
    assert up_to(queue_set.times.seats) == {0.5: 1, 1.0: 2}
