"""How authentication, authorisation and admission look at objects: synchronously, from the watch caches.

The registry implements both protocols; here they are what its neighbours need of it, so that tests hand them
plain dictionaries (`timonel.testing.readers`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from timonel.api.objects import Object
from timonel.api.refs import ResourceRef
from timonel.apiserver.registry.written import Transform, Written

Listener = Callable[[Object | None, Object | None], None]
"""Gets (old, new) of one change: (None, new) added, (old, new) modified, (old, None) deleted."""


class Reader(Protocol):
    """Objects of one resource as last committed in this process. They are shared: read only."""

    def get(self, namespace: str, name: str) -> Object | None: ...

    def list(self, namespace: str | None = None) -> Sequence[Object]:
        """All objects, or one namespace's; None and "" both mean all."""
        ...

    def subscribe(self, listener: Listener) -> None:
        """Calls `listener` at once for every object there is, then for every change as the cache takes it in.

        The calls are synchronous and must be cheap: indexes that decisions are read from stay exactly as current
        as the objects themselves.
        """
        ...


class Readers(Protocol):
    def reader(self, ref: ResourceRef) -> Reader:
        """KeyError when the resource is not served."""
        ...


class Writer(Protocol):
    """Writes of the server itself, which pass admission like everybody's; the registry is one."""

    async def create(self, ref: ResourceRef, obj: Object, namespace: str = "") -> Written:
        """Raises AlreadyExists, Invalid, …"""
        ...

    async def update(
        self, ref: ResourceRef, namespace: str, name: str, transform: Transform, *, subresource: str = ""
    ) -> Written:
        """Replaces the object by what `transform` makes of the live one, which is asked again after a lost race.

        Raises NotFound, Invalid, …, and what the transform raises.
        """
        ...
