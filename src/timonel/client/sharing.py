"""Parts of cached objects that are alike, kept once: ten thousand pods of a few templates differ in little.

What is shared is read-only, as everything that comes out of a cache is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import orjson

from timonel.api.objects import Object

T = TypeVar("T")

_MOST = 16_384


class SharedParts:
    """Gives for a JSON value one that is equal, always the same one for equal values.

    What was not asked for while `most` others were is forgotten; objects keep what they have.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._known: dict[bytes, Any] = {}
        self._older: dict[bytes, Any] = {}

    def __call__(self, value: T) -> T:
        """Half a microsecond for a small part. Keys in another order make another value."""
        key = orjson.dumps(value)
        known = self._known.get(key)
        if known is None:
            known = self._older.pop(key, None)
            if len(self._known) >= self._most:
                self._older, self._known = self._known, {}
            # A copy, since the buffer that orjson gives is kilobytes long, however little is in it.
            known = self._known[bytes(memoryview(key))] = value if known is None else known
        result: T = known
        return result

    def fields(self, part: Object, names: Iterable[str]) -> None:
        """Changes an object: these fields of it, those that it has, are shared from now on."""
        for name in names:
            if name in part:
                part[name] = self(part[name])

    def items(self, part: Object, *names: str) -> None:
        """The same for lists whose items are alike, and not the whole: conditions, images."""
        for name in names:
            if part.get(name):
                part[name] = [self(item) for item in part[name]]
