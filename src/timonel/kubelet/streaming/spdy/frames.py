"""SPDY/3.1 frames to bytes and back. One `FrameReader` and one `FrameWriter` per connection: both carry zlib state.

A header block is a list of (name, value) pairs here. Names are lower case on the wire; a value may hold several strings
joined by NUL. Limits protect against a hostile peer: a control frame is at most 64 KiB, its headers at most 256 KiB
once inflated; a data frame is what its 24 bit length allows.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from timonel.kubelet.streaming.spdy.dictionary import HEADER_DICTIONARY

VERSION = 3
MAX_CONTROL_FRAME_BYTES = 64 * 1024
MAX_HEADER_BYTES = 256 * 1024
MAX_STREAM_ID = 0x7FFFFFFF
MAX_DATA_BYTES = 0xFFFFFF

Headers = tuple[tuple[str, str], ...]

_FLAG_FIN = 0x01
_FLAG_UNIDIRECTIONAL = 0x02
_FLAG_CLEAR_SETTINGS = 0x01
_CONTROL_BIT = 0x80000000

_WORDS = {count: Struct(f">{count}I") for count in range(1, 3)}
_PREFIX = Struct(">II")
_SYN_STREAM = Struct(">IIBB")


class FrameType(IntEnum):
    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class ResetStatus(IntEnum):
    """Why a stream was reset (draft 3.1, section 2.6.3)."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    UNSUPPORTED_VERSION = 4
    CANCEL = 5
    INTERNAL_ERROR = 6
    FLOW_CONTROL_ERROR = 7
    STREAM_IN_USE = 8
    STREAM_ALREADY_CLOSED = 9
    FRAME_TOO_LARGE = 11


class GoAwayStatus(IntEnum):
    OK = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2


class SpdyError(Exception):
    """The peer broke the protocol; the connection cannot go on."""


@dataclass(frozen=True, slots=True)
class SynStream:
    stream_id: int
    headers: Headers
    fin: bool = False
    unidirectional: bool = False
    associated_id: int = 0
    priority: int = 0


@dataclass(frozen=True, slots=True)
class SynReply:
    stream_id: int
    headers: Headers = ()
    fin: bool = False


@dataclass(frozen=True, slots=True)
class RstStream:
    stream_id: int
    status: int


@dataclass(frozen=True, slots=True)
class Settings:
    """`entries` are (id, flags, value)."""

    entries: tuple[tuple[int, int, int], ...] = ()
    clear: bool = False


@dataclass(frozen=True, slots=True)
class Ping:
    id: int


@dataclass(frozen=True, slots=True)
class GoAway:
    last_good_stream_id: int
    status: int = GoAwayStatus.OK


@dataclass(frozen=True, slots=True)
class HeadersFrame:
    stream_id: int
    headers: Headers
    fin: bool = False


@dataclass(frozen=True, slots=True)
class WindowUpdate:
    """`stream_id` 0 is the whole connection."""

    stream_id: int
    delta: int


@dataclass(frozen=True, slots=True)
class Data:
    stream_id: int
    data: bytes
    fin: bool = False


Frame = SynStream | SynReply | RstStream | Settings | Ping | GoAway | HeadersFrame | WindowUpdate | Data


class FrameReader:
    """Bytes in, whole frames out; how the bytes are cut makes no difference."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._inflate = zlib.decompressobj(zdict=HEADER_DICTIONARY)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Frames completed by `data`, known types only: unknown control frames are skipped as the draft demands.

        Raises SpdyError; nothing read after that means anything.
        """
        self._buffer += data
        while len(self._buffer) >= 8:
            word, flags_and_length = _PREFIX.unpack_from(self._buffer)
            flags, length = flags_and_length >> 24, flags_and_length & 0xFFFFFF
            if word & _CONTROL_BIT and length > MAX_CONTROL_FRAME_BYTES:
                raise SpdyError(f"control frame of {length} bytes, at most {MAX_CONTROL_FRAME_BYTES} are accepted")
            if len(self._buffer) < 8 + length:
                return
            payload = bytes(memoryview(self._buffer)[8 : 8 + length])
            del self._buffer[: 8 + length]
            if not word & _CONTROL_BIT:
                yield Data(word, payload, bool(flags & _FLAG_FIN))
                continue
            frame = self._control(word >> 16 & 0x7FFF, word & 0xFFFF, flags, payload)
            if frame is not None:
                yield frame

    def _control(self, version: int, kind: int, flags: int, payload: bytes) -> Frame | None:
        if version != VERSION:
            raise SpdyError(f"SPDY version {version}, only {VERSION} is spoken")
        fin = bool(flags & _FLAG_FIN)
        match kind:
            case FrameType.SYN_STREAM:
                _need(payload, 10, "SYN_STREAM")
                stream_id, associated, priority, _slot = _SYN_STREAM.unpack_from(payload)
                return SynStream(
                    stream_id & MAX_STREAM_ID,
                    self._headers(payload[10:]),
                    fin,
                    bool(flags & _FLAG_UNIDIRECTIONAL),
                    associated & MAX_STREAM_ID,
                    priority >> 5,
                )
            case FrameType.SYN_REPLY:
                return SynReply(_word(payload, "SYN_REPLY") & MAX_STREAM_ID, self._headers(payload[4:]), fin)
            case FrameType.HEADERS:
                return HeadersFrame(_word(payload, "HEADERS") & MAX_STREAM_ID, self._headers(payload[4:]), fin)
            case FrameType.RST_STREAM:
                stream_id, status = _two_words(payload, "RST_STREAM")
                return RstStream(stream_id & MAX_STREAM_ID, status)
            case FrameType.SETTINGS:
                return _settings(payload, bool(flags & _FLAG_CLEAR_SETTINGS))
            case FrameType.PING:
                return Ping(_word(payload, "PING"))
            case FrameType.GOAWAY:
                last_good, status = _two_words(payload, "GOAWAY")
                return GoAway(last_good & MAX_STREAM_ID, status)
            case FrameType.WINDOW_UPDATE:
                stream_id, delta = _two_words(payload, "WINDOW_UPDATE")
                return WindowUpdate(stream_id & MAX_STREAM_ID, delta & MAX_STREAM_ID)
        return None

    def _headers(self, block: bytes) -> Headers:
        try:
            plain = self._inflate.decompress(block, MAX_HEADER_BYTES)
        except zlib.error as exc:
            raise SpdyError(f"header block does not inflate: {exc}") from exc
        if self._inflate.unconsumed_tail:
            raise SpdyError(f"header block inflates to more than {MAX_HEADER_BYTES} bytes")
        return _parse_headers(plain)


