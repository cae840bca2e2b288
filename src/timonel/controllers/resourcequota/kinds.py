"""Which kinds can be counted, by discovery, and the informers of those that some quota names.

A kind is watched from when a quota first names it: its metadata alone, unless more than the number of objects counts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence

from timonel.api.clock import Clock
from timonel.api.errors import ApiError
from timonel.api.objects import Object, namespace_of
from timonel.api.quota.evaluator import COUNT, Evaluator, Surroundings, counts
from timonel.api.quota.registry import SPECIAL, evaluator_for
from timonel.api.refs import DEVICE_CLASSES, PODS, RESOURCE_CLAIMS, ResourceRef
from timonel.client.discovery import discover
from timonel.client.informer import Informer, Informers
from timonel.client.protocol import ApiClient

log = logging.getLogger(__name__)

_VERBS = frozenset({"create", "list", "watch", "delete"})
_DEBOUNCE_SECONDS = 0.5
"""Kinds come in groups: what is installed together is discovered together."""
_RETRY_SECONDS = 5.0
_LOOK_AGAIN_SECONDS = 5.0


class QuotableKinds:
    """Is told whether a namespace has quotas: `is_concerned(namespace)`.

    Tells `on_release(evaluator, namespace)` when objects use less than before, `on_known(evaluator)` when those of a
    kind have been read, and `on_change` when there are other kinds than before.
    """

    def __init__(
        self,
        *,
        client: ApiClient,
        informers: Informers,
        clock: Clock,
        is_concerned: Callable[[str], bool],
        on_release: Callable[[Evaluator, str], None],
        on_known: Callable[[Evaluator], None],
        on_change: Callable[[], None],
    ) -> None:
        self._client = client
        self._informers = informers
        self._clock = clock
        self._is_concerned = is_concerned
        self._on_release = on_release
        self._on_known = on_known
        self._on_change = on_change
        self._served: dict[str, ResourceRef] = {}
        self._others: set[ResourceRef] = set()
        self._watched: dict[ResourceRef, Informer] = {}
        self._group: asyncio.TaskGroup | None = None
        self._doubt = asyncio.Event()
        self._missed: dict[str, float] = {}
        """Names of quotas that nothing is counted under, and when that was doubted: none is kept for long."""

    async def run(self) -> None:
        """Discovers, and discovers again when there is reason to doubt what is known, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._doubt.set()
            try:
                while True:
                    await self._doubt.wait()
                    self._doubt.clear()
                    await self._discover()
                    await self._clock.sleep(_DEBOUNCE_SECONDS)
            finally:
                self._group = None

    def doubt(self) -> None:
        """There may be other kinds now."""
        self._doubt.set()

    async def _discover(self) -> None:
        try:
            found = await discover(self._client)
        except ApiError as exc:
            log.info("discovery failed error=%s", exc)
            await self._clock.sleep(_RETRY_SECONDS)
            self._doubt.set()
            return
        served = {
            row.ref.group_resource: row.ref
            for row in found
            if row.ref.namespaced and row.verbs >= _VERBS and counts(row.ref)
        }
        self._others = {row.ref for row in found if row.ref == DEVICE_CLASSES}
        if served != self._served:
            self._served = served
            kept = {*served.values(), *self._others}
            self._watched = {ref: informer for ref, informer in self._watched.items() if ref in kept}
            self._missed.clear()
            self._on_change()

    @property
    def are_known(self) -> bool:
        """Whether discovery has succeeded at all."""
        return bool(self._served)

    def evaluators(self) -> Sequence[Evaluator]:
        return [evaluator_for(name) for name in self._served]

    def check_counts(self, names: Collection[str]) -> None:
        """A quota that counts a kind nobody serves is reason to look whether somebody does by now."""
        missing = [name for name in names if name.startswith(COUNT) and name.removeprefix(COUNT) not in self._served]
        if not missing:
            return
        now = self._clock.monotonic()
        self._missed = {name: at for name, at in self._missed.items() if now - at < _LOOK_AGAIN_SECONDS}
        if new := [name for name in missing if name not in self._missed]:
            self._missed.update(dict.fromkeys(new, now))
            self.doubt()

    def objects(self, evaluator: Evaluator, namespace: str) -> Sequence[Object] | None:
        """None until they have been read, of which `on_known` will tell."""
        ref = self._served.get(evaluator.group_resource)
        if ref is None:
            return None
        informer = self._watch(ref, evaluator)
        return informer.lister.list(namespace) if informer.has_synced else None

    def surroundings(self) -> Surroundings:
        return Surroundings(
            now=self._clock.now(), device_classes=self._device_classes, pod=self._pod, claims=self._claims
        )

    def watch_device_classes(self) -> None:
        """Asked for when a quota limits devices; the classes say which extended resource they stand for."""
        if DEVICE_CLASSES in self._others and DEVICE_CLASSES not in self._watched:
            informer = self._watched[DEVICE_CLASSES] = self._informers.of(DEVICE_CLASSES)
            informer.add_handler(
                on_add=lambda obj: self._on_change(),
                on_update=lambda old, new: self._on_change() if old.get("spec") != new.get("spec") else None,
                on_delete=lambda obj: self._on_change(),
            )

    def _device_classes(self) -> Sequence[Object]:
        informer = self._watched.get(DEVICE_CLASSES)
        return informer.lister.list() if informer is not None else ()

    def _pod(self, namespace: str, name: str) -> Object | None:
        return self._informers.of(PODS).lister.get(namespace, name)

    def _claims(self, namespace: str) -> Sequence[Object]:
        return self._informers.of(RESOURCE_CLAIMS).lister.list(namespace)

    def _watch(self, ref: ResourceRef, evaluator: Evaluator) -> Informer:
        informer = self._watched.get(ref)
        if informer is None:
            informer = self._informers.of(ref, metadata_only=evaluator.group_resource not in SPECIAL)
            self._watched[ref] = informer

            def on_update(old: Object, new: Object) -> None:
                if self._is_concerned(namespace_of(new)) and evaluator.releases(old, new, self.surroundings()):
                    self._on_release(evaluator, namespace_of(new))

            informer.add_handler(
                on_update=on_update if evaluator.group_resource in SPECIAL else None,
                on_delete=lambda obj: self._on_release(evaluator, namespace_of(obj)),
            )
            if not informer.has_synced and self._group is not None:
                name = f"quota waits for {ref.group_resource}"
                self._group.create_task(self._tell_when_synced(informer, evaluator), name=name)
        return informer

    async def _tell_when_synced(self, informer: Informer, evaluator: Evaluator) -> None:
        await informer.wait_synced()
        self._on_known(evaluator)
