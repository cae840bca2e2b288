"""One request on its way through the server: who asks, for what, with which body.

`RequestContext` is what every handler of a verb or a subresource gets. The body is read at most once, with
upstream's limit, and its failures are Statuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from aiohttp import ClientError, web

from timonel.api.errors import ApiError, BadRequest, RequestEntityTooLarge, UnsupportedMediaType
from timonel.api.resource import Resource, Subresource
from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.authz.attributes import Attributes
from timonel.apiserver.flowcontrol.tickets import Ticket
from timonel.apiserver.negotiation import JSON, PROTOBUF, YAML, Answer
from timonel.apiserver.routing import Route

if TYPE_CHECKING:
    from timonel.apiserver.server import ApiServer

Handler = Callable[["RequestContext"], Awaitable[web.StreamResponse]]

T = TypeVar("T")
_LARGE_YAML = 64 * 1024
_LARGE_JSON = 256 * 1024
BODY_TYPES = (JSON, YAML, PROTOBUF)


@dataclass(slots=True)
class RequestContext:
    """`resource` and `subresource` are the rows the path names; `attributes` is what authorisation was asked."""

    request: web.BaseRequest
    server: ApiServer
    route: Route
    user: UserInfo
    attributes: Attributes
    resource: Resource
    subresource: Subresource | None
    answer: Answer
    """How the client wants the result: JSON or YAML, whole, as Table or as metadata."""
    audit_id: str = ""
    warnings: list[str] = field(default_factory=list)
    """Texts for `Warning: 299` headers."""
    audit: dict[str, str] = field(default_factory=dict)
    """Annotations for the audit event."""
    body: bytes | None = None
    ticket: Ticket | None = None
    """Its seat in priority and fairness."""

    @property
    def namespace(self) -> str:
        return self.route.namespace

    @property
    def name(self) -> str:
        return self.route.name

    @property
    def dry_run(self) -> bool:
        return "All" in self.route.query.get("dryRun", ())

    @property
    def user_agent(self) -> str:
        return self.request.headers.get("User-Agent", "")

    @property
    def field_manager(self) -> str:
        """The option, or what upstream falls back to: the user agent up to its first slash."""
        return self.route.text("fieldManager") or manager_of(self.user_agent)

    async def read_body(self) -> bytes:
        if self.body is None:
            self.body = await read_body(self.request, self.server.config.max_body_bytes)
        return self.body

    async def decode_body(self, decode: Callable[[bytes], T]) -> T:
        """What `decode` makes of the body. Large ones are read in a thread, while others are served, and few at a time:
        YAML takes a second a megabyte, and JSON a fifth of that when it has fields twice, or that nobody knows."""
        body = await self.read_body()
        is_yaml = "yaml" in self.request.headers.get("Content-Type", "").lower()
        if len(body) < (_LARGE_YAML if is_yaml else _LARGE_JSON):
            return decode(body)
        places = self.server.large_bodies
        await places.acquire()
        reading = asyncio.create_task(asyncio.to_thread(decode, body), name="large body")
        # A thread cannot be stopped: it keeps its place when the request is cancelled meanwhile.
        reading.add_done_callback(lambda _: places.release())
        return await asyncio.shield(reading)

    def body_type(self, accepted: tuple[str, ...] = BODY_TYPES) -> str:
        """The media type of the body without parameters; no header means JSON. Raises UnsupportedMediaType."""
        return media_type(self.request.headers.get("Content-Type", ""), accepted)


def manager_of(user_agent: str) -> str:
    name = user_agent.partition("/")[0]
    return "".join(char for char in name if char.isprintable())[:128] or "unknown"


def media_type(header: str, accepted: tuple[str, ...] = BODY_TYPES) -> str:
    kind = header.partition(";")[0].strip().lower()
    if not kind and JSON in accepted:
        return JSON
    if kind == "text/yaml" and YAML in accepted:
        return YAML
    if kind not in accepted:
        raise UnsupportedMediaType(
            "the body of the request was in an unknown format - accepted media types include: " + ", ".join(accepted)
        )
    return kind


async def read_body(request: web.BaseRequest, limit: int) -> bytes:
    """The whole body; it takes from the request's time. Raises RequestEntityTooLarge, BadRequest when cut short."""
    length = request.headers.get("Content-Length")
    if length is not None and length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    if expect := request.headers.get("Expect"):
        if expect.lower() != "100-continue":
            raise ApiError(f"expectation {expect[:100]} cannot be met", code=417)
        if request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    content = request.content
    try:
        if content.is_eof() and content.total_bytes <= limit:
            return content.read_nowait()  # all of it is here
        chunks: list[bytes] = []
        size = 0
        while chunk := await content.readany():
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            chunks.append(chunk)
        return b"".join(chunks)
    except (ClientError, web.HTTPException, web.RequestPayloadError, ValueError, EOFError) as exc:
        raise BadRequest("unexpected EOF") from exc


def _too_large(limit: int) -> RequestEntityTooLarge:
    return RequestEntityTooLarge(f"Request entity too large: limit is {limit}")
