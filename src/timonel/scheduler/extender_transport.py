"""How extenders are asked: JSON by HTTP POST, with the TLS that their configuration says.

Imported only where there are extenders.
Source: kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1/#kubescheduler-config-k8s-io-v1-Extender
"""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
from typing import Any

import aiohttp
import orjson

from timonel.api.objects import Object
from timonel.scheduler.configuration.extenders import ExtenderConfig, ExtenderTls
from timonel.scheduler.extenders import ExtenderFailed

_LARGEST_ANSWER = 128 * 1024 * 1024
"""Five thousand nodes in full are some 50 MB."""


class HttpTransport:
    """One session for all extenders; `close` it."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._tls: dict[ExtenderConfig, ssl.SSLContext | bool] = {}

    async def ask(self, extender: ExtenderConfig, verb: str, question: Object) -> Any:
        url = f"{extender.url_prefix.rstrip('/')}/{verb}"
        try:
            async with asyncio.timeout(extender.timeout_seconds):
                return await self._post(extender, url, verb, question)
        except TimeoutError:
            raise ExtenderFailed(f'Post "{url}": no answer within {extender.timeout_seconds:g}s') from None
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise ExtenderFailed(f'Post "{url}": {exc}'[:1000]) from exc

    async def _post(self, extender: ExtenderConfig, url: str, verb: str, question: Object) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        context = self._tls.get(extender)
        if context is None:
            context = self._tls[extender] = tls_context(extender)
        async with self._session.post(
            url,
            data=orjson.dumps(question),
            headers={"Content-Type": "application/json"},
            ssl=context,
            server_hostname=(extender.tls.server_name or None) if extender.tls else None,
            allow_redirects=False,
        ) as response:
            if response.status != 200:
                raise ExtenderFailed(f"failed {verb} with extender at URL {url}, code {response.status}")
            body = bytearray()
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > _LARGEST_ANSWER:
                    raise ExtenderFailed(f'Post "{url}": the answer is longer than {_LARGEST_ANSWER} bytes')
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as exc:
            raise ExtenderFailed(f'Post "{url}": the answer is no JSON: {exc}') from None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def tls_context(extender: ExtenderConfig) -> ssl.SSLContext | bool:
    """True: the system's CAs. Without a CA of its own, enableHTTPS means that nothing is verified, as upstream has it.

    Raises OSError (SSLError among them) for files and data that cannot be used.
    """
    tls = extender.tls or ExtenderTls()
    has_ca = bool(tls.ca_data or tls.ca_file)
    is_insecure = tls.insecure or (extender.enable_https and not has_ca)
    if not (is_insecure or has_ca or tls.cert_data or tls.cert_file):
        return True
    context = ssl.create_default_context()
    if is_insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif tls.ca_data:
        context.load_verify_locations(cadata=tls.ca_data.decode())
    elif tls.ca_file:
        context.load_verify_locations(cafile=tls.ca_file)
    if tls.cert_data and tls.key_data:
        _load_pair(context, tls.cert_data, tls.key_data)
    elif tls.cert_file:
        context.load_cert_chain(tls.cert_file, tls.key_file or None)
    return context


def _load_pair(context: ssl.SSLContext, cert: bytes, key: bytes) -> None:
    """OpenSSL takes files only."""
    with tempfile.TemporaryDirectory() as folder:  # mode 0700
        names = [os.path.join(folder, name) for name in ("cert", "key")]
        for name, data in zip(names, (cert, key), strict=True):
            with open(name, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(data)
        context.load_cert_chain(*names)
