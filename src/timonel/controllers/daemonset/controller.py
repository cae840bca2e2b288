"""The loop around the planner of DaemonSets: makes and deletes pods, keeps the history, reports in the status."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from timonel.api.clock import Clock
from timonel.api.errors import ApiError, NotFound
from timonel.api.labels import Selector, selector_from_object
from timonel.api.objects import (
    Object,
    ObjectKey,
    get_path,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from timonel.api.refs import CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS
from timonel.client.controller import Controller, Keys, Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.conditions import has_cause
from timonel.controllers.daemonset.placement import Fit, by_node, fit_of, fits_of, new_pod
from timonel.controllers.daemonset.planner import DaemonPlan, Daemons, plan_pods, plan_update
from timonel.controllers.daemonset.status import next_availability_check, plan_status
from timonel.controllers.failed_pods import FailedPodBackoff
from timonel.controllers.history import REVISION_HASH, History
from timonel.controllers.own_writes import OwnWrites
from timonel.controllers.ownership import (
    CONTROLLER_INDEX,
    apply_claims,
    controller_index,
    orphans_of,
    owner_or_adopters,
    plan_claims,
)
from timonel.controllers.pods import NODE_INDEX, node_index
from timonel.controllers.replicaset.controller import start_slowly


class DaemonSetController(Controller):
    name = "daemonset"

    def __init__(
        self, *, client: ApiClient, informers: Informers, clock: Clock, recorder: EventRecorder | None = None
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self._sets = self.informer(DAEMON_SETS)
        self._nodes = self.informer(NODES)
        self._pods = self.informer(PODS)
        self._pods.add_index(CONTROLLER_INDEX, controller_index)
        self._pods.add_index(NODE_INDEX, node_index)
        self._own = OwnWrites(clock)
        self._history = History(client, self.informer(CONTROLLER_REVISIONS), self._own, DAEMON_SETS, REVISION_HASH)
        self._backoff = FailedPodBackoff()
        concerned = owner_or_adopters(self._sets, selector_of)
        self.watches = (
            Watch(DAEMON_SETS),
            Watch(PODS, key=concerned),
            Watch(CONTROLLER_REVISIONS, key=concerned),
            Watch(NODES, key=self._keys_of_node, changed=_node_changed),
        )

    def _keys_of_node(self, node: Object) -> Keys:
        """DaemonSets whose pods may be there, or are."""
        uids = {
            owner["uid"]
            for pod in self._pods.lister.by_index(NODE_INDEX, name_of(node))
            for owner in pod["metadata"].get("ownerReferences") or ()
        }
        return [
            key_of(daemon_set)
            for daemon_set in self._sets.lister.list()
            if uid_of(daemon_set) in uids or fit_of(daemon_set, node) is not Fit.NONE
        ]

    async def sync(self, key: ObjectKey) -> Result:
        daemon_set = self._sets.lister.get(*key)
        if daemon_set is None:
            self._own.forget(key)
            self._backoff.forget(key)
            return Result()
        if not daemon_set["spec"].get("selector"):
            why = "This daemon set is selecting all pods. A non-empty selector is required."
            self.event(daemon_set, "Warning", "SelectingAll", why)
            return Result()
        if is_deleting(daemon_set):
            return Result()  # its revisions may be gone already, so that nothing could be told about its pods
        if not self._own.are_seen(key):
            return Result(requeue_after=1.0)  # the events themselves come sooner; this is for a lost watch
        selector = selector_of(daemon_set)
        claims = plan_claims(daemon_set, selector, self._candidates(daemon_set))
        pods = await apply_claims(self.client, daemon_set, DAEMON_SETS, PODS, claims)
        revisions = await self._history.of(daemon_set, selector)
        revision, collisions = await self._history.record(daemon_set, revisions)
        daemons = Daemons(
            daemon_set=daemon_set,
            revision_hash=labels_of(revision).get(REVISION_HASH) or name_of(revision),
            fits=fits_of(daemon_set, sorted(self._nodes.lister.list(), key=name_of)),
            pods=by_node(pods),
            now=self.clock.now(),
        )
        version, monotonic = (uid_of(daemon_set), daemon_set["metadata"].get("generation")), self.clock.monotonic()
        plan = plan_pods(daemons, self._backoff.waits(key, version, monotonic))
        for node_name in plan.failed_nodes:
            self._backoff.failed(key, version, node_name, monotonic)
        waiting = plan.requeue_after
        if plan.is_idle:
            plan = plan_update(daemons)
        error = await self._apply(key, daemons, plan)
        status = plan_status(daemons, collisions)
        if status is not None:
            written = await self.client.update(DAEMON_SETS, daemon_set | {"status": status}, subresource="status")
            self._own.wrote(key, self._sets, written)
        if error is not None:
            raise error
        live = {name_of(revision), *_revisions_in_use(revisions, pods)}
        await self._history.truncate(daemon_set, revisions, live)
        checks = (waiting, next_availability_check(daemons))
        return Result(requeue_after=min((check for check in checks if check is not None), default=None))

    def _candidates(self, daemon_set: Object) -> Iterable[Object]:
        pods = self._pods.lister
        yield from pods.by_index(CONTROLLER_INDEX, uid_of(daemon_set))
        yield from pods.by_index(CONTROLLER_INDEX, orphans_of(namespace_of(daemon_set)))

    async def _apply(self, key: ObjectKey, daemons: Daemons, plan: DaemonPlan) -> ApiError | None:
        """The first failure, if any; what succeeded is done all the same."""
        for event in plan.events:
            self.event(daemons.daemon_set, *event)
        nodes = iter(plan.create)

        async def create_next() -> ApiError | None:
            return await self._create(key, daemons, next(nodes))

        error = await start_slowly(len(plan.create), create_next)
        failures = await asyncio.gather(*(self._delete(key, daemons.daemon_set, pod) for pod in plan.delete))
        return error or next((failure for failure in failures if failure), None)

    async def _create(self, key: ObjectKey, daemons: Daemons, node_name: str) -> ApiError | None:
        daemon_set = daemons.daemon_set
        try:
            body = new_pod(daemon_set, node_name, daemons.revision_hash)
            pod = await self.client.create(PODS, body, namespace_of(daemon_set))
        except ApiError as exc:
            if has_cause(exc, "NamespaceTerminating"):
                return None  # every creation will fail from now on, and soon nobody wants any
            self.event(daemon_set, "Warning", "FailedCreate", f"Error creating: {exc.message}")
            return exc
        self._own.wrote(key, self._pods, pod)
        self.event(daemon_set, "Normal", "SuccessfulCreate", f"Created pod: {name_of(pod)}")
        return None

    async def _delete(self, key: ObjectKey, daemon_set: Object, pod: Object) -> ApiError | None:
        try:
            await self.client.delete(PODS, name_of(pod), namespace_of(pod), uid=uid_of(pod))
        except NotFound:
            return None
        except ApiError as exc:
            self.event(daemon_set, "Warning", "FailedDelete", f"Error deleting: {exc.message}")
            return exc
        self._own.deleted(key, self._pods, pod)
        self.event(daemon_set, "Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")
        return None


def selector_of(daemon_set: Object) -> Selector:
    return selector_from_object(daemon_set["spec"].get("selector"))


def _revisions_in_use(revisions: Iterable[Object], pods: Iterable[Object]) -> Iterable[str]:
    hashes = {labels_of(pod).get(REVISION_HASH) for pod in pods}
    return (name_of(revision) for revision in revisions if labels_of(revision).get(REVISION_HASH) in hashes)


def _node_changed(old: Object, new: Object) -> bool:
    """Heartbeats and conditions do not matter; taints tell of those that do."""
    return labels_of(old) != labels_of(new) or get_path(old, "spec", "taints") != get_path(new, "spec", "taints")
