"""`kill -9` at any moment loses no acknowledged write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from timonel.api.clock import SystemClock
from timonel.storage.sqlite import open_sqlite

CHILD = Path(__file__).with_name("crash_child.py")


def acknowledged_before_kill(path: Path, reports: int) -> list[bytes]:
    """Runs the child until it has reported so much, kills it, and returns all complete reports."""
    child = subprocess.Popen([sys.executable, str(CHILD), str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child, child.stdout:
        text = b""
        while text.count(b"\n") < reports:
            chunk = child.stdout.read1(65536)
            assert chunk, "the child ended by itself"
            text += chunk
        child.kill()
        text += child.stdout.read()
    return text.split(b"\n")[:-1]


@pytest.mark.parametrize("reports", [1, 40, 700, 3000])
async def test_killed_under_load(tmp_path: Path, reports: int) -> None:
    path = tmp_path / "state.db"
    newest_revision = 0
    for _ in range(2):
        latest: dict[int, tuple[int, int | None]] = {}
        for line in acknowledged_before_kill(path, reports):
            worker, round_number, revision = line.split()
            latest[int(worker)] = (int(round_number), None if revision == b"deleted" else int(revision))
        store = await open_sqlite(str(path), clock=SystemClock())
        newest_acknowledged = max((revision or 0 for _, revision in latest.values()), default=0)
        assert store.delivered_revision >= max(newest_acknowledged, newest_revision)
        newest_revision = store.delivered_revision
        for worker, (round_number, revision) in latest.items():
            entry = await store.get(f"/worker/{worker}")
            # One more write may have been committed and not yet reported.
            if revision is None:
                assert entry is None or int(entry.value.split()[0]) == round_number + 1
            elif entry is None:
                assert (round_number + 1) % 17 == 0
            else:
                assert entry.mod_revision == revision or (
                    entry.mod_revision > revision and int(entry.value.split()[0]) == round_number + 1
                )
        assert await store.create("/after", b"") == newest_revision + 1
        await store.delete("/after", newest_revision + 1)
        await store.close()
