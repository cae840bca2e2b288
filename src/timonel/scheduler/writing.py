"""What the scheduler writes: bindings and the PodScheduled condition, by a few workers; deciding never waits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from timonel.api.clock import Clock, format_time
from timonel.api.errors import ApiError, Conflict, NotFound
from timonel.api.objects import Object, find_by, get_path, name_of, namespace_of, uid_of
from timonel.api.refs import PODS
from timonel.client.protocol import ApiClient

log = logging.getLogger(__name__)

UNSCHEDULABLE = "Unschedulable"
SCHEDULER_ERROR = "SchedulerError"
GATED = "SchedulingGated"
GATED_MESSAGE = "Scheduling is blocked due to non-empty scheduling gates"


class Writer:
    """`submit` queues a write; `run` works on `workers` of them at once. A full backlog makes `submit` wait."""

    def __init__(self, *, client: ApiClient, clock: Clock, workers: int, backlog: int) -> None:
        self._client = client
        self._clock = clock
        self._workers = workers
        self._backlog: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue(backlog)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._work(), name=f"scheduler-writer-{number}")

    async def submit(self, write: Callable[[], Awaitable[None]]) -> None:
        await self._backlog.put(write)

    async def _work(self) -> None:
        while True:
            write = await self._backlog.get()
            await write()

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

    async def set_waiting(self, pod: Object, reason: str, message: str, freed_node: str | None = None) -> None:
        """Sets condition PodScheduled to False, unless it says the same already.

        `freed_node` is where others are evicted for the pod; "": nowhere any more; None: that is left as it is.
        """
        condition = waiting_condition(pod, reason, message, format_time(self._clock.now()))
        status: Object = {} if condition is None else {"conditions": [condition]}
        if freed_node is not None and freed_node != get_path(pod, "status", "nominatedNodeName", default=""):
            status["nominatedNodeName"] = freed_node or None
        if not status:
            return
        # The uid keeps another pod, created since with the same name, from being told what is true of this one.
        patch = {"metadata": {"uid": uid_of(pod)}, "status": status}
        try:
            await self._client.patch(
                PODS, name_of(pod), patch, namespace_of(pod), type="strategic", subresource="status"
            )
        except (NotFound, Conflict):
            return
        except ApiError as exc:
            # It is told again when the pod is tried again.
            log.warning("Could not write a pod's condition pod=%s/%s error=%s", namespace_of(pod), name_of(pod), exc)


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
