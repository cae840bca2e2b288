"""WebSocket channel protocols: negotiation, messages, half-close; and the words of remote commands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timonel.api.errors import BadRequest
from timonel.kubelet.streaming.backend import StreamRequest
from timonel.kubelet.streaming.remotecommand import failure_text, parse_ports, parse_status, parse_streams
from timonel.kubelet.streaming.websocket.channels import (
    PORT_FORWARD_PROTOCOLS,
    PROTOCOLS,
    ChannelClosed,
    ChannelData,
    ChannelError,
    choose_protocol,
    decode,
    encode,
    requested_protocols,
    tunnelled_protocols,
)

V5 = PROTOCOLS["v5.channel.k8s.io"]
V4 = PROTOCOLS["v4.channel.k8s.io"]
BASE64 = PROTOCOLS["base64.channel.k8s.io"]


@pytest.mark.parametrize(
    ("requested", "chosen"),
    [
        (["v5.channel.k8s.io", "v4.channel.k8s.io"], "v5.channel.k8s.io"),
        (["v9.channel.k8s.io, v4.channel.k8s.io"], "v4.channel.k8s.io"),
        ([], ""),
        (["v9.channel.k8s.io"], None),
    ],
)
def test_the_clients_first_known_protocol_is_chosen(requested: list[str], chosen: str | None) -> None:
    protocol = choose_protocol(requested_protocols(requested))
    assert (protocol.name if protocol else None) == chosen


def test_port_forward_has_no_v5() -> None:
    assert choose_protocol(["v5.channel.k8s.io"], PORT_FORWARD_PROTOCOLS) is None


def test_tunnelled_protocols() -> None:
    assert tunnelled_protocols(["SPDY/3.1+portforward.k8s.io", "v4.channel.k8s.io", "SPDY/3.1+x"]) == [
        "portforward.k8s.io"
    ]


@pytest.mark.parametrize(
    ("protocol", "message", "event"),
    [
        (V5, b"\x00ls\n", ChannelData(0, b"ls\n")),
        (V5, b'\x04{"Width":80,"Height":24}', ChannelData(4, b'{"Width":80,"Height":24}')),
        (V5, b"\xff\x00", ChannelClosed(0)),
        (V4, b"\xff\x00", ChannelData(255, b"\x00")),
        (V4, b"", None),
        (BASE64, b"0bHMK", ChannelData(0, b"ls\n")),
    ],
)
def test_messages_of_the_client(protocol: object, message: bytes, event: object) -> None:
    assert decode(protocol, message) == event  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("protocol", "message"), [(V5, b"\xff"), (V5, b"\xff\x00\x00"), (BASE64, b"0!"), (BASE64, b"xYQ==")]
)
def test_messages_that_are_refused(protocol: object, message: bytes) -> None:
    with pytest.raises(ChannelError):
        decode(protocol, message)  # type: ignore[arg-type]


def test_messages_to_the_client() -> None:
    assert encode(V5, 1, b"out") == b"\x01out"
    assert encode(BASE64, 1, b"out") == "1b3V0"


@given(st.sampled_from(list(PROTOCOLS.values())), st.integers(0, 9), st.binary(max_size=50))
def test_what_is_encoded_is_decoded(protocol: object, channel: int, data: bytes) -> None:
    message = encode(protocol, channel, data)  # type: ignore[arg-type]
    raw = message if isinstance(message, bytes) else message.encode()
    assert decode(protocol, raw) == ChannelData(channel, data)  # type: ignore[arg-type]


def test_streams_of_a_query() -> None:
    assert parse_streams({"input": "1", "output": "1"}) == StreamRequest(stdin=True, stdout=True)
    assert parse_streams({"output": "1", "error": "1", "tty": "1"}) == StreamRequest(stdout=True, tty=True)
    with pytest.raises(BadRequest, match="you must specify at least 1 of stdin, stdout, stderr"):
        parse_streams({"input": "true", "tty": "1", "error": "1"})


def test_ports_of_a_query() -> None:
    assert parse_ports(["80,443", "8080"]) == [80, 443, 8080]
    for bad in ([], [""], ["0"], ["x"], ["65536"], ["-1"]):
        with pytest.raises(BadRequest):
            parse_ports(bad)


def test_the_status_that_ends_a_command() -> None:
    failed = b'{"metadata":{},"status":"Failure","message":"exit 3","reason":"NonZeroExitCode"}'
    assert parse_status(failed)["reason"] == "NonZeroExitCode"
    assert failure_text(parse_status(failed)) == b"exit 3"
    assert failure_text(parse_status(b'{"metadata":{},"status":"Success"}')) == b""
    assert parse_status(b"boom")["message"] == "boom"
    assert parse_status(b"")["code"] == 500
