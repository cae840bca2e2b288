"""From a decision to a bound pod: it waits for its group, its needs are prepared, it is bound; or all is undone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from timonel.api.clock import Clock
from timonel.api.errors import ApiError, Conflict, NotFound
from timonel.api.objects import Object
from timonel.scheduler.core.arguments import CoschedulingArgs
from timonel.scheduler.core.gangs import PLUGIN as COSCHEDULING
from timonel.scheduler.core.gangs import Gang
from timonel.scheduler.core.queue import Waiting
from timonel.scheduler.extenders import ExtenderFailed, Extenders
from timonel.scheduler.mirror import Mirror
from timonel.scheduler.outcomes import Outcomes, full_name
from timonel.scheduler.permits import Permit, Permits
from timonel.scheduler.reservations import NotPrepared, Reservation, Reservations
from timonel.scheduler.writing import Writer

log = logging.getLogger(__name__)

Spawn = Callable[[Coroutine[Any, Any, None], str], None]
"""Runs something beside the decisions, under a name."""


class Binding:
    def __init__(
        self,
        *,
        writer: Writer,
        mirror: Mirror,
        permits: Permits,
        reservations: Reservations,
        extenders: Extenders,
        outcomes: Outcomes,
        clock: Clock,
        spawn: Spawn,
    ) -> None:
        self._writer = writer
        self._mirror = mirror
        self._permits = permits
        self._reservations = reservations
        self._extenders = extenders
        self._outcomes = outcomes
        self._clock = clock
        self._spawn = spawn

    async def start(self, waiting: Waiting, obj: Object, reserved: Reservation) -> None:
        """Of a pod that counts as being on its node already. What takes time is done beside the decisions."""
        permit = self._hold(reserved.gang, waiting, obj, reserved) if reserved.gang is not None else None
        if reserved.takes_time:
            self._spawn(self._prepare(waiting, obj, reserved, permit), "what a pod needs before it is bound")
        else:
            await self._writer.submit(waiting.pod.uid, lambda: self._bind(waiting, obj, reserved))

    def _hold(self, gang: Gang, waiting: Waiting, obj: Object, reserved: Reservation) -> Permit:
        """Until enough of its group have a place as well."""

        def give_up() -> None:
            self._reservations.drop(reserved)
            self._mirror.forget(waiting.pod.uid)

        def requeue(why: str, plugins: frozenset[str]) -> None:
            self._outcomes.refused_nowait(waiting, obj, why, plugins)

        return self._permits.enter(gang, waiting.pod, give_up, requeue)

    async def _prepare(self, waiting: Waiting, obj: Object, reserved: Reservation, permit: Permit | None) -> None:
        if permit is not None:
            args: CoschedulingArgs = reserved.profile.args[COSCHEDULING]
            if not await self._permits.wait(permit, args.permit_waiting_time_seconds):
                return
        try:
            await self._reservations.carry_out(obj, reserved)
        except Exception as exc:
            if not isinstance(exc, NotPrepared):
                log.exception("Preparing to bind broke pod=%s", full_name(obj))
            log.info("A pod cannot be bound pod=%s node=%s error=%s", full_name(obj), reserved.node, exc)
            await self._undo(waiting, obj, reserved, str(exc))
        else:
            await self._writer.submit(waiting.pod.uid, lambda: self._bind(waiting, obj, reserved))

    async def _bind(self, waiting: Waiting, obj: Object, reserved: Reservation) -> None:
        began = self._clock.monotonic()
        try:
            extender = self._extenders.binder(obj)
            if extender is None or not await self._extenders.bind(extender, obj, reserved.node):
                await self._writer.bind(obj, reserved.node)
        except (ExtenderFailed, ApiError) as exc:
            # Gone, or placed by somebody else, or its node is gone: what the informers tell next decides.
            level = logging.INFO if isinstance(exc, (NotFound, Conflict)) else logging.WARNING
            log.log(level, "A pod was not bound pod=%s node=%s error=%s", full_name(obj), reserved.node, exc)
            why = exc.message if isinstance(exc, ApiError) else str(exc)
            await self._undo(waiting, obj, reserved, f"binding rejected: {why}")
        else:
            self._outcomes.bound(waiting, obj, reserved.node, self._clock.monotonic() - began)

    async def _undo(self, waiting: Waiting, obj: Object, reserved: Reservation, why: str) -> None:
        self._mirror.forget(waiting.pod.uid)
        await self._reservations.undo(obj, reserved)
        self._outcomes.failed(waiting, obj, why)
