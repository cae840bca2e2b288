"""apiserver_flowcontrol_* as upstream names them, read from the levels when somebody asks; requests pay nothing for it.

Source: kubernetes.io/docs/concepts/cluster-administration/flow-control ("Observability").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from timonel.apiserver.flowcontrol.flow_stats import LENGTHS, QUICK_SECONDS, SECONDS, WATCHES, WIDTHS, FlowStats
from timonel.apiserver.flowcontrol.levels import Level, Levels
from timonel.client.metrics_text import HistogramFamily

_PREFIX = "apiserver_flowcontrol_"
_FLOW = ("priority_level", "flow_schema")
_LEVEL = ("priority_level",)

_FLOW_GAUGES: tuple[tuple[str, str, Callable[[FlowStats], int]], ...] = (
    ("current_inqueue_requests", "Requests waiting in queues.", lambda stats: stats.in_queue),
    ("current_inqueue_seats", "Seats that requests in queues wait for.", lambda stats: stats.seats_in_queue),
    (
        "current_executing_requests",
        "Requests that have a seat; of a watch, its beginning.",
        lambda stats: stats.executing,
    ),
    ("current_executing_seats", "Seats in use.", lambda stats: stats.executing_seats),
)
_LEVEL_GAUGES: tuple[tuple[str, str, Callable[[Level], float]], ...] = (
    ("nominal_limit_seats", "Seats by a level's shares.", lambda level: level.limits.nominal),
    ("lower_limit_seats", "Seats a level keeps.", lambda level: level.limits.lower),
    ("upper_limit_seats", "Seats a level may ever use.", lambda level: level.limits.upper),
    ("demand_seats_high_watermark", "Most seats asked for, last period.", lambda level: level.demand.peak),
    ("demand_seats_average", "Seats asked for on average, last period.", lambda level: level.demand.average),
    ("demand_seats_stdev", "Standard deviation of seats asked for.", lambda level: level.demand.deviation),
    ("demand_seats_smoothed", "Seats asked for, smoothed.", lambda level: level.demand.smoothed),
    ("current_r", "The progress meter.", lambda level: level.queue_set.r),
    ("dispatch_r", "The progress meter at the last dispatch.", lambda level: level.queue_set.dispatch_r[0]),
    ("latest_s", "Mark of the queue dispatched from last.", lambda level: level.queue_set.dispatch_r[1]),
)


class FlowControlCollector(Collector):
    def __init__(self, levels: Levels, monotonic: Callable[[], float]) -> None:
        self._levels = levels
        self._monotonic = monotonic

    def collect(self) -> Iterator[Metric]:
        levels = list(self._levels.by_name.values())
        yield from _level_gauges(levels, self._levels)
        yield from _load_times(levels, self._monotonic())
        flows = [
            ((level.name, schema), stats, level.queue_set.exempt)
            for level in levels
            for schema, stats in level.stats.items()
        ]
        for name, text, read in _FLOW_GAUGES:
            gauge = GaugeMetricFamily(_PREFIX + name, text, labels=_FLOW)
            for labels, stats, _ in flows:
                gauge.add_metric(labels, read(stats))
            yield gauge
        dispatched = CounterMetricFamily(_PREFIX + "dispatched_requests", "Requests that got a seat.", labels=_FLOW)
        refused = CounterMetricFamily(
            _PREFIX + "rejected_requests", "Requests that were refused.", labels=(*_FLOW, "reason")
        )
        unfit = CounterMetricFamily(
            _PREFIX + "request_dispatch_no_accommodation", "Requests whose turn it was and that found too few seats.",
            labels=_FLOW,
        )  # fmt: skip
        waits = _histogram("request_wait_duration_seconds", "How long requests waited.", (*_FLOW, "execute"))
        runs = _histogram("request_execution_seconds", "How long requests took.", (*_FLOW, "type"))
        lengths = _histogram("request_queue_length_after_enqueue", "Length of queues, by those who joined.", _FLOW)
        widths = _histogram("work_estimated_seats", "Seats of requests.", _FLOW)
        watches = _histogram("watch_count_samples", "Watches that hear of a write.", _FLOW)
        for labels, stats, exempt in flows:
            dispatched.add_metric(labels, stats.started)
            unfit.add_metric(labels, stats.not_accommodated)
            for reason, count in stats.rejected.items():
                refused.add_metric((*labels, reason), count)
            at_once = [stats.at_once]
            if not exempt:
                counts = _plus(stats.waits.counts, at_once)
                waits.add((*labels, "true"), SECONDS, counts, stats.waits.total)
                if any(stats.refused_waits.counts):
                    buckets = stats.refused_waits
                    waits.add((*labels, "false"), SECONDS, buckets.counts, buckets.total)
                counts = _plus(stats.lengths.counts, [0, *at_once])
                lengths.add(labels, LENGTHS, counts, stats.lengths.total + stats.at_once)
            # Those of up to 5 ms are one number; no time at all is as good as never.
            quick = [0] * (SECONDS.index(QUICK_SECONDS)) + [stats.quick]
            total = stats.durations.total + stats.quick_seconds
            runs.add((*labels, "regular"), SECONDS, _plus(stats.durations.counts, quick), total)
            if any(stats.watch_durations.counts):
                buckets = stats.watch_durations
                runs.add((*labels, "watch"), SECONDS, buckets.counts, buckets.total)
            narrow = stats.started - sum(stats.widths.counts)
            widths.add(labels, WIDTHS, _plus(stats.widths.counts, [narrow]), stats.widths.total + narrow)
            if any(stats.watches.counts):
                watches.add(labels, WATCHES, stats.watches.counts, stats.watches.total)
        yield from (dispatched, refused, unfit, waits, runs, lengths, widths, watches)


def _level_gauges(levels: Iterable[Level], state: Levels) -> Iterator[Metric]:
    for name, text, read in _LEVEL_GAUGES:
        gauge = GaugeMetricFamily(_PREFIX + name, text, labels=_LEVEL)
        for level in levels:
            gauge.add_metric((level.name,), read(level))
        yield gauge
    bounds = GaugeMetricFamily(
        _PREFIX + "next_s_bounds", "Least and most of waiting queues' marks.", labels=(*_LEVEL, "bound")
    )
    for level in levels:
        for bound, value in zip(("min", "max"), level.queue_set.dispatch_r[2:], strict=True):
            bounds.add_metric((level.name, bound), value)
    yield bounds
    for name, text, values in (
        ("current_limit_seats", "Seats a level may use now.", state.adjustment.current),
        ("target_seats", "Seats a level should have.", state.adjustment.targets),
    ):
        gauge = GaugeMetricFamily(_PREFIX + name, text, labels=_LEVEL)
        for level_name, value in values.items():
            gauge.add_metric((level_name,), value)
        yield gauge
    yield GaugeMetricFamily(
        _PREFIX + "seat_fair_frac", "Part of its target that every level gets.", value=state.adjustment.fair_fraction
    )


def _load_times(levels: Iterable[Level], now: float) -> Iterator[Metric]:
    phases = (*_LEVEL, "phase")
    demand = _histogram("demand_seats", "Nanoseconds by seats asked for, of a level's nominal ones.", _LEVEL)
    text = "Nanoseconds by seats in use, of those that a level may use."
    seats = _histogram("priority_level_seat_utilization", text, phases)
    text = "Nanoseconds by requests, of those that a level may run or keep waiting."
    requests = _histogram("priority_level_request_utilization", text, phases)
    for level in levels:
        level.queue_set.advance(now)
        times = level.queue_set.times
        times.sort(now)
        name = level.name
        for family, labels, buckets in (
            (demand, (name,), times.demand),
            (seats, (name, "executing"), times.seats),
            (requests, (name, "executing"), times.running),
            (requests, (name, "waiting"), times.waiting),
        ):
            family.add(labels, buckets.bounds, buckets.counts, buckets.total)
    yield from (demand, seats, requests)


def _histogram(name: str, text: str, labels: tuple[str, ...]) -> HistogramFamily:
    return HistogramFamily(_PREFIX + name, text, labels)


def _plus(counts: list[int], more: list[int]) -> list[int]:
    """The first few raised by `more`."""
    return [count + extra for count, extra in zip(counts, [*more, *[0] * len(counts)], strict=False)]
