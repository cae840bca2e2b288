"""The words of exec, attach and port-forward inside a SPDY connection, and the Status that ends a command.

Source: the subprotocols channel.k8s.io (v1) to v4.channel.k8s.io and portforward.k8s.io, as kubectl and containerd
speak them; versions differ in resizing (v3) and in the JSON Status with the exit code (v4).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from timonel.api.errors import BadRequest, InternalError
from timonel.api.objects import Object, get_path
from timonel.kubelet.streaming.backend import StreamRequest

SPDY_UPGRADE = "SPDY/3.1"
PROTOCOL_HEADER = "X-Stream-Protocol-Version"
ACCEPTED_PROTOCOLS_HEADER = "X-Accepted-Stream-Protocol-Versions"

COMMAND_PROTOCOL = "v4.channel.k8s.io"
PORT_FORWARD_PROTOCOL = "portforward.k8s.io"

STREAM_TYPE = "streamtype"
PORT = "port"
REQUEST_ID = "requestid"


def parse_streams(query: Mapping[str, str]) -> StreamRequest:
    """`input=1&output=1&error=1&tty=1`; a terminal has no separate stderr. Raises BadRequest when nothing is wanted."""
    tty = query.get("tty") == "1"
    streams = StreamRequest(
        stdin=query.get("input") == "1",
        stdout=query.get("output") == "1",
        stderr=query.get("error") == "1" and not tty,
        tty=tty,
    )
    if not (streams.stdin or streams.stdout or streams.stderr):
        raise BadRequest("you must specify at least 1 of stdin, stdout, stderr")
    return streams


def parse_ports(values: Iterable[str]) -> list[int]:
    """`port=80,443&port=8080` of port-forward over WebSocket channels. Raises BadRequest."""
    texts = list(values)
    if not texts:
        raise BadRequest('query parameter "port" is required')
    ports: list[int] = []
    for text in texts:
        if not text:
            raise BadRequest('query parameter "port" cannot be empty')
        for part in text.split(","):
            if not (part.isascii() and part.isdigit() and int(part) <= 0xFFFF):
                raise BadRequest(f'unable to parse "{text}" as a port')
            if int(part) < 1:
                raise BadRequest(f'port "{text}" must be > 0')
            ports.append(int(part))
    return ports


def header(headers: Iterable[tuple[str, str]], name: str) -> str:
    return next((value for key, value in headers if key.lower() == name), "")


def parse_status(data: bytes) -> Object:
    """What the error stream of v4 carried; anything but a Status becomes an internal error with that text."""
    try:
        status: Any = orjson.loads(data)
    except orjson.JSONDecodeError:
        status = None
    if isinstance(status, dict) and isinstance(status.get("status"), str):
        return status
    text = data.decode("utf-8", "replace") or "the container runtime closed the stream without a status"
    return InternalError(text).status


def failure_text(status: Object) -> bytes:
    """How protocols before v4 report: nothing for success, else the message."""
    if status.get("status") == "Success":
        return b""
    return (get_path(status, "message", default="") or "unknown error").encode()
