"""From two pages of counters to what is used."""

from __future__ import annotations

import pytest

from timonel.apiserver.resource_metrics.points import Point, Usage, node_usage, parse_page, pod_usages, usage_between

PAGE = """\
# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in core-seconds
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="main",namespace="default",pod="web-1"} 4.5 1767225600500
container_cpu_usage_seconds_total{container="half",namespace="default",pod="web-1"} 1 1767225600500
container_memory_working_set_bytes{container="main",namespace="default",pod="web-1"} 2.097152e+06 1767225600500
container_start_time_seconds{container="main",namespace="default",pod="web-1"} 1.7672255e+09
container_swap_usage_bytes{container="main",namespace="default",pod="web-1"} 0 1767225600500
node_cpu_usage_seconds_total 1000 1767225600000
node_memory_working_set_bytes 1.073741824e+09 1767225600000
pod_cpu_usage_seconds_total{namespace="default",pod="web-1"} 9 1767225600500
resource_scrape_error 0
"""


def test_a_page_is_read() -> None:
    """A container without its memory is passed over."""
    points = parse_page(PAGE)
    assert points.node == Point(1767225600.0, 1000.0, 1 << 30)
    assert points.pods == {("default", "web-1"): {"main": Point(1767225600.5, 4.5, 2 << 20, 1767225500.0)}}


def test_what_is_no_page_has_no_points() -> None:
    points = parse_page("<html>502</html>\n")
    assert (points.node.whole, points.pods) == (False, {})


@pytest.mark.parametrize(
    ("earlier", "later", "usage"),
    [
        # Two looks at the same container.
        (Point(100, 5, 1, 50), Point(115, 8, 7, 50), Usage(0.2, 7, 115, 15)),
        # Restarted twelve seconds ago: since then.
        (Point(100, 5, 1, 50), Point(115, 3, 7, 103), Usage(0.25, 7, 115, 12)),
        # Restarted a moment ago: nothing is known yet.
        (Point(100, 5, 1, 50), Point(115, 3, 7, 110), None),
        # The counter went back, and nobody knows why.
        (Point(100, 5, 1, 50), Point(115, 3, 7, 50), None),
        # New, and old enough.
        (None, Point(115, 3, 7, 103), Usage(0.25, 7, 115, 12)),
        (None, Point(115, 3, 7, 110), None),
        (None, Point(115, 3, 7, 0), None),
        # The same look twice.
        (Point(100, 5, 1, 50), Point(100, 5, 1, 50), None),
    ],
)
def test_usage_between_two_looks(earlier: Point | None, later: Point, usage: Usage | None) -> None:
    assert usage_between(earlier, later) == usage


def test_pods_of_which_a_container_is_not_known_are_left_out() -> None:
    earlier, later = parse_page(PAGE), parse_page(PAGE.replace("1767225600", "1767225615").replace(" 4.5 ", " 7.5 "))
    key = ("default", "web-1")
    assert dict(pod_usages(earlier, later, 45)) == {key: {"main": Usage(0.2, 2 << 20, 1767225615.5, 15.0)}}
    later.pods[key]["new"] = Point(1767225615, 1, 1, 1767225614)
    assert dict(pod_usages(earlier, later, 45)) == {}
    # Missed for a long time: an average since its start is no news.
    later.pods[key]["new"] = Point(1767225615, 1, 1, 1767220000)
    assert dict(pod_usages(earlier, later, 45)) == {}


def test_node_usage() -> None:
    earlier = parse_page(PAGE)
    later = parse_page(PAGE.replace("total 1000 ", "total 1030 ").replace(" 1767225600000", " 1767225615000"))
    assert node_usage(earlier, later) == Usage(2.0, 1 << 30, 1767225615.0, 15.0)
    assert node_usage(earlier, parse_page("")) is None
