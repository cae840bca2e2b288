"""What goes into a write beside the object, and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import orjson

from timonel.api.objects import Object

Transform = Callable[[Object], Object]
"""Gets the live object, shared and read-only, and returns the wanted one, private."""


@dataclass(frozen=True, slots=True)
class Written:
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

    def end(self) -> None:
        """The write is over: what it stored counts by itself now, what it did not is free again."""
        ...


class Allocation(Protocol):
    """Fills fields that must be unique in the cluster. `new` may be changed; raises an ApiError."""

    def reserve(self, new: Object, old: Object | None) -> Reservation: ...
