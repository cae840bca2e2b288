"""What the scheduler writes: bindings and the PodScheduled condition, by a few workers; deciding never waits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from timonel.api.clock import Clock, format_time
from timonel.api.errors import ApiError, Conflict, NotFound
from timonel.api.objects import Object, ObjectKey, find_by, get_path, key_of, name_of, namespace_of, uid_of
from timonel.api.refs import PODS
from timonel.client.lister import Lister
from timonel.client.protocol import ApiClient

log = logging.getLogger(__name__)

UNSCHEDULABLE = "Unschedulable"
SCHEDULER_ERROR = "SchedulerError"
GATED = "SchedulingGated"
GATED_MESSAGE = "Scheduling is blocked due to non-empty scheduling gates"


Write = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class _News:
    """What a pod's status is to say. `freed_node` "": none any more; None: as it is. No reason: only that."""

    key: ObjectKey
    uid: str
    reason: str = ""
    message: str = ""
    freed_node: str | None = None


@dataclass(slots=True)
class _Lane:
    """The writes about one pod: one under way, and of those that wait the newest news and what comes after."""

    news: _News | None = None
    write: Write | None = None
    newest: Object | None = None
    """The pod as the last write left it, which the informer may have yet to hear of."""


class Writer:
    """`run` writes about `workers` pods at once, and about each pod in the order in which it was decided.

    News that still waits when there is newer is not written, nor any once the pod is being bound: written later, it
    would say of a placed pod that it waits. A full backlog makes `submit` and `tell` wait. `pods` is the lister.
    """

    def __init__(self, *, client: ApiClient, clock: Clock, pods: Lister, workers: int, backlog: int) -> None:
        self._client = client
        self._clock = clock
        self._pods = pods
        self._workers = workers
        self._most = backlog
        self._lanes: dict[str, _Lane] = {}
        self._due: asyncio.Queue[str] = asyncio.Queue()
        self._has_room = asyncio.Event()
        self._has_room.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._work(), name=f"scheduler-writer-{number}")

    async def submit(self, uid: str, write: Write) -> None:
        """Binds the pod, or what else ends its waiting."""
        await self._has_room.wait()
        lane = self._lane(uid)
        lane.news, lane.write = None, write

    async def tell(self, pod: Object, reason: str, message: str, freed_node: str | None = None) -> None:
        """Sets condition PodScheduled to False, unless it says the same already.

        `freed_node` is where others are evicted for the pod; "": nowhere any more; None: that is left as it is.
        """
        await self._has_room.wait()
        self.tell_nowait(pod, reason, message, freed_node)

    def tell_nowait(self, pod: Object, reason: str, message: str, freed_node: str | None = None) -> None:
        """For the workers themselves, which must not wait for each other."""
        self._put_news(_News(key_of(pod), uid_of(pod), reason, message, freed_node))

    def take_back_nomination(self, key: tuple[str, str], uid: str) -> None:
        self._put_news(_News(ObjectKey(*key), uid, freed_node=""))

    def _put_news(self, news: _News) -> None:
        lane = self._lane(news.uid)
        if lane.write is not None:
            return  # it is about to be bound
        if lane.news is not None:
            if news.freed_node is None:
                news.freed_node = lane.news.freed_node
            if not news.reason:
                news.reason, news.message = lane.news.reason, lane.news.message
        lane.news = news

    def _lane(self, uid: str) -> _Lane:
        lane = self._lanes.get(uid)
        if lane is None:
            lane = self._lanes[uid] = _Lane()
            self._due.put_nowait(uid)
            if len(self._lanes) >= self._most:
                self._has_room.clear()
        return lane

    async def _work(self) -> None:
        while True:
            uid = await self._due.get()
            lane = self._lanes[uid]
            while (write := self._next(lane)) is not None:
                await write()
            del self._lanes[uid]
            if len(self._lanes) < self._most:
                self._has_room.set()

    def _next(self, lane: _Lane) -> Write | None:
        news, write = lane.news, lane.write
        lane.news = lane.write = None
        if news is None:
            return write
        lane.write = write
        return lambda: self._write_news(lane, news)

    async def bind(self, pod: Object, node: str) -> None:
        """Raises ApiError: NotFound when the pod is gone, Conflict when it is already somewhere."""
        binding = {
            "kind": "Binding",
            "apiVersion": "v1",
            # The uid keeps another pod, created since with the same name, from being bound by a decision about this.
            "metadata": {"name": name_of(pod), "namespace": namespace_of(pod), "uid": uid_of(pod)},
            "target": {"kind": "Node", "name": node},
        }
        await self._client.create(PODS, binding, namespace_of(pod), subresource="binding", name=name_of(pod))

    async def _write_news(self, lane: _Lane, news: _News) -> None:
        pod = lane.newest or self._pods.get(*news.key)
        if pod is None or uid_of(pod) != news.uid or get_path(pod, "spec", "nodeName"):
            return
        status: Object = {}
        if news.reason:
            condition = waiting_condition(pod, news.reason, news.message, format_time(self._clock.now()))
            if condition is not None:
                status["conditions"] = [condition]
        if news.freed_node is not None and news.freed_node != get_path(pod, "status", "nominatedNodeName", default=""):
            status["nominatedNodeName"] = news.freed_node or None
        if not status:
            return
        # The uid keeps another pod, created since with the same name, from being told what is true of this one.
        patch = {"metadata": {"uid": news.uid}, "status": status}
        try:
            lane.newest = await self._client.patch(
                PODS, news.key.name, patch, news.key.namespace, type="strategic", subresource="status"
            )
        except (NotFound, Conflict):
            return
        except ApiError as exc:
            # It is told again when the pod is tried again.
            log.warning("Could not write a pod's condition pod=%s error=%s", news.key, exc)


def waiting_condition(pod: Object, reason: str, message: str, now: str) -> Object | None:
    """The condition to write; None when the pod has it. The transition time moves only when the status does."""
    old = find_by(get_path(pod, "status", "conditions", default=()), "type", "PodScheduled") or {}
    if (old.get("status"), old.get("reason"), old.get("message")) == ("False", reason, message):
        return None
    condition: Object = {
        "type": "PodScheduled",
        "status": "False",
        "reason": reason,
        "message": message,
        "lastTransitionTime": old.get("lastTransitionTime") or now if old.get("status") == "False" else now,
    }
    generation = get_path(pod, "metadata", "generation")
    if generation:
        condition["observedGeneration"] = generation
    return condition
