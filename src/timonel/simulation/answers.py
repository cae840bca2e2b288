"""Answers for the kubelets of all hollow nodes: that there is nothing to see, by name.

`kubectl logs`, `exec`, `attach` and `port-forward` reach it by way of the API server, which is the only one it lets in.
"""

from __future__ import annotations

import asyncio
import logging
import ssl

from aiohttp import web

log = logging.getLogger(__name__)

_WHAT = {
    "containerLogs": "it has no log",
    "exec": "nothing can be run in it",
    "run": "nothing can be run in it",
    "attach": "there is nothing to attach to",
    "portForward": "nothing listens in it",
}


def refusal(path: str) -> str:
    """What whoever asks for this path of a kubelet is told."""
    first, *rest = path.strip("/").split("/")
    if first in _WHAT and len(rest) >= 2:
        return f'pod "{rest[1]}" is on a hollow node, where pods exist in the API only: {_WHAT[first]}'
    return f"this is a hollow node, which has no kubelet: there is no /{first}"


class HollowAnswers:
    """`run` until cancelled; `port` says where, once `wait_ready` returns."""

    def __init__(self, *, address: str, port: int, cert_file: str, key_file: str, client_ca_file: str) -> None:
        self._address = address
        self._files = cert_file, key_file, client_ca_file
        self._ready = asyncio.Event()
        self.port = port

    async def run(self) -> None:
        cert, key, authority = self._files
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.load_cert_chain(cert, key)
        server = web.Server(self._answer, access_log=None)
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(server, self._address or None, self.port, ssl=tls, reuse_address=True)
        self.port = listener.sockets[0].getsockname()[1]
        log.info("answered for hollow nodes address=%s port=%d", self._address or "*", self.port)
        self._ready.set()
        try:
            await loop.create_future()
        finally:
            listener.close()
            await server.shutdown(1.0)

    async def wait_ready(self) -> None:
        await self._ready.wait()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if request.path == "/healthz":
            return web.Response(text="ok")
        return web.Response(status=501, text=refusal(request.path))
