"""Writes as fast as it can and reports what was acknowledged; test_crash.py kills it."""

from __future__ import annotations

import asyncio
import os
import sys

from timonel.api.clock import SystemClock
from timonel.storage.sqlite import open_sqlite


async def main(path: str) -> None:
    store = await open_sqlite(path, clock=SystemClock())

    async def work(worker: int) -> None:
        key = f"/worker/{worker}"
        revision, round_number = 0, 0
        entry = await store.get(key)
        if entry is not None:
            revision, round_number = entry.mod_revision, int(entry.value.split()[0])
        while True:
            round_number += 1
            value = b"%d " % round_number + b"x" * 1500
            if round_number % 17 == 0 and revision:
                await store.delete(key, revision)
                os.write(1, b"%d %d deleted\n" % (worker, round_number))
                revision = 0
                continue
            if revision:
                revision = await store.update(key, value, revision)
            else:
                revision = await store.create(key, value)
            os.write(1, b"%d %d %d\n" % (worker, round_number, revision))
            if round_number % 100 == 0 and worker == 0:
                await store.compact(revision - 50)

    await asyncio.gather(*(work(worker) for worker in range(8)))


asyncio.run(main(sys.argv[1]))
