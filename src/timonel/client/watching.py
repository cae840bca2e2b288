"""The watch stream as an engine: bytes in, events out; no sockets here.

A watch answers with one JSON document a line, of any size, cut anywhere by the network.
Source: kubernetes.io/docs/reference/using-api/api-concepts#efficient-detection-of-changes
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, cast

import orjson

from timonel.api.errors import ApiError, InternalError, error_from_status
from timonel.api.objects import Object

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


class WatchEvent(NamedTuple):
    """A BOOKMARK's object holds nothing but kind, apiVersion and metadata.resourceVersion (and annotations)."""

    type: EventType
    object: Object


class WatchDecoder:
    """Feed it chunks; it yields events. Pieces of a long line are joined once, so cost is linear in its size."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[WatchEvent]:
        """Raises the error that an ERROR event carries, InternalError for what is not a watch event."""
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            if self._pieces:
                self._pieces.append(line)
                line = b"".join(self._pieces)
                self._pieces.clear()
            if line.strip():
                yield parse_watch_line(line)
        if rest:
            self._pieces.append(rest)


def parse_watch_line(line: bytes) -> WatchEvent:
    try:
        document = orjson.loads(line)
        kind, obj = document["type"], document["object"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as exc:
        raise InternalError(f"unable to decode an event from the watch stream: {exc}") from exc
    if kind == "ERROR":
        raise watch_error(obj)
    return WatchEvent(cast(EventType, kind), obj)


def watch_error(obj: Object) -> ApiError:
    return error_from_status(obj, obj.get("code") or 500)
