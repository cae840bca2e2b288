"""The REST client that every component and the command line use: one pool of kept-alive connections to one server.

Errors of the API arrive as the classes the server raised (timonel.api.errors); what goes wrong below HTTP becomes
`ConnectionFailed` or `RequestTimedOut` (transport.py). Answers with Retry-After are tried again.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import aiohttp
import orjson

from timonel.api.clock import Clock, SystemClock
from timonel.api.errors import ApiError, InternalError, error_from_status
from timonel.api.objects import Object, name_of, namespace_of
from timonel.api.refs import ResourceRef
from timonel.client.config import ClientConfig
from timonel.client.request_figures import RequestFigures
from timonel.client.transport import ConnectionFailed, Connections, RequestTimedOut, transport_errors
from timonel.client.watching import WatchDecoder, WatchEvent

__all__ = ["Client", "ClientConfig", "ConnectionFailed", "PatchType", "RequestTimedOut", "WatchEvent"]

PatchType = Literal["merge", "strategic", "json", "apply"]

_PATCH_CONTENT_TYPES: dict[PatchType, str] = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}
_METADATA_ONLY = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1,application/json"
_RETRIES = 10
"""How often an answer with Retry-After is tried again, as client-go does."""
_WATCH_SLACK_SECONDS = 30.0
_TOKEN_CHECK_SECONDS = 10.0


class Tokens(Protocol):
    """Where a client gets its bearer token, request by request."""

    async def token(self) -> str: ...
    def refused(self, token: str) -> None: ...


class Client:
    """Methods take a `ResourceRef`; objects are plain JSON and belong to the caller. Use from one event loop."""

    def __init__(
        self,
        config: ClientConfig,
        *,
        clock: Clock | None = None,
        connections: Connections | None = None,
        tokens: Tokens | None = None,
        figures: RequestFigures | None = None,
    ) -> None:
        """`connections` are shared with other clients, and left open; `tokens` win over those of the config.

        `figures` may count the requests of others as well.
        """
        self.config = config
        self._clock: Clock = clock or SystemClock()
        self._session: aiohttp.ClientSession | None = None
        self._connections = connections or Connections(config)
        self._owns_connections = connections is None
        self._tls: ssl.SSLContext | None = None
        self._tokens = tokens
        self.figures = figures or RequestFigures()
        self._token = config.token
        self._token_stamp: tuple[int, int] | None = None
        self._token_checked = float("-inf")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
            if self._owns_connections:
                await self._connections.close()

    async def get(self, ref: ResourceRef, name: str, namespace: str = "", *, subresource: str = "") -> Object:
        return await self._json("GET", ref.path(namespace, name, subresource))

    async def list(
        self,
        ref: ResourceRef,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
        resource_version: str = "",
        metadata_only: bool = False,
    ) -> Object:
        """One page (all of it when `limit` is 0): the List object. `metadata_only` asks for PartialObjectMetadata."""
        params = _params(
            labelSelector=label_selector,
            fieldSelector=field_selector,
            limit=limit,
            resourceVersion=resource_version,
        )
        if continue_:
            params["continue"] = continue_
        headers = {"Accept": _METADATA_ONLY.format("List")} if metadata_only else None
        return await self._json("GET", ref.path(namespace), params=params, headers=headers)

    async def create(
        self,
        ref: ResourceRef,
        obj: Object,
        namespace: str = "",
        *,
        subresource: str = "",
        name: str = "",
        dry_run: bool = False,
        field_manager: str = "",
    ) -> Object:
        """`namespace` defaults to the object's own; `name` is needed with a subresource only."""
        path = ref.path(namespace or _namespace(obj), name, subresource)
        params = _params(dryRun="All" if dry_run else "", fieldManager=field_manager)
        return await self._json("POST", path, params=params, body=obj)

    async def update(self, ref: ResourceRef, obj: Object, *, subresource: str = "", field_manager: str = "") -> Object:
        path = ref.path(namespace_of(obj), name_of(obj), subresource)
        return await self._json("PUT", path, params=_params(fieldManager=field_manager), body=obj)

    async def patch(
        self,
        ref: ResourceRef,
        name: str,
        patch: Any,
        namespace: str = "",
        *,
        type: PatchType,
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
    ) -> Object:
        return await self._json(
            "PATCH",
            ref.path(namespace, name, subresource),
            params=_params(fieldManager=field_manager, force="true" if force else ""),
            body=patch,
            headers={"Content-Type": _PATCH_CONTENT_TYPES[type]},
        )

    async def delete(
        self,
        ref: ResourceRef,
        name: str,
        namespace: str = "",
        *,
        grace_period_seconds: int | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation_policy: str | None = None,
    ) -> Object:
        """The deleted object, or a Status of success. `uid` and `resource_version` are preconditions (409)."""
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        if propagation_policy:
            options["propagationPolicy"] = propagation_policy
        preconditions = _params(uid=uid, resourceVersion=resource_version)
        if preconditions:
            options["preconditions"] = preconditions
        return await self._json("DELETE", ref.path(namespace, name), body=options)

    async def delete_collection(
        self, ref: ResourceRef, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> Object:
        params = _params(labelSelector=label_selector, fieldSelector=field_selector)
        return await self._json("DELETE", ref.path(namespace), params=params)

    async def watch(
        self,
        ref: ResourceRef,
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        allow_bookmarks: bool = True,
        send_initial_events: bool = False,
        timeout_seconds: int | None = None,
        metadata_only: bool = False,
    ) -> AsyncIterator[WatchEvent]:
        """Events after `resource_version` until the server ends the stream; bookmarks included.

        Raises Expired when that version is compacted, ConnectionFailed when the stream breaks: resume from the last
        event's version. Close it (contextlib.aclosing) when leaving early.
        """
        params = _params(
            watch="true",
            resourceVersion=resource_version,
            labelSelector=label_selector,
            fieldSelector=field_selector,
            allowWatchBookmarks="true" if allow_bookmarks else "",
            timeoutSeconds=timeout_seconds,
        )
        if send_initial_events:
            params |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        headers = {"Accept": _METADATA_ONLY.format("")} if metadata_only else None
        timeout = aiohttp.ClientTimeout(
            total=None,
            sock_connect=self.config.connect_timeout,
            # A half-open connection must not keep a watcher blind for ever; TCP keep-alive finds most of them.
            sock_read=timeout_seconds + _WATCH_SLACK_SECONDS if timeout_seconds else None,
        )
        decoder = WatchDecoder()
        with transport_errors():
            async with self._open("GET", ref.path(namespace), params, None, headers, timeout) as response:
                if response.status >= 400:
                    raise _error(response, await response.read())
                async for chunk in response.content.iter_any():
                    for event in decoder.feed(chunk):
                        yield event

    async def raw(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body as they came; nothing but transport errors is raised."""
        with transport_errors():
            async with self._open(method, path, params, body, headers, self._timeout()) as response:
                return response.status, response.headers, await response.read()

    async def _json(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Object:
        data = None if body is None else orjson.dumps(body)
        refreshed = False
        for attempt in range(_RETRIES + 1):
            with transport_errors():
                async with self._open(method, path, params, data, headers, self._timeout()) as response:
                    content = await response.read()
            if response.status < 400:
                return _decode(content)
            if response.status == 401 and (self._tokens or self.config.token_file) and not refreshed:
                refreshed = True  # with another token, if there is one; see _open
                continue
            delay = _retry_after(response)
            if delay is None or attempt == _RETRIES:
                raise _error(response, content)
            await self._clock.sleep(delay)
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        timeout: aiohttp.ClientTimeout,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        session = self._session or self._start_session()
        sent = dict(headers or {})
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        token = await self._tokens.token() if self._tokens else self._current_token()
        if token:
            sent["Authorization"] = f"Bearer {token}"
        began = self._clock.monotonic()
        requesting = session.request(
            method,
            self.config.server + path,
            params=params,
            data=body,
            headers=sent,
            timeout=timeout,
            allow_redirects=False,
            ssl=self._tls or True,
            server_hostname=self.config.tls_server_name or None,
        )
        try:
            response = await requesting
        except (aiohttp.ClientError, TimeoutError, OSError):
            self.figures.answered(method, "<error>", self._clock.monotonic() - began)
            raise
        seconds = None if params and "watch" in params else self._clock.monotonic() - began
        self.figures.answered(method, str(response.status), seconds)
        async with response:
            if response.status == 401:
                self._token_checked = float("-inf")
                if self._tokens:
                    self._tokens.refused(token)
            yield response

    def _start_session(self) -> aiohttp.ClientSession:
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

    def _timeout(self) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=self.config.request_timeout, sock_connect=self.config.connect_timeout)

    def _current_token(self) -> str:
        """The token file is looked at no more than every ten seconds, and at once after a 401."""
        path = self.config.token_file
        if not path:
            return self._token
        now = self._clock.monotonic()
        if now - self._token_checked >= _TOKEN_CHECK_SECONDS:
            self._token_checked = now
            try:
                info = os.stat(path)
                if (info.st_ino, info.st_mtime_ns) != self._token_stamp:
                    with open(path, encoding="utf-8") as file:
                        self._token = file.read().strip()
                    self._token_stamp = (info.st_ino, info.st_mtime_ns)
            except OSError as exc:
                if not self._token:
                    raise ConnectionFailed(f"unable to read the token file: {exc}") from exc
        return self._token


def _params(**values: str | int | None) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value}


def _namespace(obj: Object) -> str:
    return (obj.get("metadata") or {}).get("namespace") or ""


def _decode(content: bytes) -> Object:
    try:
        document: Object = orjson.loads(content)
    except orjson.JSONDecodeError as exc:
        raise InternalError(f"the server answered with something that is not JSON: {exc}") from exc
    return document


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Seconds to wait before trying again, when the server asks for that."""
    if response.status != 429 and response.status < 500:
        return None
    header = response.headers.get("Retry-After", "")
    return float(header) if header.isdigit() else None


def _error(response: aiohttp.ClientResponse, content: bytes) -> ApiError:
    try:
        status = orjson.loads(content)
    except orjson.JSONDecodeError:
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        text = content.decode("utf-8", "replace").strip()[:500]
        status = {"message": text or f"the server answered {response.status} {response.reason or ''}".strip()}
    return error_from_status(status, response.status)
