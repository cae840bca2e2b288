"""Takes back that a pod is a target of disruption, when nothing came of it.

Source: kubernetes.io/docs/concepts/workloads/pods/disruptions#pod-disruption-conditions
"""

from __future__ import annotations

import logging

from timonel.api.clock import format_time
from timonel.api.objects import (
    Object,
    ObjectKey,
    is_deleting,
    key_of,
    name_of,
    namespace_of,
    resource_version_of,
    uid_of,
)
from timonel.api.refs import PODS
from timonel.client.controller import Controller, Result, Watch
from timonel.controllers.disruption.planner import seconds_until_stale
from timonel.controllers.pods import condition_of, is_terminal

log = logging.getLogger(__name__)


def _key(pod: Object) -> ObjectKey | None:
    return key_of(pod) if condition_of(pod, "DisruptionTarget") is not None else None


def _changed(old: Object, new: Object) -> bool:
    return condition_of(old, "DisruptionTarget") != condition_of(new, "DisruptionTarget")


class StaleTargets(Controller):
    """Keys are pods."""

    name = "disruption-stale-targets"
    watches = (Watch(PODS, key=_key, changed=_changed),)
    workers = 1

    async def sync(self, key: ObjectKey) -> Result:
        pod = self.lister(PODS).get(*key)
        if pod is None or is_deleting(pod) or is_terminal(pod):
            return Result()
        now = self.clock.now()
        left = seconds_until_stale(pod, now)
        if left is None:
            return Result()
        if left > 0:
            return Result(requeue_after=left)
        condition: Object = {"type": "DisruptionTarget", "status": "False", "lastTransitionTime": format_time(now)}
        if generation := pod["metadata"].get("generation"):
            condition["observedGeneration"] = generation
        # Of just this state of the pod: an eviction may be under way again.
        metadata = {"uid": uid_of(pod), "resourceVersion": resource_version_of(pod)}
        patch = {"metadata": metadata, "status": {"conditions": [{**condition, "reason": None, "message": None}]}}
        await self.client.patch(PODS, name_of(pod), patch, namespace_of(pod), type="strategic", subresource="status")
        log.info("stale disruption target was reset pod=%s", key)
        return Result()
