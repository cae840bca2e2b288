"""Figures as Prometheus reads them. Source: prometheus.io/docs/instrumenting/exposition_formats"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from timonel.client.metrics_text import HistogramFamily, PlainCounter, render_text


def test_histograms_add_up_to_their_bounds():
    family = HistogramFamily("wait_seconds", "How long.", ("verb", "code"))
    family.add(("GET", "200"), (0.005, 1.0, 1_000_000.0), [1, 2, 0, 4], 12.5)
    assert render_text([family]).decode() == (
        "# HELP wait_seconds How long.\n"
        "# TYPE wait_seconds histogram\n"
        'wait_seconds_bucket{code="200",verb="GET",le="0.005"} 1\n'
        'wait_seconds_bucket{code="200",verb="GET",le="1"} 3\n'
        'wait_seconds_bucket{code="200",verb="GET",le="1e+06"} 3\n'
        'wait_seconds_bucket{code="200",verb="GET",le="+Inf"} 7\n'
        'wait_seconds_sum{code="200",verb="GET"} 12.5\n'
        'wait_seconds_count{code="200",verb="GET"} 7\n'
    )


def test_a_histogram_without_labels_and_its_samples():
    family = HistogramFamily("size", "Bytes.", ())
    family.add((), (2.0,), [1, 1], 5.0)
    lines = render_text([family]).decode().splitlines()[2:]
    assert lines == ['size_bucket{le="2"} 1', 'size_bucket{le="+Inf"} 2', "size_sum 5", "size_count 2"]
    assert [(sample.name, sample.value) for sample in family.samples] == [
        ("size_bucket", 1), ("size_bucket", 2), ("size_count", 2), ("size_sum", 5.0),
    ]  # fmt: skip


def test_values_and_labels_are_written_so_that_they_can_be_read():
    family = GaugeMetricFamily("odd", 'a\nb\\c "d"', labels=("path",))
    for path, value in (('a"b', 1.5), ("a\\b", float("inf")), ("a\nb", float("nan")), ("", -2.0), ("é", 1e300)):
        family.add_metric((path,), value)
    text = render_text([family]).decode()
    assert text.splitlines() == [
        '# HELP odd a\\nb\\\\c "d"',
        "# TYPE odd gauge",
        'odd{path="a\\"b"} 1.5',
        'odd{path="a\\\\b"} +Inf',
        'odd{path="a\\nb"} NaN',
        'odd{path=""} -2',
        'odd{path="é"} 1e+300',
    ]
    (read,) = text_string_to_metric_families(text)
    assert [sample.labels["path"] for sample in read.samples] == ['a"b', "a\\b", "a\nb", "", "é"]


def test_counters_with_and_without_total():
    usual = CounterMetricFamily("requests", "All.", labels=("code",))
    usual.add_metric(("200",), 3)
    plain = PlainCounter("attempts", "All.", ("result",))
    plain.add_metric(("success",), 4)
    assert render_text([usual, plain]).decode().splitlines() == [
        "# HELP requests_total All.",
        "# TYPE requests_total counter",
        'requests_total{code="200"} 3',
        "# HELP attempts All.",
        "# TYPE attempts counter",
        'attempts{result="success"} 4',
    ]


def test_what_the_library_counts_is_shown_too():
    registry = CollectorRegistry()
    Counter("calls", "Calls.", registry=registry).inc(2)
    Gauge("open", "Open.", registry=registry).set(True)
    text = render_text(registry.collect()).decode()
    assert "calls_total 2\n" in text
    assert "open 1\n" in text
    assert "_created" not in text
