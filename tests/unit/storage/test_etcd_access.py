"""Being let in, being told no, large answers, slow consumers, backups."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from timonel.storage.etcd import EtcdConfig, open_etcd
from timonel.storage.etcd import store as store_module
from timonel.storage.etcd.client import EtcdClient
from timonel.storage.etcd.keys import Keyspace, prefix_end
from timonel.storage.etcd.snapshot import write_snapshot
from timonel.storage.protocol import StoreError
from timonel.testing.clock import VirtualClock
from timonel.testing.etcd import EtcdProcess


async def test_without_a_certificate_nobody_gets_in(new_config: Callable[[], EtcdConfig]) -> None:
    config = dataclasses.replace(new_config(), cert_file="", key_file="", call_seconds=0.5)
    with pytest.raises(StoreError, match="etcd"):
        await open_etcd(config, VirtualClock())


async def test_an_etcd_with_a_certificate_of_another_authority_is_not_trusted(
    new_config: Callable[[], EtcdConfig], etcd: EtcdProcess
) -> None:
    other = str(etcd.folder / "pki" / "front-proxy-ca.crt")
    with pytest.raises(StoreError, match=r"etcd is away at .*(?i:certificate|ssl|tls|handshak)"):
        await open_etcd(dataclasses.replace(new_config(), ca_file=other, call_seconds=0.5), VirtualClock())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"endpoints": ()}, "no etcd endpoint is configured"),
        ({"endpoints": ("127.0.0.1:2379",)}, "'127.0.0.1:2379' is no URL of the form https://host:port"),
        ({"ca_file": "/nowhere/ca.crt"}, "cannot read /nowhere/ca.crt, .*No such file"),
    ],
)
async def test_a_configuration_that_cannot_work(change: dict[str, object], said: str) -> None:
    config = dataclasses.replace(EtcdConfig(endpoints=("https://127.0.0.1:1",)), **change)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match=said):
        await open_etcd(config, VirtualClock())


def test_keys_and_where_a_prefix_ends() -> None:
    assert prefix_end(b"/a") == b"/b"
    assert prefix_end(b"/a\xff\xff") == b"/b"
    assert prefix_end(b"\xff") == prefix_end(b"") == b"\0"  # etcd's sign for no end
    plain, below = Keyspace(""), Keyspace("/cluster-a")
    assert plain.to_etcd("/registry/pods/default/web") == b"/registry/pods/default/web"
    assert below.to_etcd("/registry/x") == b"/cluster-a/registry/x"
    assert below.from_etcd(b"/cluster-a/registry/x") == "/registry/x"
    for space in (plain, below):
        assert space.to_etcd("/registry/\U0010ffff") in space.interval("/registry/")
        assert space.to_etcd("/registry") not in space.interval("/registry/")
        assert space.to_etcd("/registry0") not in space.interval("/registry/")
        assert space.marker not in space.interval("")
        assert space.to_etcd("/r/a") not in space.interval("/r/", "/r/b")
    assert below.marker in below.everything
    assert plain.from_etcd(b"\xff\xfe") not in ("", "/")  # foreign, and no text: no error either


async def test_long_ranges_are_read_in_pages_of_one_state(
    new_config: Callable[[], EtcdConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_PAGE", 7)
    store = await open_etcd(new_config(), VirtualClock())
    names = [f"/r/{n:02}" for n in range(30)]
    for name in names:
        revision = await store.create(name, b"x")
    ranging = store._client.range
    calls = 0

    async def range_and_write(request: object) -> object:
        nonlocal calls
        calls += 1
        answer = await ranging(request)  # type: ignore[arg-type]
        if calls == 1:
            await store.create("/r/29x", b"written between two pages")
        return answer

    monkeypatch.setattr(store._client, "range", range_and_write)
    found = await store.range("/r/")
    assert [entry.key for entry in found.entries] == names
    assert (found.revision, found.more, calls) == (revision, False, 5)
    for limit in (7, 8, 30, 31, 32):
        cut = await store.range("/r/", limit=limit)
        assert (len(cut.entries), cut.remaining) == (min(limit, 31), max(31 - limit, 0))
    await store.close()


async def test_answers_larger_than_one_message(new_config: Callable[[], EtcdConfig]) -> None:
    """gRPC's usual limit is 4 MB; etcd cuts what it tells watches into fragments of 2 MB."""
    store = await open_etcd(new_config(), VirtualClock())
    revision = base = await store.create("/a", b"0" * 1_000_000)
    for n in range(1, 8):
        revision = await store.update("/a", b"%d" % n * 1_000_000, revision)
    events = await store.changes("/", base, revision)
    assert [event.revision for event in events] == list(range(base + 1, revision + 1))
    assert all(event.previous is not None and len(event.previous) == 1_000_000 for event in events)
    for n in range(6):
        await store.create(f"/b{n}", b"x" * 1_000_000)
    assert len((await store.range("/b")).entries) == 6
    with pytest.raises(StoreError, match="larger than etcd takes"):
        await store.create("/c", b"x" * 2_500_000)
    await store.close()


