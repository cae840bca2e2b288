"""The manager process: controllers and, on the same informers, the scheduler. One manager of a cluster works at a time.

Each controller and the scheduler write under identities of their own; what they read comes through the manager's
informers.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timonel.api.clock import SystemClock
from timonel.api.objects import Object
from timonel.client.config import ClientConfig
from timonel.client.events import EventRecorder
from timonel.client.leader import LeadershipLost
from timonel.client.rest import Client
from timonel.client.service_accounts import ServiceAccountClients
from timonel.cluster.errors import UserError
from timonel.cluster.manager_options import apply_options, from_settings
from timonel.cluster.process import notify_when
from timonel.cluster.scheduler_config import parse_document, read_document
from timonel.cluster.settings import ManagerSettings
from timonel.controllers.certificates import SigningConfig
from timonel.controllers.manager import ControllerManager, ManagerConfig, Surroundings
from timonel.controllers.nodes import NodeIpamConfig, NodeLifecycleConfig
from timonel.scheduler.config import SchedulerConfig
from timonel.scheduler.extenders import Transport
from timonel.scheduler.loop import Scheduler

if TYPE_CHECKING:
    from timonel.api.token_keys import TokenSigner

log = logging.getLogger(__name__)

_PORTS_AFTER_SECONDS = 3.0


async def run_manager(settings: ManagerSettings, flags: Mapping[str, Any] | None = None) -> None:
    """Until cancelled; `flags` win over the options of the settings file.

    Raises UserError when leadership is lost: the supervisor starts a new one then."""
    clock = SystemClock()
    config = ManagerConfig(
        root_ca=_read(settings.ca_file),
        identity=settings.identity,
        node_lifecycle=NodeLifecycleConfig(grace_seconds=settings.node_monitor_grace_seconds),
        node_ipam=NodeIpamConfig(cluster_cidrs=(settings.pod_cidr,)),
        token_signer=_signer(settings.service_account_private_key_file),
        signing=SigningConfig(
            cluster_signing_cert_file=settings.ca_file,
            cluster_signing_key_file=settings.ca_key_file,
            cluster_signing_duration=settings.cluster_signing_seconds,
        ),
    )
    balancers = config.load_balancer
    config = dataclasses.replace(
        config,
        load_balancer=dataclasses.replace(
            balancers,
            pool=settings.balancer_pool,
            reserved_ports=balancers.reserved_ports.union(settings.reserved_ports),
        ),
    )
    options = from_settings({**settings.options, **(flags or {})})
    config = apply_options(config, options)
    placing = scheduling(settings, flags or {})
    own = ClientConfig.from_kubeconfig(settings.kubeconfig, user_agent="timonel-manager")
    schedulers = ClientConfig.from_kubeconfig(settings.scheduler_kubeconfig, user_agent="timonel-scheduler")
    async with (
        Client(own) as client,
        Client(schedulers) as scheduler_client,
        _transport(placing) as transport,
        aclosing(ServiceAccountClients(client, clock=clock)) as accounts,
    ):
        recorder = EventRecorder(scheduler_client, component="default-scheduler", clock=clock)

        running: list[Scheduler] = []

        def scheduler(around: Surroundings) -> Scheduler:
            made = Scheduler(
                client=scheduler_client,
                informers=around.informers,
                recorder=recorder,
                clock=clock,
                config=placing,
                transport=transport,
            )
            running[:] = [made]
            return made

        async def serve() -> None:
            await clock.sleep(_PORTS_AFTER_SECONDS)
            from timonel.cluster.manager_ports import run_ports  # costs 3 MB and 0.1 s, which pods need not wait for

            await run_ports(
                settings,
                options,
                manager=manager,
                client=client,
                scheduler_client=scheduler_client,
                scheduler=lambda: running[0] if running else None,
                clock=clock,
            )

        manager = ControllerManager(client, clock, config, hosted=[scheduler], identities=accounts.client)
        lost: BaseExceptionGroup[LeadershipLost] | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(recorder.run(), name="scheduler-events")
                tasks.create_task(manager.run(), name="manager")
                tasks.create_task(notify_when(manager.wait_ready), name="notify")
                if settings.serving_cert_file:
                    tasks.create_task(serve(), name="ports")
        except* LeadershipLost as group:
            lost = group
        if lost is not None:
            raise UserError("leadership was lost, for the lease could not be renewed in time") from lost


@asynccontextmanager
async def _transport(config: SchedulerConfig) -> AsyncIterator[Transport | None]:
    """How extenders are asked, if there are any."""
    if not config.configuration.extenders:
        yield None
        return
    from timonel.scheduler.extender_transport import HttpTransport

    made = HttpTransport()
    try:
        yield made
    finally:
        await made.close()


def scheduling(settings: ManagerSettings, flags: Mapping[str, Any]) -> SchedulerConfig:
    """By the file that a flag names, or else as `up` read it. Raises UserError."""
    file = flags.get("scheduler_config") or ""
    document = read_document(file) if file else dict(settings.scheduler_configuration)
    if not document:
        return SchedulerConfig()
    configuration = parse_document(document, file or "scheduler configuration")
    for note in configuration.notes:
        log.info("Scheduler configuration: %s", note)
    return SchedulerConfig(configuration=configuration)


def _signer(file: str) -> _FileSigner | None:
    """Raises UserError for a file that cannot be read."""
    if not file:
        return None
    try:
        return _FileSigner(Path(file).read_bytes())
    except OSError as error:
        raise UserError(f"{file}: {error}") from error


class _FileSigner:
    """Tokens of accounts, for Secrets that ask for them: there are none as a rule, and the means weigh 10 MB."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, claims: Object) -> str:
        """Raises ValueError for a key that cannot be used."""
        return self._signer.sign(claims)

    @cached_property
    def _signer(self) -> TokenSigner:
        from timonel.api.token_keys import TokenSigner, parse_private_key

        return TokenSigner(parse_private_key(self._key))


def _read(file: str) -> str:
    return Path(file).read_text()
