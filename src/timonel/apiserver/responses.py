"""Answers as bytes in one write: head and body together, without aiohttp's header machinery.

`Reply` is a StreamResponse to aiohttp's server, which only calls `prepare`, `write_eof` and `keep_alive`. Building the
head by hand is what makes a GET cost 40 µs less (bench/bench_apiserver.py).
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Iterable
from email.utils import formatdate
from functools import cache
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from timonel.api.errors import ApiError
from timonel.api.objects import Object
from timonel.api.protobuf import encode_protobuf
from timonel.apiserver.negotiation import JSON, PROTOBUF, YAML

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_HEADS: dict[tuple[int, str, str], bytes] = {}
_LARGE = 256 * 1024
"""With more than this unsent, of one answer or of many, the client has to read before it is answered again."""
_JOINED = 32 * 1024
"""Smaller bodies are joined to their head: they go out as one TLS record with it."""
_DRAIN_SECONDS = 60.0
_MAX_WARNINGS = 4096
_CUT_WARNING = 256


class _Date:
    """The Date header and the end of the line before it, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = f"\r\nDate: {formatdate(second, usegmt=True)}\r\n".encode()
        return self._line


_date = _Date()


class Reply(web.StreamResponse):
    """A whole answer. `headers_` are extra (name, value) pairs."""

    def __init__(  # no super().__init__(): none of what it makes is used
        self,
        body: bytes = b"",
        *,
        status: int = 200,
        content_type: str = JSON,
        audit_id: str = "",
        extra: Iterable[tuple[str, str]] = (),
        cache_control: str = "no-cache, private",
    ) -> None:
        self._body_bytes = body
        self._status = status
        self._content_type_text = content_type
        self._cache_control = cache_control
        self._audit_id = audit_id
        self._extra = extra
        self.head_lines = b""
        """More lines of the head, as they are sent: priority and fairness says by them how it took the request."""
        self.is_last = False
        """Of its connection: a server that stops takes no more requests on it."""
        self._alive = True
        self._sent_to: web.BaseRequest | None = None

    @property
    def status(self) -> int:
        return self._status

    @property
    def body(self) -> bytes:
        return self._body_bytes

    @property
    def body_length(self) -> int:
        return len(self._body_bytes)

    @property
    def keep_alive(self) -> bool | None:
        return self._alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        self.send(request)
        return None

    def send(self, request: web.BaseRequest) -> None:
        """Hands all of it to the transport. Raises ConnectionResetError."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        self._sent_to = request
        self._alive = alive = request.keep_alive and not self.is_last
        body = self._body_bytes
        key = (self._status, self._content_type_text, self._cache_control)
        head = _HEADS.get(key)
        if head is None:
            phrase = _PHRASES.get(self._status, "")
            head = _HEADS[key] = (
                f"HTTP/1.1 {self._status} {phrase}\r\nCache-Control: {self._cache_control}\r\n"
                f"Content-Type: {self._content_type_text}\r\nAudit-Id: "
            ).encode()
        parts = [head, self._audit_id.encode(), _date.line(), self.head_lines]
        for name, value in self._extra:
            parts.append(f"{name}: {value}\r\n".encode())
        if not alive:
            parts.append(b"Connection: close\r\n")
        parts.append(b"Content-Length: %d\r\n\r\n" % len(body))
        if len(body) < _JOINED or request.method == "HEAD":
            if request.method != "HEAD":
                parts.append(body)
            transport.write(b"".join(parts))
        else:
            transport.writelines((b"".join(parts), body))  # without copying it once more

    async def write_eof(self, data: bytes = b"") -> None:
        request = self._sent_to
        if request is None or not request.protocol.writing_paused:
            return
        transport = request.transport
        if transport is None or transport.get_write_buffer_size() <= _LARGE:
            return  # it may ask for more before it has read all
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                await request.protocol._drain_helper()
        except TimeoutError as exc:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("the client does not read its answer") from exc


def json_reply(
    content: Any, *, status: int = 200, pretty: bool = False, audit_id: str = "", content_type: str = JSON
) -> Reply:
    options = orjson.OPT_INDENT_2 if pretty else 0
    body = orjson.dumps(content, option=options)
    return Reply(body + b"\n" if pretty else body, status=status, content_type=content_type, audit_id=audit_id)


def text_reply(text: str, *, status: int = 200, audit_id: str = "") -> Reply:
    return Reply(text.encode(), status=status, content_type="text/plain; charset=utf-8", audit_id=audit_id,
                 extra=(("X-Content-Type-Options", "nosniff"),))  # fmt: skip


def error_reply(
    error: ApiError,
    *,
    audit_id: str = "",
    media_type: str = JSON,
    pretty: bool = False,
    extra: Iterable[tuple[str, str]] = (),
) -> Reply:
    """The Status of a refusal. Retry-After goes along when there is one."""
    headers = list(extra)
    if error.status_code == HTTPStatus.FORBIDDEN:
        headers.append(("X-Content-Type-Options", "nosniff"))
    if error.retry_after_seconds is not None:
        headers.append(("Retry-After", str(error.retry_after_seconds)))
    body = render(error.status, media_type, pretty=pretty)
    return Reply(body, status=error.status_code, content_type=media_type, audit_id=audit_id, extra=headers)


def success_status(details: Object) -> Object:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def render(content: Any, media_type: str, *, pretty: bool = False) -> bytes:
    if media_type == YAML:
        return to_yaml(content)
    if media_type == PROTOBUF:
        return encode_protobuf(content)
    if pretty:
        return orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n"
    return orjson.dumps(content)


def to_yaml(content: Any) -> bytes:
    import yaml  # only people ask for it, so the server does not load it at start

    text: str = yaml.dump(content, Dumper=_yaml_dumper(), default_flow_style=False, allow_unicode=True)
    return text.encode()


@cache
def _yaml_dumper() -> Any:
    """Without anchors for what is one object here, and texts of many lines as such."""
    import yaml

    def write_text(dumper: Any, text: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    base = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    plain: Any = type("PlainDumper", (base,), {"ignore_aliases": lambda self, data: True})
    plain.add_representer(str, write_text)
    return plain


def warning_headers(warnings: Iterable[str]) -> list[tuple[str, str]]:
    """`Warning: 299 - "text"` headers, each text once, as RFC 7234 quotes them.

    All together are kept below 4096 characters: when they would be more, each is cut to 256, and those after the
    limit are left out. Source: KEP-1693.
    """
    texts = [text for text in dict.fromkeys(warnings) if text]
    if sum(map(len, texts)) > _MAX_WARNINGS:
        total, kept = 0, []
        for text in texts:
            if total >= _MAX_WARNINGS:
                break
            kept.append(text[:_CUT_WARNING])
            total += len(kept[-1])
        texts = kept
    return [("Warning", f'299 - "{_quoted(text)}"') for text in texts]


def _quoted(text: str) -> str:
    # Header values are one line; what a client's object put into a warning must not end it.
    plain = "".join(char if char.isprintable() else " " for char in text)
    return plain.replace("\\", "\\\\").replace('"', '\\"')


def compress(body: bytes) -> bytes:
    """gzip at the quickest level: what upstream does for large answers. Runs without the interpreter lock."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
    return compressor.compress(body) + compressor.flush()
