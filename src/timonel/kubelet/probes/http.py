"""One HTTP/1.1 request for a probe or a hook, without a session: connect, ask, read the head and a little of the body.

A client library would cost several times as much per probe, and a node asks hundreds of times in ten seconds.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urljoin, urlsplit

BODY_LIMIT = 10 * 1024
_HEAD_LIMIT = 64 * 1024
_REDIRECTS = 10


class HttpError(Exception):
    """The request failed below HTTP; the text is meant for an event."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: str
    redirected_away: bool = False
    """A redirect to another host, which a probe does not follow."""


@lru_cache(maxsize=1)
def _unverified() -> ssl.SSLContext:
    # A probe asks whether something answers, not who: the API says that certificates are not verified.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def http_get(url: str, headers: Sequence[tuple[str, str]], timeout: float) -> Answer:
    """GET with these headers; raises HttpError, TimeoutError. Redirects on the same host are followed."""
    async with asyncio.timeout(timeout):
        first = urlsplit(url).hostname
        for _ in range(_REDIRECTS):
            status, fields, body = await _request(url, headers)
            location = fields.get("location")
            if status not in (301, 302, 303, 307, 308) or not location:
                return Answer(status, body)
            url = urljoin(url, location)
            if urlsplit(url).hostname != first:
                return Answer(status, body, redirected_away=True)
        raise HttpError(f"Get {url!r}: stopped after {_REDIRECTS} redirects")


def _head(url: str, headers: Sequence[tuple[str, str]]) -> bytes:
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    given = {name.lower() for name, _ in headers}
    lines = [f"GET {path} HTTP/1.1"]
    if "host" not in given:
        lines.append(f"Host: {parts.netloc}")
    # An empty value of these two asks to leave the header out, as upstream documents it.
    for name, value in (("User-Agent", "kube-probe/1.36"), ("Accept", "*/*")):
        if name.lower() not in given:
            lines.append(f"{name}: {value}")
    lines += [f"{name}: {value}" for name, value in headers if value or name.lower() not in ("user-agent", "accept")]
    lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


async def _request(url: str, headers: Sequence[tuple[str, str]]) -> tuple[int, dict[str, str], str]:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    try:
        reader, writer = await asyncio.open_connection(
            host, port, ssl=_unverified() if secure else None, limit=_HEAD_LIMIT
        )
    except (OSError, ssl.SSLError) as exc:
        raise HttpError(f'Get "{url}": {connect_error(host, port, exc)}') from exc
    try:
        writer.write(_head(url, headers))
        return await _read(reader)
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as exc:
        raise HttpError(f'Get "{url}": {exc or "EOF"}') from exc
    finally:
        writer.transport.abort()


async def _read(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], str]:
    while True:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError as exc:
            if exc.partial:
                raise ValueError("malformed HTTP response") from exc
            raise ValueError("EOF") from exc
        lines = head.split("\r\n")
        version, _, rest = lines[0].partition(" ")
        if not version.startswith("HTTP/"):
            raise ValueError(f'malformed HTTP response "{lines[0][:80]}"')
        status = int(rest[:3])
        if status >= 200:
            break
    fields = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
    limit = min(int(fields.get("content-length") or BODY_LIMIT), BODY_LIMIT)
    if status in (204, 304):
        limit = 0  # these have none (RFC 9112, 6.3): a server that keeps the connection open sends nothing more
    body = b""
    while len(body) < limit:
        chunk = await reader.read(limit - len(body))
        if not chunk:
            break
        body += chunk
        if "content-length" not in fields and body.endswith(b"0\r\n\r\n"):
            break
    return status, fields, body.decode(errors="replace")


def connect_error(host: str, port: int, exc: Exception) -> str:
    """As Go words a failed dial, which is what people search for."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(exc, ConnectionRefusedError):
        return f"dial tcp {address}: connect: connection refused"
    if isinstance(exc, OSError) and exc.strerror and not isinstance(exc, ssl.SSLError):
        return f"dial tcp {address}: connect: {exc.strerror.lower()}"
    return f"dial tcp {address}: {exc}"
