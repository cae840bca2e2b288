"""Request rates of the API server: a server process of its own, TLS, RBAC, a store file, requests over keep-alive.

    python -m bench.bench_apiserver [--seconds 3] [--only get,list]

The load comes from this process with raw sockets and preassembled requests, for a client library would cost more than
the server does. Prints one line a figure, with the processor time the server took for each request, which says more
than the rate on a machine that others use too. Budgets are in design.md §6. Timings are never asserted in tests.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import uvloop

CONNECTIONS = 16
BUDGETS = {
    "get": ("GET one pod, 16 connections", 5500),
    "list": ("LIST 500 pods (about 1 MB)", 250),
    "label": ("LIST 500 pods by label, 50 match", 1500),
    "configmap": ("create ConfigMap, durable", 1500),
    "pod": ("create Pod, durable", 900),
    "patch": ("PATCH a pod's label", 1000),
    "status": ("PATCH a pod's status, as kubelets do", 0),
    "service": ("create Service with its IPAddress, durable", 0),
    "lease": ("PUT a Lease, as kubelets do", 0),
    "apply": ("server-side apply of a Deployment, new image", 0),
    "unchanged": ("server-side apply, nothing changes", 0),
    "opened": ("begin a watch of one object", 0),
    "watch": ("200 watchers, one writer, events delivered", 30000),
}
"""What a figure is called, and how many a second there should be; 0 where design.md names no number."""

Make = Callable[[int], bytes]


async def serve(directory: Path) -> None:
    from timonel.cluster.process import COLLECTION_THRESHOLDS, keep_what_is_there
    from timonel.testing.server import start_api_server

    gc.set_threshold(*COLLECTION_THRESHOLDS)
    server = await start_api_server(
        directory, store_path=str(directory / "store.db"), audit_log=directory / "audit.log"
    )
    keep_what_is_there()  # as the real process does
    print(orjson.dumps({"port": server.api.port, "ca": str(server.ca), "token": server.token,
                        "alice": server.alice_token}).decode(), flush=True)  # fmt: skip
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.read)  # until the parent closes our input
    await server.stop()


class Connection:
    """One keep-alive HTTP/1.1 connection that knows just enough to find the end of an answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, request: bytes) -> tuple[int, bytes]:
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        at = head.lower().index(b"content-length:")
        length = int(head[at + 15 : head.index(b"\r\n", at)])
        body = await self.reader.readexactly(length) if length else b""
        return int(head[9:12]), body


class Load:
    def __init__(self, port: int, ca: str, token: str, pid: int = 0) -> None:
        self.port = port
        self.pid = pid
        """The server's."""
        self.token = token
        self.tls = ssl.create_default_context(cafile=ca)
        self.count = 0
        """Requests sent, or events delivered, while measuring."""
        self.cpu = 0.0
        """Seconds of processor time of the server for them, where it is not just all that it used."""

    async def connect(self) -> Connection:
        return Connection(*await asyncio.open_connection("127.0.0.1", self.port, ssl=self.tls, limit=8 * 1024 * 1024))

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> bytes:
        data = b"" if body is None else orjson.dumps(body)
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\n"
        if data:
            head += f"Content-Type: {content_type}\r\nContent-Length: {len(data)}\r\n"
        return head.encode() + b"\r\n" + data

    async def rate(self, make: Make, seconds: float, *, connections: int = CONNECTIONS, good: int = 200) -> float:
        """Requests a second over `connections`; `make` gets a running number."""
        opened = [await self.connect() for _ in range(connections)]
        count = 0
        started = time.perf_counter()
        deadline = started + seconds

        async def work(connection: Connection) -> None:
            nonlocal count
            while time.perf_counter() < deadline:
                number = count
                count += 1
                status, body = await connection.send(make(number))
                if status != good:
                    raise SystemExit(f"unexpected answer {status}: {body[:500]!r}")

        await asyncio.gather(*map(work, opened))
        elapsed = time.perf_counter() - started
        for connection in opened:
            connection.writer.close()
        self.count += count
        return count / elapsed

    async def times(self, make: Make, count: int) -> None:
        """Before what is measured."""
        connection = await self.connect()
        for number in range(count):
            status, body = await connection.send(make(number))
            if status not in (200, 201):
                raise SystemExit(f"cannot prepare: {status} {body[:500]!r}")
        connection.writer.close()


