"""Ingresses in the agent of the first node, under an identity of their own: nobody else there may read Secrets."""

from __future__ import annotations

import asyncio
from pathlib import Path

from timonel.api.clock import Clock
from timonel.client.config import ClientConfig
from timonel.client.events import EventRecorder
from timonel.client.informer import Informer, Informers
from timonel.client.rest import Client
from timonel.cluster.settings import AgentSettings
from timonel.network.ingress.controller import IngressConfig, IngressController


async def run_ingress(settings: AgentSettings, services: Informer, clock: Clock) -> None:
    """Until cancelled; HAProxy goes on."""
    own = ClientConfig.from_kubeconfig(settings.ingress_kubeconfig, user_agent="timonel-ingress")
    http_port, https_port = settings.ingress_ports
    async with Client(own) as client:
        informers = Informers(client, clock=clock)
        recorder = EventRecorder(client, component="ingress-controller", host=settings.node_name, clock=clock)
        controller = IngressController(
            config=IngressConfig(
                address=settings.node_address,
                folder=Path(settings.ingress_folder),
                http_port=http_port,
                https_port=https_port,
            ),
            client=client,
            informers=informers,
            services=services,
            recorder=recorder,
            clock=clock,
        )
        async with asyncio.TaskGroup() as tasks:
            for name, work in (
                ("ingress-informers", informers.run()),
                ("ingress-events", recorder.run()),
                ("ingress", controller.run()),
            ):
                tasks.create_task(work, name=name)
