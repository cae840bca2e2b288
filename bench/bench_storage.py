"""What the store and the watch cache do without HTTP: the ceiling of the figures that clients see.

    python bench/bench_storage.py [DIRECTORY]

The directory decides which disk is measured; the figure beside it is that disk's own fdatasync.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from timonel.api.clock import SystemClock
from timonel.api.objects import Object
from timonel.storage.cache import WatchCache
from timonel.storage.codec import Codec, encode
from timonel.storage.etcd import open_etcd
from timonel.storage.protocol import Store
from timonel.storage.sqlite import SqliteStore, open_sqlite
from timonel.testing.etcd import EtcdProcess, etcd_binary

PODS = "/registry/pods/"
PAYLOAD = "x" * 1750  # makes an object of 2 KB


def pod(name: str) -> Object:
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "bench", "group": name[-1]}},
        "spec": {"nodeName": "node-1", "payload": PAYLOAD},
    }


def report(what: str, figure: float, unit: str) -> None:
    print(f"{what:<58}{figure:>12,.0f} {unit}")


def fdatasync_rate(directory: str) -> float:
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < 1:
            os.pwrite(file.fileno(), b"x" * 4096, 0)
            os.fdatasync(file.fileno())
            count += 1
        return count / (time.perf_counter() - start)


async def opened(directory: str) -> tuple[SqliteStore, WatchCache]:
    store = await open_sqlite(os.path.join(directory, "state.db"), clock=SystemClock())
    return store, await cache_of(store)


async def cache_of(store: Store) -> WatchCache:
    cache = WatchCache(
        store,
        PODS,
        codec=Codec(),
        fields={"spec.nodeName": lambda obj: obj["spec"].get("nodeName", "")},
        index_fields=("spec.nodeName",),
    )
    await cache.start()
    return cache


async def write_rate(cache: WatchCache, writers: int, seconds: float = 2) -> float:
    async def work(number: int) -> int:
        key = f"{PODS}default/w{writers}-{number}"
        plain = encode(pod(f"w{number}"))
        current, count = await cache.create(key, plain), 1
        while time.perf_counter() < end:
            current = await cache.update(key, plain, current.revision)
            count += 1
        return count

    end = time.perf_counter() + seconds
    return sum(await asyncio.gather(*map(work, range(writers)))) / seconds


async def fan_out_rate(cache: WatchCache, watchers: int, events: int = 300) -> float:
    """Events delivered a second by one writer to many watchers that build each event's line."""

    async def follow() -> None:
        watcher, seen = cache.watch(after_revision=cache.revision), 0
        async for batch in watcher:
            b"".join([event.wire(event.type) for event in batch])
            seen += len(batch)
            if seen >= events:
                watcher.close()
                return

    followers = [asyncio.create_task(follow()) for _ in range(watchers)]
    await asyncio.sleep(0)
    start = time.perf_counter()
    current = await cache.create(f"{PODS}default/fan{watchers}", encode(pod("fan")))
    for _ in range(events - 1):
        current = await cache.update(current.key, encode(pod("fan")), current.revision)
    await asyncio.gather(*followers)
    return watchers * events / (time.perf_counter() - start)


async def consistent_read_rate(cache: WatchCache, readers: int, seconds: float = 1) -> float:
    """Reads that wait until the cache has what any server has acknowledged."""

    async def read() -> int:
        count = 0
        while time.perf_counter() < end:
            await cache.catch_up()
            cache.get(f"{PODS}default/x")
            count += 1
        return count

    end = time.perf_counter() + seconds
    return sum(await asyncio.gather(*(read() for _ in range(readers)))) / seconds


async def handed_on_rate(writing: WatchCache, reading: WatchCache, writers: int, each: int = 50) -> float:
    """Changes a second that one server writes and another has in its cache."""

    async def work(number: int) -> None:
        key, plain = f"{PODS}default/h{number}", encode(pod(f"h{number}"))
        current = await writing.create(key, plain)
        for _ in range(each):
            current = await writing.update(key, plain, current.revision)

    start = time.perf_counter()
    await asyncio.gather(*map(work, range(writers)))
    await reading.catch_up()
    return writers * (each + 1) / (time.perf_counter() - start)


async def etcd_figures(directory: str) -> None:
    """The same on etcd: every write crosses two processes and TLS."""
    with EtcdProcess(Path(directory)) as etcd:
        stores = [await open_etcd(etcd.config(), SystemClock()) for _ in range(2)]
        one, two = [await cache_of(store) for store in stores]
        for writers in (1, 16, 64):
            report(f"etcd: durable updates of 2 KB, {writers} writers", await write_rate(one, writers), "/s")
        for readers in (1, 64):
            report(f"etcd: consistent reads, {readers} readers", await consistent_read_rate(one, readers), "/s")
        report("etcd: written by one server, in the other's cache", await handed_on_rate(one, two, 16), "/s")
        report("etcd: events delivered, 200 watchers, one writer", await fan_out_rate(one, 200, 100), "/s")
        for store in stores:
            await store.close()


def rate_of(work: Callable[[], object], seconds: float = 1) -> float:
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        work()
        count += 1
    return count / (time.perf_counter() - start)


async def main(directory: str) -> None:
    report("calibration: fdatasync of 4 KiB", fdatasync_rate(directory), "/s")
    store, cache = await opened(directory)
    for writers in (1, 16, 64):
        report(f"durable updates of 2 KB, {writers} writers", await write_rate(cache, writers), "/s")
    for watchers in (1, 200):
        report(f"events delivered, {watchers} watchers, one writer", await fan_out_rate(cache, watchers), "/s")
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for at in range(0, 10_000, 500):
        await asyncio.gather(
            *(cache.create(f"{PODS}many/p{n:05}", encode(pod(f"p{n:05}"))) for n in range(at, at + 500))
        )
    report("memory of 10 000 objects of 2 KB, all in", (tracemalloc.get_traced_memory()[0] - before) / 1e6, "MB")
    tracemalloc.stop()
    of_500 = f"{PODS}many/p00"
    report(
        "LIST of 500 objects, bytes joined",
        rate_of(lambda: b",".join([o.value for o in cache.list(of_500, limit=500)])),
        "/s",
    )
    report(
        "LIST of 500 objects by label, 50 match",
        rate_of(lambda: b",".join([o.value for o in cache.list(of_500, limit=500) if o.labels.get("group") == "7"])),
        "/s",
    )
    await store.compact(store.delivered_revision)
    while await store._call(lambda: store._writer.sweep.is_due):
        pass
    live = sum(len(cached.value) for cached in cache.list())
    report("live data after compaction", live / 1e6, "MB")
    report("store file after compaction", await store.size_bytes() / 1e6, "MB")
    await store.close()
    start = time.perf_counter()
    store, cache = await opened(directory)
    report("warm start with 10 000 objects of 2 KB", (time.perf_counter() - start) * 1000, "ms")
    await store.close()
    if etcd_binary() is None:
        print("etcd: left out, it is not installed (Debian: apt install etcd-server)")
        return
    await etcd_figures(directory)


if __name__ == "__main__":
    place = tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else None)
    try:
        asyncio.run(main(place))
    finally:
        shutil.rmtree(place)
