"""Logs over the wire: whole, followed until the container ends, across rotations, errors before the first byte."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from timonel.kubelet.streaming.logs.changes import POLL_SECONDS, DirectoryChanges
from timonel.kubelet.streaming.logs.follow import LogFile
from timonel.testing.clock import VirtualClock

from .conftest import Node
from .fakes import pod

STAMP = "2026-01-02T03:04:05.000000001Z"
PATH = "/containerLogs/default/web/app"


def append(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.write("".join(f"{STAMP} stdout F {line}\n" for line in lines))


@pytest.fixture
def log(node: Node) -> Path:
    node.backend.known["web"] = pod(
        containerStatuses=[{"name": "app", "state": {"running": {}}, "containerID": "containerd://c1"}]
    )
    path = node.folder / "0.log"
    node.backend.logs["c1"] = str(path)
    node.backend.ended["c1"] = asyncio.Event()
    return path


async def test_the_whole_log_and_its_tail(node: Node, log: Path) -> None:
    append(log, "one", "two", "three")
    async with node.client.get(PATH) as answer:
        assert answer.headers["Content-Type"] == "text/plain"
        assert (answer.status, await answer.text()) == (200, "one\ntwo\nthree\n")
    async with node.client.get(PATH + "?tailLines=1&timestamps=true") as answer:
        assert await answer.text() == f"{STAMP} three\n"


async def test_following_begins_at_once_and_ends_with_the_container(node: Node, log: Path) -> None:
    log.touch()
    async with node.client.get(PATH + "?follow=true") as answer:
        assert answer.status == 200  # before there is a single line
        append(log, "one")
        assert await answer.content.readline() == b"one\n"
        append(log, "two")
        assert await answer.content.readline() == b"two\n"
        append(log, "last")
        node.backend.ended["c1"].set()
        assert await answer.content.read() == b"last\n"


async def test_following_goes_on_across_rotations(node: Node, log: Path) -> None:
    append(log, "one")
    async with node.client.get(PATH + "?follow=true") as answer:
        assert await answer.content.readline() == b"one\n"
        old = log.with_name("0.log.20260102-030405")
        os.rename(log, old)
        append(old, "written after the rename")
        append(log, "in the new file")
        assert await answer.content.readline() == b"written after the rename\n"
        assert await answer.content.readline() == b"in the new file\n"
        os.rename(log, log.with_name("0.log.20260102-030406"))
        append(log, "in the third")
        assert await answer.content.readline() == b"in the third\n"
        node.backend.ended["c1"].set()
        assert await answer.content.read() == b""


async def test_a_half_written_line_waits_for_its_rest(node: Node, log: Path) -> None:
    with log.open("w") as file:
        file.write(f"{STAMP} stdout F ha")
    async with node.client.get(PATH + "?follow=true&tailLines=5") as answer:
        with log.open("a") as file:
            file.write("lf\n")
        assert await answer.content.readline() == b"half\n"
        node.backend.ended["c1"].set()


async def test_a_limit_ends_a_followed_log(node: Node, log: Path) -> None:
    append(log, "one", "two")
    async with node.client.get(PATH + "?follow=true&limitBytes=5") as answer:
        assert await answer.text() == "one\nt"


async def test_a_client_that_leaves_ends_the_following(node: Node, log: Path) -> None:
    append(log, "one")
    answer = await node.client.get(PATH + "?follow=true")
    assert await answer.content.readline() == b"one\n"
    answer.close()
    async with asyncio.timeout(10):
        await node.backend.followers_gone.wait()


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/containerLogs/default/gone/app", 404, 'pod "gone" does not exist'),
        ("/containerLogs/default/web/nope", 404, 'container "nope" not found in pod "web"'),
        (PATH + "?previous=true", 400, 'previous terminated container "app" in pod "web" not found'),
        (PATH + "?tailLines=x", 400, '{"message": "Unable to decode query."}'),
        (PATH + "?tailLines=-1", 422, '{"message": "Invalid request."}'),
        (PATH, 400, 'failed to open log file "{log}": No such file or directory'),
    ],
)
async def test_errors(node: Node, log: Path, path: str, status: int, text: str) -> None:
    async with node.client.get(path) as answer:
        assert (answer.status, await answer.text()) == (status, text.replace("{log}", str(log)))


async def test_without_inotify_followers_are_woken_once_a_second(tmp_path: Path) -> None:
    clock, wake = VirtualClock(), asyncio.Event()
    changes = DirectoryChanges(clock=clock)
    with changes.watch(str(tmp_path / "missing"), wake):
        await clock.advance(POLL_SECONDS / 2)
        assert not wake.is_set()
        await clock.advance(POLL_SECONDS / 2)
        assert wake.is_set()
    changes.close()


async def test_one_watch_serves_several_followers_of_a_directory(tmp_path: Path) -> None:
    changes = DirectoryChanges(clock=VirtualClock())
    one, other = asyncio.Event(), asyncio.Event()
    with changes.watch(str(tmp_path), one):
        with changes.watch(str(tmp_path), other):
            (tmp_path / "a").touch()
            await asyncio.gather(one.wait(), other.wait())
        one.clear()
        (tmp_path / "b").touch()
        await one.wait()
    changes.close()


def test_a_log_rotated_twice_in_a_moment_is_found_at_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "0.log"
    append(path, "one")
    log = LogFile(str(path))
    log.open(None)
    assert b"one" in log.read()
    path.rename(tmp_path / "0.log.1")
    append(path, "two")
    whole = os.stat

    def stat(*args: Any, **more: Any) -> os.stat_result:
        there = whole(*args, **more)
        path.rename(tmp_path / "0.log.2")  # between the look and the opening
        monkeypatch.setattr(os, "stat", whole)
        return there

    monkeypatch.setattr(os, "stat", stat)
    assert log.read() == b""
    append(path, "three")
    assert b"three" in log.read()
    log.close()
