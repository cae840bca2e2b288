"""Informers: a kind listed once and then watched, kept as a local copy, with plain functions told of every change.

No event is lost: a broken watch resumes from the last version seen (bookmarks move it forward while nothing changes);
when that version is compacted, the kind is listed again and the difference is told as adds, updates and deletes.
An informer shared by all its users costs one watch and one copy; `transform` keeps that copy small.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Hashable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from timonel.api.clock import Clock, SystemClock
from timonel.api.errors import ApiError, Expired
from timonel.api.objects import Object, ObjectKey, key_of, resource_version_of
from timonel.api.refs import ResourceRef
from timonel.client.backoff import Backoff
from timonel.client.lister import Lister
from timonel.client.protocol import ApiClient

log = logging.getLogger(__name__)

Transform = Callable[[Object], Object]
_CHUNK = 500
_SHORT_WATCH_SECONDS = 1.0


def drop_managed_fields(obj: Object) -> Object:
    """Often half of an object, and nothing a component reads; the server keeps them when an update leaves them out."""
    obj["metadata"].pop("managedFields", None)
    return obj


def keep_metadata(obj: Object) -> Object:
    """What an object shrinks to where only names, labels and owners matter."""
    metadata = obj["metadata"]
    metadata.pop("managedFields", None)
    metadata.pop("annotations", None)
    return {"kind": obj.get("kind"), "apiVersion": obj.get("apiVersion"), "metadata": metadata}


@dataclass(frozen=True, slots=True)
class _Handler:
    on_add: Callable[[Object], None] | None
    on_update: Callable[[Object, Object], None] | None
    on_delete: Callable[[Object], None] | None


class Informer:
    def __init__(
        self,
        client: ApiClient,
        ref: ResourceRef,
        *,
        namespace: str = "",
        field_selector: str = "",
        label_selector: str = "",
        metadata_only: bool = False,
        transform: Transform | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.ref = ref
        self.lister = Lister()
        self._client = client
        self._namespace = namespace
        self._field_selector = field_selector
        self._label_selector = label_selector
        self._metadata_only = metadata_only
        self._transform = transform or (keep_metadata if metadata_only else drop_managed_fields)
        self._clock: Clock = clock or SystemClock()
        self._rng = rng or random.Random()
        self._handlers: list[_Handler] = []
        self._synced = asyncio.Event()
        self._revision = ""

    @property
    def has_synced(self) -> bool:
        return self._synced.is_set()

    @property
    def revision(self) -> str:
        """The newest resourceVersion this copy reflects; "" before the first list and while listing again."""
        return self._revision

    async def wait_synced(self) -> None:
        await self._synced.wait()

    def add_handler(
        self,
        *,
        on_add: Callable[[Object], None] | None = None,
        on_update: Callable[[Object, Object], None] | None = None,
        on_delete: Callable[[Object], None] | None = None,
    ) -> None:
        """Plain, quick functions: on_add(obj), on_update(old, new), on_delete(last known obj).

        A late handler is told of everything already here as adds, at once.
        """
        handler = _Handler(on_add, on_update, on_delete)
        self._handlers.append(handler)
        if on_add:
            for obj in self.lister.list():
                self._tell(on_add, obj)

    def add_index(self, name: str, fn: Callable[[Object], Iterable[Hashable]]) -> None:
        self.lister.add_index(name, fn)

    async def run(self) -> None:
        """Lists and watches until cancelled; the server's absence only delays it."""
        backoff = Backoff(rng=self._rng)
        while True:
            started = self._clock.monotonic()
            try:
                if not self._revision:
                    await self._relist()
                    backoff.reset()
                await self._follow()
                if self._clock.monotonic() - started >= _SHORT_WATCH_SECONDS:
                    backoff.reset()
                    continue
            except Expired:
                log.info("watch expired, listing again resource=%s revision=%s", self.ref.plural, self._revision)
                self._revision = ""
            except ApiError as exc:
                if self._clock.monotonic() - started >= _SHORT_WATCH_SECONDS:
                    backoff.reset()
                log.info("watch interrupted resource=%s error=%s", self.ref.plural, exc)
            await self._clock.sleep(backoff.next_delay())

    async def _relist(self) -> None:
        seen: set[ObjectKey] = set()
        continue_ = ""
        while True:
            page = await self._client.list(
                self.ref,
                self._namespace,
                label_selector=self._label_selector,
                field_selector=self._field_selector,
                limit=_CHUNK,
                continue_=continue_,
                metadata_only=self._metadata_only,
            )
            # Items of a list carry no kind of their own; events do, and readers want them alike.
            kind, api_version = self.ref.kind, self.ref.api_version
            for item in page.get("items") or ():
                obj = item if "kind" in item else {"kind": kind, "apiVersion": api_version, **item}
                key = key_of(obj)
                seen.add(key)
                self._apply(key, self._transform(obj))
            continue_ = page["metadata"].get("continue") or ""
            if not continue_:
                break
        for key in [key for key in self.lister.keys() if key not in seen]:  # noqa: SIM118  # not a dict
            self._delete(key, None)
        self._revision = resource_version_of(page)
        self._synced.set()

    async def _follow(self) -> None:
        stream = self._client.watch(
            self.ref,
            self._namespace,
            resource_version=self._revision,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            # Spread, so that watches of one process do not all end together.
            timeout_seconds=self._rng.randint(300, 600),
            metadata_only=self._metadata_only,
        )
        async with aclosing(cast(Any, stream)) as events:
            async for kind, obj in events:
                # Read first: a transform may drop or share parts.
                revision = resource_version_of(obj)
                if kind == "DELETED":
                    self._delete(key_of(obj), self._transform(obj))
                elif kind != "BOOKMARK":
                    self._apply(key_of(obj), self._transform(obj))
                self._revision = revision

    def _apply(self, key: ObjectKey, obj: Object) -> None:
        old = self.lister.get(*key)
        if old is not None:
            if resource_version_of(old) == resource_version_of(obj):
                return
            if old["metadata"].get("uid") != obj["metadata"].get("uid"):
                # Deleted and made again while nobody watched: two lives, told as two.
                self._delete(key, None)
                old = None
        self.lister.put(key, obj)
        for handler in self._handlers:
            if old is None:
                if handler.on_add:
                    self._tell(handler.on_add, obj)
            elif handler.on_update:
                self._tell(handler.on_update, old, obj)

    def _delete(self, key: ObjectKey, last: Object | None) -> None:
        """`last` is the final state when an event told it; a relist knows only the cached one."""
        old = self.lister.remove(key)
        if old is None:
            return
        for handler in self._handlers:
            if handler.on_delete:
                self._tell(handler.on_delete, last or old)

    def _tell(self, function: Callable[..., None], *args: Object) -> None:
        try:
            function(*args)
        except Exception:
            # One odd object must not stop the stream for all others; the trace is what makes it findable.
            log.exception("handler failed resource=%s object=%s", self.ref.plural, key_of(args[-1]))


