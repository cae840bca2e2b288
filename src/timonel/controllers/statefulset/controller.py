"""The loop around the planner of StatefulSets: carries out its steps, keeps the history, reports in the status."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from timonel.api.clock import Clock
from timonel.api.errors import AlreadyExists, ApiError, NotFound, conflict
from timonel.api.labels import Selector, selector_from_object
from timonel.api.objects import Object, ObjectKey, is_deleting, key_of, name_of, namespace_of, owner_references, uid_of
from timonel.api.refs import CONTROLLER_REVISIONS, PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS
from timonel.client.controller import Controller, Keys, Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.conditions import has_cause
from timonel.controllers.failed_pods import FailedPodBackoff
from timonel.controllers.history import History
from timonel.controllers.history.revisions import HASH
from timonel.controllers.own_writes import OwnWrites
from timonel.controllers.ownership import (
    CONTROLLER_INDEX,
    apply_claims,
    controller_index,
    is_controlled_by,
    orphans_of,
    owner_or_adopters,
    plan_claims,
)
from timonel.controllers.replicaset.controller import start_slowly
from timonel.controllers.statefulset.claims import ClaimPlan
from timonel.controllers.statefulset.identity import claim_templates, is_member, revision_of
from timonel.controllers.statefulset.planner import StatefulPlan, Step, plan_stateful_set

_LONGEST_WAIT_SECONDS = 60.0
"""Between failed pods of one name. Upstream does not wait at all; the first one goes at once here, too."""
_CONTESTED = (
    "PersistentVolumeClaim {} has a conflicting OwnerReference that acts as a manging controller, "
    "the retention policy is ignored for this claim"
)  # spelt as upstream spells it


class StatefulSetController(Controller):
    name = "statefulset"

    def __init__(
        self, *, client: ApiClient, informers: Informers, clock: Clock, recorder: EventRecorder | None = None
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self._sets = self.informer(STATEFUL_SETS)
        self._pods = self.informer(PODS)
        self._claims = self.informer(PERSISTENT_VOLUME_CLAIMS)
        self._pods.add_index(CONTROLLER_INDEX, controller_index)
        self._own = OwnWrites(clock)
        self._failed = FailedPodBackoff(_LONGEST_WAIT_SECONDS)
        self._history = History(client, self.informer(CONTROLLER_REVISIONS), self._own, STATEFUL_SETS, HASH)
        concerned = owner_or_adopters(self._sets, selector_of)
        self.watches = (
            Watch(STATEFUL_SETS),
            Watch(PODS, key=concerned),
            Watch(CONTROLLER_REVISIONS, key=concerned),
            # Pods wait for claims of theirs that are going, and claims have the owners that the policy says.
            Watch(PERSISTENT_VOLUME_CLAIMS, key=self._keys_of_claim, changed=_claim_changed),
        )

    def _keys_of_claim(self, claim: Object) -> Keys:
        name = name_of(claim)
        return [
            key_of(stateful_set)
            for stateful_set in self._sets.lister.list(namespace_of(claim))
            for template in claim_templates(stateful_set)
            if name.startswith(f"{name_of(template)}-{name_of(stateful_set)}-")
        ]

    async def sync(self, key: ObjectKey) -> Result:
        stateful_set = self._sets.lister.get(*key)
        if stateful_set is None:
            self._own.forget(key)
            self._failed.forget(key)
            return Result()
        if not self._own.are_seen(key):
            return Result(requeue_after=1.0)  # the events themselves come sooner; this is for a lost watch
        selector = selector_of(stateful_set)
        claims = plan_claims(stateful_set, selector, self._candidates(stateful_set))
        pods = await apply_claims(self.client, stateful_set, STATEFUL_SETS, PODS, claims)
        revisions = await self._history.of(stateful_set, selector)
        found = await self._revisions(stateful_set, revisions)
        if found is None:
            return Result()
        current, update, collisions = found

        def find(name: str) -> Object | None:
            return self._claims.lister.get(key.namespace, name)

        version, monotonic = (uid_of(stateful_set), stateful_set["metadata"].get("generation")), self.clock.monotonic()
        waits = self._failed.waits(key, version, monotonic)
        plan = plan_stateful_set(stateful_set, current, update, collisions, pods, find, self.clock.now(), waits)
        for name in plan.failed:
            self._failed.failed(key, version, name, monotonic)
        error = await self._apply(key, stateful_set, plan)
        if plan.status is not None:
            changed = stateful_set | {"status": plan.status}
            written = await self.client.update(STATEFUL_SETS, changed, subresource="status")
            self._own.wrote(key, self._sets, written)
        if not is_deleting(stateful_set):
            live = {name_of(current), name_of(update), *map(revision_of, pods)}
            await self._history.truncate(stateful_set, revisions, live)
        if error is not None:
            raise error
        return Result(requeue_after=plan.requeue_after)

    def _candidates(self, stateful_set: Object) -> Iterable[Object]:
        pods = self._pods.lister
        yield from pods.by_index(CONTROLLER_INDEX, uid_of(stateful_set))
        for pod in pods.by_index(CONTROLLER_INDEX, orphans_of(namespace_of(stateful_set))):
            if is_member(stateful_set, pod):
                yield pod

    async def _revisions(self, stateful_set: Object, revisions: Sequence[Object]) -> tuple[Object, Object, int] | None:
        """Current and updated revision and the count of collisions; None when there is nothing to tell from."""
        by_name = {name_of(revision): revision for revision in revisions}
        status = stateful_set.get("status") or {}
        if is_deleting(stateful_set):
            # Its revisions may be gone already; new ones would only be in the way of its end.
            names = status.get("currentRevision", ""), status.get("updateRevision", "")
            if not all(name in by_name for name in names):
                return None
            return by_name[names[0]], by_name[names[1]], status.get("collisionCount") or 0
        update, collisions = await self._history.record(stateful_set, revisions)
        return by_name.get(status.get("currentRevision", ""), update), update, collisions

    async def _apply(self, key: ObjectKey, stateful_set: Object, plan: StatefulPlan) -> ApiError | None:
        """The first failure, if any. What succeeded is done all the same; later phases wait."""
        for phase in plan.phases:
            if plan.one_by_one:
                for step in phase:
                    if (error := await self._take(key, stateful_set, step)) is not None:
                        return error
                continue
            if (error := await self._take_together(key, stateful_set, phase)) is not None:
                return error
        return None

    async def _take_together(self, key: ObjectKey, stateful_set: Object, phase: Iterable[Step]) -> ApiError | None:
        steps = list(phase)
        rest = iter(steps)

        async def take_next() -> ApiError | None:
            return await self._take(key, stateful_set, next(rest))

        return await start_slowly(len(steps), take_next)

    async def _take(self, key: ObjectKey, stateful_set: Object, step: Step) -> ApiError | None:
        pod, verb = step.pod, step.verb
        try:
            await self._take_claims(key, stateful_set, pod, step.claims)
            if verb == "create":
                self._own.wrote(key, self._pods, await self.client.create(PODS, pod))
            elif verb == "update":
                patched = await self.client.patch(PODS, name_of(pod), step.patch, namespace_of(pod), type="merge")
                self._own.wrote(key, self._pods, patched)
            elif verb == "delete":
                await self._delete(key, pod)
        except ApiError as exc:
            if has_cause(exc, "NamespaceTerminating"):
                return None  # every creation will fail from now on, and soon nobody wants any
            if not isinstance(exc, AlreadyExists) or self._is_taken(stateful_set, pod):
                reason = "Create" if verb == "create" else "Delete" if verb == "delete" else "Update"
                self._tell(
                    stateful_set, "Warning", f"Failed{reason}", f"{reason} Pod", pod, f"failed error: {exc.message}"
                )
            return exc
        if verb != "claim":
            self._tell(stateful_set, "Normal", f"Successful{verb.title()}", f"{verb.title()} Pod", pod, "successful")
        return None

    def _is_taken(self, stateful_set: Object, pod: Object) -> bool:
        """Whether a pod of somebody else has the name; else it is our own, which the cache does not show yet."""
        present = self._pods.lister.get(*key_of(pod))
        return present is not None and not is_controlled_by(present, stateful_set)

    def _tell(self, stateful_set: Object, type: str, reason: str, what: str, pod: Object, how: str) -> None:
        self.event(stateful_set, type, reason, f"{what} {name_of(pod)} in StatefulSet {name_of(stateful_set)} {how}")

    async def _delete(self, key: ObjectKey, pod: Object) -> None:
        try:
            await self.client.delete(PODS, name_of(pod), namespace_of(pod), uid=uid_of(pod))
        except NotFound:
            return
        self._own.deleted(key, self._pods, pod)

    async def _take_claims(self, key: ObjectKey, stateful_set: Object, pod: Object, claims: ClaimPlan) -> None:
        """Raises Conflict when a claim is going."""
        for claim in claims.create:
            what = f"Create Claim {name_of(claim)} Pod"
            try:
                created = await self.client.create(PERSISTENT_VOLUME_CLAIMS, claim)
            except AlreadyExists:
                raise  # it is there, and the cache will say so in a moment
            except ApiError as exc:
                what = f"Create Claim {name_of(claim)} for Pod"
                self._tell(stateful_set, "Warning", "FailedCreate", what, pod, f"failed error: {exc.message}")
                raise
            self._own.wrote(key, self._claims, created)
            self._tell(stateful_set, "Normal", "SuccessfulCreate", what, pod, "success")
        for name in claims.deleting:
            raise conflict(PERSISTENT_VOLUME_CLAIMS, name, f"pvc {name} is being deleted")
        for name in claims.contested:
            self.event(stateful_set, "Warning", "ConflictingController", _CONTESTED.format(name))
        for claim in claims.update:
            self._own.wrote(key, self._claims, await self.client.update(PERSISTENT_VOLUME_CLAIMS, claim))


def selector_of(stateful_set: Object) -> Selector:
    return selector_from_object(stateful_set["spec"].get("selector"))


def _claim_changed(old: Object, new: Object) -> bool:
    return (uid_of(old), is_deleting(old), owner_references(old)) != (
        uid_of(new),
        is_deleting(new),
        owner_references(new),
    )
