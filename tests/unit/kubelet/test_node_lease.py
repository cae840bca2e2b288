"""The lease is what says that a node lives: it is renewed whatever becomes of one request."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from timonel.api.clock import SystemClock
from timonel.api.objects import Object
from timonel.api.refs import LEASES, ResourceRef
from timonel.client.events import EventRecorder
from timonel.kubelet.node.machine import read_machine
from timonel.kubelet.node.reporter import NodeReporter
from timonel.testing.fake_client import FakeClient
from timonel.testing.fake_runtime import FakeRuntime

from .node import Node


class SilentOnce(FakeClient):
    """The first renewal of a lease gets no answer."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.renewals = 0
        self.renewed = asyncio.Event()

    async def update(self, ref: ResourceRef, obj: Object, **options: Any) -> Object:
        if ref == LEASES:
            self.renewals += 1
            if self.renewals == 1:
                await asyncio.get_running_loop().create_future()
        answer = await super().update(ref, obj, **options)
        if ref == LEASES:
            self.renewed.set()
        return answer


async def test_a_renewal_without_an_answer_is_given_up_and_made_again(tmp_path: Path) -> None:
    clock = SystemClock()
    client = SilentOnce(clock=clock)
    reporter = NodeReporter(
        config=replace(Node(tmp_path).config, lease_seconds=1),
        client=client,
        runtime=FakeRuntime(clock=clock),
        recorder=EventRecorder(client, component="kubelet", clock=clock),
        machine=read_machine(str(tmp_path)),
        clock=clock,
    )
    task = asyncio.create_task(reporter.run())
    try:
        await asyncio.wait_for(client.renewed.wait(), 10)
        assert client.renewals >= 2
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
