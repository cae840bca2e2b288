"""Controllers and hollow nodes at scale: real server, manager and hollow processes, everything through the API.

    python -m bench.bench_controllers [--nodes 5000] [--pods 10000] [--only nodes,pods,rollouts,restart,owners]

Prints how long it takes, what each process uses, and, from the audit log, who wrote how often. A pod's API writes by
controllers are all requests of theirs that write, Events aside, divided by the pods that were made. Events are not in
the audit log; those that are there in the end are counted beside. Upstream, too, makes one for every pod that is
created, scheduled and deleted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import ssl
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import orjson
import uvloop

from bench.bench_apiserver import Load
from bench.report import Row, render
from timonel.api.refs import DEPLOYMENTS, EVENTS, NAMESPACES, PODS, SERVICE_ACCOUNTS, ResourceRef
from timonel.client.config import ClientConfig
from timonel.client.rest import Client
from timonel.cluster.down import down
from timonel.cluster.layout import Layout, layout_of
from timonel.cluster.supervision import ask
from timonel.cluster.up import UpOptions, up

SECTIONS = ("nodes", "pods", "rollouts", "owners", "restart")
DEPLOYMENT_COUNT, REPLICAS = 100, 30
OWNERS = 1000
WRITES = {"create", "update", "patch", "delete", "deletecollection"}
_HOLLOW, _PREFIX = "system:timonel:hollow-nodes", "system:serviceaccount:kube-system:"
CONNECTIONS = 16


class AdminLoad(Load):
    """Raw requests with the administrator's certificate: cheap enough not to be what is measured."""

    def __init__(self, layout: Layout) -> None:
        self.config = ClientConfig.from_kubeconfig(layout.admin_kubeconfig)
        super().__init__(int(self.config.server.rpartition(":")[2]), str(layout.pki / "ca.crt"), "")
        context = self.config.ssl_context()
        assert isinstance(context, ssl.SSLContext)
        self.tls = context

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> bytes:
        data = b"" if body is None else orjson.dumps(body)
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n"
        if data:
            head += f"Content-Type: {content_type}\r\nContent-Length: {len(data)}\r\n"
        return head.encode() + b"\r\n" + data

    async def all(self, requests: Iterator[bytes]) -> None:
        async def work() -> None:
            connection = await self.connect()
            for request in requests:
                status, body = await connection.send(request)
                if status not in (200, 201):
                    raise SystemExit(f"unexpected answer {status}: {body[:500]!r}")
            connection.writer.close()

        await asyncio.gather(*(work() for _ in range(CONNECTIONS)))


@dataclass(slots=True)
class Usage:
    """Processor seconds and bytes of each process, and what was written, between `begin` and `end`."""

    layout: Layout
    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    writes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _before: dict[str, float] = field(default_factory=dict)
    _offset: int = 0
    _started: float = 0.0

    def begin(self) -> Usage:
        self._before = {name: _cpu_seconds(pid) for name, pid in pids(self.layout).items()}
        self._offset = self.layout.audit_log.stat().st_size
        return self.begin_with_nothing()

    def begin_with_nothing(self) -> Usage:
        """Before there is a cluster."""
        self._started = time.monotonic()
        return self

    def end(self) -> Usage:
        self.seconds = time.monotonic() - self._started
        self.cpu = {name: _cpu_seconds(pid) - self._before.get(name, 0) for name, pid in pids(self.layout).items()}
        with self.layout.audit_log.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                event = orjson.loads(line)
                if event["verb"] in WRITES and event.get("stage") == "ResponseComplete":
                    target = event.get("objectRef") or {}
                    resource = "/".join(filter(None, (target.get("resource"), target.get("subresource"))))
                    self.writes[event["user"]["username"].removeprefix(_PREFIX), event["verb"], resource] += 1
        return self

    def by_controllers(self) -> int:
        return sum(
            count
            for (user, _, resource), count in self.writes.items()
            if is_controller(user) and not resource.startswith("serviceaccounts")
        )

    def rows(self, what: str, count: int = 0, each: str = "pod", budget: str = "") -> list[Row]:
        rows = [Row(what, self.seconds, "s", budget)]
        for name, seconds in self.cpu.items():
            if name != "supervisor":
                rows.append(Row(f"  CPU of {name}", seconds, "s"))
                if count:
                    rows.append(Row(f"    for each {each}", 1000 * seconds / count, "ms"))
        return rows

    def told(self, count: int, each: str = "pod") -> str:
        lines = [f"    {number / count:6.2f} a {each}  {' '.join(key)}" for key, number in self.writes.most_common(14)]
        return "\n".join(lines)


def is_controller(user: str) -> bool:
    return user != _HOLLOW and user not in ("kubernetes-admin", "system:apiserver")


def pids(layout: Layout) -> dict[str, int]:
    answer = ask(layout, "status")
    assert answer is not None
    return {part["name"]: int(part["pid"]) for part in answer["parts"]}


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_megabytes(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024**2


def pod(namespace: str, number: int) -> dict[str, Any]:
    requests = {"cpu": "100m", "memory": "64Mi"}
    container = {"name": "main", "image": "registry.example/app:1", "resources": {"requests": requests}}
    labels = {"app": f"a{number % 50}"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"p{number:05}", "namespace": namespace, "labels": labels},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }


