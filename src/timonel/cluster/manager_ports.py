"""The manager's ports, 10257 of the controllers and 10259 of the scheduler, as two components have them upstream.

Imported after the start, since they are the only thing in the process that needs an HTTP server and a metrics library.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Gauge, PlatformCollector, ProcessCollector

from timonel import GIT_VERSION, KUBERNETES_VERSION
from timonel.api.clock import Clock
from timonel.client.delegated_access import DelegatedAccess
from timonel.client.exposition import LeaderCollector, QueueCollector, RequestCollector
from timonel.client.rest import Client
from timonel.cluster.component_port import ComponentPort, PortConfig
from timonel.cluster.manager_options import ManagerOptions
from timonel.cluster.settings import ManagerSettings
from timonel.controllers.manager import ControllerManager
from timonel.controllers.metrics import JobCollector, ZoneCollector, named_queues
from timonel.scheduler.loop import Scheduler
from timonel.scheduler.metrics import SchedulerCollector


def controllers_registry(manager: ControllerManager, client: Client) -> CollectorRegistry:
    registry = _registry(client)
    registry.register(QueueCollector(lambda: named_queues(manager)))
    registry.register(ZoneCollector(manager))
    registry.register(JobCollector(manager))
    registry.register(LeaderCollector("kube-controller-manager", lambda: manager.is_leader))
    return registry


def scheduler_registry(
    manager: ControllerManager, client: Client, scheduler: Callable[[], Scheduler | None]
) -> CollectorRegistry:
    registry = _registry(client)
    registry.register(SchedulerCollector(scheduler))
    registry.register(LeaderCollector("kube-scheduler", lambda: manager.is_leader))
    return registry


async def run_ports(
    settings: ManagerSettings,
    options: ManagerOptions,
    *,
    manager: ControllerManager,
    client: Client,
    scheduler_client: Client,
    scheduler: Callable[[], Scheduler | None],
    clock: Clock,
) -> None:
    """Until cancelled. Each port asks the API server, as its own component, who may see it."""

    def explain(rest: str) -> object | None:
        """Of /debug/scheduling/<namespace>/<pod>; nobody knows while another manager leads."""
        namespace, _, name = rest.partition("/")
        running = scheduler()
        return running.explain(namespace, name) if running is not None else None

    def shown() -> dict[str, object]:
        running = scheduler()
        placing = running.configuration if running is not None else {}
        return {"kubecontrollermanager.config.k8s.io": dataclasses.asdict(options), "componentconfig": placing}

    def port(
        number: int,
        asker: Client,
        registry: CollectorRegistry,
        pages: Mapping[str, Callable[[str], object | None]],
    ) -> ComponentPort:
        config = PortConfig(
            port=number,
            address=options.bind_address,
            cert_file=settings.serving_cert_file,
            key_file=settings.serving_key_file,
            client_ca_file=settings.ca_file,
        )
        access = DelegatedAccess(client=asker, clock=clock)
        return ComponentPort(
            config,
            registry=registry,
            access=access,
            is_ready=lambda: manager.is_ready,
            configuration=shown,
            pages=pages,
        )

    none: Mapping[str, Callable[[str], object | None]] = {}
    ports = (
        (options.secure_port, client, controllers_registry(manager, client), none),
        (
            options.scheduler_secure_port,
            scheduler_client,
            scheduler_registry(manager, scheduler_client, scheduler),
            {"/debug/scheduling/": explain},
        ),
    )
    async with asyncio.TaskGroup() as group:
        for number, asker, registry, pages in ports:
            if number:
                group.create_task(port(number, asker, registry, pages).run(), name=f"port {number}")


def _registry(client: Client) -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    registry.register(RequestCollector(urlsplit(client.config.server).netloc, client.figures))
    major, minor = KUBERNETES_VERSION.split(".")[:2]
    labels = {"major": major, "minor": minor, "git_version": GIT_VERSION}
    Gauge("kubernetes_build_info", "The version of this component.", tuple(labels), registry=registry).labels(
        **labels
    ).set(1)
    return registry
