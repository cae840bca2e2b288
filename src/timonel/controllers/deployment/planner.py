"""What a Deployment should do next, as one value. Pure: the same snapshot and time give the same plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from timonel.api.objects import Object, annotations_of, find_by, is_deleting, name_of, uid_of
from timonel.controllers.conditions import set_condition
from timonel.controllers.deployment.progress import (
    calculate_status,
    deadline_of,
    is_complete,
    next_progress_check,
    paused_conditions,
    progressing,
    rollout_conditions,
)
from timonel.controllers.deployment.revisions import (
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    REVISION,
    age_rank,
    find_new,
    new_annotations,
    new_replica_set,
    next_revision,
    revision_of,
)
from timonel.controllers.deployment.scaling import Bounds, Sizes, bounds_of, is_scaling_event, new_size, roll, scale
from timonel.controllers.pods import is_terminal


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """To be carried out in the order of the fields; the first failure ends it."""

    create: Object | None = None
    """The new ReplicaSet."""
    update: tuple[Object, ...] = ()
    """ReplicaSets as they should be, with the resourceVersion they were planned from."""
    delete: tuple[Object, ...] = ()
    """Old ReplicaSets beyond the history limit."""
    status: Object | None = None
    """None: leave as it is."""
    revision: str = ""
    """For the Deployment's own annotation; "": leave as it is."""
    events: tuple[tuple[str, str, str], ...] = ()
    """(type, reason, message), once all is done."""
    requeue_after: float | None = None


def plan_rollout(deployment: Object, owned: Sequence[Object], pods: Iterable[Object], now: datetime) -> RolloutPlan:
    """`owned` are its ReplicaSets, `pods` all pods of those: Recreate waits for the old ones to be gone."""
    spec = deployment["spec"]
    if not any((spec.get("selector") or {}).values()):
        return _refuse_all(deployment)
    rollout = _Rollout(deployment, owned, now)
    if is_deleting(deployment):
        return rollout.finish(judge_progress=False)
    rollout.conditions = paused_conditions(deployment, rollout.conditions, now)
    recreate = (spec.get("strategy") or {}).get("type") == "Recreate"
    rollout.note_new()
    if spec.get("paused") or is_scaling_event(deployment, rollout.sizes):
        rollout.scale()
        return rollout.finish(judge_progress=False, clean=bool(spec.get("paused")))
    if not recreate:
        rollout.ensure_new()
        roll(rollout.bounds, rollout.sizes)
    elif any(map(_size, rollout.sizes.old)):
        for replica_set in rollout.sizes.old:
            rollout.sizes.set(replica_set, 0)
    elif not _old_pods_left(rollout.sizes, pods):
        rollout.ensure_new()
        assert rollout.sizes.new is not None
        rollout.sizes.set(rollout.sizes.new, rollout.bounds.desired)
    settled = not rollout.changes and is_complete(deployment, deployment.get("status") or {})
    return rollout.finish(judge_progress=True, clean=settled)


def _refuse_all(deployment: Object) -> RolloutPlan:
    message = "This deployment is selecting all pods. A non-empty selector is required."
    status = deployment.get("status") or {}
    generation = deployment["metadata"].get("generation") or 0
    behind = (status.get("observedGeneration") or 0) < generation
    return RolloutPlan(
        status=status | {"observedGeneration": generation} if behind else None,
        events=(("Warning", "SelectingAll", message),),
    )


def _size(replica_set: Object) -> int:
    size: int = replica_set["spec"].get("replicas", 1)
    return size


def _old_pods_left(sizes: Sizes, pods: Iterable[Object]) -> bool:
    """Whether pods of old ReplicaSets may still run; ended ones do not count."""
    if any((replica_set.get("status") or {}).get("replicas") for replica_set in sizes.old):
        return True
    old = {uid_of(replica_set) for replica_set in sizes.old}
    return any(
        owner.get("uid") in old and not is_terminal(pod)
        for pod in pods
        for owner in pod["metadata"].get("ownerReferences") or ()
    )


