"""Puts the configuration objects in force when they change, and writes into each FlowSchema whether its level exists.

A schema's condition is written at most six times a minute: two servers of different opinion would write for ever.
Source: KEP-1040, kubernetes.io/docs/reference/kubernetes-api/cluster-resources/flow-schema-v1 ("Dangling").
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime

from timonel.api.clock import Clock, format_time
from timonel.api.errors import ApiError, NotFound
from timonel.api.objects import Object, find_by, get_path, name_of
from timonel.api.refs import FLOW_SCHEMAS, PRIORITY_LEVEL_CONFIGURATIONS
from timonel.apiserver.flowcontrol.control import FlowControl
from timonel.apiserver.flowcontrol.keeping import Objects
from timonel.apiserver.flowcontrol.limits import PERIOD_SECONDS
from timonel.storage.protocol import StoreError

log = logging.getLogger(__name__)

_MOST_WRITES, _MINUTE = 6, 60.0
_PAUSE_SECONDS = (30.0, 75.0)
_RETRY_SECONDS = (0.2, 60.0)
"""First and longest."""


class ConfigurationFollower:
    """`start` before the first request, then `run`. `jitter(low, high)` gives a number between both."""

    def __init__(
        self, *, objects: Objects, control: FlowControl, clock: Clock, jitter: Callable[[float, float], float]
    ) -> None:
        self._objects = objects
        self._control = control
        self._clock = clock
        self._jitter = jitter
        self._changed = asyncio.Event()
        self._levels_found: dict[str, bool] = {}
        self._written: dict[str, deque[float]] = {}
        self.has_started = False

    def start(self) -> None:
        """Takes the objects that there are."""
        for ref in (FLOW_SCHEMAS, PRIORITY_LEVEL_CONFIGURATIONS):
            self._objects.reader(ref).subscribe(self._look)
        self._take()
        self.has_started = True

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(), name="flow-control-configuration")
            tasks.create_task(self._adjust(), name="flow-control-borrowing")

    async def _adjust(self) -> None:
        while True:
            await self._clock.sleep(PERIOD_SECONDS)
            self._control.adjust()

    async def _follow(self) -> None:
        retry = _RETRY_SECONDS[0]
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._take()
            try:
                pause = await self.write_conditions()
                retry = _RETRY_SECONDS[0]
            except (ApiError, StoreError) as error:
                log.warning("condition of a flow schema could not be written, will retry error=%s", error)
                pause, retry = retry, min(2 * retry, _RETRY_SECONDS[1])
            if pause:
                # Changes of the objects meanwhile take effect only after it, which is what the pause is for.
                self._changed.set()
                await self._clock.sleep(pause)

    async def write_conditions(self) -> float:
        """Where they are not as they should be. Answers for how long to pause when some were written too often."""
        pause, now = 0.0, self._clock.monotonic()
        changes: list[Awaitable[object]] = []
        for schema in list(self._objects.reader(FLOW_SCHEMAS).list()):
            name = name_of(schema)
            found = self._levels_found.get(name)
            if found is None or condition_as_is(schema) == _text(condition(schema, found, self._clock.now())):
                continue
            writes = self._written.setdefault(name, deque())
            while writes and now - writes[0] > _MINUTE:
                writes.popleft()
            if len(writes) >= _MOST_WRITES:
                pause = pause or self._jitter(*_PAUSE_SECONDS)
                continue
            writes.append(now)
            changes.append(self._write(name, condition(schema, found, self._clock.now())))
        await asyncio.gather(*changes)
        return pause

    async def _write(self, name: str, wanted: Object) -> None:
        try:
            await self._objects.apply_status(FLOW_SCHEMAS, name, {"conditions": [wanted]})
        except NotFound:
            self._written.pop(name, None)

    def _take(self) -> None:
        reader = self._objects.reader
        now = self._clock.monotonic()
        self._levels_found = self._control.levels.take(
            reader(PRIORITY_LEVEL_CONFIGURATIONS).list(), reader(FLOW_SCHEMAS).list(), now
        )
        self._control.dispatch_all(now)

    def _look(self, old: Object | None, new: Object | None) -> None:
        if (
            old is None
            or new is None
            or old.get("spec") != new.get("spec")
            or old.get("status") != new.get("status")
            or old["metadata"].get("uid") != new["metadata"].get("uid")
        ):
            self._changed.set()


def condition(schema: Object, found: bool, now: datetime) -> Object:
    """The condition Dangling, in upstream's words."""
    level = get_path(schema, "spec", "priorityLevelConfiguration", "name", default="")
    ending = "and it exists" if found else "but there is no such object"
    return {
        "type": "Dangling",
        "status": "False" if found else "True",
        "lastTransitionTime": format_time(now),
        "reason": "Found" if found else "NotFound",
        "message": f'This FlowSchema references the PriorityLevelConfiguration object named "{level}" {ending}',
    }


def condition_as_is(schema: Object) -> tuple[str, ...]:
    return _text(find_by(get_path(schema, "status", "conditions"), "type", "Dangling") or {})


def _text(condition: Object) -> tuple[str, ...]:
    return tuple(condition.get(part) or "" for part in ("status", "reason", "message"))
