"""The encoding of SPDY/3.1: bytes of the draft, and any cut of the byte stream gives the same frames."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timonel.kubelet.streaming.spdy.dictionary import HEADER_DICTIONARY
from timonel.kubelet.streaming.spdy.frames import (
    Data,
    Frame,
    FrameReader,
    FrameWriter,
    GoAway,
    HeadersFrame,
    Ping,
    RstStream,
    Settings,
    SpdyError,
    SynReply,
    SynStream,
    WindowUpdate,
)

stream_ids = st.integers(1, 0x7FFFFFFF)
texts = st.text(st.characters(codec="utf-8"), max_size=30)
headers = st.lists(st.tuples(texts.map(str.lower).filter(lambda t: t == t.lower()), texts), max_size=4).map(tuple)
words = st.integers(0, 0xFFFFFFFF)
frames: st.SearchStrategy[Frame] = st.one_of(
    st.builds(
        SynStream, stream_ids, headers, st.booleans(), st.booleans(), st.integers(0, 0x7FFFFFFF), st.integers(0, 7)
    ),
    st.builds(SynReply, stream_ids, headers, st.booleans()),
    st.builds(RstStream, stream_ids, words),
    st.builds(
        Settings,
        st.lists(st.tuples(st.integers(0, 0xFFFFFF), st.integers(0, 255), words), max_size=3).map(tuple),
        st.booleans(),
    ),
    st.builds(Ping, words),
    st.builds(GoAway, stream_ids, words),
    st.builds(HeadersFrame, stream_ids, headers, st.booleans()),
    st.builds(WindowUpdate, stream_ids, st.integers(0, 0x7FFFFFFF)),
    st.builds(Data, stream_ids, st.binary(max_size=200), st.booleans()),
)


def encoded(*sent: Frame) -> bytes:
    writer = FrameWriter()
    return b"".join(writer.encode(frame) for frame in sent)


@given(st.lists(frames, max_size=6), st.data())
def test_any_split_gives_the_same_frames(sent: list[Frame], data: st.DataObject) -> None:
    wire = encoded(*sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    reader = FrameReader()
    received = [
        frame
        for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)
        for frame in reader.feed(wire[start:end])
    ]
    assert received == sent


# Byte layouts of draft 3.1, section 2.6.
@pytest.mark.parametrize(
    ("frame", "wire"),
    [
        (Data(1, b"hi", fin=True), "00000001 01000002 6869"),
        (Data(0x7FFFFFFF, b""), "7fffffff 00000000"),
        (RstStream(5, 5), "80030003 00000008 00000005 00000005"),
        (Settings(((4, 1, 100),), clear=True), "80030004 0100000c 00000001 01000004 00000064"),
        (Ping(1), "80030006 00000004 00000001"),
        (GoAway(7, 1), "80030007 00000008 00000007 00000001"),
        (WindowUpdate(3, 0x10000), "80030009 00000008 00000003 00010000"),
    ],
)
def test_layout_without_headers(frame: Frame, wire: str) -> None:
    assert encoded(frame).hex() == wire.replace(" ", "")


def test_syn_stream_layout_and_header_block() -> None:
    wire = encoded(SynStream(1, (("StreamType", "error"),), fin=True, unidirectional=True, priority=3))
    assert wire[:5].hex() == "8003000103"  # control, version 3, type 1, flags FIN and UNIDIRECTIONAL
    assert int.from_bytes(wire[5:8], "big") == len(wire) - 8
    assert wire[8:18].hex() == "00000001000000006000"
    plain = zlib.decompressobj(zdict=HEADER_DICTIONARY).decompress(wire[18:])
    assert plain == b"\0\0\0\1\0\0\0\x0astreamtype\0\0\0\5error"


def test_dictionary_is_the_one_of_the_draft() -> None:
    assert len(HEADER_DICTIONARY) == 1423
    assert zlib.adler32(HEADER_DICTIONARY) == 0xE3C6A7C2


def test_unknown_control_frames_are_skipped() -> None:
    unknown = bytes.fromhex("8003000b 00000003 010203")
    assert list(FrameReader().feed(unknown + encoded(Ping(2)))) == [Ping(2)]


def _block(plain: bytes) -> bytes:
    deflate = zlib.compressobj(zdict=HEADER_DICTIONARY)
    block = deflate.compress(plain) + deflate.flush(zlib.Z_SYNC_FLUSH)
    body = b"\0\0\0\1" + block
    return bytes.fromhex("80030002") + len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    ("wire", "why"),
    [
        (bytes.fromhex("80020006 00000004 00000001"), "SPDY version 2"),
        (bytes.fromhex("80030006 00000002 0000"), "PING of 2 bytes"),
        (bytes.fromhex("80030003 00000004 00000001"), "RST_STREAM of 4 bytes"),
        (bytes.fromhex("80030004 00000004 00000009"), "cannot hold 9 entries"),
        (bytes.fromhex("80030001 00ffffff"), "control frame of 16777215 bytes"),
        (bytes.fromhex("80030002 00000006 00000001 abcd"), "does not inflate"),
        (_block(b"\0\0\0\2\0\0\0\1a\0\0\0\1b"), "ends inside a header"),
        (_block(b"\0\0\0\0x"), "more than its headers"),
        (_block(b"\0\0\0\1\0\0\0\1a" + (1 << 20).to_bytes(4, "big") + bytes(1 << 20)), "inflates to more than"),
    ],
)
def test_broken_frames_are_refused(wire: bytes, why: str) -> None:
    with pytest.raises(SpdyError, match=why):
        list(FrameReader().feed(wire))


@given(st.binary(max_size=300))
def test_noise_is_refused_or_waited_for_but_never_crashes(noise: bytes) -> None:
    try:
        list(FrameReader().feed(noise))
    except SpdyError:
        pass
