"""What is kept for a pod between its node being chosen and its being bound: volumes and devices.

Made at once with the decision, so that nobody else is given the same; carried out by writes that may take minutes; and
undone when the pod is not bound after all.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from timonel.api.errors import ApiError
from timonel.api.objects import Object
from timonel.scheduler.core import explain
from timonel.scheduler.core.arguments import DynamicResourcesArgs, VolumeBindingArgs
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.devices.inventory import ClaimPlan
from timonel.scheduler.core.framework import Attempt, PluginFailed
from timonel.scheduler.core.gangs import PLUGIN as COSCHEDULING
from timonel.scheduler.core.gangs import Gang, gang_of
from timonel.scheduler.core.plugins.dynamic_resources import left_over_claim, lost_claims, plan_claims
from timonel.scheduler.core.profile import Profile
from timonel.scheduler.core.volumes import VolumePlan
from timonel.scheduler.device_binding import ClaimsNotBound, DeviceBinding
from timonel.scheduler.volume_binding import VolumeBinding, VolumesNotBound

_VOLUMES, _DEVICES = "VolumeBinding", "DynamicResources"


class NotPrepared(Exception):
    """The pod has to be decided about again. The message is its event's."""


@dataclass(frozen=True, slots=True)
class Reservation:
    node: str
    profile: Profile
    gang: Gang | None = None
    volumes: VolumePlan | None = None
    claims: ClaimPlan | None = None

    @property
    def takes_time(self) -> bool:
        return self.volumes is not None or self.claims is not None or self.gang is not None


class Reservations:
    """`rng`: for the ids of shares of devices."""

    def __init__(self, *, cluster: Cluster, volumes: VolumeBinding, devices: DeviceBinding, rng: random.Random) -> None:
        self._cluster = cluster
        self._volumes = volumes
        self._devices = devices
        self._rng = rng

    def make(self, attempt: Attempt, node: str, profile: Profile) -> Reservation:
        """Raises PluginFailed when devices that were found cannot be had after all."""
        cluster, pod = self._cluster, attempt.pod
        volumes, claims = None, None
        if profile.runs("reserve", _DEVICES):
            claims = plan_claims(cluster, attempt, node, self._new_id)
            if claims is None:
                raise PluginFailed(f'running Reserve plugin "{_DEVICES}": claim allocation not found for node')
        if pod.claims and profile.runs("preBind", _VOLUMES):
            volumes = cluster.volumes.plan(pod, cluster.nodes.slots[node])
        if volumes:
            cluster.volumes.assume(volumes, node)
        if claims:
            cluster.devices.assume(claims)
        gang = gang_of(pod) if profile.runs("permit", COSCHEDULING) else None
        return Reservation(node, profile, gang if isinstance(gang, Gang) else None, volumes or None, claims or None)

    async def carry_out(self, pod: Object, reserved: Reservation) -> None:
        """Raises NotPrepared, which says whose fault it was, and ApiError."""
        args = reserved.profile.args
        if reserved.volumes is not None:
            binding: VolumeBindingArgs = args[_VOLUMES]
            try:
                await self._volumes.bind(pod, reserved.volumes, reserved.node, binding.bind_timeout_seconds)
            except (VolumesNotBound, ApiError) as exc:
                raise NotPrepared(f'running PreBind plugin "{_VOLUMES}": {exc}') from exc
            finally:
                self._cluster.volumes.forget(reserved.volumes)
        if reserved.claims is not None:
            try:
                await self._devices.bind(pod, reserved.claims, reserved.node, self._timeout(reserved.profile))
            except (ClaimsNotBound, ApiError) as exc:
                raise NotPrepared(f'running PreBind plugin "{_DEVICES}": {exc}') from exc

    def drop(self, reserved: Reservation) -> None:
        """Of which nothing was written yet."""
        if reserved.volumes is not None:
            self._cluster.volumes.forget(reserved.volumes)
        if reserved.claims is not None:
            self._devices.settle(reserved.claims)

    async def undo(self, pod: Object, reserved: Reservation) -> None:
        if reserved.volumes is not None:
            self._cluster.volumes.forget(reserved.volumes)
        if reserved.claims is not None:
            await self._devices.give_back(pod, reserved.claims)

    def free(self, attempt: Attempt, message: str, profile: Profile) -> tuple[str, Coroutine[Any, Any, None] | None]:
        """Of a pod that found no node: what its claims have and cannot use is taken from them, by the coroutine.

        The message says so.
        """
        stands_for = any(name in self._cluster.devices.by_resource for name in attempt.pod.klass.requests)
        if not attempt.pod.device_claims and not stands_for:
            return message, None
        if lost := lost_claims(self._cluster, attempt, self._timeout(profile)):
            what = "deallocation of ResourceClaim completed"
            return explain.about_claims(message, what), self._devices.deallocate(lost[0])
        made = left_over_claim(self._cluster, attempt)
        if made is not None:
            return explain.about_claims(message, "deletion of ResourceClaim completed"), self._devices.delete_made(made)
        return explain.about_claims(message, "still not schedulable"), None

    def _timeout(self, profile: Profile) -> timedelta:
        args: DynamicResourcesArgs = profile.args[_DEVICES]
        return timedelta(seconds=args.binding_timeout_seconds)

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
