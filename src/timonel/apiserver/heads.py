"""What a client says of itself before each request, read once for as long as it says the same.

A client's requests on one connection mostly differ in their first line only: token, user agent, accepted types stay.
So a connection remembers the headers it has seen last, byte for byte, with what follows from them. Whether a token is
still good does not follow from them and is asked for each request.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from multidict import CIMultiDictProxy
from yarl import URL

if TYPE_CHECKING:
    from aiohttp.web_protocol import RequestHandler

    from timonel.apiserver.authn.certificates import Certificate

END = b"\r\n\r\n"
_MOST_BYTES = 4096
_MOST_HEADS = 2
"""Of a connection: clients with many that vary all the time gain nothing."""
_GET = b"GET "
_PLAIN_LINE = re.compile(rb"GET (/[-A-Za-z0-9._~/:?=&%,+!]*) HTTP/1\.1").fullmatch
"""Of what the parser reads in the same way; all others are left to it."""


class Head:
    """The headers of a request, and what has been worked out of them. Shared by requests: read only."""

    __slots__ = ("accept", "audit_origin", "certificate", "headers", "impersonates", "message", "token", "user_agent")

    def __init__(self, headers: CIMultiDictProxy[str], message: RawRequestMessage | None = None) -> None:
        self.headers = headers
        self.message = message
        self.accept = headers.get("Accept", "")
        self.user_agent = headers.get("User-Agent", "")
        self.certificate: Certificate | None = None
        """The client's, of the connection: it has the heads of no other."""
        self.token: str | None = None
        """The bearer token, if there is one, and no certificate."""
        self.impersonates: bool | None = None
        """None: nobody has asked yet, for this or the two above."""
        self.audit_origin = ""
        """Members of an audit event that say where the request came from. Empty: nobody has asked yet."""


class Request(web.BaseRequest):
    """As aiohttp makes it, with its head."""

    head: Head

    @classmethod
    def parsed(
        cls,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> Request:
        request = cls(message, payload, protocol, writer, task, protocol._loop)
        request.head = Head(message.headers)
        return request


class KnownRequest(Request):
    """A GET whose headers are known already: made without a parser, and 30 µs sooner."""

    _payload = EMPTY_PAYLOAD
    _method = "GET"
    _version = HttpVersion11
    _client_max_size = 1024**2
    _client_max_fields = 1000
    keep_alive = True
    raw_path = ""

    def __init__(self, head: Head, target: str, protocol: RequestHandler, task: asyncio.Task[None]) -> None:
        # No super().__init__(), which takes three times as long: what few handlers want is made when they want it.
        self.head = head
        self.raw_path = target
        self._protocol = protocol
        self._headers = head.headers
        self._cache = {}
        self._state = {}
        self._task = task
        self._loop = protocol._loop

    @property
    def _message(self) -> RawRequestMessage:  # type: ignore[override]
        assert self.head.message is not None
        return self.head.message._replace(path=self.raw_path, url=self._rel_url)

    @property
    def _rel_url(self) -> URL:  # type: ignore[override]
        path, _, query = self.raw_path.partition("?")
        return URL.build(path=path, query_string=query, encoded=True)

    @property
    def _payload_writer(self) -> AbstractStreamWriter:  # type: ignore[override]
        writer = self._cache.get("stream writer")
        if writer is None:
            writer = self._cache["stream writer"] = StreamWriter(self._protocol, self._loop)
        return writer

    @property
    def _transport_sslcontext(self) -> Any:  # type: ignore[override]
        return self._protocol.ssl_context

    @property
    def _transport_peername(self) -> Any:  # type: ignore[override]
        return self._protocol.peername

    @property
    def _transport_sockname(self) -> Any:  # type: ignore[override]
        return self._protocol.sockname


class Heads:
    """The heads that one connection has seen. Its requests of other kinds, or with bodies, are the parser's."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def find(self, data: bytes) -> tuple[str, Head] | None:
        """Target and head of the request, if `data` is one whole GET with headers seen before."""
        end = data.find(b"\r\n")
        head = self._known.get(data[end:])
        if head is None:
            return None
        line = _PLAIN_LINE(data, 0, end)
        return None if line is None else (line[1].decode("ascii"), head)

    def learn(self, data: bytes, message: RawRequestMessage) -> None:
        """`data` is what the parser made this message of, which has no body, and nothing else."""
        if (
            not data.startswith(_GET)
            or message.should_close
            or message.upgrade
            or message.chunked
            or message.version != HttpVersion11
        ):
            return
        block = data[data.find(b"\r\n") :]
        if len(block) > _MOST_BYTES or "Expect" in message.headers:
            return
        if len(self._known) >= _MOST_HEADS:
            self._known.clear()
        self._known[block] = Head(message.headers, message)


def head_of(request: web.BaseRequest) -> Head:
    return request.head if isinstance(request, Request) else Head(request.headers)
