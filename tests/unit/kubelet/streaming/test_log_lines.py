"""The CRI log format and what the options of a request make of it; which container's log is meant."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timonel.api.errors import ApiError, BadRequest, Invalid, NotFound
from timonel.api.objects import Object
from timonel.kubelet.streaming.logs.choice import choose_container_id
from timonel.kubelet.streaming.logs.follow import tail_start
from timonel.kubelet.streaming.logs.lines import LogLines, nanoseconds, padded
from timonel.kubelet.streaming.logs.options import LogOptions, parse_log_options

from .fakes import pod

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LOG = (
    b"2026-01-02T03:04:05.1Z stdout F one\n"
    b"2026-01-02T03:04:06.000000002Z stderr F two\n"
    b"2026-01-02T03:04:07Z stdout P thr\n"
    b"2026-01-02T03:04:08Z stdout F ee\n"
    b"not a log line\n"
    b"2026-01-02T03:04:09Z stdout F \n"
    b"2026-01-02T05:04:10+02:00 stdout F a\rb c\n"
)
SECOND = 1_000_000_000
T5 = int(NOW.timestamp()) * SECOND


def read(options: LogOptions, log: bytes = LOG) -> bytes:
    lines = LogLines(options)
    return lines.feed(log) + lines.finish()


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        (LogOptions(), b"one\ntwo\nthree\n\na\rb c\n"),
        (LogOptions(stream="Stdout"), b"one\nthree\n\na\rb c\n"),
        (LogOptions(stream="Stderr"), b"two\n"),
        (LogOptions(limit_bytes=5), b"one\nt"),
        (LogOptions(since=T5 + SECOND + 2), b"two\nthree\n\na\rb c\n"),
        (LogOptions(since=T5 + SECOND + 3), b"three\n\na\rb c\n"),
        (LogOptions(since=T5 + 5 * SECOND), b"a\rb c\n"),
        (
            LogOptions(timestamps=True),
            b"2026-01-02T03:04:05.100000000Z one\n2026-01-02T03:04:06.000000002Z two\n"
            b"2026-01-02T03:04:07.000000000Z three\n2026-01-02T03:04:09.000000000Z \n"
            b"2026-01-02T05:04:10.000000000+02:00 a\rb c\n",
        ),
        (LogOptions(tail_lines=2), b"one\ntwo\n"),  # the file is opened that many lines before its end
        (LogOptions(tail_lines=0), b""),
        (LogOptions(tail_lines=0, follow=True), b"one\ntwo\nthree\n\na\rb c\n"),
    ],
)
def test_what_is_seen(options: LogOptions, seen: bytes) -> None:
    assert read(options) == seen


def test_lines_that_do_not_parse_are_counted() -> None:
    lines = LogLines(LogOptions(timestamps=True))
    lines.feed(LOG + b"2026-01-02Tnoon-sharp-Z stdout F x\n2026-01-02T03:04:05Z stdin F x\n\n")
    assert lines.dropped == 4


def test_a_last_line_without_newline_is_shown_at_the_end() -> None:
    assert read(LogOptions(), b"2026-01-02T03:04:05Z stdout F half") == b"half"


@given(
    st.lists(st.integers(0, len(LOG)), max_size=8),
    st.sampled_from([LogOptions(), LogOptions(timestamps=True), LogOptions(limit_bytes=9), LogOptions(since=T5 + 1)]),
)
def test_any_split_gives_the_same_output(cuts: list[int], options: LogOptions) -> None:
    lines = LogLines(options)
    edges = [0, *sorted(cuts), len(LOG)]
    pieces = [lines.feed(LOG[start:end]) for start, end in pairwise(edges)]
    assert b"".join(pieces) + lines.finish() == read(options)


def test_timestamps() -> None:
    assert padded(b"2026-01-02T03:04:05.12Z") == b"2026-01-02T03:04:05.120000000Z"
    assert nanoseconds(b"1970-01-01T00:00:01.000000007Z") == SECOND + 7
    assert nanoseconds(b"1970-01-01T01:00:01+01:00") == SECOND


@given(st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"")), max_size=12), st.integers(0, 15))
def test_the_tail_begins_so_many_lines_before_the_end(lines: list[bytes], count: int) -> None:
    file = BytesIO(b"".join(line + b"\n" for line in lines))
    start = tail_start(file, count, block_bytes=7)
    assert file.getvalue()[start:].count(b"\n") == min(count, len(lines))
    assert start == 0 or file.getvalue()[start - 1 : start] == b"\n"


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ({}, LogOptions()),
        (
            {"follow": "true", "previous": "1", "timestamps": ""},
            LogOptions(follow=True, previous=True, timestamps=True),
        ),
        ({"follow": "false", "previous": "0"}, LogOptions()),
        ({"tailLines": "10", "limitBytes": "1"}, LogOptions(tail_lines=10, limit_bytes=1)),
        ({"tail": "all", "tailLines": "3"}, LogOptions()),
        ({"tail": "5"}, LogOptions(tail_lines=5)),
        ({"sinceSeconds": "5"}, LogOptions(since=T5 - 5 * SECOND)),
        ({"sinceTime": "2026-01-02T03:04:05Z"}, LogOptions(since=T5)),
        ({"stream": "Stderr"}, LogOptions(stream="Stderr")),
    ],
)
def test_options(query: dict[str, str], options: LogOptions) -> None:
    assert parse_log_options(query, NOW) == options


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"tailLines": "x"}, BadRequest),
        ({"sinceTime": "yesterday"}, BadRequest),
        ({"tailLines": "-1"}, Invalid),
        ({"limitBytes": "0"}, Invalid),
        ({"sinceSeconds": "0"}, Invalid),
        ({"sinceSeconds": "1", "sinceTime": "2026-01-02T03:04:05Z"}, Invalid),
        ({"stream": "Both"}, Invalid),
        ({"stream": "Stdout", "tailLines": "1"}, Invalid),
    ],
)
def test_options_that_are_refused(query: dict[str, str], error: type[ApiError]) -> None:
    with pytest.raises(error):
        parse_log_options(query, NOW)


def status(**fields: object) -> Object:
    return pod(containerStatuses=[{"name": "app", **fields}])


ENDED: Object = {"terminated": {"containerID": "containerd://old"}}


@pytest.mark.parametrize(
    ("of", "previous", "container_id"),
    [
        (status(state={"running": {}}, containerID="containerd://now"), False, "now"),
        (status(state={"running": {}}, containerID="containerd://now", lastState=ENDED), True, "old"),
        (status(state=ENDED), False, "old"),
        (status(state={"terminated": {}}, lastState=ENDED), False, "old"),
        (status(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState=ENDED), False, "old"),
    ],
)
def test_which_container_is_meant(of: Object, previous: bool, container_id: str) -> None:
    assert choose_container_id(of, "app", previous=previous) == container_id


@pytest.mark.parametrize(
    ("of", "previous", "message"),
    [
        (status(state={"running": {}}), True, 'previous terminated container "app" in pod "web" not found'),
        (
            status(state={"waiting": {"reason": "ContainerCreating"}}),
            False,
            'container "app" in pod "web" is waiting to start: ContainerCreating',
        ),
        (
            status(state={"waiting": {"reason": "ErrImagePull"}}),
            False,
            'container "app" in pod "web" is waiting to start: image can\'t be pulled',
        ),
        (
            status(state={"waiting": {"reason": "ImagePullBackOff"}}),
            False,
            'container "app" in pod "web" is waiting to start: trying and failing to pull image',
        ),
        (status(state={"terminated": {}}), False, 'container "app" in pod "web" is terminated'),
        (status(), False, 'container "app" in pod "web" is waiting to start - no logs yet'),
        (pod(), False, 'container "app" in pod "web" is not available'),
    ],
)
def test_when_there_is_no_log(of: Object, previous: bool, message: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        choose_container_id(of, "app", previous=previous)
    assert refusal.value.message == message


def test_a_container_the_pod_does_not_have() -> None:
    with pytest.raises(NotFound, match='container "nope" not found in pod "web"'):
        choose_container_id(pod(), "nope", previous=False)
