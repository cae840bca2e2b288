"""Clients that speak HTTP by hand, well or badly."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass

import orjson

from timonel.testing.server import RunningServer
from timonel.testing.waiting import wait_until

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


@dataclass
class Line:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0)  # a lost connection is told by the loop, which has no turn while there is room

    async def rest(self) -> bytes:
        """Everything until the server closes; b"" also when it has cut the connection."""
        try:
            async with asyncio.timeout(15):
                return await self.reader.read()
        except (ConnectionError, ssl.SSLError):
            return b""

    async def answer(self) -> tuple[int, bytes]:
        """The next answer on the connection: its status and body."""
        async with asyncio.timeout(15):
            head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            return int(head.split()[1]), await self.reader.readexactly(length)

    def vanish(self) -> None:
        """Without a goodbye."""
        self.writer.transport.abort()


class Rough:
    def __init__(self, running: RunningServer) -> None:
        self.running = running
        self.api = running.api
        self._tls = ssl.create_default_context(cafile=str(running.ca))
        self._lines: list[Line] = []

    async def connect(self, *, tls: bool = True, buffer: int | None = None) -> Line:
        """`buffer`: how many bytes the kernel takes in for a client that does not read."""
        sock = socket.socket()
        if buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.api.port))
        options = {"ssl": self._tls, "server_hostname": "localhost"} if tls else {}
        reader, writer = await asyncio.open_connection(sock=sock, limit=4096, **options)
        line = Line(reader, writer)
        self._lines.append(line)
        return line

    def head(self, method: str, path: str, *headers: str, version: str = "1.1") -> bytes:
        lines = [f"{method} {path} HTTP/{version}", "Host: x", f"Authorization: Bearer {self.running.token}", *headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def post(self, name: str, size: int = 10) -> bytes:
        body = orjson.dumps({"metadata": {"name": name}, "data": {"x": "y" * size}})
        headers = ("Content-Type: application/json", f"Content-Length: {len(body)}")
        return self.head("POST", CONFIG_MAPS, *headers) + body

    async def request(self, method: str, path: str, *headers: str) -> bytes:
        line = await self.connect()
        await line.send(self.head(method, path, "Connection: close", *headers))
        answer = await line.rest()
        line.vanish()
        return answer

    async def until(self, condition) -> None:
        await wait_until(condition)

    async def close(self) -> None:
        for line in self._lines:
            line.vanish()
        self._lines.clear()
