"""How long a failed pod is left before the next one is tried on its node, so that a kubelet that refuses every pod
does not get one after the other at full speed."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from timonel.api.objects import ObjectKey

_FIRST_SECONDS = 1.0
_LONGEST_SECONDS = 15 * 60.0
_FORGET_SECONDS = 2 * _LONGEST_SECONDS


@dataclass(slots=True)
class _Entry:
    delay: float
    since: float


class FailedPodBackoff:
    """Per DaemonSet and node. A changed `version` of the DaemonSet starts anew; `now` is the monotonic clock's."""

    def __init__(self) -> None:
        self._versions: dict[ObjectKey, Hashable] = {}
        self._entries: dict[ObjectKey, dict[str, _Entry]] = {}

    def waits(self, key: ObjectKey, version: Hashable, now: float) -> dict[str, float]:
        """Seconds that are left, by node; nodes with none are absent."""
        if self._versions.get(key) != version:
            self.forget(key)
        entries = self._entries.get(key) or {}
        for node in [node for node, entry in entries.items() if now - entry.since > _FORGET_SECONDS]:
            del entries[node]
        return {
            node: entry.delay - (now - entry.since)
            for node, entry in entries.items()
            if now - entry.since < entry.delay
        }

    def failed(self, key: ObjectKey, version: Hashable, node: str, now: float) -> None:
        """A failed pod is deleted now: the next wait is twice the last."""
        self._versions[key] = version
        entries = self._entries.setdefault(key, {})
        entry = entries.get(node)
        delay = _FIRST_SECONDS if entry is None else min(entry.delay * 2, _LONGEST_SECONDS)
        entries[node] = _Entry(delay, now)

    def forget(self, key: ObjectKey) -> None:
        self._versions.pop(key, None)
        self._entries.pop(key, None)
