"""Connecting to the streaming server of the container runtime, whose URLs CRI hands out, and upgrading to SPDY."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from yarl import URL

from timonel.api.errors import InternalError
from timonel.kubelet.streaming.byte_stream import RuntimeStream
from timonel.kubelet.streaming.remotecommand import ACCEPTED_PROTOCOLS_HEADER, PROTOCOL_HEADER, SPDY_UPGRADE, header

DIAL_TIMEOUT_SECONDS = 15.0
_MAX_HEAD_BYTES = 64 * 1024
_MAX_REFUSAL_BYTES = 64 * 1024


class UpgradeRefused(Exception):
    """The runtime answered something else than 101; the answer is for the client."""

    def __init__(self, status: int, body: bytes, accepted: Sequence[str] = ()) -> None:
        super().__init__(f"the container runtime answered {status}: {body.decode('utf-8', 'replace').strip()}")
        self.status = status
        self.body = body
        self.accepted = tuple(accepted)
        """Protocols it would have accepted, when that was the reason."""


@dataclass(frozen=True, slots=True)
class Upgraded:
    stream: RuntimeStream
    protocol: str
    """The one of the offered protocols that the runtime chose; "" if it did not say."""


async def dial(url: str, protocols: Iterable[str], *, timeout_seconds: float = DIAL_TIMEOUT_SECONDS) -> Upgraded:
    """Upgrades a URL from CRI to SPDY. Raises UpgradeRefused, or InternalError when there is no proper answer."""
    target = URL(url)
    if target.scheme != "http" or not target.host:
        raise InternalError(f"the container runtime gave the streaming URL {url}; only http:// is supported")
    try:
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await _connect(target.host, target.port or 80)
            try:
                return await _upgrade(reader, writer, target, protocols)
            except BaseException:
                writer.close()
                raise
    except TimeoutError as exc:
        raise InternalError(f"the container runtime did not answer in {timeout_seconds:g} s") from exc
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as exc:
        raise InternalError(f"unable to reach the container runtime's streaming server: {exc}") from exc


class _LastingReader(asyncio.StreamReader):
    """Gives out what had arrived before a reset, where asyncio's would raise at once: it may be a command's status."""

    def set_exception(self, exc: BaseException) -> None:
        self.feed_eof()


async def _connect(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = _LastingReader(limit=_MAX_HEAD_BYTES, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.create_connection(lambda: protocol, host, port)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _upgrade(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: URL, protocols: Iterable[str]
) -> Upgraded:
    lines = [
        f"POST {target.raw_path_qs} HTTP/1.1",
        f"Host: {target.authority}",
        "Connection: Upgrade",
        f"Upgrade: {SPDY_UPGRADE}",
        *(f"{PROTOCOL_HEADER}: {protocol}" for protocol in protocols),
        "Content-Length: 0",
        "",
        "",
    ]
    writer.write("\r\n".join(lines).encode("latin-1"))
    await writer.drain()
    status, headers = _parse_head(await reader.readuntil(b"\r\n\r\n"))
    if status != 101:
        accepted = [value for name, value in headers if name.lower() == ACCEPTED_PROTOCOLS_HEADER.lower()]
        raise UpgradeRefused(status, await _refusal(reader, headers), accepted)
    if header(headers, "upgrade").lower() != SPDY_UPGRADE.lower():
        raise InternalError(f"the container runtime switched to {header(headers, 'upgrade')!r}, not {SPDY_UPGRADE}")
    return Upgraded(RuntimeStream(reader, writer), header(headers, PROTOCOL_HEADER.lower()))


def _parse_head(head: bytes) -> tuple[int, list[tuple[str, str]]]:
    status_line, *lines = head.decode("latin-1").split("\r\n")
    parts = status_line.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
        raise InternalError(f"the container runtime's streaming server does not speak HTTP: {status_line[:100]!r}")
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers.append((name.strip(), value.strip()))
    return int(parts[1]), headers


async def _refusal(reader: asyncio.StreamReader, headers: list[tuple[str, str]]) -> bytes:
    """The body of a refusal; short, and by Go's server always with a length unless the connection ends it."""
    length = header(headers, "content-length")
    try:
        if length.isdigit():
            return await reader.readexactly(min(int(length), _MAX_REFUSAL_BYTES))
        return await reader.read(_MAX_REFUSAL_BYTES)
    except asyncio.IncompleteReadError as exc:
        return exc.partial
