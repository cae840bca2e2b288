"""PodLogOptions of a query string: `?follow=true&tailLines=10&sinceSeconds=60…`.

Source: kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1 ("read log of the specified Pod").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from timonel.api.clock import parse_time
from timonel.api.errors import BadRequest, Invalid

STREAMS = ("All", "Stdout", "Stderr")


@dataclass(frozen=True, slots=True)
class LogOptions:
    """`since` is in nanoseconds since 1970, 0 for everything; `tail_lines` and `limit_bytes` None for no limit."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    since: int = 0
    tail_lines: int | None = None
    limit_bytes: int | None = None
    stream: str = "All"


def parse_log_options(query: Mapping[str, str], now: datetime) -> LogOptions:
    """Raises BadRequest for what cannot be read, Invalid for what makes no sense together."""
    tail = query.get("tailLines")
    if "tail" in query:  # an old name, with "all" for no limit
        tail = None if query["tail"] == "all" else query["tail"]
    since_seconds = _integer(query.get("sinceSeconds"))
    since_time = query.get("sinceTime") or ""
    options = LogOptions(
        follow=_flag(query.get("follow")),
        previous=_flag(query.get("previous")),
        timestamps=_flag(query.get("timestamps")),
        since=_since(since_seconds, since_time, now),
        tail_lines=_integer(tail),
        limit_bytes=_integer(query.get("limitBytes")),
        stream=query.get("stream") or "All",
    )
    wrong = (
        (options.tail_lines is not None and options.tail_lines < 0)
        or (options.limit_bytes is not None and options.limit_bytes < 1)
        or (since_seconds is not None and (since_time != "" or since_seconds < 1))
        or options.stream not in STREAMS
        or (options.stream != "All" and options.tail_lines is not None)
    )
    if wrong:
        raise Invalid('{"message": "Invalid request."}')
    return options


def _since(seconds: int | None, time: str, now: datetime) -> int:
    if seconds is not None:
        return int((now - timedelta(seconds=min(seconds, 10**9))).timestamp() * 1_000_000) * 1000
    if not time:
        return 0
    try:
        return int(parse_time(time).timestamp() * 1_000_000) * 1000
    except ValueError as exc:
        raise _unreadable() from exc


def _flag(text: str | None) -> bool:
    """How query parameters of Kubernetes say yes: anything but "", "0" and "false" (then "?follow" is a yes too)."""
    return text is not None and text.lower() not in ("0", "false")


def _integer(text: str | None) -> int | None:
    if text is None or text == "":
        return None
    try:
        return int(text, 10)
    except ValueError as exc:
        raise _unreadable() from exc


def _unreadable() -> BadRequest:
    return BadRequest('{"message": "Unable to decode query."}')
