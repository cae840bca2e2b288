"""Growing, jittered delays between attempts, so that many clients of a returning server do not arrive at once."""

from __future__ import annotations

import random


class Backoff:
    """Delays in seconds: `first`, doubled up to `limit`, each spread over [0.5, 1.0] of its value.

    `rng` is an argument so that tests are deterministic. Made for every single write in places, so it costs nothing
    until a delay is asked for: seeding a generator takes as long as encoding a request.
    """

    def __init__(self, *, first: float = 0.1, limit: float = 10.0, rng: random.Random | None = None) -> None:
        self._first = first
        self._limit = limit
        self._next = first
        self._rng = rng

    def next_delay(self) -> float:
        delay = self._next
        self._next = min(delay * 2, self._limit)
        if self._rng is None:
            self._rng = random.Random()
        return delay * (0.5 + 0.5 * self._rng.random())

    def reset(self) -> None:
        self._next = self._first
