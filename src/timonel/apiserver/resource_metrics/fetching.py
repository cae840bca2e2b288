"""Kubelets' pages over HTTPS, on connections that are kept while they are in use."""

from __future__ import annotations

import aiohttp

from timonel.api.errors import ServiceUnavailable
from timonel.api.objects import Object, name_of
from timonel.apiserver.proxy.kubelets import Kubelets, kubelet_address

_SECONDS = 10.0
_MAX_BYTES = 16 * 1024 * 1024


class KubeletPages:
    """`fetch` and `close` for the collector; after `close`, the next fetch opens connections anew."""

    def __init__(self, kubelets: Kubelets) -> None:
        self._kubelets = kubelets
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, node: Object) -> str:
        """Raises OSError (aiohttp's errors of connections are such), TimeoutError, ApiError."""
        host, port = kubelet_address(node)
        shown = f"[{host}]" if ":" in host else host
        session = self._session
        if session is None:
            connector = aiohttp.TCPConnector(ssl=self._kubelets.tls, limit=0, keepalive_timeout=60.0)
            timeout = aiohttp.ClientTimeout(total=_SECONDS)
            session = self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False)
        try:
            async with session.get(f"https://{shown}:{port}/metrics/resource") as response:
                body = await response.content.read(_MAX_BYTES)
                while not response.content.at_eof() and len(body) < _MAX_BYTES:
                    body += await response.content.read(_MAX_BYTES - len(body))
                text = body.decode("utf-8", "replace")
                if response.status != 200:
                    raise ServiceUnavailable(f"kubelet of {name_of(node)} answered {response.status}: {text[:200]}")
                return text
        except aiohttp.ClientError as exc:
            raise ConnectionError(f"kubelet of {name_of(node)}: {exc}") from exc

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
