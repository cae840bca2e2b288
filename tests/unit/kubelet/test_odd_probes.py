"""A probe on which our own code breaks: it asks again, and none outlives the kubelet."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.unit.kubelet.node import Node
from tests.unit.kubelet.pods import container, pod
from tests.unit.kubelet.test_probe_timing import Bench, probe
from timonel.api.refs import PODS
from timonel.kubelet.probes.actions import Outcome
from timonel.testing.clock import settle


async def test_a_probe_that_broke_asks_again_after_its_period() -> None:
    bench = Bench()
    whole = bench.asked.run

    async def run(*args: Any) -> Outcome:
        if bench.clock.monotonic() < bench_start + 5:
            raise LookupError("odd")
        return await whole(*args)

    bench_start = bench.clock.monotonic()
    bench.asked.run = run  # type: ignore[method-assign, assignment]
    bench.begin(readiness=probe("readiness", periodSeconds=10))
    await settle()
    await bench.clock.advance(2)
    assert not bench.state.readiness
    await bench.clock.advance(10)
    assert bench.probes.results("uid-web").of("id").readiness
    await bench.probes.close()


async def test_probes_end_with_the_kubelet(tmp_path: Path) -> None:
    node = Node(tmp_path)
    probed = container("c", livenessProbe={"tcpSocket": {"port": 1}, "initialDelaySeconds": 1000})
    async with node.running():
        await node.client.create(PODS, pod(probed))
        await node.until(lambda: node.status("web").get("phase") == "Running")
        assert any("probe" in task.get_name() for task in asyncio.all_tasks())
    assert not [task.get_name() for task in asyncio.all_tasks() if "probe" in task.get_name()]
