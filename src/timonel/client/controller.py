"""The one loop of all controllers: informers tell of changes, keys are queued, `sync(key)` makes things so.

A controller acts on the state it finds, not on the event that woke it; one key is never synced twice at once, different
keys run side by side. A failing sync is tried again with growing delay.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from timonel.api.clock import Clock
from timonel.api.errors import ApiError, Conflict, NotFound
from timonel.api.objects import Object, ObjectKey, controller_of, key_of, namespace_of
from timonel.api.refs import ResourceRef
from timonel.client.events import EventRecorder
from timonel.client.informer import Informer, Informers
from timonel.client.lister import Lister
from timonel.client.protocol import ApiClient
from timonel.client.workqueue import WorkQueue

log = logging.getLogger(__name__)

Key = TypeVar("Key", bound=Hashable)

Keys = ObjectKey | Iterable[ObjectKey] | None
KeyFunction = Callable[[Object], Keys]


@dataclass(frozen=True, slots=True)
class Watch:
    """A kind whose changes concern the controller; `key` says which keys to look at, by default the object's own.

    Of an update, the keys of the old and of the new object are queued. `changed(old, new)` may say that an update
    does not matter. With `delay_seconds`, changes that come one upon the other are looked at together.
    """

    ref: ResourceRef
    key: KeyFunction = key_of
    field_selector: str = ""
    changed: Callable[[Object, Object], bool] | None = None
    delay_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Result:
    requeue_after: float | None = None
    """Seconds until this key is looked at again, whatever happens."""


def owner_key(kind: str, group: str = "") -> KeyFunction:
    """For Watch.key: the controlling owner, when it is of this kind."""

    def key(obj: Object) -> Keys:
        owner = controller_of(obj)
        if owner is None or owner["kind"] != kind or owner["apiVersion"].rpartition("/")[0] != group:
            return None
        return ObjectKey(namespace_of(obj), owner["name"])

    return key


class Controller:
    """Subclasses give `name`, `watches` and `sync`; `workers` keys are synced side by side."""

    name = ""
    watches: tuple[Watch, ...] = ()
    workers = 5

    def __init__(
        self, *, client: ApiClient, informers: Informers, clock: Clock, recorder: EventRecorder | None = None
    ) -> None:
        self.client = client
        self.informers = informers
        self.clock = clock
        self.recorder = recorder
        self.queue: WorkQueue[ObjectKey] = WorkQueue(clock, name=self.name)

    @property
    def queues(self) -> tuple[WorkQueue[Any], ...]:
        """Its own, and those of the controllers that it runs beside itself."""
        parts = [part for part in vars(self).values() if isinstance(part, Controller)]
        return (self.queue, *(queue for part in parts for queue in part.queues))

    def informer(self, ref: ResourceRef, *, field_selector: str = "") -> Informer:
        return self.informers.of(ref, field_selector=field_selector)

    def lister(self, ref: ResourceRef, *, field_selector: str = "") -> Lister:
        return self.informer(ref, field_selector=field_selector).lister

    async def sync(self, key: ObjectKey) -> Result:
        """Makes the world right for one key. Raise to be called again with backoff."""
        raise NotImplementedError

    def event(self, obj: Object, type: str, reason: str, message: str, *, action: str = "") -> None:
        if self.recorder is not None:
            self.recorder.event(obj, type, reason, message, action=action)

    async def run(self) -> None:
        self.register()
        for watch in self.watches:
            await self.informer(watch.ref, field_selector=watch.field_selector).wait_synced()
        await self.prepare()
        await run_workers(self.name, self.queue, self.sync, self.workers)

    def register(self) -> None:
        """Hooks into the informers; separate from run() so that a test may sync by hand."""
        for watch in self.watches:
            self._watch(watch)

    async def prepare(self) -> None:
        """Called once, after the caches are filled and before the first sync."""

    def _watch(self, watch: Watch) -> None:
        def enqueue(obj: Object) -> None:
            keys = watch.key(obj)
            if keys is None:
                return
            for key in (keys,) if isinstance(keys, ObjectKey) else keys:
                self.queue.add_after(key, watch.delay_seconds)

        def on_update(old: Object, new: Object) -> None:
            if watch.changed is None or watch.changed(old, new):
                enqueue(old)
                enqueue(new)

        informer = self.informer(watch.ref, field_selector=watch.field_selector)
        informer.add_handler(on_add=enqueue, on_update=on_update, on_delete=enqueue)

    async def process(self, key: ObjectKey) -> None:
        """One sync and what follows from it, for tests that work a queue by hand."""
        await process_key(self.name, self.queue, self.sync, key)


async def run_workers(name: str, queue: WorkQueue[Key], sync: Callable[[Key], Awaitable[Result]], count: int) -> None:
    """Syncs the keys of a queue, `count` side by side, until cancelled; then closes the queue."""

    async def work() -> None:
        while True:
            key = await queue.get()
            try:
                await process_key(name, queue, sync, key)
            finally:
                queue.done(key)

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(work(), name=f"{name} worker {number}")
    finally:
        queue.close()


async def process_key(name: str, queue: WorkQueue[Key], sync: Callable[[Key], Awaitable[Result]], key: Key) -> None:
    try:
        result = await sync(key)
    except (Conflict, NotFound) as exc:
        # Somebody was quicker; the cache will say so in a moment.
        log.debug("sync lost a race controller=%s key=%s error=%s", name, key, exc)
        queue.add_rate_limited(key)
    except ApiError as exc:
        # A server that is away is told of by the informers; each key need not repeat it loudly.
        level = logging.INFO if exc.status_code >= 500 else logging.WARNING
        log.log(level, "sync failed controller=%s key=%s error=%s", name, key, exc)
        queue.add_rate_limited(key)
    except Exception:
        # A defect met by one object; the others must go on, and the trace says where to look.
        log.exception("sync failed controller=%s key=%s", name, key)
        queue.add_rate_limited(key)
    else:
        queue.forget(key)
        if result.requeue_after is not None:
            queue.add_after(key, result.requeue_after)
