"""Holds pods that have a place until enough of their group have one; all are let go, or all give their places back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from timonel.api.clock import Clock
from timonel.api.objects import is_deleting, uid_of
from timonel.client.informer import Informer
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.gangs import PLUGIN, Gang, GangKey
from timonel.scheduler.core.pods import Pod

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Permit:
    """Of one pod that has a place. `may_go`: False when it had to give it back."""

    key: GangKey
    may_go: asyncio.Future[bool]
    give_up: Callable[[], None]
    requeue: Callable[[str, frozenset[str]], None]

    def decide(self, may_go: bool) -> None:
        if not self.may_go.done():  # who waited for it may have been cancelled
            self.may_go.set_result(may_go)


class Permits:
    """`activate` lets a pod that waits in the queue be tried at once: one of its group has a place."""

    def __init__(self, *, cluster: Cluster, pods: Informer, clock: Clock, activate: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._clock = clock
        self._activate = activate
        self._held: dict[GangKey, dict[str, Permit]] = {}
        """Group -> uid of a pod that has a place -> what becomes of it."""
        pods.add_handler(
            on_update=lambda old, new: self._gone(uid_of(new)) if is_deleting(new) else None,
            on_delete=lambda last: self._gone(uid_of(last)),
        )

    def enter(
        self, gang: Gang, pod: Pod, give_up: Callable[[], None], requeue: Callable[[str, frozenset[str]], None]
    ) -> Permit:
        """The pod has a place from now on; `give_up` is called when it has to give it back, and `requeue` after that.

        The latter takes what to say and the plugins whose change of mind would help; it is called when the whole group
        has given up, so that their own going does not make them try again.
        """
        held = self._held.setdefault(gang.key, {})
        permit = held[pod.uid] = Permit(gang.key, asyncio.get_running_loop().create_future(), give_up, requeue)
        members = self._cluster.gangs.members(gang.key)
        placed = sum(uid not in held and self._cluster.pod(uid) is not None for uid in members)
        if placed + len(held) >= gang.size:
            log.info("A pod group has its places group=%s pods=%d", gang.key, len(held))
            for each in self._held.pop(gang.key).values():
                each.decide(True)
            return permit
        for uid in sorted(members - held.keys()):
            if self._cluster.pod(uid) is None:
                self._activate(uid)
        return permit

    async def wait(self, permit: Permit, timeout_seconds: float) -> bool:
        """Whether the pod may be bound: enough of its group have a place. If not, it has given its own back."""
        timer = asyncio.ensure_future(self._clock.sleep(timeout_seconds))
        timer.add_done_callback(lambda _: self._time_is_up(permit, timeout_seconds))
        try:
            return await permit.may_go
        finally:
            timer.cancel()

    def _time_is_up(self, permit: Permit, timeout_seconds: float) -> None:
        if not permit.may_go.done():
            why = f"rejected due to timeout after waiting {timeout_seconds:g}s at plugin {PLUGIN}"
            self.reject(permit.key, why, frozenset())

    def reject(self, key: GangKey, why: str, plugins: frozenset[str]) -> None:
        """One of them can have no place, which `plugins` said, or they waited for too long: none keeps its own."""
        held = self._held.pop(key, {})
        for each in held.values():
            each.decide(False)
            each.give_up()
        for each in held.values():
            each.requeue(why, plugins | {PLUGIN})

    def _gone(self, uid: str) -> None:
        for key, held in list(self._held.items()):
            each = held.pop(uid, None)
            if each is not None:
                each.decide(False)
                each.give_up()
            if not held:
                del self._held[key]
