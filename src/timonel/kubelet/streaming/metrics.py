"""The server's own metrics, under upstream's names, in the registry it is given."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_LONG_RUNNING = frozenset(("exec", "attach", "portForward", "containerLogs"))
_BUCKETS = (
    "attach", "checkpoint", "configz", "containerLogs", "exec", "healthz", "logs", "metrics", "pods", "portForward",
    "run", "runningpods", "stats",
)  # fmt: skip


class ServerMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("long_running", "method", "path", "server_type")
        self._requests = Counter(
            "kubelet_http_requests", "Number of the http requests received since the server started", labels,
            registry=registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "kubelet_http_requests_duration_seconds", "Duration in seconds to serve http requests", labels,
            registry=registry,
        )  # fmt: skip
        self._inflight = Gauge("kubelet_http_inflight_requests", "Number of the inflight http requests", labels,
            registry=registry,
        )  # fmt: skip
        self._websockets = Counter(
            "kubelet_websocket_streaming_requests", "Number of WebSocket streaming requests", ("subresource",),
            registry=registry,
        )  # fmt: skip

    def started(self, method: str, path: str) -> tuple[str, ...]:
        """Counts a request; what it returns is for `ended`."""
        bucket = path.strip("/").split("/", 1)[0]
        labels = (
            str(bucket in _LONG_RUNNING).lower(),
            method if method in ("GET", "HEAD", "POST", "PUT", "DELETE") else "other",
            bucket if bucket in _BUCKETS else "other",
            "readwrite",
        )
        self._requests.labels(*labels).inc()
        self._inflight.labels(*labels).inc()
        return labels

    def ended(self, labels: tuple[str, ...], seconds: float) -> None:
        self._inflight.labels(*labels).dec()
        self._seconds.labels(*labels).observe(seconds)

    def websocket(self, subresource: str) -> None:
        self._websockets.labels(subresource).inc()
