"""How long refused clients are told to stay away: 1 second, and longer while many keep being refused.

Doubles, at most once in its own length, when in that length three times as many requests as it has seconds were
refused; shrinks by a second when there were fewer than one a second.
"""

from __future__ import annotations

from collections import deque

_LONGEST = 32


class RetryAfter:
    """Of one priority level. Seconds are whole, of any clock."""

    def __init__(self) -> None:
        self.seconds = 1
        self._second = 0
        self._count = 0
        self._history: deque[tuple[int, int]] = deque()
        self._doubled_at = -_LONGEST

    def refused(self, second: int) -> None:
        """One more request was refused in this second."""
        if second == self._second:
            self._count += 1
            return
        self._history.append((self._second, self._count))
        while self._history and self._second - self._history[0][0] > min(2 * self.seconds, _LONGEST):
            self._history.popleft()
        self._second, self._count = second, 1
        recent = sum(count for at, count in self._history if second - self.seconds <= at < second)
        if second - self._doubled_at >= self.seconds and recent >= 3 * self.seconds:
            self.seconds = min(2 * self.seconds, _LONGEST)
            self._doubled_at = second
        elif recent < self.seconds and self.seconds > 1:
            self.seconds -= 1
