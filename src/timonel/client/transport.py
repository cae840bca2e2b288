"""Below HTTP: connectors, sockets, and what goes wrong there as errors of ours, by one table."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, cast

import aiohttp
from aiohttp.client_exceptions import UnixClientConnectorError
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.tracing import Trace

from timonel.api.errors import ApiError, ServiceUnavailable, Timeout
from timonel.client.config import ClientConfig

_KEEPALIVE_SECONDS = 60.0


class ConnectionFailed(ServiceUnavailable):
    """No answer: refused, reset, unresolvable, or TLS failed. The request may or may not have been carried out."""


class RequestTimedOut(Timeout):
    """No answer in time. The request may or may not have been carried out."""


def connector_for(config: ClientConfig) -> aiohttp.BaseConnector:
    """The pool of connections a config asks for: TCP, or one Unix socket."""
    limit = config.max_connections
    if config.unix_socket:
        return _TlsUnixConnector(config.unix_socket, limit=limit, keepalive_timeout=_KEEPALIVE_SECONDS)
    return aiohttp.TCPConnector(limit=limit, keepalive_timeout=_KEEPALIVE_SECONDS, socket_factory=_keepalive_socket)


class Connections:
    """A pool that several clients of one server share; each of them may come as somebody else."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._connector: aiohttp.BaseConnector | None = None
        self._tls: ssl.SSLContext | None = None

    def open(self) -> tuple[aiohttp.BaseConnector, ssl.SSLContext | None]:
        """The pool, made when first asked for, and the TLS settings. Raises OSError and ssl.SSLError for bad files."""
        if self._connector is None:
            # Connections are kept by their settings, so one object of these for all.
            self._tls = self._tls or self._config.ssl_context()
            self._connector = connector_for(self._config)
        return self._connector, self._tls

    async def close(self) -> None:
        if self._connector is not None:
            await self._connector.close()
            self._connector = None


class _TlsUnixConnector(aiohttp.UnixConnector):
    """aiohttp's connector for Unix sockets speaks plain HTTP only; this one adds TLS when the scheme asks for it."""

    async def _create_connection(
        self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        if not req.is_ssl():
            return await super()._create_connection(req, traces, timeout)
        factory = cast(Callable[[], ResponseHandler], self._factory)
        try:
            async with asyncio.timeout(timeout.sock_connect):
                _, protocol = await self._loop.create_unix_connection(
                    factory,
                    self.path,
                    ssl=req.ssl if isinstance(req.ssl, ssl.SSLContext) else ssl.create_default_context(),
                    server_hostname=req.server_hostname or req.url.raw_host or "",
                )
        except OSError as exc:
            raise UnixClientConnectorError(self.path, req.connection_key, exc) from exc
        return protocol


def _keepalive_socket(address: Any) -> socket.socket:
    """A socket on which the kernel notices a silent peer after about a minute instead of two hours."""
    family, kind, protocol, _, _ = address
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return sock


_TRANSPORT_ERRORS: tuple[tuple[type[BaseException], type[ApiError], str], ...] = (
    (TimeoutError, RequestTimedOut, "the server did not answer in time"),
    (aiohttp.ClientConnectorCertificateError, ConnectionFailed, "the server's certificate was not accepted"),
    (aiohttp.ClientConnectorError, ConnectionFailed, "unable to connect to the server"),
    (aiohttp.ServerDisconnectedError, ConnectionFailed, "the server closed the connection"),
    (aiohttp.ClientPayloadError, ConnectionFailed, "the connection broke in the middle of an answer"),
    (aiohttp.ClientError, ConnectionFailed, "the request failed"),
    (OSError, ConnectionFailed, "the connection failed"),
)


def _detail(error: BaseException) -> str:
    """What went wrong, in a person's words: aiohttp's own text names Python objects."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error.certificate_error)
    if isinstance(error, UnixClientConnectorError):
        return f"{error.path}: {_reason(error.os_error)}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{error.host}:{error.port}: {_reason(error.os_error)}"
    return str(error)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError) or not error.errno or error.errno < 0:
        return str(error)
    return os.strerror(error.errno)


class transport_errors:
    """Turns aiohttp's and the system's errors into ours, first matching row of the table."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, ApiError):
            return
        for source, target, text in _TRANSPORT_ERRORS:
            if isinstance(error, source):
                detail = _detail(error)
                raise target(f"{text}: {detail}" if detail else text) from error
