"""How long a node waits for an answer while one user asks with a thousand connections and never stops.

    python -m bench.bench_overload [--connections 1000] [--seconds 8]

Server, noise and node are a process each. Once with priority and fairness, once with plain limits. The node's requests
are of level node-high, the noise of global-default. Refused noise asks again at once, as no well-behaved client does.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import orjson
import uvloop

from bench.bench_apiserver import Connection, Load, prepare

_PAUSE = 0.02


async def serve(directory: Path, fair: bool) -> None:
    from timonel.testing.server import start_api_server

    server = await start_api_server(
        directory,
        store_path=str(directory / "store.db"),
        audit_log=directory / "audit.log",
        enable_priority_and_fairness=fair,
    )
    print(orjson.dumps({"port": server.api.port, "ca": str(server.ca), "token": server.token,
                        "alice": server.alice_token}).decode(), flush=True)  # fmt: skip
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until the parent closes our input
    await server.stop()


async def make_noise(load: Load, connections: int, seconds: float) -> None:
    request = load.request("GET", "/api/v1/namespaces/pods/pods/pod-007")
    codes: Counter[int] = Counter()
    opened: list[Connection] = []
    for _ in range(connections):
        opened.append(await load.connect())
    deadline = time.perf_counter() + seconds

    async def work(connection: Connection) -> None:
        while time.perf_counter() < deadline:
            status, _ = await connection.send(request)
            codes[status] += 1

    print("noise", flush=True)
    await asyncio.gather(*map(work, opened))
    print(" ".join(f"{code}: {count / seconds:.0f}/s" for code, count in sorted(codes.items())), flush=True)


async def ask_as_node(load: Load, seconds: float) -> list[float]:
    """Seconds of each answer, in order of length."""
    connection = await load.connect()
    head = "Impersonate-User: system:node:node-1\r\nImpersonate-Group: system:nodes\r\n\r\n"
    request = load.request("GET", "/api/v1/nodes/node-1").replace(b"\r\n\r\n", f"\r\n{head}".encode())
    times: list[float] = []
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        started = time.perf_counter()
        status, body = await connection.send(request)
        times.append(time.perf_counter() - started)
        if status != 200:
            raise SystemExit(f"unexpected answer {status}: {body[:300]!r}")
        await asyncio.sleep(_PAUSE)
    return sorted(times)


async def measure(fair: bool, connections: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "bench.bench_overload"]
        server = subprocess.Popen(  # noqa: ASYNC220 — before any load runs
            [*command, "--serve", directory, "--fair", str(int(fair))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert server.stdout is not None
        assert server.stdin is not None
        try:
            told = orjson.loads(server.stdout.readline())
            load = Load(told["port"], told["ca"], told["token"])
            await prepare(load)
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}}
            await (await load.connect()).send(load.request("POST", "/api/v1/nodes", node))
            quiet = await ask_as_node(load, 2)
            noise = subprocess.Popen(  # noqa: ASYNC220
                [*command, "--noise", str(told["port"]), told["ca"], told["alice"], "--connections", str(connections),
                 "--seconds", str(seconds)], stdout=subprocess.PIPE, text=True
            )  # fmt: skip
            assert noise.stdout is not None
            await asyncio.get_running_loop().run_in_executor(None, noise.stdout.readline)
            loud = await ask_as_node(load, seconds - 1)
            what, _ = noise.communicate()
            name = "priority and fairness" if fair else "plain limits"
            for when, times in (("quiet", quiet), ("loud", loud)):
                middle, late = times[len(times) // 2], times[int(len(times) * 0.99)]
                print(
                    f"{name:22} {when:6} node's GET p50 {middle * 1000:6.1f} ms  p99 {late * 1000:6.1f} ms", flush=True
                )
            print(f"{name:22} noise  {what.strip()}", flush=True)
        finally:
            server.stdin.close()
            server.wait(20)


async def main(connections: int, seconds: float) -> None:
    for fair in (False, True):
        await measure(fair, connections, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--serve", type=Path)
    parser.add_argument("--fair", type=int, default=1)
    parser.add_argument("--noise", nargs=3)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(options.serve, bool(options.fair)))
    elif options.noise:
        port, ca, token = options.noise
        uvloop.run(make_noise(Load(int(port), ca, token), options.connections, options.seconds))
    else:
        uvloop.run(main(options.connections, options.seconds))
