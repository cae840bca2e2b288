"""Seats of a request: lists by the bytes they read (100 KB a seat, at most 1 MB from the cache), writes by their
watches (ten a seat, for 5 ms). Source: KEP-1040 "Width of the request"."""

from __future__ import annotations

import pytest

from timonel.apiserver.flowcontrol.work import ONE_SEAT, WatchCounts, Work, list_work, write_work
from timonel.apiserver.routing import parse_route

PODS = "/api/v1/namespaces/default/pods"


@pytest.mark.parametrize(
    ("path", "stored", "most", "seats"),
    [
        (PODS, (500, 1000), 0, 5),
        (PODS, (500, 1001), 0, 6),
        (PODS, (5, 1000), 0, 1),
        (PODS, (0, 0), 0, 1),
        (PODS, None, 0, 1),
        (PODS, (100_000, 2000), 0, 10),  # streamed from the cache
        (PODS, (100_000, 2000), 8, 8),
        (f"{PODS}?limit=100", (100_000, 2000), 0, 2),
        (f"{PODS}?limit=100&continue=abc", (100_000, 2000), 0, 2),
        (f"{PODS}?continue=abc&labelSelector=a", (100_000, 2000), 0, 100),  # an old revision: half of them are read
        (f"{PODS}?resourceVersion=5&resourceVersionMatch=Exact", (1000, 2000), 0, 20),
        (f"{PODS}?resourceVersion=5&resourceVersionMatch=NotOlderThan", (1000, 2000), 0, 10),
        (f"{PODS}?fieldSelector=metadata.name%3Dweb", (100_000, 2000), 0, 1),
        (f"{PODS}?limit=x", (5, 1000), 8, 8),
        (f"{PODS}?watch=true", (500, 1000), 0, 5),
        (f"{PODS}?watch=true&resourceVersion=0", (500, 1000), 0, 5),
        (f"{PODS}?watch=true&resourceVersion=7", (500, 1000), 0, 1),
        (f"{PODS}?watch=true&resourceVersion=7&sendInitialEvents=true", (500, 1000), 0, 5),
    ],
)
def test_lists(path: str, stored: tuple[int, int] | None, most: int, seats: int) -> None:
    assert list_work(parse_route("GET", path), stored, most).seats == seats


@pytest.mark.parametrize(
    ("watches", "most", "work"),
    [
        (0, 0, ONE_SEAT),
        (9, 0, ONE_SEAT),
        (10, 0, Work(1, 1, 0.005)),
        (11, 0, Work(1, 2, 0.005)),
        (100, 0, Work(1, 10, 0.005)),
        (200, 0, Work(1, 10, 0.010)),  # narrower and longer, as much in all
        (200, 8, Work(1, 8, 0.0125)),
    ],
)
def test_writes(watches: int, most: int, work: Work) -> None:
    made = write_work(watches, most)
    assert (made.initial_seats, made.final_seats) == (work.initial_seats, work.final_seats)
    assert made.echo_seconds == pytest.approx(work.echo_seconds)


def test_watches_that_hear_of_a_write() -> None:
    counts = WatchCounts()
    everywhere = counts.add(parse_route("GET", "/api/v1/pods?watch=true"))
    here = counts.add(parse_route("GET", f"{PODS}?watch=true"))
    one = counts.add(parse_route("GET", f"{PODS}?watch=true&fieldSelector=metadata.name%3Dweb"))
    counts.add(parse_route("GET", "/api/v1/namespaces/other/pods?watch=true"))
    counts.add(parse_route("GET", "/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3Dnode-1"))  # hears of its own
    unscheduled = counts.add(parse_route("GET", "/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3D"))
    assert counts.of(parse_route("PUT", f"{PODS}/web")) == 4
    assert counts.of(parse_route("PUT", f"{PODS}/else")) == 3
    assert counts.of(parse_route("POST", PODS)) == 3
    for forget in (everywhere, here, one, unscheduled, one):
        forget()
    assert counts.of(parse_route("PUT", f"{PODS}/web")) == 0
