"""The supervisor with real, tiny processes: restarts, readiness, reload, stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from timonel.cluster.spawn import Part
from timonel.cluster.supervisor import LOG_LIMIT_BYTES, Supervisor, rotate_log
from timonel.testing.waiting import wait_until

READY = """
import os, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect(os.environ["NOTIFY_SOCKET"])
s.sendall(b"READY=1\\nSTATUS=at work")
time.sleep(600)
"""


class Harness:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts_file = folder / "parts.json"
        self.socket = folder / "s.sock"

    def part(self, name: str, code: str, **kwargs: Any) -> dict[str, Any]:
        log = str(self.folder / f"{name}.log")
        return {"name": name, "argv": [sys.executable, "-c", code], "log": log, **kwargs}

    def write(self, *parts: dict[str, Any]) -> None:
        self.parts_file.write_text(json.dumps(parts))

    async def ask(self, operation: str) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        writer.write(json.dumps({"op": operation}).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await reader.readline())
        writer.close()
        return answer

    async def part_when(self, name: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            parts = (await self.ask("status"))["parts"]
            return next((part for part in parts if part["name"] == name and condition(part)), None)

        found = await wait_until(look, seconds=60)
        assert found is not None
        return found


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    made = Harness(tmp_path)
    made.write()
    supervisor = Supervisor(parts_file=made.parts_file, socket_path=made.socket)
    task = asyncio.create_task(supervisor.run())
    await wait_until(made.socket.exists)
    yield made
    await made.ask("stop")
    await task
    assert not made.socket.exists()


async def test_a_part_says_when_it_is_ready(harness: Harness) -> None:
    harness.write(harness.part("a", READY))
    await harness.ask("reload")
    part = await harness.part_when("a", lambda part: part["state"] == "ready")
    assert part["message"] == "at work"
    assert part["residentBytes"] > 0


async def test_a_killed_part_comes_back_with_another_pid(harness: Harness) -> None:
    harness.write(harness.part("a", READY))
    await harness.ask("reload")
    first = await harness.part_when("a", lambda part: part["state"] == "ready")
    os.kill(first["pid"], signal.SIGKILL)
    second = await harness.part_when("a", lambda part: part["state"] == "ready" and part["pid"] != first["pid"])
    assert second["restarts"] == 1
    assert second["lastExit"] == "signal SIGKILL"


async def test_a_part_that_fails_backs_off_and_others_do_not_notice(harness: Harness) -> None:
    harness.write(harness.part("bad", "raise SystemExit(3)"), harness.part("good", READY))
    await harness.ask("reload")
    bad = await harness.part_when("bad", lambda part: part["restarts"] >= 2)
    assert bad["lastExit"] == "exit code 3"
    good = await harness.part_when("good", lambda part: part["state"] == "ready")
    assert good["restarts"] == 0


async def test_a_program_that_does_not_exist_is_said_so(harness: Harness) -> None:
    harness.write({"name": "none", "argv": ["/does/not/exist"], "log": str(harness.folder / "none.log")})
    await harness.ask("reload")
    part = await harness.part_when("none", lambda part: bool(part["lastExit"]))
    assert part["lastExit"].startswith("not started: ")


async def test_reload_leaves_unchanged_parts_alone(harness: Harness) -> None:
    harness.write(harness.part("a", READY), harness.part("b", READY))
    await harness.ask("reload")
    a = await harness.part_when("a", lambda part: part["state"] == "ready")
    b = await harness.part_when("b", lambda part: part["state"] == "ready")
    harness.write(harness.part("a", READY), harness.part("b", READY, env={"X": "1"}))
    await harness.ask("reload")
    changed = await harness.part_when("b", lambda part: part["state"] == "ready" and part["pid"] != b["pid"])
    assert changed["restarts"] == 0
    assert (await harness.part_when("a", lambda part: True))["pid"] == a["pid"]
    harness.write(harness.part("a", READY))
    await harness.ask("reload")
    assert [part["name"] for part in (await harness.ask("status"))["parts"]] == ["a"]
    assert not Path(f"/proc/{changed['pid']}").exists()


async def test_a_part_that_ignores_sigterm_is_killed(harness: Harness) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + READY
    harness.write(harness.part("deaf", deaf, stop_seconds=0.2))
    await harness.ask("reload")
    part = await harness.part_when("deaf", lambda part: part["state"] == "ready")
    harness.write()
    await harness.ask("reload")
    assert not Path(f"/proc/{part['pid']}").exists()


async def test_nonsense_on_the_socket_is_answered_or_closed(harness: Harness) -> None:
    assert "unknown operation" in (await harness.ask("dance"))["error"]
    for nonsense in (b"\n", b"[]\n", b"{\n", b""):
        reader, writer = await asyncio.open_unix_connection(str(harness.socket))
        writer.write(nonsense)
        writer.write_eof()
        await reader.read()
        writer.close()
    assert (await harness.ask("status"))["parts"] == []


def test_a_log_that_grew_too_long_starts_anew_and_keeps_one_before(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    with open(log, "wb") as file:
        file.truncate(LOG_LIMIT_BYTES + 1)
    rotate_log(log)
    assert log.stat().st_size == 0
    assert (tmp_path / "part.log.1").stat().st_size == LOG_LIMIT_BYTES + 1
    log.write_text("short")
    rotate_log(log)
    assert log.read_text() == "short"


def test_parts_survive_being_written(tmp_path: Path) -> None:
    part = Part("a", ("x", "y"), "/log", {"K": "v"}, "ns", "host", 3.0)
    from dataclasses import asdict

    assert Part.from_json(json.loads(json.dumps(asdict(part)))) == part