def deployment(name: str, replicas: int) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "main", "image": "registry.example/app:1", "resources": {"requests": {"cpu": "10m"}}}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "bench"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


class Bench:
    def __init__(self, layout: Layout, nodes: int, pods: int) -> None:
        self.layout = layout
        self.nodes = nodes
        self.pods = pods
        self.rows: list[Row] = []

    def say(self, rows: list[Row], told: str = "") -> None:
        print(render(rows) + (f"\n{told}" if told else ""), flush=True)

    def start(self, nodes: int) -> float:
        started = time.monotonic()
        up(self.layout, UpOptions(hollow=nodes, merge_kubeconfig=False, timeout_seconds=300), lambda line: None)
        return time.monotonic() - started

    def measure_nodes(self) -> None:
        usage = Usage(self.layout).begin_with_nothing()
        self.start(self.nodes)
        usage.end()
        rows = usage.rows(f"nothing running → {self.nodes} hollow nodes Ready", self.nodes, "node", "≤ 20")
        self.say([*rows, *self.memory()], usage.told(self.nodes, "node"))

    def memory(self) -> list[Row]:
        return [
            Row(f"  memory of {name}", resident_megabytes(pid), "MB", budget)
            for name, pid in pids(self.layout).items()
            for budget in ("≤ 400" if name == "hollow" else "",)
        ]

    async def until(self, ref: ResourceRef, done: Callable[[dict[str, Any]], bool], is_good: Callable[[Any], bool],
                    namespace: str = "bench") -> None:  # fmt: skip
        """Follows a watch until `done` of the objects that are good, by name."""
        good: dict[str, Any] = {}
        async with Client(ClientConfig.from_kubeconfig(self.layout.admin_kubeconfig)) as client:
            listed = await client.list(ref, namespace)
            for item in listed["items"]:
                if is_good(item):
                    good[item["metadata"]["name"]] = True
            if done(good):
                return
            stream = client.watch(ref, namespace, resource_version=listed["metadata"]["resourceVersion"])
            async with aclosing(cast(Any, stream)) as events:
                async for kind, obj in events:
                    name = obj["metadata"].get("name")
                    if kind == "BOOKMARK":
                        continue
                    if kind == "DELETED" or not is_good(obj):
                        good.pop(name, None)
                    else:
                        good[name] = True
                    if done(good):
                        return

    async def prepare(self) -> None:
        async with Client(ClientConfig.from_kubeconfig(self.layout.admin_kubeconfig)) as client:
            await client.create(NAMESPACES, {"metadata": {"name": "bench"}})
            async with asyncio.timeout(60):
                while not (await client.list(SERVICE_ACCOUNTS, "bench"))["items"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)

    async def measure_pods(self) -> None:
        load = AdminLoad(self.layout)
        usage = Usage(self.layout).begin()
        running = asyncio.create_task(
            self.until(PODS, lambda good: len(good) >= self.pods, is_running), name="running pods"
        )
        await load.all(load.request("POST", "/api/v1/namespaces/bench/pods", pod("bench", n)) for n in range(self.pods))
        created = time.monotonic() - usage._started
        await running
        usage.end()
        what = f"{self.pods} pods created, scheduled and Running on {self.nodes} hollow nodes"
        rows = usage.rows(what, self.pods, budget="≤ 20")
        rows.insert(1, Row("  of which until all were created", created, "s"))
        self.say([*rows, *self.memory()], usage.told(self.pods))
        usage = Usage(self.layout).begin()
        gone = asyncio.create_task(self.until(PODS, lambda good: not good, lambda pod: True), name="pods gone")
        await load.all(
            load.request("DELETE", f"/api/v1/namespaces/bench/pods/p{number:05}", {"kind": "DeleteOptions"})
            for number in range(self.pods)
        )
        await gone
        self.say(usage.end().rows(f"{self.pods} pods deleted", self.pods))

    async def measure_rollouts(self) -> None:
        """100 Deployments of 30, made, rolled, deleted."""
        total = DEPLOYMENT_COUNT * REPLICAS
        load = AdminLoad(self.layout)
        path = "/apis/apps/v1/namespaces/bench/deployments"
        names = [f"d{number:03}" for number in range(DEPLOYMENT_COUNT)]
        change = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "registry.example/app:2"}]}}}}
        made = Usage(self.layout).begin()
        await load.all(load.request("POST", path, deployment(name, REPLICAS)) for name in names)
        await self.until(DEPLOYMENTS, lambda good: len(good) == DEPLOYMENT_COUNT, is_rolled_out)
        made.end()
        self.say(
            made.rows(f"{DEPLOYMENT_COUNT} Deployments of {REPLICAS} created → all available", total), made.told(total)
        )
        rolled = Usage(self.layout).begin()
        patch = "application/strategic-merge-patch+json"
        await load.all(load.request("PATCH", f"{path}/{name}", change, patch) for name in names)
        await self.until(DEPLOYMENTS, lambda good: len(good) == DEPLOYMENT_COUNT, is_rolled_out)
        await self.until(PODS, lambda good: len(good) == total, lambda pod: True)
        rolled.end()
        self.say(rolled.rows("rolled to another image", total), rolled.told(total))
        gone = Usage(self.layout).begin()
        await load.all(load.request("DELETE", f"{path}/{name}", {"kind": "DeleteOptions"}) for name in names)
        await self.until(PODS, lambda good: not good, lambda pod: True)
        gone.end()
        self.say(gone.rows("deleted", total), gone.told(total))
        usages = (made, rolled, gone)
        pods = 2 * total
        requests = sum(sum(usage.writes.values()) for usage in usages) / pods
        self.say([
            Row("API writes a pod over its life, by controllers and scheduler",
                sum(usage.by_controllers() for usage in usages) / pods, "writes", "≤ 6"),
            Row("  and Events beside them", await self.count_events() / pods, "Events"),
            Row("  all writes, of kubelet and user too", requests, "writes"),
            *self.memory(),
        ])  # fmt: skip

    async def count_events(self) -> int:
        async with Client(ClientConfig.from_kubeconfig(self.layout.admin_kubeconfig)) as client:
            return sum(event.get("count") or 1 for event in (await client.list(EVENTS, "bench"))["items"])

    async def measure_owners(self) -> None:
        """10 000 pods of 1 000 Deployments."""
        load = AdminLoad(self.layout)
        path = "/apis/apps/v1/namespaces/bench/deployments"
        replicas = self.pods // OWNERS
        usage = Usage(self.layout).begin()
        await load.all(load.request("POST", path, deployment(f"o{n:04}", replicas)) for n in range(OWNERS))
        await self.until(DEPLOYMENTS, lambda good: len(good) == OWNERS, is_rolled_out)
        rows = usage.end().rows(f"{OWNERS} Deployments of {replicas} created → all available", self.pods)
        rows += [
            Row(row.what, row.value, row.unit, "≤ 200" if row.what.endswith("manager") else row.budget)
            for row in self.memory()
        ]
        self.say(rows, usage.told(self.pods))

    async def measure_restart(self) -> None:
        """The manager is killed; the next one must find everything as it should be."""
        await asyncio.sleep(5)  # Events of what came before are written by then
        usage = Usage(self.layout).begin()
        old = pids(self.layout)["manager"]
        os.kill(old, signal.SIGKILL)
        while True:
            await asyncio.sleep(0.05)
            answer = ask(self.layout, "status")
            assert answer is not None
            part = next(part for part in answer["parts"] if part["name"] == "manager")
            if part["state"] == "ready" and part["pid"] != old:
                break
        ready = time.monotonic() - usage._started
        pid, last, quiet_since = int(part["pid"]), 0.0, time.monotonic()
        while time.monotonic() - quiet_since < 2.0:
            await asyncio.sleep(0.2)
            now = _cpu_seconds(pid)
            if now - last > 0.05:
                quiet_since = time.monotonic()
            last = now
        settled = quiet_since - usage._started
        usage.end()
        leases = sum(count for (_, _, resource), count in usage.writes.items() if resource == "leases")
        rows = [
            Row("manager killed → ready again", ready, "s"),
            Row("  → and settled", settled, "s", "≤ 10"),
            Row("  writes by controllers, leases aside", usage.by_controllers() - leases_of(usage), "writes", "0"),
            Row("  renewals of leases", leases, "writes"),
            Row("  CPU of the new manager", _cpu_seconds(pid), "s"),
            Row("  its memory", resident_megabytes(pid), "MB", "≤ 200"),
        ]
        self.say(rows, usage.told(1))


