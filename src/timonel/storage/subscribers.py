"""Who hears of which keys. Every commit passes here, so its cost does not grow with the number of subscribers.

There is one subscriber for each kind, and asking each of them whether a key is its own took 30 µs of every write. So a
key's own beginnings, up to each slash of it, are looked up instead: 1 µs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Generic, TypeVar

from timonel.storage.protocol import Event

S = TypeVar("S")


class Subscribers(Generic[S]):
    """Iterates in the order of subscription. May be changed while it does."""

    def __init__(self) -> None:
        self._order = count()
        self._by_prefix: dict[str, dict[int, S]] = {}
        self._within_names: list[str] = []
        """Prefixes that do not end with a slash: keys are asked one by one."""

    def add(self, prefix: str, subscriber: S) -> Callable[[], None]:
        """Returns what takes it out again, which may be called more than once."""
        number = next(self._order)
        if prefix not in self._by_prefix:
            self._by_prefix[prefix] = {}
            if not prefix.endswith("/"):
                self._within_names.append(prefix)
        self._by_prefix[prefix][number] = subscriber

        def remove() -> None:
            same = self._by_prefix.get(prefix)
            if same is None or same.pop(number, None) is None or same:
                return
            del self._by_prefix[prefix]
            if prefix in self._within_names:
                self._within_names.remove(prefix)

        return remove

    def __iter__(self) -> Iterator[S]:
        everybody = {number: each for same in self._by_prefix.values() for number, each in same.items()}
        return iter([everybody[number] for number in sorted(everybody)])

    def concerned(self, events: Sequence[Event]) -> list[tuple[str, S, Sequence[Event]]]:
        """(prefix, subscriber, its events) for everybody who has any."""
        by_prefix: dict[str, list[Event]] = {}
        for event in events:
            for prefix in self._prefixes_of(event.key):
                by_prefix.setdefault(prefix, []).append(event)
        found = [
            (number, prefix, subscriber, its)
            for prefix, its in by_prefix.items()
            for number, subscriber in self._by_prefix[prefix].items()
        ]
        if len(found) > 1:
            found.sort(key=_number)
        return [(prefix, subscriber, its) for _, prefix, subscriber, its in found]

    def _prefixes_of(self, key: str) -> Iterator[str]:
        known = self._by_prefix
        at = key.find("/")
        while at >= 0:
            beginning = key[: at + 1]
            if beginning in known:
                yield beginning
            at = key.find("/", at + 1)
        for prefix in self._within_names:
            if key.startswith(prefix):
                yield prefix


def _number(found: tuple[int, str, S, Sequence[Event]]) -> int:
    return found[0]
