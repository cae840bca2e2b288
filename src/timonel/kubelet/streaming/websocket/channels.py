"""Several streams over one WebSocket: each message begins with its channel's number.

Protocols differ in three ways (see PROTOCOLS): how a channel is written (a byte, or a digit before base64), whether
the error channel ends with a JSON Status, and whether one channel can be half-closed (v5: a message of 255 and the
channel's number).
Source: KEP-4006 and kubernetes.io/docs/reference/using-api/api-concepts ("pods/exec", WebSocket).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
"""Channels of exec and attach."""

CLOSE_SIGNAL = 255

TUNNEL_PREFIX = "SPDY/3.1+"
TUNNEL_SUFFIX = ".k8s.io"


@dataclass(frozen=True, slots=True)
class ChannelProtocol:
    name: str
    """Value of Sec-WebSocket-Protocol; "" for clients that name none."""
    base64: bool = False
    status: bool = False
    """The error channel carries a Status at the end, also for success, with the exit code."""
    close_signal: bool = False


PROTOCOLS: dict[str, ChannelProtocol] = {
    protocol.name: protocol
    for protocol in (
        ChannelProtocol(""),
        ChannelProtocol("channel.k8s.io"),
        ChannelProtocol("base64.channel.k8s.io", base64=True),
        ChannelProtocol("v4.channel.k8s.io", status=True),
        ChannelProtocol("v4.base64.channel.k8s.io", base64=True, status=True),
        ChannelProtocol("v5.channel.k8s.io", status=True, close_signal=True),
    )
}

PORT_FORWARD_PROTOCOLS = ("", "v4.channel.k8s.io", "v4.base64.channel.k8s.io")


class ChannelError(Exception):
    """A message that the protocol does not allow."""


@dataclass(frozen=True, slots=True)
class ChannelData:
    channel: int
    data: bytes


@dataclass(frozen=True, slots=True)
class ChannelClosed:
    """The client will send no more on this channel."""

    channel: int


def requested_protocols(header_values: Iterable[str]) -> list[str]:
    """Sec-WebSocket-Protocol, which may come in several lines, as a list in the client's order."""
    return [name.strip() for value in header_values for name in value.split(",") if name.strip()]


def choose_protocol(requested: Iterable[str], supported: Iterable[str] = tuple(PROTOCOLS)) -> ChannelProtocol | None:
    """The client's first choice that is spoken here; None when there is none. Naming none is a choice too."""
    allowed = set(supported)
    return next((PROTOCOLS[name] for name in list(requested) or [""] if name in allowed), None)


def tunnelled_protocols(requested: Iterable[str]) -> list[str]:
    """What SPDY over WebSocket shall carry: ["SPDY/3.1+portforward.k8s.io"] -> ["portforward.k8s.io"]."""
    return [
        name.removeprefix(TUNNEL_PREFIX)
        for name in requested
        if name.startswith(TUNNEL_PREFIX) and name.endswith(TUNNEL_SUFFIX)
    ]


def decode(protocol: ChannelProtocol, message: bytes) -> ChannelData | ChannelClosed | None:
    """One message of the client; None for an empty one, which means nothing. Raises ChannelError.

    Text and binary messages are the same here: clients differ in which they send.
    """
    if not message:
        return None
    if protocol.close_signal and message[0] == CLOSE_SIGNAL:
        if len(message) != 2:
            raise ChannelError(f"close signal of {len(message)} bytes, it has exactly 2")
        return ChannelClosed(message[1])
    if not protocol.base64:
        return ChannelData(message[0], message[1:])
    channel = message[0] - ord("0")
    if not 0 <= channel <= 9:
        raise ChannelError(f"channel {message[:1]!r} is not a digit")
    try:
        return ChannelData(channel, base64.b64decode(message[1:], validate=True))
    except binascii.Error as exc:
        raise ChannelError(f"channel {channel} is not base64: {exc}") from exc


def encode(protocol: ChannelProtocol, channel: int, data: bytes) -> bytes | str:
    """A message to the client: str is to be sent as text, bytes as binary."""
    if protocol.base64:
        return chr(ord("0") + channel) + base64.b64encode(data).decode()
    return bytes((channel,)) + data
