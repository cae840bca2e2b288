"""Frees pods whose Job will never count them: it is gone, has ended, or does not own them any more.

Their finalizer would keep them for ever.
"""

from __future__ import annotations

import logging

from timonel.api.clock import Clock
from timonel.api.errors import NotFound
from timonel.api.objects import (
    Object,
    ObjectKey,
    controller_of,
    key_of,
    name_of,
    namespace_of,
    resource_version_of,
    uid_of,
)
from timonel.api.refs import JOBS, PODS
from timonel.client.controller import Controller, Keys, Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.job.pods import TRACKING, finished_condition, is_managed_elsewhere, is_tracked
from timonel.controllers.ownership import CONTROLLER_INDEX, controller_index

log = logging.getLogger(__name__)


class ForsakenPods(Controller):
    """Keys are pods."""

    name = "job-forsaken-pods"

    def __init__(
        self, *, client: ApiClient, informers: Informers, clock: Clock, recorder: EventRecorder | None = None
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self.watches = (
            Watch(PODS, key=self._key_of_pod),
            Watch(JOBS, key=self._pods_of_job, changed=_ended),
        )
        self.informer(PODS).add_index(CONTROLLER_INDEX, controller_index)

    def _key_of_pod(self, pod: Object) -> Keys:
        """Cheap, and nothing for the pods of a Job that runs."""
        if not is_tracked(pod):
            return None
        owner = controller_of(pod)
        if owner is None:
            return key_of(pod)
        job = self.lister(JOBS).get(namespace_of(pod), owner["name"])
        runs = job is not None and uid_of(job) == owner["uid"] and finished_condition(job) is None
        return None if runs else key_of(pod)

    def _pods_of_job(self, job: Object) -> Keys:
        owned = self.lister(PODS).by_index(CONTROLLER_INDEX, uid_of(job))
        return [key_of(pod) for pod in owned if is_tracked(pod)]

    async def sync(self, key: ObjectKey) -> Result:
        pod = self.lister(PODS).get(*key)
        if pod is None or not is_tracked(pod) or not await self._is_forsaken(pod):
            return Result()
        metadata = {
            "uid": uid_of(pod),
            "resourceVersion": resource_version_of(pod),  # it may be adopted meanwhile
            "$deleteFromPrimitiveList/finalizers": [TRACKING],
        }
        try:
            await self.client.patch(PODS, name_of(pod), {"metadata": metadata}, namespace_of(pod), type="strategic")
        except NotFound:
            return Result()
        log.debug("pod was freed pod=%s", key)
        return Result()

    async def _is_forsaken(self, pod: Object) -> bool:
        owner = controller_of(pod)
        if owner is None:
            return True
        if (owner["kind"], owner["apiVersion"]) != (JOBS.kind, JOBS.api_version):
            return False
        job = self.lister(JOBS).get(namespace_of(pod), owner["name"])
        if job is None or uid_of(job) != owner["uid"]:
            try:  # the copy of Jobs may be behind that of pods
                job = await self.client.get(JOBS, owner["name"], namespace_of(pod))
            except NotFound:
                return True
        if uid_of(job) != owner["uid"]:
            return True
        return finished_condition(job) is not None and not is_managed_elsewhere(job)


def _ended(old: Object, new: Object) -> bool:
    return finished_condition(old) is None and finished_condition(new) is not None
