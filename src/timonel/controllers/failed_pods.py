"""How long a failed pod is left before the next one is tried in its place.

Else a kubelet that refuses every pod would get one after the other at full speed.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from timonel.api.objects import ObjectKey

_FIRST_SECONDS = 1.0
_LONGEST_SECONDS = 15 * 60.0


@dataclass(slots=True)
class _Entry:
    delay: float
    since: float


class FailedPodBackoff:
    """Per owner and place: a node, or a name. A changed `version` of the owner starts anew; `now` is monotonic."""

    def __init__(self, longest_seconds: float = _LONGEST_SECONDS) -> None:
        self._longest = longest_seconds
        self._versions: dict[ObjectKey, Hashable] = {}
        self._entries: dict[ObjectKey, dict[str, _Entry]] = {}

    def waits(self, key: ObjectKey, version: Hashable, now: float) -> dict[str, float]:
        """Seconds that are left, by place; places with none are absent."""
        if self._versions.get(key) != version:
            self.forget(key)
        entries = self._entries.get(key) or {}
        for place in [place for place, entry in entries.items() if now - entry.since > 2 * self._longest]:
            del entries[place]
        return {
            place: entry.delay - (now - entry.since)
            for place, entry in entries.items()
            if now - entry.since < entry.delay
        }

    def failed(self, key: ObjectKey, version: Hashable, place: str, now: float) -> None:
        """A failed pod is deleted now: the next wait is twice the last."""
        self._versions[key] = version
        entries = self._entries.setdefault(key, {})
        entry = entries.get(place)
        delay = _FIRST_SECONDS if entry is None else min(entry.delay * 2, self._longest)
        entries[place] = _Entry(delay, now)

    def forget(self, key: ObjectKey) -> None:
        self._versions.pop(key, None)
        self._entries.pop(key, None)
