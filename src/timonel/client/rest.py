"""The REST client that every component and the command line use: one pool of kept-alive connections to one server.

Errors of the API arrive as the classes the server raised (timonel.api.errors); what goes wrong below HTTP becomes
`ConnectionFailed` or `RequestTimedOut` (transport.py). Answers with Retry-After are tried again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp
import orjson

from timonel.api.clock import Clock, SystemClock
from timonel.api.objects import Object, name_of, namespace_of
from timonel.api.refs import ResourceRef
from timonel.client.answers import error_of, read_document, seconds_to_wait
from timonel.client.config import ClientConfig
from timonel.client.request_figures import RequestFigures
from timonel.client.session import Session
from timonel.client.tokens import ConfiguredTokens, Tokens
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
        self.figures = figures or RequestFigures()
        self._renews_tokens = tokens is not None or bool(config.token_file)
        self._session = Session(
            config,
            clock=self._clock,
            tokens=tokens or ConfiguredTokens(config, self._clock),
            figures=self.figures,
            connections=connections,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._session.close()

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
            path = ref.path(namespace)
            async with self._session.request("GET", path, params=params, headers=headers, timeout=timeout) as response:
                if response.status >= 400:
                    raise error_of(response, await response.read())
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
            async with self._session.request(method, path, params=params, body=body, headers=headers) as response:
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
                async with self._session.request(method, path, params=params, body=data, headers=headers) as response:
                    content = await response.read()
            if response.status < 400:
                return read_document(content)
            if response.status == 401 and self._renews_tokens and not refreshed:
                refreshed = True  # with another token, if there is one
                continue
            delay = seconds_to_wait(response)
            if delay is None or attempt == _RETRIES:
                raise error_of(response, content)
            await self._clock.sleep(delay)
        raise AssertionError("unreachable")


def _params(**values: str | int | None) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value}


def _namespace(obj: Object) -> str:
    return (obj.get("metadata") or {}).get("namespace") or ""
