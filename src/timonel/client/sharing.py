"""Parts of cached objects that are alike, kept once: ten thousand pods of a few templates differ in little.

What is shared is read-only, as everything that comes out of a cache is.
"""

from __future__ import annotations

from typing import Any, TypeVar

import orjson

T = TypeVar("T")

_MOST = 50_000


class SharedParts:
    """Gives for a JSON value one that is equal, always the same one for equal values.

    Of more than `most` different ones it forgets all and begins anew; objects keep what they have.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._known: dict[bytes, Any] = {}

    def __call__(self, value: T) -> T:
        """Half a microsecond for a small part. Keys in another order make another value."""
        key = orjson.dumps(value)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= self._most:
                self._known.clear()
            # A copy, since the buffer that orjson gives is kilobytes long, however little is in it.
            known = self._known[bytes(memoryview(key))] = value
        result: T = known
        return result
