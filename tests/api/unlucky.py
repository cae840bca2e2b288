"""A client between controllers and server: things go wrong with it as a test asks, and it counts what is written."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

from timonel.api.errors import ApiError
from timonel.api.refs import EVENTS, LEASES, ResourceRef
from timonel.client.transport import ConnectionFailed
from timonel.client.watching import WatchEvent

Trouble = Callable[[str, ResourceRef], ApiError | None]
"""(verb, kind) of a write -> what the controller is told instead of an answer."""


class UnluckyClient:
    """Passes everything on to `client`; `before` refuses writes, `after` loses the answers of writes that happened."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.before: Trouble = no_trouble
        self.after: Trouble = no_trouble
        self.written: Counter[tuple[str, str]] = Counter()
        """Attempts by verb and kind, Events and Leases aside."""
        self.done = asyncio.Event()
        """Set, and everything held from then on, once `stop_after` writes have happened."""
        self.stop_after = -1
        self._connection = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def settle(self) -> None:
        """From now on all goes well again."""
        self.before = self.after = no_trouble
        self.stop_after = -1
        self.done.clear()

    async def create(self, ref: ResourceRef, *args: Any, **options: Any) -> Any:
        return await self._write("create", ref, args, options)

    async def update(self, ref: ResourceRef, *args: Any, **options: Any) -> Any:
        return await self._write("update", ref, args, options)

    async def patch(self, ref: ResourceRef, *args: Any, **options: Any) -> Any:
        return await self._write("patch", ref, args, options)

    async def delete(self, ref: ResourceRef, *args: Any, **options: Any) -> Any:
        return await self._write("delete", ref, args, options)

    async def _write(self, verb: str, ref: ResourceRef, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        function = getattr(self._client, verb)
        if ref in (EVENTS, LEASES):
            return await function(ref, *args, **options)
        if self.stop_after == 0:
            self.done.set()
            await asyncio.get_running_loop().create_future()  # the process is dead: nothing comes back any more
        self.written[verb, ref.plural] += 1
        if (error := self.before(verb, ref)) is not None:
            raise error
        answer = await function(ref, *args, **options)
        if self.stop_after > 0:
            self.stop_after -= 1
            if self.stop_after == 0:
                self.done.set()
                await asyncio.get_running_loop().create_future()
        if (error := self.after(verb, ref)) is not None:
            raise error
        return answer

    def disconnect(self) -> None:
        """Ends every watch, as a restarted server would."""
        self._connection += 1

    async def watch(self, *args: Any, **options: Any) -> AsyncIterator[WatchEvent]:
        connection = self._connection
        async for event in self._client.watch(*args, **options):
            if connection != self._connection:
                raise ConnectionFailed("the watch was ended")
            yield event


def no_trouble(verb: str, ref: ResourceRef) -> ApiError | None:
    return None
