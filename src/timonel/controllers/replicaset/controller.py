"""The loop around the planner of replicas: creates in growing batches, deletes at once, reports in the status.

ReplicationControllers are the same with another kind and a plain map as selector.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from timonel.api.clock import Clock
from timonel.api.errors import ApiError, NotFound
from timonel.api.labels import Selector, selector_from_map, selector_from_object
from timonel.api.objects import (
    Object,
    ObjectKey,
    controller_of,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from timonel.api.refs import PODS, REPLICA_SETS, REPLICATION_CONTROLLERS, ResourceRef
from timonel.client.controller import Controller, Keys, Result, Watch, owner_key
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.conditions import has_cause
from timonel.controllers.own_writes import OwnWrites
from timonel.controllers.ownership import (
    CONTROLLER_INDEX,
    apply_claims,
    controller_index,
    orphans_of,
    plan_claims,
)
from timonel.controllers.pods import is_active, is_terminating
from timonel.controllers.replicaset.planner import (
    ReplicaPlan,
    next_availability_check,
    plan_replicas,
    plan_status,
    pod_from_template,
)


class ReplicaSetController(Controller):
    name = "replicaset"
    ref: ResourceRef = REPLICA_SETS

    def __init__(
        self, *, client: ApiClient, informers: Informers, clock: Clock, recorder: EventRecorder | None = None
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self.watches = (Watch(self.ref), Watch(PODS, key=self._keys_of_pod))
        self._owner_key = owner_key(self.ref.kind, self.ref.group)
        self._own = OwnWrites(clock)
        self._replica_sets = self.informer(self.ref)
        self._pods = self.informer(PODS)
        self._pods.add_index(CONTROLLER_INDEX, controller_index)
        self._replica_sets.add_index(CONTROLLER_INDEX, controller_index)

    def selector_of(self, replica_set: Object) -> Selector:
        return selector_from_object(replica_set["spec"].get("selector"))

    def _keys_of_pod(self, pod: Object) -> Keys:
        if controller_of(pod) is not None:
            return self._owner_key(pod)
        if is_deleting(pod):
            return None
        # An orphan concerns every ReplicaSet that may adopt it.
        return [
            key_of(replica_set)
            for replica_set in self._replica_sets.lister.list(namespace_of(pod))
            if self.selector_of(replica_set).matches(labels_of(pod))
        ]

    async def sync(self, key: ObjectKey) -> Result:
        replica_set = self._replica_sets.lister.get(*key)
        if replica_set is None:
            self._own.forget(key)
            return Result()
        if not self._own.are_seen(key):
            return Result(requeue_after=1.0)  # the events themselves come sooner; this is for a lost watch
        claims = plan_claims(replica_set, self.selector_of(replica_set), self._candidates(replica_set))
        owned = await apply_claims(self.client, replica_set, self.ref, PODS, claims)
        active = [pod for pod in owned if is_active(pod)]
        error: ApiError | None = None
        if not is_deleting(replica_set):
            plan = plan_replicas(replica_set, active, self._related(replica_set), self.clock.now())
            error = await self._apply(key, replica_set, plan)
        now = self.clock.now()
        failure = error.message if error else None
        terminating = [pod for pod in owned if is_terminating(pod)] if self.ref == REPLICA_SETS else None
        status = plan_status(replica_set, active, terminating, failure, now)
        if status is not None:
            written = await self.client.update(self.ref, replica_set | {"status": status}, subresource="status")
            self._own.wrote(key, self._replica_sets, written)
        if error is not None:
            raise error
        return Result(requeue_after=next_availability_check(replica_set, active, now))

    def _candidates(self, replica_set: Object) -> Iterable[Object]:
        pods = self._pods.lister
        own = pods.by_index(CONTROLLER_INDEX, uid_of(replica_set))
        orphans = pods.by_index(CONTROLLER_INDEX, orphans_of(namespace_of(replica_set)))
        return [*own, *(pod for pod in orphans if is_active(pod))]

    def _related(self, replica_set: Object) -> Iterable[Object]:
        """Pods of all ReplicaSets with the same owner, this one's included."""
        owner = controller_of(replica_set)
        siblings = self._replica_sets.lister.by_index(CONTROLLER_INDEX, owner["uid"]) if owner else [replica_set]
        for sibling in siblings:
            yield from self._pods.lister.by_index(CONTROLLER_INDEX, uid_of(sibling))

    async def _apply(self, key: ObjectKey, replica_set: Object, plan: ReplicaPlan) -> ApiError | None:
        """The first failure, if any; what succeeded is done all the same."""
        if plan.create:
            body = pod_from_template(replica_set, self.ref)
            return await start_slowly(plan.create, lambda: self._create(key, replica_set, body))
        failures = await asyncio.gather(*(self._delete(key, replica_set, pod) for pod in plan.delete))
        return next((failure for failure in failures if failure), None)

    async def _create(self, key: ObjectKey, replica_set: Object, body: Object) -> ApiError | None:
        try:
            pod = await self.client.create(PODS, body, namespace_of(replica_set))
        except ApiError as exc:
            if has_cause(exc, "NamespaceTerminating"):
                return None  # every creation will fail from now on, and soon nobody wants any
            self.event(replica_set, "Warning", "FailedCreate", f"Error creating: {exc.message}")
            return exc
        self._own.wrote(key, self._pods, pod)
        self.event(replica_set, "Normal", "SuccessfulCreate", f"Created pod: {name_of(pod)}")
        return None

    async def _delete(self, key: ObjectKey, replica_set: Object, pod: Object) -> ApiError | None:
        try:
            await self.client.delete(PODS, name_of(pod), namespace_of(pod), uid=uid_of(pod))
        except NotFound:
            return None
        except ApiError as exc:
            self.event(replica_set, "Warning", "FailedDelete", f"Error deleting: {exc.message}")
            return exc
        self._own.deleted(key, self._pods, pod)
        self.event(replica_set, "Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")
        return None


class ReplicationControllerController(ReplicaSetController):
    name = "replicationcontroller"
    ref = REPLICATION_CONTROLLERS

    def selector_of(self, replica_set: Object) -> Selector:
        return selector_from_map(replica_set["spec"].get("selector"))


async def start_slowly(count: int, attempt: Callable[[], Awaitable[ApiError | None]]) -> ApiError | None:
    """Runs `attempt` `count` times in batches of 1, 2, 4, …; stops after a batch with a failure and returns that.

    A thousand pods that a quota forbids cost one refused request, not a thousand.
    """
    size = 1
    while count > 0:
        batch = min(size, count)
        failures: Sequence[ApiError | None] = await asyncio.gather(*(attempt() for _ in range(batch)))
        for failure in failures:
            if failure is not None:
                return failure
        count -= batch
        size *= 2
    return None
