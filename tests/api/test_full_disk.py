"""A disk that is really full: writes fail and say why, reads go on, and writing resumes when there is room."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.objects import config_map, service
from timonel.storage.protocol import StoreError
from timonel.storage.sqlite import open_sqlite
from timonel.testing.clock import VirtualClock
from timonel.testing.server import start_api_server

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
SERVICES = "/api/v1/namespaces/default/services"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=6m", "timonel-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mounting, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system takes root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Until not one page more fits."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


def large(name: str) -> dict[str, object]:
    return {"metadata": {"name": name}, "data": {"x": "y" * 20_000}}


async def test_writes_fail_and_resume(small_disk: Path, tmp_path: Path) -> None:
    server = await start_api_server(tmp_path, store_path=str(small_disk / "store.db"))
    try:
        _, kept = await server.request("POST", CONFIG_MAPS, config_map("kept"))
        _, listed = await server.request("GET", CONFIG_MAPS)
        ballast = fill(small_disk)
        answers = [await server.request("POST", CONFIG_MAPS, large(f"large-{n}")) for n in range(5)]
        status, answer = answers[-1]
        assert status == 500
        assert (answer["kind"], answer["reason"]) == ("Status", "InternalError")
        assert "no space left to write" in answer["message"]
        assert "writing works again without a restart" in answer["message"]
        stored = {f"large-{n}" for n, (status, _) in enumerate(answers) if status == 201}
        status, _ = await server.request(
            "POST", SERVICES, {**service("web"), "metadata": {"name": "web", "annotations": {"x": "y" * 20_000}}}
        )
        assert status == 500
        # Reads go on: of one, of all, a watch, and health.
        assert await server.request("GET", f"{CONFIG_MAPS}/kept") == (200, kept)
        _, listed = await server.request("GET", CONFIG_MAPS)
        assert {item["metadata"]["name"] for item in listed["items"]} == {"kept", *stored}
        watching = asyncio.create_task(
            server.watch(f"{CONFIG_MAPS}?watch=1&resourceVersion={listed['metadata']['resourceVersion']}", 1)
        )
        assert (await server.request("GET", "/readyz"))[0] == 200
        ballast.unlink()
        assert (await server.request("POST", CONFIG_MAPS, large("after")))[0] == 201
        (event,) = await watching
        assert event["object"]["metadata"]["name"] == "after"
        # What was refused took nothing: neither the name nor an address.
        assert (await server.request("POST", CONFIG_MAPS, large("large-4")))[0] == (409 if "large-4" in stored else 201)
        assert (await server.request("POST", SERVICES, service("web")))[0] == 201
        _, addresses = await server.request("GET", "/apis/networking.k8s.io/v1/ipaddresses")
        assert len(addresses["items"]) == 2
    finally:
        await server.stop()
    again = await open_sqlite(str(small_disk / "store.db"), clock=VirtualClock())
    found = await again.range("/registry/configmaps/default/")
    assert {entry.key.rpartition("/")[2] for entry in found.entries} >= {"kept", "after", *stored}
    await again.close()


async def test_a_store_opens_and_reads_on_a_full_disk(small_disk: Path) -> None:
    path = str(small_disk / "store.db")
    store = await open_sqlite(path, clock=VirtualClock())
    await store.create("/a", b"1")
    await store.close()
    fill(small_disk)
    store = await open_sqlite(path, clock=VirtualClock())
    entry = await store.get("/a")
    assert entry is not None
    assert entry.value == b"1"
    await store.close()


async def test_a_log_that_fills_the_disk_is_emptied_into_the_file(small_disk: Path) -> None:
    """One object written again and again: the file stays small, and only the log beside it could fill the disk."""
    store = await open_sqlite(str(small_disk / "store.db"), clock=VirtualClock())
    revision = await store.create("/a", b"x" * 2000)
    for n in range(1500):
        revision = await store.update("/a", b"x" * 2000, revision)
        if n % 100 == 0:
            await store.compact(revision)
    await store.close()


async def test_history_is_dropped_once_there_is_room_again(small_disk: Path) -> None:
    clock = VirtualClock()
    store = await open_sqlite(str(small_disk / "store.db"), clock=clock)
    revision = await store.create("/a", b"x" * 2000)
    for _ in range(200):
        revision = await store.update("/a", b"x" * 2000, revision)
    ballast = fill(small_disk)
    with pytest.raises(StoreError, match="no space left to write"):
        for _ in range(200):
            revision = await store.update("/a", b"x" * 20000, revision)
    with pytest.raises(StoreError, match="no space left to write"):
        await store.compact(revision)
    assert len(await store.changes("/", 1, revision)) == revision - 1  # nothing was forgotten
    ballast.unlink()
    await store.compact(revision)
    for _ in range(200):
        revision = await store.update("/a", b"x" * 2000, revision)
    await store.compact(revision)
    entry = await store.get("/a")
    assert entry is not None
    await store.close()
    assert os.path.getsize(small_disk / "store.db") < 5_000_000
