"""Keeps the API's images of static pods: one for each, made anew when somebody deletes or changes it.

Nothing runs because of them; whoever deletes one finds it again. Source: kubernetes.io/docs/reference/glossary,
"Mirror Pod".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from timonel.api.clock import Clock
from timonel.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from timonel.api.objects import Object, ObjectKey, annotations_of, is_deleting, key_of, name_of, namespace_of, uid_of
from timonel.api.refs import PODS
from timonel.client.backoff import Backoff
from timonel.client.protocol import ApiClient
from timonel.kubelet.static.manifest import MIRROR, mirror_of
from timonel.kubelet.waiting import wait_event

log = logging.getLogger(__name__)


def is_mirror(pod: Object) -> bool:
    return MIRROR in annotations_of(pod)


def plan_mirrors(
    static: Mapping[str, Object], mirrors: Mapping[ObjectKey, Object]
) -> tuple[list[Object], list[Object]]:
    """(mirrors to delete, static pods whose mirror is to be made). `static` by uid. Pure."""
    good = {
        key
        for key, mirror in mirrors.items()
        if not is_deleting(mirror)
        and (pod := static.get(annotations_of(mirror)[MIRROR])) is not None
        and key_of(pod) == key
    }
    return [m for key, m in mirrors.items() if key not in good], [p for p in static.values() if key_of(p) not in good]


class Mirrors:
    """`static` are the pods to show, by uid; `node` is the Node object that owns them, once it is known.

    `shown(static_uid, mirror)` hears of each mirror as it is, and with None when there is none any more.
    """

    def __init__(
        self,
        *,
        client: ApiClient,
        clock: Clock,
        static: Callable[[], Mapping[str, Object]],
        node: Callable[[], Object | None],
        shown: Callable[[str, Object | None], None],
    ) -> None:
        self._client = client
        self._clock = clock
        self._static = static
        self._node = node
        self._shown = shown
        self._mirrors: dict[ObjectKey, Object] = {}
        self._wake = asyncio.Event()

    def poke(self) -> None:
        """Something changed: look again."""
        self._wake.set()

    def observe(self, mirror: Object) -> None:
        self._mirrors[key_of(mirror)] = mirror
        if not is_deleting(mirror):
            self._shown(annotations_of(mirror)[MIRROR], mirror)
        self._wake.set()

    def forget(self, mirror: Object) -> None:
        """It is gone from the API."""
        known = self._mirrors.get(key_of(mirror))
        if known is not None and uid_of(known) == uid_of(mirror):
            del self._mirrors[key_of(mirror)]
            self._shown(annotations_of(mirror)[MIRROR], None)
            self._wake.set()

    async def run(self) -> None:
        """Begins when all mirrors in the API have been observed."""
        backoff = Backoff(first=0.5, limit=30.0)
        while True:
            self._wake.clear()
            try:
                done = await self._sync()
                backoff.reset()
            except (ApiError, OSError) as exc:
                log.info("mirror pods not settled error=%s", exc)
                done = False
            await wait_event(self._wake, None if done else backoff.next_delay(), self._clock)

    async def _sync(self) -> bool:
        """False: to be tried again."""
        unwanted, missing = plan_mirrors(self._static(), self._mirrors)
        for mirror in unwanted:
            log.info("mirror pod deleted pod=%s", key_of(mirror))
            try:
                await self._client.delete(
                    PODS, name_of(mirror), namespace_of(mirror), grace_period_seconds=0, uid=uid_of(mirror)
                )
            except NotFound:
                pass
            except Conflict:
                return False  # it is another one by now, which a watch will tell
            self.forget(mirror)
        if not missing:
            return True
        node = self._node()
        if node is None:
            return False
        for pod in missing:
            try:
                made = await self._client.create(PODS, mirror_of(pod, node), namespace_of(pod))
            except AlreadyExists:
                return False  # the one that was just deleted, or somebody else's
            log.info("mirror pod made pod=%s", key_of(pod))
            if key_of(made) not in self._mirrors:
                self.observe(made)
        return True