class FrameWriter:
    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=HEADER_DICTIONARY)

    def encode(self, frame: Frame) -> bytes:
        """Raises ValueError for data longer than 24 bits can say, and headers over the control frame limit."""
        match frame:
            case Data(stream_id, data, fin):
                if len(data) > MAX_DATA_BYTES:
                    raise ValueError(f"data frame of {len(data)} bytes, at most {MAX_DATA_BYTES} fit")
                return _PREFIX.pack(stream_id, (_FLAG_FIN if fin else 0) << 24 | len(data)) + data
            case SynStream(stream_id, headers, fin, unidirectional, associated, priority):
                flags = (_FLAG_FIN if fin else 0) | (_FLAG_UNIDIRECTIONAL if unidirectional else 0)
                body = _SYN_STREAM.pack(stream_id, associated, priority << 5, 0) + self._headers(headers)
                return _control_frame(FrameType.SYN_STREAM, flags, body)
            case SynReply(stream_id, headers, fin):
                return self._with_headers(FrameType.SYN_REPLY, stream_id, headers, fin)
            case HeadersFrame(stream_id, headers, fin):
                return self._with_headers(FrameType.HEADERS, stream_id, headers, fin)
            case RstStream(stream_id, status):
                return _control_frame(FrameType.RST_STREAM, 0, _WORDS[2].pack(stream_id, status))
            case Settings(entries, clear):
                body = _WORDS[1].pack(len(entries))
                for setting_id, flags, value in entries:
                    body += _WORDS[2].pack(flags << 24 | setting_id, value)
                return _control_frame(FrameType.SETTINGS, _FLAG_CLEAR_SETTINGS if clear else 0, body)
            case Ping(ping_id):
                return _control_frame(FrameType.PING, 0, _WORDS[1].pack(ping_id))
            case GoAway(last_good, status):
                return _control_frame(FrameType.GOAWAY, 0, _WORDS[2].pack(last_good, status))
            case WindowUpdate(stream_id, delta):
                return _control_frame(FrameType.WINDOW_UPDATE, 0, _WORDS[2].pack(stream_id, delta))

    def _with_headers(self, kind: FrameType, stream_id: int, headers: Headers, fin: bool) -> bytes:
        body = _WORDS[1].pack(stream_id) + self._headers(headers)
        return _control_frame(kind, _FLAG_FIN if fin else 0, body)

    def _headers(self, headers: Headers) -> bytes:
        plain = _WORDS[1].pack(len(headers))
        for name, value in headers:
            for text in (name.lower().encode(), value.encode()):
                plain += _WORDS[1].pack(len(text)) + text
        return self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


def _control_frame(kind: FrameType, flags: int, body: bytes) -> bytes:
    if len(body) > MAX_CONTROL_FRAME_BYTES:
        raise ValueError(f"control frame of {len(body)} bytes, at most {MAX_CONTROL_FRAME_BYTES} are sent")
    return _PREFIX.pack(_CONTROL_BIT | VERSION << 16 | kind, flags << 24 | len(body)) + body


def _need(payload: bytes, size: int, what: str) -> None:
    if len(payload) < size:
        raise SpdyError(f"{what} of {len(payload)} bytes, at least {size} are needed")


def _word(payload: bytes, what: str) -> int:
    _need(payload, 4, what)
    return int.from_bytes(payload[:4], "big")


def _two_words(payload: bytes, what: str) -> tuple[int, int]:
    _need(payload, 8, what)
    first, second = _WORDS[2].unpack_from(payload)
    return first, second


def _settings(payload: bytes, clear: bool) -> Settings:
    count = _word(payload, "SETTINGS")
    if len(payload) != 4 + 8 * count:
        raise SpdyError(f"SETTINGS of {len(payload)} bytes cannot hold {count} entries")
    entries = []
    for at in range(4, len(payload), 8):
        word, value = _WORDS[2].unpack_from(payload, at)
        entries.append((word & 0xFFFFFF, word >> 24, value))
    return Settings(tuple(entries), clear)


def _parse_headers(plain: bytes) -> Headers:
    count = _word(plain, "header block")
    at = 4
    texts: list[str] = []
    for _ in range(2 * count):
        length = int.from_bytes(plain[at : at + 4], "big")
        end = at + 4 + length
        if at + 4 > len(plain) or end > len(plain):
            raise SpdyError("header block ends inside a header")
        texts.append(plain[at + 4 : end].decode("utf-8", "replace"))
        at = end
    if at != len(plain):
        raise SpdyError("header block holds more than its headers")
    return tuple(zip(texts[::2], texts[1::2], strict=True))