def leases_of(usage: Usage) -> int:
    return sum(
        count for (user, _, resource), count in usage.writes.items() if is_controller(user) and resource == "leases"
    )


def is_running(pod: dict[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def is_rolled_out(deployment: dict[str, Any]) -> bool:
    """As `kubectl rollout status` judges."""
    spec, status = deployment["spec"], deployment.get("status") or {}
    return (
        status.get("observedGeneration") == deployment["metadata"]["generation"]
        and status.get("updatedReplicas") == spec["replicas"]
        and status.get("replicas") == spec["replicas"]
        and status.get("availableReplicas") == spec["replicas"]
    )


async def run(bench: Bench, sections: list[str]) -> None:
    await bench.prepare()
    for section in sections:
        if section != "nodes":
            await getattr(bench, f"measure_{section}")()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--pods", type=int, default=10000)
    parser.add_argument("--only", default=",".join(SECTIONS))
    arguments = parser.parse_args()
    sections = [name for name in SECTIONS if name in arguments.only.split(",")]
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="tml") as folder:
        layout = layout_of("", Path(folder) / "data", Path(folder) / "run")
        bench = Bench(layout, arguments.nodes, arguments.pods)
        try:
            if "nodes" in sections:
                bench.measure_nodes()
            else:
                bench.start(arguments.nodes)
            uvloop.run(run(bench, sections))
        finally:
            down(layout, purge=True, say=lambda line: None)


if __name__ == "__main__":
    main()
