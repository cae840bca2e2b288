"""Logs of the node itself: who asks for what, how the journal is asked, and that nothing else is read.

Source: kubernetes.io/docs/concepts/cluster-administration/system-logs, "Log query"
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from multidict import MultiDict

from timonel.kubelet.streaming.node_logs import server as node_logs
from timonel.kubelet.streaming.node_logs.query import BadQuery, journal_command, parse_query
from timonel.kubelet.streaming.server import KubeletServer, KubeletServerConfig
from timonel.testing.clock import VirtualClock

from .fakes import Certificates, FakeBackend, FakeReviewer


def asked(*pairs: tuple[str, str]) -> MultiDict[str]:
    return MultiDict(pairs)


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ([("query", " ")], 400, "query cannot be empty"),
        ([("sinceTime", "yesterday")], 400, "invalid time format"),
        ([("boot", "x")], 400, "invalid syntax"),
        ([("query", "a;b")], 406, "input contains unsupported characters"),
        ([("query", "x" * 257)], 406, "length must be less than 256"),
        ([("query", name) for name in "abcde"], 406, "Too many: 5: must have at most 4 items"),
        ([("query", "kubelet"), ("query", "/syslog")], 406, "cannot specify a file and service"),
        ([("query", "/a"), ("query", "/b")], 406, "cannot specify more than one file"),
        ([("query", "/a"), ("tailLines", "3")], 406, "cannot specify file with options"),
        ([("query", "a"), ("boot", "1")], 406, "must be less than 1"),
        ([("query", "a"), ("tailLines", "100001")], 406, "must be between 0 and 100000, inclusive"),
        ([("query", "a"), ("pattern", "(")], 406, "pattern: Invalid value"),
        (
            [("query", "a"), ("sinceTime", "2026-01-02T00:00:00Z"), ("untilTime", "2026-01-01T00:00:00Z")],
            406,
            "must be after `sinceTime`",
        ),
    ],
)
def test_what_cannot_be_asked(query: list[tuple[str, str]], status: int, text: str) -> None:
    with pytest.raises(BadQuery) as caught:
        parse_query(asked(*query))
    assert caught.value.status == status
    assert text in str(caught.value)


def test_the_journal_is_asked_for_what_was_asked() -> None:
    query = parse_query(
        asked(
            ("query", "kubelet"),
            ("query", "containerd"),
            ("sinceTime", "2026-01-01T10:00:00+02:00"),
            ("untilTime", "2026-01-02T00:00:00Z"),
            ("tailLines", "7"),
            ("pattern", "err.*"),
            ("boot", "-1"),
        )
    )
    assert journal_command(query, query.services) == [
        "journalctl", "--utc", "--no-pager", "--since=2026-01-01 08:00:00", "--until=2026-01-02 00:00:00",
        "--pager-end", "--lines=7", "--unit=kubelet", "--unit=containerd", "--grep=err.*", "--case-sensitive=false",
        "--boot", "-1", "--output=short-precise",
    ]  # fmt: skip


@pytest.fixture
async def client(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[aiohttp.ClientSession]:
    (tmp_path / "log/app").mkdir(parents=True)
    (tmp_path / "log/syslog").write_text("a line\n")
    (tmp_path / "log/app/app.log").write_text("of app\n")
    (tmp_path / "secret").write_text("secret\n")
    os.symlink("../secret", tmp_path / "log/out")
    os.symlink("syslog", tmp_path / "log/in")
    os.mkfifo(tmp_path / "log/pipe")
    (tmp_path / "agent.log").write_text("of the kubelet\n")

    async def output(command: list[str]) -> AsyncIterator[bytes]:
        yield b"ssh.service\n" if "--field" in command else " ".join(command).encode()

    monkeypatch.setattr(node_logs, "_output", output)
    cert, key = certificates.pair("server")
    config = KubeletServerConfig(
        cert,
        key,
        certificates.ca_file,
        address="127.0.0.1",
        port=0,
        log_folder=str(tmp_path / "log"),
        answers_log_queries=True,
        service_logs={"kubelet": str(tmp_path / "agent.log")},
    )
    server = KubeletServer(config=config, backend=FakeBackend(), client=FakeReviewer(), clock=VirtualClock())
    running = asyncio.create_task(server.run())
    await server.wait_ready()
    connector = aiohttp.TCPConnector(ssl=certificates.client_context("admin"))
    async with aiohttp.ClientSession(f"https://127.0.0.1:{server.port}", connector=connector) as session:
        yield session
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/logs/syslog", 200, "a line\n"),
        ("/logs/in", 200, "a line\n"),  # a link that stays inside
        ("/logs/app/app.log", 200, "of app\n"),
        ("/logs/out", 404, "404 page not found\n"),
        ("/logs/%2e%2e/secret", 404, "404 page not found\n"),
        ("/logs/pipe", 404, "404 page not found\n"),  # nobody waits for a writer
        ("/logs/none", 404, "404 page not found\n"),
        ("/logs/?query=/syslog", 200, "a line\n"),
        ("/logs/?query=../secret", 404, "404 page not found\n"),
        ("/logs/?query=app", 200, "of app\n"),
        ("/logs/?query=kubelet", 200, "of the kubelet\n"),
        ("/logs/?query=none", 200, "\nlog not found for none\n"),
        ("/logs/?query=ssh&tailLines=2", 200, "journalctl --utc --no-pager --pager-end --lines=2 --unit=ssh"),
        ("/logs/?query=app&tailLines=2", 200, "\noptions present and query resolved to log files for [app]"),
        ("/logs/?query=a;b", 406, "unsupported characters"),
    ],
)
async def test_answers(client: aiohttp.ClientSession, path: str, status: int, text: str) -> None:
    async with client.get(path) as answer:
        assert answer.status == status
        assert text in await answer.text()


async def test_a_folder_is_listed(client: aiohttp.ClientSession) -> None:
    async with client.get("/logs/") as answer:
        body = await answer.text()
    assert '<a href="app/">app/</a>' in body
    assert '<a href="syslog">syslog</a>' in body