class Informers:
    """The shared informers of one process: the same arguments give the same informer."""

    def __init__(self, client: ApiClient, *, clock: Clock | None = None, rng: random.Random | None = None) -> None:
        self._client = client
        self._clock: Clock = clock or SystemClock()
        self._rng = rng or random.Random()
        self._informers: dict[tuple[ResourceRef, str, str, str, bool], Informer] = {}
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[Informer, asyncio.Task[None]] = {}

    def of(
        self,
        ref: ResourceRef,
        *,
        namespace: str = "",
        field_selector: str = "",
        label_selector: str = "",
        metadata_only: bool = False,
        transform: Transform | None = None,
    ) -> Informer:
        """`transform` counts for the first caller only: those who share an informer share its objects.

        `metadata_only` is satisfied by a full informer of the same kind when there already is one.
        """
        if metadata_only:
            full = self._informers.get((ref, namespace, field_selector, label_selector, False))
            if full is not None:
                return full
        key = (ref, namespace, field_selector, label_selector, metadata_only)
        informer = self._informers.get(key)
        if informer is None:
            informer = self._informers[key] = Informer(
                self._client,
                ref,
                namespace=namespace,
                field_selector=field_selector,
                label_selector=label_selector,
                metadata_only=metadata_only,
                transform=transform,
                clock=self._clock,
                rng=self._rng,
            )
            if self._group is not None:
                self._start(informer)
        return informer

    def forget(self, ref: ResourceRef) -> None:
        """Stops all informers of a kind that is no longer served; `of` makes new ones when it is again."""
        for key in [key for key in self._informers if key[0] == ref]:
            task = self._tasks.pop(self._informers.pop(key), None)
            if task is not None:
                task.cancel()

    async def read(self, ref: ResourceRef, name: str, namespace: str = "") -> Object | None:
        """The object as the server has it at this moment, where a copy will not do; None when there is none.

        It is listed, with the rights that informers need anyhow. Raises ApiError.
        """
        page = await self._client.list(ref, namespace, field_selector=f"metadata.name={name}")
        items = page.get("items") or ()
        return items[0] if items else None

    async def run(self) -> None:
        """Runs every informer, also those asked for later, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                for informer in self._informers.values():
                    self._start(informer)
                await asyncio.get_running_loop().create_future()
            finally:
                self._group = None
                self._tasks.clear()

    async def wait_synced(self) -> None:
        """Waits for all informers asked for until now."""
        for informer in list(self._informers.values()):
            await informer.wait_synced()

    def _start(self, informer: Informer) -> None:
        assert self._group is not None
        task = self._group.create_task(informer.run(), name=f"informer {informer.ref.group_resource}")
        self._tasks[informer] = task
