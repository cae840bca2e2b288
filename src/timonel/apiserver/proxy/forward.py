"""Forwarding one plain HTTP request and streaming the answer back, each chunk as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from timonel.api.errors import ServiceUnavailable
from timonel.apiserver.proxy.tunnel import CONNECT_SECONDS, Target, dialing_failed

# What concerns one connection only (RFC 9110, 7.6.1), and what only this server is to know.
_NOT_FORWARDED = frozenset({
    "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade", "authorization", "content-length", "host", "impersonate-user",
    "impersonate-group", "impersonate-uid",
})  # fmt: skip
_NOT_RETURNED = frozenset({
    "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
})  # fmt: skip
_BEARER_PROTOCOL = "base64url.bearer.authorization.k8s.io."


def forwarded_headers(request: web.BaseRequest) -> list[tuple[str, str]]:
    """The client's headers without credentials and without those of its connection."""
    return [
        (name, _without_token(value) if name.lower() == "sec-websocket-protocol" else value)
        for name, value in request.headers.items()
        if name.lower() not in _NOT_FORWARDED and not name.lower().startswith("impersonate-extra-")
    ]


def origin_headers(request: web.BaseRequest) -> list[tuple[str, str]]:
    """Where the request really came from, for applications behind pods/proxy and services/proxy."""
    known = request.headers.get("X-Forwarded-For")
    client = request.remote or ""
    return [
        ("X-Forwarded-For", f"{known}, {client}" if known else client),
        ("X-Forwarded-Host", request.host),
        ("X-Forwarded-Proto", request.scheme),
        ("X-Forwarded-Uri", request.path),
    ]


def _without_token(protocols: str) -> str:
    kept = (item.strip() for item in protocols.split(","))
    return ", ".join(item for item in kept if not item.startswith(_BEARER_PROTOCOL))


async def open_forward(
    session: aiohttp.ClientSession,
    target: Target,
    *,
    method: str = "GET",
    headers: Iterable[tuple[str, str]] = (),
    body: aiohttp.StreamReader | None = None,
) -> aiohttp.ClientResponse:
    """The backend's answer, its body not read yet. Raises InternalError when it cannot be reached."""
    url = URL(f"{target.scheme}://{target.authority}{target.path}", encoded=True)
    try:
        return await session.request(
            method,
            url,
            headers=CIMultiDict(headers),
            data=body,
            ssl=target.tls or True,
            allow_redirects=False,
        )
    except aiohttp.ClientConnectorCertificateError as exc:
        raise dialing_failed(target, exc.certificate_error) from exc
    except aiohttp.ClientConnectorError as exc:
        raise dialing_failed(target, exc.os_error) from exc
    except (aiohttp.ClientError, TimeoutError) as exc:
        raise ServiceUnavailable(f"error trying to reach service: {exc or type(exc).__name__}") from exc


def new_session() -> aiohttp.ClientSession:
    """Connections are not kept: kubelets' certificates may change, and streams outlive requests."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True, enable_cleanup_closed=False),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        cookie_jar=aiohttp.DummyCookieJar(),
        loop=asyncio.get_running_loop(),
    )


async def stream_back(
    request: web.BaseRequest, backend: aiohttp.ClientResponse, response: web.StreamResponse
) -> web.StreamResponse:
    """Copies the body, or what is left of it. The client sees an early end when the backend breaks off."""
    if not response.prepared:
        await response.prepare(request)
    async for chunk in backend.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response


def returned(backend: aiohttp.ClientResponse) -> web.StreamResponse:
    """The head of the answer with the backend's status and headers."""
    response = web.StreamResponse(status=backend.status, reason=backend.reason)
    for name, value in backend.headers.items():
        if name.lower() not in _NOT_RETURNED:
            response.headers.add(name, value)
    return response