def pod(name: str, index: int = 0) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "bench", "tenth": str(index % 10)}},
        "spec": {
            "containers": [
                {
                    "name": "main",
                    "image": "registry.example/app:1",
                    "ports": [{"containerPort": 8080}],
                    "env": [{"name": "A", "value": "1"}],
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                }
            ]
        },
    }


async def prepare(load: Load) -> None:
    connection = await load.connect()
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    for namespace in ("default", "pods"):
        if namespace != "default":
            ns = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            await connection.send(load.request("POST", "/api/v1/namespaces", ns))
        await connection.send(load.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", account))
    binding = {
        "metadata": {"name": "bench"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}],
    }
    await connection.send(load.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding))
    for index in range(500):
        status, body = await connection.send(
            load.request("POST", "/api/v1/namespaces/pods/pods", pod(f"pod-{index:03}", index))
        )
        if status != 201:
            raise SystemExit(f"cannot prepare: {status} {body[:500]!r}")


def deployment(name: str, image: str) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod(name)["spec"]}
    template["spec"]["containers"][0]["image"] = image
    spec = {"replicas": 3, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def running_status(number: int) -> dict[str, Any]:
    """Of a pod that runs, another one each time."""
    time, address = (
        f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}Z",
        f"10.1.{number // 250 % 250}.{number % 250}",
    )
    types = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    container = {
        "name": "main", "image": "registry.example/app:1", "imageID": "sha256:abc", "ready": True, "started": True,
        "containerID": f"containerd://{number}", "restartCount": 0, "state": {"running": {"startedAt": time}},
    }  # fmt: skip
    return {
        "phase": "Running",
        "hostIP": "10.0.0.1",
        "hostIPs": [{"ip": "10.0.0.1"}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": time,
        "conditions": [{"type": name, "status": "True", "lastTransitionTime": time} for name in types],
        "containerStatuses": [container],
    }


def creation(load: Load, path: str, obj: Callable[[str], dict[str, Any]]) -> Make:
    """Objects of new names in the default namespace."""
    run = os.urandom(3).hex()
    return lambda number: load.request("POST", f"{path}/namespaces/default/{PLURALS[obj]}", obj(f"x-{run}-{number}"))


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": "value" * 20}}


def service(name: str) -> dict[str, Any]:
    spec = {"selector": {"app": "bench"}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


PLURALS: dict[Callable[..., dict[str, Any]], str] = {config_map: "configmaps", service: "services", pod: "pods"}


async def measure(load: Load, name: str, seconds: float) -> float:
    base = "/api/v1/namespaces/pods/pods"
    made = {"configmap": config_map, "pod": pod, "service": service}
    match name:
        case "get":
            request = load.request("GET", f"{base}/pod-007")
            return await load.rate(lambda number: request, seconds)
        case "list":
            request = load.request("GET", base)
            return await load.rate(lambda number: request, seconds, connections=4)
        case "label":
            request = load.request("GET", f"{base}?labelSelector=tenth%3D3")
            return await load.rate(lambda number: request, seconds)
        case "configmap" | "pod" | "service":
            make = creation(load, "/api/v1", made[name])
            return await load.rate(make, seconds, connections=32, good=201)
        case "patch":

            def patch(number: int) -> bytes:
                change = {"metadata": {"labels": {"round": str(number)}}}
                kind = "application/merge-patch+json"
                return load.request("PATCH", f"{base}/pod-{number % 500:03}", change, kind)

            return await load.rate(patch, seconds)
        case "status":

            def report(number: int) -> bytes:
                status = running_status(number)
                path = f"{base}/pod-{number % 500:03}/status"
                return load.request("PATCH", path, {"status": status}, "application/merge-patch+json")

            return await load.rate(report, seconds)
        case "apply" | "unchanged":
            path = "/apis/apps/v1/namespaces/default/deployments/d-{}?fieldManager=bench"
            run = os.urandom(3).hex()

            def apply(number: int) -> bytes:
                image = "app:1" if name == "unchanged" else f"app:{run}-{number}"
                config = deployment(f"d-{number % 20}", image)
                return load.request("PATCH", path.format(number % 20), config, "application/apply-patch+yaml")

            await load.times(apply, 20)
            return await load.rate(apply, seconds)
        case "lease":
            return await lease_rate(load, seconds)
        case "opened":
            return await opening_rate(load, seconds)
    return await watch_rate(load, seconds)


async def lease_rate(load: Load, seconds: float) -> float:
    """Each connection renews a Lease of its own, with the resourceVersion of the answer before."""
    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    count, started = 0, time.perf_counter()

    async def renew(index: int) -> None:
        nonlocal count
        connection = await load.connect()
        spec: dict[str, Any] = {"holderIdentity": f"node-{index}", "leaseDurationSeconds": 40}
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": f"node-{index}"}}
        _, body = await connection.send(load.request("POST", leases, {**lease, "spec": spec}))
        while time.perf_counter() < started + seconds:
            count += 1
            changed = orjson.loads(body)
            changed["spec"]["renewTime"] = f"2026-01-01T00:{count // 60 % 60:02}:{count % 60:02}.{count % 1000000:06}Z"
            status, body = await connection.send(load.request("PUT", f"{leases}/node-{index}", changed))
            if status != 200:
                raise SystemExit(f"unexpected answer {status}: {body[:500]!r}")
        await connection.send(load.request("DELETE", f"{leases}/node-{index}"))
        connection.writer.close()

    await asyncio.gather(*map(renew, range(CONNECTIONS)))
    load.count += count
    return count / (time.perf_counter() - started)


async def opening_rate(load: Load, seconds: float) -> float:
    """A connection each, whose TLS handshake is not counted in the time but in that of the server's processor."""
    request = load.request(
        "GET", "/api/v1/namespaces/default/configmaps?watch=true&fieldSelector=metadata.name%3Dx&resourceVersion=0"
    )
    count, spent = 0, 0.0
    while spent < seconds / 2 and count < 500:
        connection = await load.connect()
        started = time.perf_counter()
        connection.writer.write(request)
        await connection.reader.readuntil(b"\r\n\r\n")
        spent += time.perf_counter() - started
        count += 1
        connection.writer.close()
    load.count += count
    return count / spent


async def watch_rate(load: Load, seconds: float, watchers: int = 200) -> float:
    began = received = 0

    # One writing client with several requests on their way, so that commits share an fsync.
    async def follow(connection: Connection) -> None:
        nonlocal began, received
        connection.writer.write(load.request("GET", "/api/v1/namespaces/pods/pods?watch=true&resourceVersion=0"))
        while chunk := await connection.reader.read(1 << 20):
            received += chunk.count(b'{"type":"MODIFIED"')
            began += chunk.count(b'{"type":"ADDED"')

    def change(number: int) -> bytes:
        labels = {"metadata": {"labels": {"watched": str(number)}}}
        path = f"/api/v1/namespaces/pods/pods/pod-{number % 500:03}"
        return load.request("PATCH", path, labels, "application/merge-patch+json")

    opened = [await load.connect() for _ in range(watchers)]
    tasks = [asyncio.create_task(follow(connection)) for connection in opened]
    while began < watchers * 500:  # noqa: ASYNC110 — counted by many, waited for once
        await asyncio.sleep(0.1)
    # What a watch begins with, all pods, is not what is measured.
    before = cpu_seconds(load.pid)
    started = time.perf_counter()
    await load.rate(change, seconds, connections=4)
    elapsed = time.perf_counter() - started
    load.count, load.cpu = received, cpu_seconds(load.pid) - before
    total = received
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return total / elapsed


def cpu_seconds(pid: int) -> float:
    """What all threads of a process have used so far."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


async def main(names: list[str], seconds: float) -> None:
    with tempfile.TemporaryDirectory() as directory:
        server = subprocess.Popen(  # noqa: ASYNC220 — before any load runs
            [sys.executable, __file__, "--serve", directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert server.stdout is not None
        assert server.stdin is not None
        try:
            told = orjson.loads(server.stdout.readline())
            load = Load(told["port"], told["ca"], told["token"], server.pid)
            await prepare(load)
            load.token = told["alice"]  # no member of system:masters, so that RBAC is asked
            for name in names:
                what, budget = BUDGETS[name]
                load.count, load.cpu, before = 0, 0.0, cpu_seconds(server.pid)
                figure = await measure(load, name, seconds)
                each = (load.cpu or cpu_seconds(server.pid) - before) / load.count
                wanted = f"   budget {budget}/s" if budget else ""
                print(f"{what:45} {figure:10.0f}/s   {each * 1e6:6.0f} µs of processor{wanted}", flush=True)
        finally:
            server.stdin.close()
            server.wait(20)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--only", default=",".join(BUDGETS))
    parser.add_argument("--serve", type=Path)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(options.serve))
    else:
        uvloop.run(main(options.only.split(","), options.seconds))
