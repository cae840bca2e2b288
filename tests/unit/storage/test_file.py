"""The file: who owns it, what is said of a damaged one, a full disk, backups, and that it stays small."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from timonel.storage.protocol import StoreError
from timonel.storage.sqlite import open_sqlite
from timonel.testing.clock import VirtualClock


async def test_revisions_go_on_where_they_were_even_if_the_last_was_a_deletion_swept_away(tmp_path: Path) -> None:
    path = str(tmp_path / "state.db")
    store = await open_sqlite(path, clock=VirtualClock())
    await store.create("/a", b"1")
    await store.delete("/a", 2)
    await store.compact(3)
    await store.close()
    store = await open_sqlite(path, clock=VirtualClock())
    assert await store.current_revision() == 3
    assert await store.create("/a", b"1") == 4
    assert store.compacted_revision == 3
    await store.close()


async def test_readers_do_not_wait_for_the_writer(tmp_path: Path) -> None:
    store = await open_sqlite(str(tmp_path / "state.db"), clock=VirtualClock())
    await store.create("/a", b"1")
    blocked, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hold_the_writer() -> None:
        loop.call_soon_threadsafe(blocked.set)
        release.wait(10)

    held = store._call(hold_the_writer)
    await blocked.wait()
    entry = await store.get("/a")
    assert entry is not None
    assert entry.value == b"1"
    release.set()
    await held
    await store.close()


async def test_a_second_owner_is_told_who_the_first_is(tmp_path: Path) -> None:
    path = str(tmp_path / "state.db")
    store = await open_sqlite(path, clock=VirtualClock())
    with pytest.raises(StoreError, match=rf"^{path} is in use by process {os.getpid()} \(.*stop that first"):
        await open_sqlite(path, clock=VirtualClock())
    script = (
        "import asyncio, sys\n"
        "from timonel.api.clock import SystemClock\n"
        "from timonel.storage.sqlite import open_sqlite\n"
        "try: asyncio.run(open_sqlite(sys.argv[1], clock=SystemClock()))\n"
        "except Exception as exc: print(exc)"
    )
    said = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script, path], capture_output=True, text=True)
    assert f"in use by process {os.getpid()}" in said.stdout
    await store.close()
    await (await open_sqlite(path, clock=VirtualClock())).close()


async def test_a_damaged_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = await open_sqlite(str(path), clock=VirtualClock())
    for n in range(300):
        await store.create(f"/{n}", b"x" * 1000)
    await store.close()
    content = bytearray(path.read_bytes())
    content[8192:60000] = os.urandom(60000 - 8192)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"state\.db is damaged .*`timonel restore`"):
        await open_sqlite(str(path), clock=VirtualClock())
    path.write_bytes(b"not a database at all, whatever its name says" * 100)
    with pytest.raises(StoreError, match=r"state\.db is damaged"):
        await open_sqlite(str(path), clock=VirtualClock())


async def test_somebody_elses_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "firefox.sqlite"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE bookmarks (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="of another program"):
        await open_sqlite(str(path), clock=VirtualClock())
    assert path.read_bytes() == before


async def test_a_file_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await (await open_sqlite(str(path), clock=VirtualClock())).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 9")
    newer.close()
    with pytest.raises(StoreError, match="has format 9 and this release reads format 1"):
        await open_sqlite(str(path), clock=VirtualClock())


async def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file or directory; check the data directory"):
        await open_sqlite(str(tmp_path / "missing" / "state.db"), clock=VirtualClock())


async def test_a_full_disk_refuses_writes_and_they_resume(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = str(tmp_path / "state.db")
    store = await open_sqlite(path, clock=VirtualClock())
    revision = await store.create("/a", b"kept")
    await store._call(lambda: store._writer.connection.execute("PRAGMA max_page_count = 30").fetchall())
    results = await asyncio.gather(*(store.create(f"/big/{n}", b"x" * 9000) for n in range(40)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, StoreError)]
    assert refused
    assert "no space left to write" in str(refused[0])
    assert await store.current_revision() == revision + len(results) - len(refused)
    await store._call(lambda: store._writer.connection.execute("PRAGMA max_page_count = 100000").fetchall())
    after = await store.current_revision()
    assert await store.create("/big/again", b"x" * 9000) == after + 1
    assert await store.update("/a", b"new", revision) == after + 2
    await store.close()
    store = await open_sqlite(path, clock=VirtualClock())
    assert await store.current_revision() == after + 2
    await store.close()


async def test_a_backup_is_complete_while_writing_goes_on(tmp_path: Path) -> None:
    store = await open_sqlite(str(tmp_path / "state.db"), clock=VirtualClock())
    await asyncio.gather(*(store.create(f"/a/{n:04}", b"x" * 500) for n in range(500)))
    before = store.delivered_revision

    async def load() -> None:
        for n in range(200):
            await store.create(f"/b/{n:04}", b"y")

    await asyncio.gather(store.backup(str(tmp_path / "copy.db")), load())
    copy = await open_sqlite(str(tmp_path / "copy.db"), clock=VirtualClock())
    entries = (await copy.range("/")).entries
    assert len([entry for entry in entries if entry.key.startswith("/a/")]) == 500
    later = [entry.key for entry in entries if entry.key.startswith("/b/")]
    assert later == [f"/b/{n:04}" for n in range(len(later))]  # a prefix of the history, no holes
    assert await copy.current_revision() == before + len(later)
    assert not (tmp_path / "copy.db.partial").exists()
    await copy.close()
    await store.close()


async def test_the_store_and_its_backups_are_for_their_owner_only(tmp_path: Path) -> None:
    store = await open_sqlite(str(tmp_path / "state.db"), clock=VirtualClock())
    await store.create("/a", b"1")
    await store.backup(str(tmp_path / "copy.db"))
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert set(modes) >= {"state.db", "state.db-wal", "copy.db"}
    assert set(modes.values()) == {0o600}
    await store.close()


async def test_the_file_shrinks_again_when_history_goes(tmp_path: Path) -> None:
    store = await open_sqlite(str(tmp_path / "state.db"), clock=VirtualClock())
    revisions = await asyncio.gather(*(store.create(f"/{n}", b"x" * 2000) for n in range(100)))
    for _ in range(120):
        revisions = await asyncio.gather(
            *(store.update(f"/{n}", b"x" * 2000, revision) for n, revision in enumerate(revisions))
        )
    grown = await store.size_bytes()
    await store.compact(store.delivered_revision)
    while await store._call(lambda: store._writer.sweep.is_due):
        pass
    assert grown > 24_000_000
    assert await store.size_bytes() < 100 * 2000 * 4 + 6_000_000
    assert len((await store.range("/")).entries) == 100
    await store.close()


async def test_a_write_that_cannot_be_carried_out_at_all_does_not_stop_the_writer() -> None:
    store = await open_sqlite(":memory:", clock=VirtualClock())
    with pytest.raises(StoreError):
        await asyncio.wait_for(store.create("/no-text/\ud800", b"1"), 10)
    assert await asyncio.wait_for(store.create("/a", b"1"), 10) == 2
    await store.close()
