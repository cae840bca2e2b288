"""What /metrics tells of the requests that the clients of a process send, under client-go's names.

Source: kubernetes.io/docs/reference/instrumentation/metrics
"""

from __future__ import annotations

from timonel.api.buckets import Buckets

_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)


class RequestFigures:
    """Several clients may share one. Watches count as requests, without a duration."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], int] = {}
        """By (status code or "<error>", method)."""
        self.seconds: dict[str, Buckets] = {}
        """By method."""

    def answered(self, method: str, code: str, seconds: float | None) -> None:
        """`seconds` until the head of the answer; None for a stream."""
        key = (code, method)
        self.counts[key] = self.counts.get(key, 0) + 1
        if seconds is not None:
            buckets = self.seconds.get(method)
            if buckets is None:
                buckets = self.seconds[method] = Buckets(_SECONDS)
            buckets.observe(seconds)