class _Rollout:
    """The plan while it is being made."""

    def __init__(self, deployment: Object, owned: Sequence[Object], now: datetime) -> None:
        self.deployment = deployment
        self.now = now
        self.conditions: list[Object] = list((deployment.get("status") or {}).get("conditions") or ())
        self.bounds: Bounds = bounds_of(deployment)
        new = find_new(deployment, owned)
        old = [replica_set for replica_set in owned if replica_set is not new]
        self.sizes = Sizes(new, old)
        self._created: Object | None = None
        self._annotations: dict[str, dict[str, str]] = {}
        self._annotate_all = False
        self._revision = next_revision(old)

    @property
    def changes(self) -> bool:
        return self._created is not None or bool(self._updates())

    def note_new(self) -> None:
        """Brings the annotations of an existing new ReplicaSet up to date, and the conditions with it."""
        new = self.sizes.new
        if new is None:
            return
        self._annotations[uid_of(new)] = new_annotations(self.deployment, annotations_of(new), self._revision)
        if deadline_of(self.deployment) is not None and find_by(self.conditions, "type", "Progressing") is None:
            message = f'Found new replica set "{name_of(new)}"'
            self.conditions.append(progressing("True", "FoundNewReplicaSet", message, self.now))

    def ensure_new(self) -> None:
        if self.sizes.new is not None:
            return
        new = new_replica_set(self.deployment)
        rolling = (self.deployment["spec"].get("strategy") or {}).get("type") != "Recreate"
        size = new_size(self.bounds, self.sizes, 0) if rolling else self.bounds.desired
        new["spec"]["replicas"] = size
        new["metadata"]["annotations"] = new_annotations(self.deployment, {}, self._revision) | self._size_notes()
        self._created = new
        # It has no uid yet; "" is no other's.
        self.sizes = Sizes(new, self.sizes.old)
        if deadline_of(self.deployment) is not None:
            made = progressing("True", "NewReplicaSetCreated", f'Created new replica set "{name_of(new)}"', self.now)
            self.conditions = set_condition(self.conditions, made)

    def scale(self) -> None:
        self._annotate_all = scale(self.deployment, self.bounds, self.sizes)

    def finish(self, *, judge_progress: bool, clean: bool = False) -> RolloutPlan:
        deployment, now = self.deployment, self.now
        status = calculate_status(deployment, self.bounds, self.sizes, self.conditions, now)
        requeue_after = None
        if judge_progress:
            status["conditions"] = rollout_conditions(deployment, status, self.sizes, now)
            requeue_after = next_progress_check(deployment, status, now)
        plan = RolloutPlan(
            create=self._created,
            update=tuple(self._updates()),
            delete=tuple(self._superfluous()) if clean else (),
            status=None if status == _as_written(deployment.get("status") or {}) else status,
            events=tuple(self._events()),
            requeue_after=requeue_after,
        )
        if self.sizes.new is not None and not is_deleting(deployment):
            new = self.sizes.new
            revision = (self._annotations.get(uid_of(new)) or annotations_of(new)).get(REVISION, "")
            if revision != annotations_of(deployment).get(REVISION, ""):
                plan = replace(plan, revision=revision)
        return plan

    def _size_notes(self) -> dict[str, str]:
        return {DESIRED_REPLICAS: str(self.bounds.desired), MAX_REPLICAS: str(self.bounds.max_total)}

    def _updates(self) -> list[Object]:
        updates = []
        for replica_set in self.sizes.all:
            if replica_set is self._created:
                continue
            size = self.sizes.of(replica_set)
            annotations = self._annotations.get(uid_of(replica_set), dict(annotations_of(replica_set)))
            if size != _size(replica_set) or (self._annotate_all and size):
                annotations = annotations | self._size_notes()
            spec = replica_set["spec"] | {"replicas": size}
            if replica_set is self.sizes.new:
                seconds = self.deployment["spec"].get("minReadySeconds") or 0
                if seconds != (spec.get("minReadySeconds") or 0):
                    spec["minReadySeconds"] = seconds
            if spec != replica_set["spec"] or annotations != annotations_of(replica_set):
                metadata = replica_set["metadata"] | {"annotations": annotations}
                updates.append(replica_set | {"metadata": metadata, "spec": spec})
        # Growing first: what is to be replaced goes only when its replacement is asked for.
        return sorted(updates, key=lambda updated: updated["metadata"].get("uid") != uid_of(self.sizes.new or updated))

    def _events(self) -> Iterable[tuple[str, str, str]]:
        for replica_set in self.sizes.all:
            before = 0 if replica_set is self._created else _size(replica_set)
            after = self.sizes.of(replica_set)
            if before != after:
                way = "up" if after > before else "down"
                message = f"Scaled {way} replica set {name_of(replica_set)} from {before} to {after}"
                yield "Normal", "ScalingReplicaSet", message

    def _superfluous(self) -> Iterable[Object]:
        """Old and empty ReplicaSets, lowest revisions first, beyond the history limit."""
        limit = self.deployment["spec"].get("revisionHistoryLimit", 10)
        if limit is None or limit >= 2**31 - 1:
            return
        alive = [replica_set for replica_set in self.sizes.old if not is_deleting(replica_set)]
        alive.sort(key=lambda replica_set: (revision_of(replica_set), age_rank(replica_set)))
        for replica_set in alive[: max(0, len(alive) - limit)]:
            status, metadata = replica_set.get("status") or {}, replica_set["metadata"]
            observed = (status.get("observedGeneration") or 0) >= (metadata.get("generation") or 0)
            if observed and not status.get("replicas") and not _size(replica_set) and not self.sizes.of(replica_set):
                yield replica_set


def _as_written(status: Object) -> Object:
    kept = ("terminatingReplicas", "collisionCount")
    return {field: value for field, value in status.items() if value or (field in kept and value is not None)}
