"""What is counted of requests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from timonel.apiserver.request_counts import RequestCounts
from timonel.apiserver.routing import parse_route


def test_waiting_for_a_seat_is_no_slowness_of_the_server() -> None:
    counts = RequestCounts(is_known=lambda *names: True, is_path=lambda path: True)
    route = parse_route("GET", "/api/v1/namespaces/a/pods/b")
    for seconds, queued in ((0.01, 0.0), (3.5, 3.45), (0.3, 0.0)):
        trail: Any = SimpleNamespace(attributes=None, annotations={}, queued_seconds=queued)
        counts.observe(route, 200, 10, seconds, trail)
    found = {
        (sample.name, sample.labels.get("le")): sample.value for family in counts.collect() for sample in family.samples
    }
    name = "apiserver_request_{}duration_seconds_bucket"
    assert [found[name.format(""), le] for le in ("0.025", "0.05", "0.2", "0.4", "4")] == [1, 1, 1, 2, 3]
    assert [found[name.format("sli_"), le] for le in ("0.05", "0.1", "0.2", "0.4", "4")] == [2, 2, 2, 3, 3]
    total = found["apiserver_request_sli_duration_seconds_sum", None]
    assert round(total, 6) == 0.36
