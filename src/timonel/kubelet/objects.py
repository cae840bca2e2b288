"""ConfigMaps and Secrets that pods of this node refer to, each watched by its own name and no other.

The node authorizer lets a node read just those. A watch lives as long as some pod refers to its object.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

from timonel.api.clock import Clock
from timonel.api.objects import Object, namespace_of, uid_of
from timonel.api.refs import CONFIGMAPS, SECRETS
from timonel.client.backoff import Backoff
from timonel.client.informer import Informer
from timonel.client.protocol import ApiClient
from timonel.kubelet.containers.environment import referenced_objects
from timonel.kubelet.tasks import Tasks

log = logging.getLogger(__name__)

_REFS = {"configmap": CONFIGMAPS, "secret": SECRETS}
SYNC_SECONDS = 10.0


class ObjectName(NamedTuple):
    kind: str
    """"configmap" or "secret"."""
    namespace: str
    name: str


class ObjectsUnavailable(Exception):
    """The API has not told yet whether the object exists."""


def references_of(pod: Object) -> set[ObjectName]:
    spec = pod["spec"]
    found: set[tuple[str, str]] = set()
    for container in (spec.get("initContainers") or []) + (spec.get("containers") or []):
        found |= referenced_objects(container)
    for container in spec.get("ephemeralContainers") or ():
        found |= referenced_objects(container)
    for volume in spec.get("volumes") or ():
        found |= _of_source(volume)
        for source in (volume.get("projected") or {}).get("sources") or ():
            found |= _of_source(source, projected=True)
    found |= {("secret", reference.get("name", "")) for reference in spec.get("imagePullSecrets") or ()}
    namespace = namespace_of(pod)
    return {ObjectName(kind, namespace, name) for kind, name in found if name}


def _of_source(source: Object, projected: bool = False) -> set[tuple[str, str]]:
    found = set()
    if source.get("configMap"):
        found.add(("configmap", source["configMap"].get("name", "")))
    if source.get("secret"):
        found.add(("secret", source["secret"].get("name" if projected else "secretName", "")))
    return found


class _Watched:
    def __init__(self, informer: Informer) -> None:
        self.informer = informer
        self.tasks: list[asyncio.Task[None]] = []
        self.pods: set[str] = set()


class ReferencedObjects:
    """`add` and `remove` pods; `get` their objects; handlers hear of every change. `run` fails when a watch is lost."""

    def __init__(self, *, client: ApiClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._watched: dict[ObjectName, _Watched] = {}
        self._by_pod: dict[str, set[ObjectName]] = {}
        self._handlers: list[Callable[[ObjectName, set[str]], None]] = []
        self._tasks = Tasks()

    async def run(self) -> None:
        """Until cancelled; then all watches end."""
        await self._tasks.run()

    def add_handler(self, handler: Callable[[ObjectName, set[str]], None]) -> None:
        """Gets the object's name and the uids of the pods that refer to it; also once it is known to be absent."""
        self._handlers.append(handler)

    def add(self, pod: Object) -> None:
        """Starts to watch what the pod refers to; again after each change of the pod."""
        uid = uid_of(pod)
        wanted = references_of(pod)
        before = self._by_pod.get(uid, set())
        self._by_pod[uid] = wanted
        for name in wanted - before:
            self._watch(name).pods.add(uid)
        self._release(uid, before - wanted)

    def remove(self, uid: str) -> None:
        self._release(uid, self._by_pod.pop(uid, set()))

    def _watch(self, name: ObjectName) -> _Watched:
        watched = self._watched.get(name)
        if watched is None:
            informer = Informer(
                self._client,
                _REFS[name.kind],
                namespace=name.namespace,
                field_selector=f"metadata.name={name.name}",
                clock=self._clock,
            )
            watched = self._watched[name] = _Watched(informer)
            informer.add_handler(
                on_add=lambda new: self._changed(name),
                on_update=lambda old, new: self._changed(name),
                on_delete=lambda old: self._changed(name),
            )
            title = f"{name.kind} {name.namespace}/{name.name}"
            watched.tasks = [
                self._tasks.start(self._follow(informer), name=f"watch {title}"),
                self._tasks.start(self._tell_absent(name, informer), name=f"first look at {title}"),
            ]
        return watched

    async def _follow(self, informer: Informer) -> None:
        """One odd object must neither end the kubelet, nor leave its pods with what was true once: watched again.

        A pod that needs an object of which nothing can be learnt says so by its FailedMount event.
        """
        backoff = Backoff(first=1.0, limit=60.0)
        while True:
            try:
                await informer.run()
            except Exception:
                log.exception("watch broke resource=%s", informer.ref.plural)
            await self._clock.sleep(backoff.next_delay())

    async def _tell_absent(self, name: ObjectName, informer: Informer) -> None:
        """No event tells that an object is not there, yet what waits to know goes on then."""
        await informer.wait_synced()
        if informer.lister.get(name.namespace, name.name) is None:
            self._changed(name)

    def _changed(self, name: ObjectName) -> None:
        watched = self._watched.get(name)
        if watched is not None:
            for handler in self._handlers:
                handler(name, set(watched.pods))

    def _release(self, uid: str, names: Iterable[ObjectName]) -> None:
        for name in names:
            watched = self._watched.get(name)
            if watched is None:
                continue
            watched.pods.discard(uid)
            if not watched.pods:
                for task in watched.tasks:
                    task.cancel()
                del self._watched[name]

    async def wait_known(self, names: Iterable[ObjectName]) -> None:
        """Until the API has told of all of them. Raises ObjectsUnavailable after a while."""
        for name in names:
            watched = self._watched.get(name)
            if watched is None or watched.informer.has_synced:
                continue
            try:
                await asyncio.wait_for(watched.informer.wait_synced(), SYNC_SECONDS)
            except TimeoutError:
                raise ObjectsUnavailable(
                    f"failed to sync {name.kind} cache: timed out waiting for the condition"
                ) from None

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The newest known; None when it does not exist (or is not referred to by any pod here)."""
        watched = self._watched.get(ObjectName(kind, namespace, name))
        return watched.informer.lister.get(namespace, name) if watched else None

    def is_known(self, kind: str, namespace: str, name: str) -> bool:
        """Whether the API has told if the object exists: only then does None from `get` mean that it does not."""
        watched = self._watched.get(ObjectName(kind, namespace, name))
        return watched is not None and watched.informer.has_synced

    async def close(self) -> None:
        self._watched.clear()
        await self._tasks.close()
