"""The hollow process: all hollow nodes of a cluster, with their pods."""

from __future__ import annotations

import asyncio

from timonel.api.clock import SystemClock
from timonel.client.config import ClientConfig
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.rest import Client
from timonel.cluster.process import notify_when
from timonel.cluster.settings import HollowSettings
from timonel.simulation.answers import HollowAnswers
from timonel.simulation.behaviour import FAILURES, Behaviour, Chance
from timonel.simulation.config import HollowConfig
from timonel.simulation.hollow import HollowNodes


async def run_hollow(settings: HollowSettings) -> None:
    """Until cancelled. The nodes stay in the API, silent, and are taken up again by the next one."""
    clock = SystemClock()
    own = ClientConfig.from_kubeconfig(settings.kubeconfig, user_agent="timonel-hollow")
    async with Client(own) as client:
        informers = Informers(client, clock=clock)
        recorder = EventRecorder(client, component="hollow-kubelet", clock=clock)
        answers = HollowAnswers(
            address=settings.address,
            port=settings.port,
            cert_file=settings.cert_file,
            key_file=settings.key_file,
            client_ca_file=settings.client_ca_file,
        )
        nodes = HollowNodes(
            config=hollow_config(settings),
            client=client,
            informers=informers,
            recorder=recorder,
            clock=clock,
        )

        async def ready() -> None:
            await asyncio.gather(answers.wait_ready(), nodes.wait_ready())

        async with asyncio.TaskGroup() as tasks:
            for name, work in (
                ("informers", informers.run()),
                ("events", recorder.run()),
                ("answers", answers.run()),
                ("nodes", nodes.run()),
                ("notify", notify_when(ready)),
            ):
                tasks.create_task(work, name=name)


def hollow_config(settings: HollowSettings) -> HollowConfig:
    return HollowConfig(
        count=settings.count,
        address=settings.address,
        port=settings.port,
        cpu=settings.cpu,
        memory=settings.memory,
        max_pods=settings.max_pods,
        zones=settings.zones,
        leases_per_second=settings.leases_per_second,
        behaviour=Behaviour(
            start_seconds=settings.start_seconds,
            ready_seconds=settings.ready_seconds,
            stop_seconds=settings.stop_seconds,
            job_seconds=settings.job_seconds,
        ),
        chance=Chance(settings.failure_rate, settings.failures or FAILURES, settings.seed),
    )
