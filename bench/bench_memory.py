"""What 10 000 pods of 2.5 KB as stored cost: growth of the resident memory of a server process of its own.

    python -m bench.bench_memory [--pods 10000]

They are created through the API, listed once and labelled in part, as clients would; then counted.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

import orjson
import uvloop

from bench import bench_apiserver
from bench.bench_apiserver import Load, pod

BUDGET_MEGABYTES = 120
PODS = "/api/v1/namespaces/default/pods"


def resident_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        server = subprocess.Popen(  # noqa: ASYNC220 — before any load runs
            [sys.executable, bench_apiserver.__file__, "--serve", directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert server.stdout is not None
        assert server.stdin is not None
        try:
            told = orjson.loads(server.stdout.readline())
            load = Load(told["port"], told["ca"], told["token"])
            await bench_apiserver.prepare(load)
            await load.rate(lambda number: load.request("GET", PODS), 1)
            before = resident_megabytes(server.pid)
            numbers = iter(range(count))

            async def create() -> None:
                connection = await load.connect()
                for number in numbers:
                    status, body = await connection.send(load.request("POST", PODS, pod(f"pod-{number:05}", number)))
                    if status != 201:
                        raise SystemExit(f"unexpected answer {status}: {body[:500]!r}")
                connection.writer.close()

            await asyncio.gather(*(create() for _ in range(16)))
            grown = resident_megabytes(server.pid) - before
            _, listed = await (await load.connect()).send(load.request("GET", f"{PODS}?limit=500"))
            change = {"metadata": {"labels": {"round": "2"}}}
            kind = "application/merge-patch+json"
            await load.times(
                lambda number: load.request("PATCH", f"{PODS}/pod-{number:05}", change, kind), min(count, 1000)
            )
            after = resident_megabytes(server.pid) - before
        finally:
            server.stdin.close()
            server.wait(20)
    print(f"server before                                 {before:10.0f} MB")
    what = f"{count} pods of {len(listed) // 500} bytes"
    print(f"{what:45} {grown:10.0f} MB more   budget {BUDGET_MEGABYTES} MB for 10000")
    print(f"{'and after 1000 of them were labelled':45} {after:10.0f} MB more")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=10000)
    uvloop.run(main(parser.parse_args().pods))
