"""Requests counted as plain numbers; they become metrics when somebody asks. Runs on every request and costs 3 µs,
where the library's own counters, each with a lock, took 12.

Source: kubernetes.io/docs/reference/instrumentation/metrics
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from timonel.api.buckets import Buckets
from timonel.apiserver.audit import AuditTrail
from timonel.apiserver.routing import Route
from timonel.client.metrics_text import HistogramFamily, PlainCounter

SECONDS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0,
            30.0, 45.0, 60.0)  # fmt: skip
_SLI_SKIPS = 2
"""The finest bounds of SECONDS, which upstream's service level indicator leaves out."""
_BYTES = tuple(1000.0 * 10**power for power in range(7))
_LONG = frozenset({"log", "exec", "attach", "portforward", "proxy"})
_MOST_KEYS = 10_000

LABEL_NAMES = ("group", "version", "resource", "subresource", "scope", "component")
Labels = tuple[str, ...]


@dataclass(slots=True)
class Count:
    """Of requests alike in all labels. The histograms are shared by those that differ in what those do not tell."""

    requests: int
    seconds: Buckets | None
    sizes: Buckets | None
    labels: Labels
    """Of `seconds`."""


class RequestCounts(Collector):
    """`is_known(group, version, resource)`: names made up by clients must not become label values for ever;
    `is_path` is asked of a path's first part."""

    def __init__(self, *, is_known: Callable[[str, str, str], bool], is_path: Callable[[str], bool]) -> None:
        self._is_known = is_known
        self._is_path = is_path
        self._by_key: dict[tuple[str, ...], Count] = {}
        self._by_labels: dict[Labels, Count] = {}
        self._seconds: dict[Labels, Buckets] = {}
        self._sizes: dict[Labels, Buckets] = {}
        self._unqueued: dict[Labels, tuple[Buckets, Buckets]] = {}
        """Of the few that waited: how long they took, and how long without the waiting."""
        self._senders: dict[tuple[str, str], int] = {}
        """By (user, decision)."""
        self._unknown_senders = 0

    def observe(self, route: Route, status: int, length: int, seconds: float, trail: AuditTrail) -> None:
        """One finished request."""
        self._count_sender(trail, status)
        counts = route.counts
        count = counts.get(status) if counts is not None else None
        if count is None:
            count = self._count_of(route, status)
            if counts is None:
                counts = route.counts = {}
            counts[status] = count
        count.requests += 1
        if count.seconds is not None:
            count.seconds.observe(seconds)
        if count.sizes is not None:
            count.sizes.observe(length)
        if trail.queued_seconds and count.seconds is not None:
            whole, own = self._unqueued_of(count.labels)
            whole.observe(seconds)
            own.observe(seconds - trail.queued_seconds)

    def _count_of(self, route: Route, status: int) -> Count:
        subresource = route.subresource if route.resource else route.path
        key = (route.verb, route.group, route.version, route.resource, subresource, scope_of(route),
               str(status), "All" if route.query and "dryRun" in route.query else "")  # fmt: skip
        return self._by_key.get(key) or self._find(key)

    def _unqueued_of(self, labels: Labels) -> tuple[Buckets, Buckets]:
        return self._unqueued.setdefault(labels, (Buckets(SECONDS), Buckets(SECONDS)))

    def _count_sender(self, trail: AuditTrail, status: int) -> None:
        attributes = trail.attributes
        if attributes is None:
            self._unknown_senders += status == HTTPStatus.UNAUTHORIZED
            return
        user = "admin" if attributes.user.name == "admin" else "other"
        allowed = trail.annotations.get("authorization.k8s.io/decision") == "allow"
        sender = user, "allowed" if allowed else "no-opinion"
        self._senders[sender] = self._senders.get(sender, 0) + 1

    def _find(self, key: tuple[str, ...]) -> Count:
        verb, group, version, resource, subresource, scope, code, dry_run = key
        known = self._is_known(group, version, resource)
        if not resource:
            known = self._is_path(subresource.partition("/")[2].partition("/")[0]) and code != "404"
        if not known or len(self._by_key) > _MOST_KEYS:
            verb, group, version, resource, subresource, scope, dry_run = "other", "", "", "", "", "", ""
        shown = {"create": "POST", "update": "PUT"}.get(verb, verb.upper())
        labels = (group, version, resource, subresource, scope, "apiserver" if resource else "")
        full = (shown, dry_run, *labels, code)
        count = self._by_labels.get(full)
        if count is None:
            count = Count(0, None, None, (shown, dry_run, *labels))
            if verb != "watch" and subresource not in _LONG:
                count.seconds = self._seconds.setdefault((shown, dry_run, *labels), Buckets(SECONDS))
                count.sizes = self._sizes.setdefault((shown, *labels), Buckets(_BYTES))
            self._by_labels[full] = count
        if len(self._by_key) <= _MOST_KEYS:
            self._by_key[key] = count
        return count

    def collect(self) -> Iterator[Metric]:
        names = ("verb", "dry_run", *LABEL_NAMES)
        requests = CounterMetricFamily(
            "apiserver_request", "Requests by verb, resource and status code.", labels=(*names, "code")
        )
        for labels, count in self._by_labels.items():
            requests.add_metric(labels, count.requests)
        yield requests
        text = "How long requests took, watches and streams left out."
        yield histogram("apiserver_request_duration_seconds", text, names, self._seconds)
        yield self._indicator()
        text = "Bytes of answers to requests about resources."
        yield histogram("apiserver_response_sizes", text, ("verb", *LABEL_NAMES), self._sizes)
        known = sum(self._senders.values())
        results = {"success": known, "failure": self._unknown_senders}
        yield _by_label(PlainCounter("authentication_attempts", "Requests by whether it is known who sent them.",
                                     ("result",)), results)  # fmt: skip
        users: dict[str, int] = {}
        decisions: dict[str, int] = {}
        for (user, decision), number in self._senders.items():
            users[user] = users.get(user, 0) + number
            decisions[decision] = decisions.get(decision, 0) + number
        text = "Requests of users; all but the administrator are other."
        yield _by_label(PlainCounter("authenticated_user_requests", text, ("username",)), users)
        yield _by_label(CounterMetricFamily("authorization_attempts", "Requests by what was decided about them.",
                                            labels=("result",)), decisions)  # fmt: skip

    def _indicator(self) -> Metric:
        """As how long requests took, whether dry or not, but for what they waited in queues."""
        found: dict[Labels, Buckets] = {}
        for labels, seconds in self._seconds.items():
            merged = found.setdefault((labels[0], *labels[2:]), Buckets(SECONDS[_SLI_SKIPS:]))
            whole, own = self._unqueued.get(labels, (None, None))
            for part, sign in ((seconds, 1), (whole, -1), (own, 1)):
                if part is not None:
                    merged.total += sign * part.total
                    merged.counts[0] += sign * sum(part.counts[: _SLI_SKIPS + 1])
                    for place, number in enumerate(part.counts[_SLI_SKIPS + 1 :], 1):
                        merged.counts[place] += sign * number
        text = "How long requests took, without waiting for a seat."
        return histogram("apiserver_request_sli_duration_seconds", text, ("verb", *LABEL_NAMES), found)

    def resources(self) -> set[tuple[str, str, str, str]]:
        """Group, version, resource and subresource of what has been asked for."""
        return {(labels[2], labels[3], labels[4], labels[5]) for labels in self._by_labels if labels[4]}


def scope_of(route: Route) -> str:
    if not route.resource:
        return ""
    if route.name:
        return "resource"
    return "namespace" if route.namespace else "cluster"


def histogram(name: str, text: str, names: Labels, found: dict[Labels, Buckets]) -> Metric:
    family = HistogramFamily(name, text, names)
    for labels, buckets in found.items():
        family.add(labels, buckets.bounds, buckets.counts, buckets.total)
    return family


def _by_label(family: PlainCounter | CounterMetricFamily, values: dict[str, int]) -> Metric:
    for label, value in values.items():
        if value:
            family.add_metric((label,), value)
    return family
