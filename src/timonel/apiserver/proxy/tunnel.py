"""An upgraded connection, byte for byte: the request's head goes to the backend, its 101 to the client, then all else.

The tunnel knows no protocol beyond that head. It holds at most 64 KB in each direction: who reads slowly slows the
writer down. A side that ends its direction ends only that one, where the transport can say so.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

import orjson
from aiohttp import web

from timonel.api.errors import ApiError, BadRequest, InternalError, error_from_status
from timonel.apiserver.proxy.takeover import READ_BYTES, ClientSide, TakenOver, UpgradeConnection

CONNECT_SECONDS = 10.0
HANDSHAKE_SECONDS = 60.0
"""How long a backend may take to answer: a kubelet's exec waits for the container runtime."""
_MAX_HEAD_BYTES = 64 * 1024
_MAX_ERROR_BYTES = 10 * 1024

_HOP_HEADERS = frozenset({"connection", "upgrade"})


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. `tls` None: plain TCP. `path` includes the query, encoded."""

    host: str
    port: int
    path: str
    tls: ssl.SSLContext | None = None

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def scheme(self) -> str:
        return "http" if self.tls is None else "https"


def wants_upgrade(request: web.BaseRequest) -> bool:
    tokens = ",".join(request.headers.getall("Connection", ())).lower().split(",")
    return "upgrade" in (token.strip() for token in tokens) and bool(request.headers.get("Upgrade"))


async def tunnel(request: web.BaseRequest, target: Target, headers: Iterable[tuple[str, str]]) -> web.StreamResponse:
    """Runs until both ends are done. Raises ApiError when the backend cannot be reached or does not switch."""
    connection = request.protocol
    if not isinstance(connection, UpgradeConnection):
        raise InternalError("this listener cannot switch protocols")
    reader, writer = await dial(target)
    try:
        writer.write(_request_head(request, target, headers))
        head = await _read_head(reader, target)
        status = _status_of(head)
        if status != 101:
            raise await _refusal(status, head, reader)
        client = ClientSide(connection)
        try:
            await client.write(head)
            await _pump(client, reader, writer)
        except ConnectionError:
            pass  # one of them has gone, which ends the tunnel
        finally:
            client.close()
    finally:
        writer.close()
    return TakenOver()


async def dial(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises InternalError in upstream's words."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await asyncio.open_connection(
                target.host,
                target.port,
                ssl=target.tls,
                server_hostname=target.host if target.tls is not None else None,
                limit=READ_BYTES,
            )
    except (OSError, TimeoutError) as exc:
        raise dialing_failed(target, exc) from exc


def dialing_failed(target: Target, error: BaseException) -> InternalError:
    if isinstance(error, TimeoutError):
        why = "connect: connection timed out"
    elif isinstance(error, ConnectionRefusedError):
        why = "connect: connection refused"
    elif isinstance(error, ssl.SSLCertVerificationError):
        why = f"tls: failed to verify certificate: {error.verify_message}"
    else:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return InternalError(f"Internal error occurred: error dialing backend: dial tcp {target.authority}: {why}")


def _request_head(request: web.BaseRequest, target: Target, headers: Iterable[tuple[str, str]]) -> bytes:
    lines = [f"{request.method} {target.path} HTTP/1.1", f"Host: {target.authority}"]
    lines += [f"{name}: {value}" for name, value in headers if name.lower() not in _HOP_HEADERS]
    lines += ["Connection: Upgrade", f"Upgrade: {request.headers['Upgrade']}", "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


async def _read_head(reader: asyncio.StreamReader, target: Target) -> bytes:
    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as exc:
        raise InternalError(
            f"Internal error occurred: error sending request: {target.authority} closed the connection"
        ) from exc
    except asyncio.LimitOverrunError as exc:
        raise InternalError("Internal error occurred: the backend's answer has too large a head") from exc
    except TimeoutError as exc:
        raise InternalError(
            f"Internal error occurred: error sending request: {target.authority} did not answer in time"
        ) from exc
    except OSError as exc:
        raise InternalError(f"Internal error occurred: error sending request: {exc}") from exc


def _status_of(head: bytes) -> int:
    parts = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
        raise InternalError("Internal error occurred: the backend did not answer in HTTP")
    return int(parts[1])


async def _refusal(status: int, head: bytes, reader: asyncio.StreamReader) -> ApiError:
    headers = _headers_of(head)
    body = await _read_body(headers, reader)
    return refusal(status, body)


def refusal(status: int, body: bytes) -> ApiError:
    """The error of a backend, as a Status: its own if it sent one, else made of its text."""
    try:
        parsed = orjson.loads(body)
        if isinstance(parsed, dict) and parsed.get("kind") == "Status":
            return error_from_status(parsed, status)
    except orjson.JSONDecodeError:
        pass
    text = body.decode("utf-8", "replace").strip()
    if status == 400:
        return BadRequest(text or "the backend rejected the request")
    if status == 500:
        return InternalError(f"Internal error occurred: {text}")
    message = text or f"the backend answered with status code {status}"
    return error_from_status({"message": message, "code": status if status >= 400 else 502}, status)


def _headers_of(head: bytes) -> dict[str, str]:
    headers = {}
    for line in head.split(b"\r\n")[1:]:
        name, separator, value = line.partition(b":")
        if separator:
            headers[name.strip().lower().decode("latin-1")] = value.strip().decode("latin-1")
    return headers


async def _read_body(headers: dict[str, str], reader: asyncio.StreamReader) -> bytes:
    """The beginning of an error's body; whatever goes wrong with it, the status code is what matters."""
    body = b""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            if "chunked" in headers.get("transfer-encoding", "").lower():
                while len(body) < _MAX_ERROR_BYTES:
                    size = int((await reader.readline()).split(b";")[0].strip() or b"0", 16)
                    if size == 0:
                        break
                    body += await reader.readexactly(size)
                    await reader.readline()
            elif "content-length" in headers:
                body = await reader.readexactly(min(int(headers["content-length"]), _MAX_ERROR_BYTES))
            else:
                while len(body) < _MAX_ERROR_BYTES and (chunk := await reader.read(_MAX_ERROR_BYTES)):
                    body += chunk
    except (OSError, EOFError, ValueError, TimeoutError):
        pass
    return body[:_MAX_ERROR_BYTES]


async def _pump(client: ClientSide, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Both directions at once. The tunnel ends when the backend has said all, or when the client has gone."""
    up = asyncio.create_task(_to_backend(client, writer), name="tunnel-to-backend")
    down = asyncio.create_task(_to_client(client, reader), name="tunnel-to-client")
    try:
        await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        if not down.done() and client.is_listening and up.exception() is None:
            await asyncio.wait((down,))  # the client has only ended its own direction
    finally:
        for task in (up, down):
            task.cancel()
        await asyncio.gather(up, down, return_exceptions=True)


async def _to_backend(client: ClientSide, writer: asyncio.StreamWriter) -> None:
    while data := await client.read():
        writer.write(data)
        await writer.drain()
    if client.is_listening and writer.can_write_eof():
        writer.write_eof()


async def _to_client(client: ClientSide, reader: asyncio.StreamReader) -> None:
    while data := await reader.read(READ_BYTES):
        await client.write(data)
