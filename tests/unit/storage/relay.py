"""A TCP relay on loopback that can be cut and joined again: another way to the same etcd."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Relay:
    def __init__(self, target: int) -> None:
        self._target = target
        self._port = 0
        self._server: asyncio.Server | None = None
        self._carrying: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, target: int) -> Relay:
        relay = cls(target)
        await relay.start()
        return relay

    @property
    def endpoint(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Connections break, and new ones are refused."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def close(self) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        ends = [writer]
        try:
            there, to_there = await asyncio.open_connection("127.0.0.1", self._target)
            ends.append(to_there)
            async with asyncio.TaskGroup() as both:
                both.create_task(_carry(reader, to_there))
                both.create_task(_carry(there, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._carrying.discard(task)
            for end in ends:
                end.transport.abort()


async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.transport.abort()
