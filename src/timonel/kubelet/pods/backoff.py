"""Exponential back-off per key, counted from the moment something failed. Used for restarts and image pulls."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Entry:
    delay: float
    updated: float


class BackOff:
    """Doubles from `initial` to `maximum` seconds and starts again after twice the maximum without a failure.

    The first failure is retried at once; `fail` says that another try is being made. Times are seconds on one clock.
    Source: kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle, "Container restart policy": 10 s to 5 min, reset
    after 10 minutes.
    """

    def __init__(self, *, initial: float = 10.0, maximum: float = 300.0) -> None:
        self.initial = initial
        self.maximum = maximum
        self._entries: dict[str, _Entry] = {}

    def _expired(self, entry: _Entry, event: float) -> bool:
        return event - entry.updated > 2 * self.maximum

    def until(self, key: str, event: float) -> float | None:
        """When the next try is due for what failed at `event`; None: at once."""
        entry = self._entries.get(key)
        if entry is None or self._expired(entry, event):
            return None
        return event + entry.delay

    def delay(self, key: str) -> float:
        entry = self._entries.get(key)
        return entry.delay if entry else 0.0

    def fail(self, key: str, event: float, now: float) -> None:
        """A try is made (or failed) now, for what happened at `event`: the next one waits longer."""
        entry = self._entries.get(key)
        if entry is None or self._expired(entry, event):
            self._entries[key] = _Entry(self.initial, now)
        else:
            entry.delay = min(entry.delay * 2, self.maximum)
            entry.updated = now

    def forget(self, prefix: str) -> None:
        for key in [key for key in self._entries if key.startswith(prefix)]:
            del self._entries[key]


def format_delay(seconds: float) -> str:
    """Go's notation, as messages have it: 10 -> "10s", 160 -> "2m40s", 300 -> "5m0s"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60}s"
    return f"{whole // 3600}h{whole % 3600 // 60}m{whole % 60}s"