async def test_a_consumer_that_stays_behind_is_cut_off(
    new_config: Callable[[], EtcdConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_WATCH_LAG", 10)
    store = await open_etcd(new_config(), VirtualClock())
    watch = store.watch("/", await store.current_revision() + 1)
    revision = await store.create("/a", b"")
    assert [event.revision for event in await anext(watch)] == [revision]
    for _ in range(11):
        revision = await store.update("/a", b"", revision)
    with pytest.raises(StoreError, match=r"fell \d+ revisions behind and was cut off"):
        await anext(watch)
    await store.close()


async def test_closing_the_store_ends_its_watches_with_an_error(new_config: Callable[[], EtcdConfig]) -> None:
    store = await open_etcd(new_config(), VirtualClock())
    watch = store.watch("/", await store.current_revision() + 1)
    await store.create("/a", b"")
    await anext(watch)
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(StoreError, match="the store is closed"):
        await waiting
    with pytest.raises(StoreError, match="the store is closed"):
        await anext(store.watch("/", 10**6))


async def test_a_backup_is_etcds_own_file(new_config: Callable[[], EtcdConfig], tmp_path: Path) -> None:
    store = await open_etcd(new_config(), VirtualClock())
    await store.create("/registry/configmaps/default/marker", b"to be found again")
    path = tmp_path / "snapshot.db"
    await store.backup(str(path))
    content = path.read_bytes()
    assert hashlib.sha256(content[:-32]).digest() == content[-32:]
    assert b"to be found again" in content
    assert path.stat().st_mode & 0o777 == 0o600
    assert await store.size_bytes() > 0
    with pytest.raises(StoreError, match=r"cannot write .*No such file"):
        await store.backup(str(tmp_path / "missing" / "x.db"))
    await store.defragment()
    assert await store.get("/registry/configmaps/default/marker") is not None
    await store.close()


@pytest.mark.parametrize("cut", [1, 40, 600])
async def test_a_backup_that_arrives_damaged_is_refused_and_leaves_nothing(tmp_path: Path, cut: int) -> None:
    data = bytes(range(256)) * 4
    whole = data + hashlib.sha256(data).digest()

    async def pieces(content: bytes) -> AsyncIterator[bytes]:
        for at in range(0, len(content), 100):
            yield content[at : at + 100]

    await write_snapshot(pieces(whole), str(tmp_path / "good"))
    assert (tmp_path / "good").read_bytes() == whole
    with pytest.raises(StoreError, match="arrived damaged"):
        await write_snapshot(pieces(whole[:-cut]), str(tmp_path / "bad"))
    with pytest.raises(StoreError, match="arrived damaged"):
        await write_snapshot(pieces(b"?" + whole[1:]), str(tmp_path / "bad"))
    assert [path.name for path in tmp_path.iterdir()] == ["good"]


async def test_the_client_can_be_closed_unused() -> None:
    await EtcdClient(EtcdConfig(endpoints=("https://127.0.0.1:1", "http://[::1]:2379"))).close()
