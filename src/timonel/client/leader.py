"""Leader election by Lease: of several managers one works, the others watch the Lease and wait.

Alone, it costs no delay: a Lease that is free, expired or already ours (the same identity after a restart) is taken at
once. Expiry is measured from when this process saw the Lease change, so that hosts' clocks need not agree.
Source: kubernetes.io/docs/concepts/architecture/leases#leader-election
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from timonel.api.clock import Clock, format_micro_time
from timonel.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from timonel.api.objects import Object, copy_object, resource_version_of
from timonel.api.refs import LEASES
from timonel.client.protocol import ApiClient

log = logging.getLogger(__name__)


class LeadershipLost(RuntimeError):
    """The Lease could not be renewed in time; the work was cancelled. Let the supervisor start the process again."""


@dataclass(frozen=True, slots=True)
class LeaderConfig:
    name: str
    identity: str
    """Unique among the candidates and the same after a restart: the host name, where one runs per host."""
    namespace: str = "kube-system"
    lease_seconds: float = 15.0
    """Others may take over when the Lease has not been renewed for this long."""
    renew_deadline_seconds: float = 10.0
    """The leader gives up when renewing has failed for this long; less than `lease_seconds`."""
    renew_seconds: float = 5.0
    """Between renewals."""


class LeaderElector:
    def __init__(self, client: ApiClient, config: LeaderConfig, *, clock: Clock) -> None:
        self._client = client
        self._config = config
        self._clock = clock
        self._lease: Object | None = None
        self._observed = 0.0
        self.is_leader = False

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Waits for leadership, then runs `work` until it ends, is cancelled, or leadership is lost (raises)."""
        await self.acquire()
        try:
            async with asyncio.TaskGroup() as group:
                renewing = group.create_task(self._renew(), name="leader election")
                await work()
                renewing.cancel()
        finally:
            self.is_leader = False
            await self._release()

    async def acquire(self) -> None:
        while not await self._try_acquire():
            await self._wait_change()
        self.is_leader = True
        log.info("became leader lease=%s identity=%s", self._config.name, self._config.identity)

    async def _try_acquire(self) -> bool:
        config = self._config
        now = self._clock.now()
        try:
            self._observe(await self._client.get(LEASES, config.name, config.namespace))
        except NotFound:
            self._lease = None
        except ApiError as exc:
            log.info("lease unreadable lease=%s error=%s", config.name, exc)
            return False
        if self._lease is None:
            lease: Object = {
                "kind": "Lease",
                "apiVersion": LEASES.api_version,
                "metadata": {"name": config.name, "namespace": config.namespace},
                "spec": {"leaseTransitions": 0},
            }
        else:
            lease = copy_object(self._lease)
        spec = lease.setdefault("spec", {})
        holder = spec.get("holderIdentity") or ""
        if holder not in ("", config.identity) and self._clock.monotonic() < self._expiry(spec):
            return False
        if holder != config.identity:
            spec["acquireTime"] = format_micro_time(now)
            spec["leaseTransitions"] = (spec.get("leaseTransitions") or 0) + (1 if holder or self._lease else 0)
        spec["holderIdentity"] = config.identity
        spec["leaseDurationSeconds"] = int(config.lease_seconds)
        spec["renewTime"] = format_micro_time(now)
        # Others count from when they see the write, which is before we hear of it.
        asked = self._clock.monotonic()
        try:
            if self._lease is None:
                self._lease = await self._client.create(LEASES, lease)
            else:
                self._lease = await self._client.update(LEASES, lease)
        except (AlreadyExists, Conflict):
            return False
        except ApiError as exc:
            log.info("lease not written lease=%s error=%s", config.name, exc)
            return False
        self._observed = asked
        return True

    def _observe(self, lease: Object) -> None:
        if self._lease is None or resource_version_of(lease) != resource_version_of(self._lease):
            self._observed = self._clock.monotonic()
        self._lease = lease

    def _expiry(self, spec: Object) -> float:
        return self._observed + float(spec.get("leaseDurationSeconds") or self._config.lease_seconds)

    async def _wait_change(self) -> None:
        """Until the Lease changes hands or may have expired."""
        if self._lease is None:
            await self._clock.sleep(1.0)
            return
        remaining = max(0.05, self._expiry(self._lease.get("spec") or {}) - self._clock.monotonic())
        await self._within(remaining, self._watch_lease(), "watch of the leader's lease")

    async def _within(self, seconds: float, work: Coroutine[Any, Any, None], name: str) -> bool:
        """Whether `work` ended in time; it is cancelled otherwise. What it raises is raised."""
        working = asyncio.create_task(work, name=name)
        timer = asyncio.create_task(self._clock.sleep(seconds), name=f"time limit of {name}")
        try:
            await asyncio.wait((working, timer), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
                return True
            return False
        finally:
            for task in (working, timer):
                task.cancel()
            await asyncio.gather(working, timer, return_exceptions=True)

    async def _watch_lease(self) -> None:
        """Returns when the Lease is given up or gone; a renewal only moves the time of expiry."""
        config = self._config
        try:
            stream = self._client.watch(
                LEASES,
                config.namespace,
                resource_version=resource_version_of(self._lease or {"metadata": {}}),
                field_selector=f"metadata.name={config.name}",
            )
            async with aclosing(cast(Any, stream)) as events:
                async for kind, _ in events:
                    if kind == "BOOKMARK":
                        continue
                    return
        except ApiError as exc:
            log.info("watch of the lease interrupted lease=%s error=%s", config.name, exc)
        await self._clock.sleep(1.0)

    async def _renew(self) -> None:
        config = self._config
        while True:
            await self._clock.sleep(config.renew_seconds)
            # The limit holds for a request under way too: a server that takes it and never answers must not leave us
            # believing that we lead while another has taken over.
            left = self._observed + config.renew_deadline_seconds - self._clock.monotonic()
            if not await self._within(left, self._renew_once(), "renewal of the lease"):
                raise LeadershipLost(f"lease {config.namespace}/{config.name} was not renewed in time")

    async def _renew_once(self) -> None:
        while not await self._try_acquire():
            await self._clock.sleep(1.0)

    async def _release(self) -> None:
        """Lets the next one in at once. Best effort: the Lease expires anyhow."""
        if self._lease is None or (self._lease.get("spec") or {}).get("holderIdentity") != self._config.identity:
            return
        lease = copy_object(self._lease)
        lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            async with asyncio.timeout(2):
                await self._client.update(LEASES, lease)
        except (ApiError, TimeoutError) as exc:
            log.info("lease not released lease=%s error=%s", self._config.name, str(exc) or "no answer")
