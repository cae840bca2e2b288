"""The loop around the Deployment planner: carries a plan out step by step and records what was done."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from timonel.api.clock import Clock
from timonel.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from timonel.api.labels import selector_from_object
from timonel.api.objects import (
    Object,
    ObjectKey,
    annotations_of,
    controller_of,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from timonel.api.refs import DEPLOYMENTS, PODS, REPLICA_SETS
from timonel.client.controller import Controller, Keys, Result, Watch, owner_key
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.conditions import has_cause, set_condition
from timonel.controllers.deployment.planner import RolloutPlan, plan_rollout
from timonel.controllers.deployment.progress import deadline_of, progressing
from timonel.controllers.deployment.revisions import REVISION, equal_templates
from timonel.controllers.own_writes import OwnWrites
from timonel.controllers.ownership import (
    CONTROLLER_INDEX,
    apply_claims,
    controller_index,
    is_controlled_by,
    orphans_of,
    plan_claims,
)

log = logging.getLogger(__name__)

_owner_key = owner_key("Deployment", "apps")
_replica_set_key = owner_key("ReplicaSet", "apps")


class DeploymentController(Controller):
    name = "deployment"

    def __init__(
        self, *, client: ApiClient, informers: Informers, clock: Clock, recorder: EventRecorder | None = None
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self.watches = (
            Watch(DEPLOYMENTS),
            Watch(REPLICA_SETS, key=self._keys_of_replica_set),
            Watch(PODS, key=self._keys_of_pod),
        )
        self._own = OwnWrites(clock)
        self._deployments = self.informer(DEPLOYMENTS)
        self._replica_sets = self.informer(REPLICA_SETS)
        self._pods = self.informer(PODS)
        self._replica_sets.add_index(CONTROLLER_INDEX, controller_index)
        self._pods.add_index(CONTROLLER_INDEX, controller_index)

    def _keys_of_replica_set(self, replica_set: Object) -> Keys:
        if controller_of(replica_set) is not None:
            return _owner_key(replica_set)
        return [
            key_of(deployment)
            for deployment in self._deployments.lister.list(namespace_of(replica_set))
            if selector_from_object(deployment["spec"].get("selector")).matches(labels_of(replica_set))
        ]

    def _keys_of_pod(self, pod: Object) -> Keys:
        """Only Recreate waits for single pods; all else a ReplicaSet's status tells."""
        key = _replica_set_key(pod)
        if not isinstance(key, ObjectKey):
            return None
        replica_set = self._replica_sets.lister.get(*key)
        owner = _owner_key(replica_set) if replica_set is not None else None
        if not isinstance(owner, ObjectKey):
            return None
        deployment = self._deployments.lister.get(*owner)
        if deployment is None or (deployment["spec"].get("strategy") or {}).get("type") != "Recreate":
            return None
        return owner

    async def sync(self, key: ObjectKey) -> Result:
        deployment = self._deployments.lister.get(*key)
        if deployment is None:
            self._own.forget(key)
            return Result()
        if not self._own.are_seen(key):
            return Result(requeue_after=1.0)  # the events themselves come sooner; this is for a lost watch
        claims = plan_claims(
            deployment, selector_from_object(deployment["spec"].get("selector")), self._candidates(deployment)
        )
        owned = await apply_claims(self.client, deployment, DEPLOYMENTS, REPLICA_SETS, claims)
        plan = plan_rollout(deployment, owned, self._pods_of(owned), self.clock.now())
        await self._apply(key, deployment, plan)
        return Result(requeue_after=plan.requeue_after)

    def _candidates(self, deployment: Object) -> Iterable[Object]:
        replica_sets = self._replica_sets.lister
        yield from replica_sets.by_index(CONTROLLER_INDEX, uid_of(deployment))
        yield from replica_sets.by_index(CONTROLLER_INDEX, orphans_of(namespace_of(deployment)))

    def _pods_of(self, replica_sets: Iterable[Object]) -> Iterable[Object]:
        for replica_set in replica_sets:
            yield from self._pods.lister.by_index(CONTROLLER_INDEX, uid_of(replica_set))

    async def _apply(self, key: ObjectKey, deployment: Object, plan: RolloutPlan) -> None:
        if plan.create is not None and not await self._create(key, deployment, plan.create):
            return
        for replica_set in plan.update:
            self._own.wrote(key, self._replica_sets, await self.client.update(REPLICA_SETS, replica_set))
        for event in plan.events:
            self.event(deployment, *event)
        for replica_set in plan.delete:
            try:
                await self.client.delete(
                    REPLICA_SETS, name_of(replica_set), namespace_of(replica_set), uid=uid_of(replica_set)
                )
            except NotFound:
                continue
            self._own.deleted(key, self._replica_sets, replica_set)
        if plan.status is not None or plan.revision:
            await self._write_status(key, deployment, plan.status or deployment.get("status") or {}, plan.revision)

    async def _write_status(self, key: ObjectKey, deployment: Object, status: Object, revision: str = "") -> None:
        """The revision annotation travels with the status, as upstream's does: one write, one event."""
        changed = deployment | {"status": status}
        if revision:
            annotations = {**annotations_of(deployment), REVISION: revision}
            changed["metadata"] = deployment["metadata"] | {"annotations": annotations}
        self._own.wrote(key, self._deployments, await self.client.update(DEPLOYMENTS, changed, subresource="status"))

    async def _create(self, key: ObjectKey, deployment: Object, replica_set: Object) -> bool:
        """Whether the plan may go on. Raises when it failed for a reason worth another attempt."""
        try:
            created = await self.client.create(REPLICA_SETS, replica_set)
        except AlreadyExists:
            await self._resolve_collision(key, deployment, replica_set)
            return False
        except ApiError as exc:
            if not has_cause(exc, "NamespaceTerminating"):
                await self._report_failure(key, deployment, replica_set, exc)
            raise
        self._own.wrote(key, self._replica_sets, created)
        return True

    async def _resolve_collision(self, key: ObjectKey, deployment: Object, replica_set: Object) -> None:
        """The name is taken: by ourselves, unnoticed yet, or by another template with the same hash."""
        live = await self.client.get(REPLICA_SETS, name_of(replica_set), namespace_of(replica_set))
        ours = equal_templates(deployment["spec"]["template"], live["spec"]["template"])
        if ours and is_controlled_by(live, deployment):
            self._own.wrote(key, self._replica_sets, live)
            self.queue.add_after(key, 1.0)
            return
        status = dict(deployment.get("status") or {})
        status["collisionCount"] = (status.get("collisionCount") or 0) + 1
        await self._write_status(key, deployment, status)
        log.info("hash collision resolved deployment=%s collisions=%d", key, status["collisionCount"])

    async def _report_failure(self, key: ObjectKey, deployment: Object, replica_set: Object, error: ApiError) -> None:
        message = f'Failed to create new replica set "{name_of(replica_set)}": {error.message}'
        self.event(deployment, "Warning", "ReplicaSetCreateError", message)
        if deadline_of(deployment) is None:
            return
        status = dict(deployment.get("status") or {})
        made = progressing("False", "ReplicaSetCreateError", message, self.clock.now())
        conditions = set_condition(status.get("conditions") or (), made)
        if conditions == status.get("conditions"):
            return
        try:
            await self._write_status(key, deployment, status | {"conditions": conditions})
        except Conflict:
            log.debug("status not written, deployment changed meanwhile deployment=%s", key)
