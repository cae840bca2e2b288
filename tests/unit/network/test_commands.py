"""System commands that hang are given up and leave no process behind."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from timonel.network.commands import CommandFailed, run_command
from timonel.testing.waiting import wait_until

# Writes its own pid, then becomes a program that does not end by itself.
HANGS = 'echo $$ > "$0"; exec sleep 600'


async def pid_from(file: Path) -> int:
    return int(await wait_until(lambda: file.exists() and file.read_text().strip()))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_output_and_failure() -> None:
    assert await run_command("cat", stdin="hello") == "hello"
    with pytest.raises(CommandFailed, match="false: "):
        await run_command("false")
    with pytest.raises(CommandFailed, match="no-such-program"):
        await run_command("no-such-program")


async def test_a_command_that_hangs_is_killed(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"did not end within 0\.3 s"):
        await run_command("sh", "-c", HANGS, str(tmp_path / "pid"), timeout_seconds=0.3)
    assert not is_alive(await pid_from(tmp_path / "pid"))


async def test_a_command_whose_caller_is_cancelled_is_killed(tmp_path: Path) -> None:
    task = asyncio.create_task(run_command("sh", "-c", HANGS, str(tmp_path / "pid")))
    pid = await pid_from(tmp_path / "pid")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_alive(pid)
