"""Pods that extenders are asked about, one after the other, while the decisions about all others go on.

Asking takes as long as an extender likes; it is still told of one pod at a time, as upstream's scheduler does, for what
it keeps of its own may depend on that.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable
from itertools import count

from timonel.api.errors import ApiError
from timonel.api.objects import Object, name_of, namespace_of
from timonel.api.refs import PODS
from timonel.client.protocol import ApiClient
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import Attempt, PluginFailed
from timonel.scheduler.core.profile import Profile
from timonel.scheduler.core.queue import Waiting
from timonel.scheduler.core.schedule import NoFit, find_nodes
from timonel.scheduler.extenders import Answers, ExtenderFailed, Extenders
from timonel.scheduler.outcomes import Outcomes, full_name

log = logging.getLogger(__name__)

TELLING = (PluginFailed, ExtenderFailed, ApiError)
"""What says itself why a pod has to wait."""


class ExtenderLane:
    """By priority, then by time.

    `current` gives a pod as it is now, None when nothing is to be decided any more; `attempt` what to decide and by
    which profile; `place` decides with what the extenders answered.
    """

    def __init__(
        self,
        *,
        client: ApiClient,
        cluster: Cluster,
        extenders: Extenders,
        outcomes: Outcomes,
        current: Callable[[Waiting], Object | None],
        attempt: Callable[[Waiting, Object], tuple[Attempt, Profile]],
        place: Callable[[Waiting, Object, Answers | None], Awaitable[None]],
    ) -> None:
        self._client = client
        self._cluster = cluster
        self._extenders = extenders
        self._outcomes = outcomes
        self._current = current
        self._attempt = attempt
        self._place = place
        self._heap: list[tuple[int, float, int, Waiting]] = []
        self._tickets = count()
        self._has_any = asyncio.Event()

    def put(self, waiting: Waiting) -> None:
        """A pod that was taken from the queue; it stays taken."""
        heapq.heappush(self._heap, (-waiting.pod.klass.priority, waiting.since, next(self._tickets), waiting))
        self._has_any.set()

    async def run(self) -> None:
        while True:
            while not self._heap:
                self._has_any.clear()
                await self._has_any.wait()
            await self._ask(heapq.heappop(self._heap)[-1])

    async def _ask(self, waiting: Waiting) -> None:
        """What they say holds for the nodes that would do when they are asked."""
        obj = self._current(waiting)
        if obj is None:
            return
        try:
            answers = None
            attempt, profile = self._attempt(waiting, obj)
            found = find_nodes(self._cluster, attempt, profile)
            if not isinstance(found, NoFit):
                # The informer's pods lack what only kubelets read.
                whole = await self._client.get(PODS, name_of(obj), namespace_of(obj))
                answers = await self._extenders.answers(whole, [self._cluster.nodes.names[slot] for slot in found])
        except TELLING as exc:
            self._outcomes.failed(waiting, obj, str(exc))
            return
        except Exception as exc:
            log.exception("Asking extenders failed pod=%s", full_name(obj))
            self._outcomes.failed(waiting, obj, f"scheduler failed: {exc!r}")
            return
        if (obj := self._current(waiting)) is not None:
            await self._place(waiting, obj, answers)
