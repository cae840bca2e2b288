"""Two-way byte streams with back pressure, and the pipe between two of them.

`TakenOver` is what remains of an HTTP connection after our 101; `RuntimeStream` leads to containerd; `Tunnel` is a
WebSocket whose binary messages, put together, are the bytes of a SPDY connection.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from aiohttp import ClientConnectionResetError, WSCloseCode, WSMsgType, web

READ_BYTES = 64 * 1024


class ByteStream(Protocol):
    async def read(self) -> bytes:
        """Some bytes as they come, b"" when the peer has ended."""
        ...

    async def write(self, data: bytes) -> None:
        """Returns when the peer keeps up. Raises ConnectionError when it has gone."""
        ...

    async def close(self) -> None:
        """What was written is still delivered."""
        ...


class RuntimeStream:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        try:
            return await self._reader.read(READ_BYTES)
        except ConnectionError:
            return b""

    async def write(self, data: bytes) -> None:
        if self._writer.is_closing():  # uvloop's transport would raise RuntimeError
            raise ConnectionResetError("the container runtime has closed the stream")
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        self._writer.close()


class Tunnel:
    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def read(self) -> bytes:
        while True:
            message = await self._socket.receive()
            if message.type is WSMsgType.BINARY:
                if message.data:
                    data: bytes = message.data
                    return data
                continue
            if message.type is WSMsgType.TEXT:
                await self._socket.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"invalid message type received")
            return b""

    async def write(self, data: bytes) -> None:
        await send(self._socket, data)

    async def close(self) -> None:
        await self._socket.close()


async def send(socket: web.WebSocketResponse, message: bytes | str) -> None:
    """One WebSocket message, text for str. Raises ConnectionError when the client has gone."""
    try:
        if isinstance(message, str):
            await socket.send_str(message)
        else:
            await socket.send_bytes(message)
    except (ClientConnectionResetError, RuntimeError) as exc:
        raise ConnectionResetError("the client has gone") from exc


async def pipe(one: ByteStream, other: ByteStream) -> None:
    """Copies both ways until either side ends, then closes both; what was read by then is delivered."""
    async with asyncio.TaskGroup() as tasks:
        copies = [
            tasks.create_task(_copy(one, other), name="pipe-there"),
            tasks.create_task(_copy(other, one), name="pipe-back"),
        ]
        try:
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for copy in copies:
                copy.cancel()
            try:
                await asyncio.wait(copies)
                await one.close()
            finally:
                await other.close()


async def _copy(source: ByteStream, target: ByteStream) -> None:
    try:
        while data := await source.read():
            await target.write(data)
    except ConnectionError:
        return
