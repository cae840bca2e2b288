"""A real one-node cluster: cold start, first pod, pods, a Deployment of 30, memory and idle CPU.

    python -m bench.bench_cluster

Needs root. The cluster is a named one and is purged before and after.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.e2e.cluster import Cluster, sleeper, wait_until

from bench.report import Row
from timonel.cluster.images import import_archive
from timonel.cluster.oci import oci_archive
from timonel.cluster.plan import ClusterState, nodes_of
from timonel.testing.images import RECIPES, build_images

IMAGE = "busybox:1.36"
IDLE_SECONDS = 20.0
PODS = 15


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster("bench", Path(folder))
        cluster.purge()
        try:
            return _measure(cluster)
        finally:
            cluster.purge()


def _measure(cluster: Cluster) -> list[Row]:
    busybox = build_images([recipe for recipe in RECIPES if recipe.name == "busybox"])[IMAGE]
    started = time.monotonic()
    cluster.up()
    rows = [Row("nothing running, no data → node Ready", time.monotonic() - started, "s")]
    archive = Path(cluster.folder) / "busybox.tar"
    archive.write_bytes(oci_archive(busybox, f"docker.io/library/{IMAGE}"))
    _import(cluster, archive)

    # Warm: data and images are there, no process runs.
    cluster.timonel("down")
    started = time.monotonic()
    cluster.up()
    rows.append(Row("nothing running → node Ready, warm", time.monotonic() - started, "s"))
    cluster.apply(sleeper("first"))
    _wait_ready(cluster, "first")
    rows.append(Row("nothing running → first pod Ready, warm", time.monotonic() - started, "s", "≤ 5"))
    rows.append(_pod_start(cluster))
    rows += _deployment(cluster)
    rows += _idle(cluster)
    return rows


def _import(cluster: Cluster, archive: Path) -> None:
    state = ClusterState.load(cluster.layout.state_file)
    assert state is not None
    for node in nodes_of(cluster.layout, state):
        import_archive(node, archive)


def _wait_ready(cluster: Cluster, name: str) -> None:
    cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


def _pod_start(cluster: Cluster) -> Row:
    """From the API's acknowledgement to Ready, by a watch's arrival times."""
    import asyncio

    from timonel.api.refs import PODS as PODS_REF
    from timonel.client.config import ClientConfig
    from timonel.client.rest import Client

    async def one(client: Client, name: str) -> float:
        created = await client.create(PODS_REF, {**sleeper(name), "metadata": {"name": name, "namespace": "default"}})
        started = time.monotonic()
        version = created["metadata"]["resourceVersion"]
        async for event in client.watch(
            PODS_REF, "default", resource_version=version, field_selector=f"metadata.name={name}"
        ):
            if _is_ready(event.object):
                return time.monotonic() - started
        raise AssertionError("watch ended")

    async def many() -> list[float]:
        config = ClientConfig.from_kubeconfig(cluster.layout.admin_kubeconfig)
        async with Client(config) as client:
            return [await one(client, f"start-{index}") for index in range(PODS)]

    seconds = asyncio.run(many())
    cluster.kubectl("delete", "pods", "--all", "--wait=true")
    return Row("pod create → Ready, image present, p50", statistics.median(seconds), "s", "≤ 0.6")


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def _deployment(cluster: Cluster) -> list[Row]:
    template = {"metadata": {"labels": {"app": "many"}}, "spec": sleeper("x")["spec"]}
    deployment: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "many"},
        "spec": {"replicas": 30, "selector": {"matchLabels": {"app": "many"}}, "template": template},
    }
    rows = []
    started = time.monotonic()
    cluster.apply(deployment)
    cluster.kubectl("rollout", "status", "deployment/many", "--timeout=120s", timeout=130)
    rows.append(Row("Deployment of 30 → all Ready", time.monotonic() - started, "s", "≤ 7"))
    started = time.monotonic()
    cluster.kubectl("set", "env", "deployment/many", "ROUND=2")
    cluster.kubectl("rollout", "status", "deployment/many", "--timeout=120s", timeout=130)
    rows.append(Row("rolling update of 30", time.monotonic() - started, "s", "≤ 12"))
    wait_until("old pods gone", lambda: len(cluster.items("pods", "-l", "app=many")) == 30)
    started = time.monotonic()
    cluster.kubectl("delete", "deployment", "many")
    wait_until("pods gone", lambda: not cluster.items("pods", "-l", "app=many"))
    rows.append(Row("delete of 30", time.monotonic() - started, "s", "≤ 4"))
    return rows


def _idle(cluster: Cluster) -> list[Row]:
    time.sleep(5)
    parts = cluster.parts()
    pids = {name: part["pid"] for name, part in parts.items()} | {"supervisor": _supervisor_pid(cluster)}
    ours = {name: pid for name, pid in pids.items() if not name.startswith("containerd@")}
    before = {name: _cpu_seconds(pid) for name, pid in pids.items()}
    time.sleep(IDLE_SECONDS)
    used = {name: (_cpu_seconds(pid) - before[name]) / IDLE_SECONDS * 100 for name, pid in pids.items()}
    memory = {name: _resident(pid) / 1024**2 for name, pid in pids.items()}
    rows = [
        Row("resident memory, all our processes, idle", sum(memory[name] for name in ours), "MiB", "≤ 250"),
        Row("CPU idle, one node, our processes", sum(used[name] for name in ours), "% of a core", "≤ 2"),
    ]
    rows += [Row(f"  {name}: memory", memory[name], "MiB") for name in pids]
    rows += [Row(f"  {name}: CPU idle", used[name], "% of a core") for name in pids]
    return rows


def _supervisor_pid(cluster: Cluster) -> int:
    from timonel.cluster.supervision import ask

    answer = ask(cluster.layout, "status")
    assert answer is not None
    return int(answer["pid"])


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    from bench.report import render

    print(render(measure()))
