"""Repairs addresses and node ports of Services: what `findings` decides, whenever something of it changes.

Addresses are looked at as the caches take changes in. Node ports have no such events, so that they are looked at every
three minutes: a safety net, for a commit of ours leaves nothing to repair. Every server does it, kept apart by guards.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Literal, NamedTuple

from timonel.api.clock import Clock
from timonel.api.errors import AlreadyExists, ApiError, NotFound
from timonel.api.kinds.rules import parse_ip
from timonel.api.objects import Object, name_of, namespace_of
from timonel.api.refs import IP_ADDRESSES, SERVICES
from timonel.apiserver.allocators.addresses import IPAddress, address_object
from timonel.apiserver.allocators.findings import RACE_SECONDS, Finding, check_address, check_ports, check_service
from timonel.apiserver.allocators.services import ServiceAllocation
from timonel.apiserver.own_client import OwnClient
from timonel.apiserver.registry.registry import Registry
from timonel.client.events import EventRecorder
from timonel.client.workqueue import WorkQueue
from timonel.storage.protocol import StoreError

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 180.0
_MOST_TRIES = 15
_AT_ONCE = 64


class Key(NamedTuple):
    kind: Literal["service", "address"]
    namespace: str
    name: str


class AllocationRepair:
    """Once the server has its default ServiceCIDR: `start` it before anybody is given an address, then `run` it."""

    def __init__(self, registry: Registry, allocation: ServiceAllocation, *, clock: Clock) -> None:
        self._registry = registry
        self._addresses = allocation.addresses
        self._ports = allocation.ports
        self._services = registry.reader(SERVICES)
        self._objects = registry.reader(IP_ADDRESSES)
        self._clock = clock
        client = OwnClient(registry)
        self._address_events = EventRecorder(client, component="ipallocator-repair-controller", clock=clock)
        self._port_events = EventRecorder(client, component="portallocator-repair-controller", clock=clock)
        self.queue: WorkQueue[Key] = WorkQueue(clock, name="ipallocator-repair")
        self._leaks: dict[int, int] = {}

    async def start(self) -> None:
        """Makes the IPAddresses that Services lack, as they do after a restore, and where no server made them yet.

        Raises StoreError.
        """
        limit = asyncio.Semaphore(_AT_ONCE)  # commits at one time share a transaction

        async def mend(service: Object, finding: Finding) -> None:
            async with limit:
                try:
                    await self._mend(service, finding)
                except ApiError as exc:
                    log.warning("address could not be repaired, will retry name=%s error=%s", name_of(service), exc)

        missing = [(service, each) for service in self._services.list() for each in self._check(service)]
        await asyncio.gather(*(mend(service, finding) for service, finding in missing if finding.deed == "create"))

    async def run(self) -> None:
        self._services.subscribe(self._see_service)
        self._objects.subscribe(self._see_address)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._address_events.run(), name="events of address repair")
                tasks.create_task(self._port_events.run(), name="events of port repair")
                tasks.create_task(self._work(), name="address repair")
                tasks.create_task(self._repair_ports_regularly(), name="port repair")
        finally:
            self.queue.close()

    # Addresses

    def _see_service(self, old: Object | None, new: Object | None) -> None:
        service = new or old or {}
        if new is not None:
            self.queue.add(Key("service", namespace_of(service), name_of(service)))

    def _see_address(self, old: Object | None, new: Object | None) -> None:
        address = new or old or {}
        if new is not None:
            self.queue.add(Key("address", "", name_of(address)))
        else:
            parent = (address.get("spec") or {}).get("parentRef") or {}
            self.queue.add(Key("service", parent.get("namespace") or "", parent.get("name") or ""))

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                await self._sync(key)
                self.queue.forget(key)
            except (ApiError, StoreError) as exc:
                log.warning("addresses could not be repaired, will retry name=%s error=%s", key.name, exc)
                if self.queue.failures(key) < _MOST_TRIES:
                    self.queue.add_rate_limited(key)
                else:
                    self.queue.forget(key)  # until something of it changes
            finally:
                self.queue.done(key)

    async def _sync(self, key: Key) -> None:
        if key.kind == "service":
            service = self._services.get(key.namespace, key.name)
            for wrong in self._check(service) if service is not None else ():
                await self._mend(service or {}, wrong)
            return
        address = self._objects.get("", key.name)
        if address is None:
            return
        finding, again = check_address(address, find_service=self._services.get, now=self._clock.now())
        if finding is not None:
            self._tell(self._address_events, address, finding.reason, finding.message, "IPAddressAllocation")
            await self._delete(parse_ip(key.name))
        elif again:
            self.queue.add_after(key, again)

    def _check(self, service: Object) -> list[Finding]:
        return list(
            check_service(
                service,
                find_address=self._addresses.find,
                find_service=self._services.get,
                is_known=self._addresses.is_known,
            )
        )

    async def _mend(self, service: Object, finding: Finding) -> None:
        if finding.reason:
            self._tell(self._address_events, service, finding.reason, finding.message, "ClusterIPAllocation")
        if finding.address is None:
            return
        if finding.deed == "recreate":
            await self._delete(finding.address)
        if finding.deed:
            try:
                await self._registry.create(IP_ADDRESSES, address_object(finding.address, service))
            except AlreadyExists:
                # Somebody was faster, or a finalizer keeps the old one.
                self.queue.add_after(Key("service", namespace_of(service), name_of(service)), RACE_SECONDS)

    async def _delete(self, address: IPAddress | None) -> None:
        try:
            await self._registry.delete(IP_ADDRESSES, "", str(address))
        except NotFound:
            pass

    # Node ports

    async def _repair_ports_regularly(self) -> None:
        while True:
            try:
                await self.repair_ports()
            except StoreError as exc:
                log.warning("node ports could not be repaired, will retry error=%s", exc)
            await self._clock.sleep(INTERVAL_SECONDS)

    async def repair_ports(self) -> None:
        """One look. Raises StoreError."""
        async with self._ports.alone():  # what is being written is in both, or in neither
            services = self._services.list()
            found = check_ports(services, self._ports.taken, self._ports.numbers, self._leaks)
            self._leaks = dict(found.leaks)
            if found.add or found.remove:
                await self._ports.write(found.add, found.remove)
        for service, reason, message in found.told:
            self._tell(self._port_events, service, reason, message, "PortAllocation")

    def _tell(self, events: EventRecorder, obj: Object, reason: str, message: str, action: str) -> None:
        log.warning("allocation repaired reason=%s name=%s message=%s", reason, name_of(obj), message)
        events.event(obj, "Warning", reason, message, action=action)
