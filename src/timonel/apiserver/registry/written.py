"""What goes into a write beside the object, and what comes out of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

import orjson

from timonel.api.objects import Object
from timonel.storage.protocol import Change

T = TypeVar("T")

Transform = Callable[[Object], Object]
"""Gets the live object, shared and read-only, and returns the wanted one, private."""


class Written(NamedTuple):
    """The state after a write. `value` are wire bytes; `deleted`: the object is gone, this was its last state."""

    value: bytes
    created: bool = False
    deleted: bool = False

    @property
    def obj(self) -> Object:
        """Decoded anew, private."""
        decoded: Object = orjson.loads(self.value)
        return decoded


class Reservation(Protocol):
    """What a write holds outside the object, such as an IP address, until it is known whether it happened."""

    async def commit(self, write: Callable[[Sequence[Change]], Awaitable[T]]) -> T:
        """Calls `write` with what has to be in its commit; again, with the object changed, when another server was
        faster with something that was picked for it. Raises ApiErrors, and what `write` raises."""
        ...

    def end(self) -> None:
        """The write is over: what it stored counts by itself now, what it did not is free again."""
        ...


class Allocation(Protocol):
    """Fills fields that must be unique in the cluster. `new` may be changed; raises an ApiError."""

    def reserve(self, new: Object, old: Object | None) -> Reservation: ...

    def release(self, old: Object) -> Reservation:
        """For the deletion of `old`."""
        ...
