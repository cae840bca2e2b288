"""One request after the other to one server: connections, token, figures. What answers mean is for others."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp

from timonel.api.clock import Clock
from timonel.client.config import ClientConfig
from timonel.client.request_figures import RequestFigures
from timonel.client.tokens import Tokens
from timonel.client.transport import Connections


class Session:
    """`connections` that are given are shared with others, and left open."""

    def __init__(
        self,
        config: ClientConfig,
        *,
        clock: Clock,
        tokens: Tokens,
        figures: RequestFigures,
        connections: Connections | None = None,
    ) -> None:
        self.config = config
        self._clock = clock
        self._tokens = tokens
        self._figures = figures
        self._connections = connections or Connections(config)
        self._owns_connections = connections is None
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
            if self._owns_connections:
                await self._connections.close()

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer's head, its body yet to be read; `timeout` is the config's, if not given.

        Raises what aiohttp raises.
        """
        session = self._session or self._start()
        sent = dict(headers or {})
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        token = await self._tokens.token()
        if token:
            sent["Authorization"] = f"Bearer {token}"
        began = self._clock.monotonic()
        requesting = session.request(
            method,
            self.config.server + path,
            params=params,
            data=body,
            headers=sent,
            timeout=timeout or self._usual_timeout(),
            allow_redirects=False,
            ssl=self._tls or True,
            server_hostname=self.config.tls_server_name or None,
        )
        try:
            response = await requesting
        except (aiohttp.ClientError, TimeoutError, OSError):
            self._figures.answered(method, "<error>", self._clock.monotonic() - began)
            raise
        seconds = None if params and "watch" in params else self._clock.monotonic() - began
        self._figures.answered(method, str(response.status), seconds)
        async with response:
            if response.status == 401:
                self._tokens.refused(token)
            yield response

    def _start(self) -> aiohttp.ClientSession:
        connector, self._tls = self._connections.open()
        self._session = aiohttp.ClientSession(
            connector=connector,
            connector_owner=False,
            auto_decompress=True,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "User-Agent": self.config.user_agent,
                "Accept": "application/json",
                # The servers are near; compressing would cost both sides more than the bytes.
                "Accept-Encoding": "identity",
            },
        )
        return self._session

    def _usual_timeout(self) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=self.config.request_timeout, sock_connect=self.config.connect_timeout)
