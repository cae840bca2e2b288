"""The loop around the planner of disruption budgets.

The API server subtracts from what a budget allows before it lets a pod be evicted; here it is counted anew from the
pods themselves. Both write by resourceVersion, so that neither overlooks the other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

from timonel.api.clock import Clock
from timonel.api.errors import ApiError
from timonel.api.labels import NOTHING, InvalidSelector, Selector, selector_from_object
from timonel.api.objects import (
    Object,
    ObjectKey,
    controller_of,
    get_path,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from timonel.api.refs import POD_DISRUPTION_BUDGETS, PODS
from timonel.client.controller import Controller, Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.disruption.planner import needs_scale, plan_budget, plan_failure
from timonel.controllers.disruption.scales import WORKLOADS, Scales, UnknownScale
from timonel.controllers.disruption.stale_targets import StaleTargets
from timonel.controllers.pods import is_ready

log = logging.getLogger(__name__)

_UNMANAGED = (
    "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the status of "
    "the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please "
    'set ".spec.minAvailable" field of the PDB to an integer value.'
)


class DisruptionController(Controller):
    """Keys are budgets. Runs the cleaning of stale conditions beside."""

    name = "disruption"

    def __init__(
        self, *, client: ApiClient, informers: Informers, clock: Clock, recorder: EventRecorder | None = None
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self.watches = (
            Watch(POD_DISRUPTION_BUDGETS, changed=_budget_changed),
            Watch(PODS, key=self._budgets_of_pod, changed=_pod_changed),
            # Pods tell of most that happens; not of replicas that are wanted and cannot be made.
            *(Watch(ref, key=self._budgets_of_workload, changed=_replicas_changed) for ref in WORKLOADS),
        )
        self._selectors: dict[ObjectKey, tuple[Object | None, Selector]] = {}
        """Of budgets, as given and as read: pods change often, and reading one costs 10 µs."""
        self._scales = Scales(client, informers)
        self._stale_targets = StaleTargets(client=client, informers=informers, clock=clock)

    def register(self) -> None:
        super().register()
        self.informer(PODS).add_handler(
            on_add=self._tell_of_many, on_update=lambda old, new: self._tell_of_many(new, old)
        )

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(super().run(), name="disruption budgets")
            group.create_task(self._stale_targets.run(), name=self._stale_targets.name)

    # What makes a budget be looked at

    def _guarding(self, namespace: str, labels: Mapping[str, str]) -> list[ObjectKey]:
        budgets = self.lister(POD_DISRUPTION_BUDGETS).list(namespace)
        return [key_of(budget) for budget in budgets if self._selector(budget).matches(labels)]

    def _selector(self, budget: Object) -> Selector:
        """One that cannot be read selects nothing."""
        given, known = get_path(budget, "spec", "selector"), self._selectors.get(key_of(budget))
        if known is None or known[0] != given:
            try:
                known = given, selector_from_object(given)
            except InvalidSelector:
                known = given, NOTHING
            self._selectors[key_of(budget)] = known
        return known[1]

    def _budgets_of_pod(self, pod: Object) -> list[ObjectKey]:
        return self._guarding(namespace_of(pod), labels_of(pod))

    def _budgets_of_workload(self, workload: Object) -> list[ObjectKey]:
        labels = get_path(workload, "spec", "template", "metadata", "labels", default={})
        return self._guarding(namespace_of(workload), labels)

    def _tell_of_many(self, pod: Object, old: Object | None = None) -> None:
        if (old is None or _pod_changed(old, pod)) and len(self._budgets_of_pod(pod)) > 1:
            told = f'Pod "{namespace_of(pod)}"/"{name_of(pod)}" matches multiple PodDisruptionBudgets.'
            self.event(pod, "Warning", "MultiplePodDisruptionBudgets", f"{told} It cannot be evicted.")

    # What is done then

    async def sync(self, key: ObjectKey) -> Result:
        budget = self.lister(POD_DISRUPTION_BUDGETS).get(*key)
        if budget is None:
            self._selectors.pop(key, None)
            return Result()
        try:
            selector = selector_from_object(get_path(budget, "spec", "selector"))
        except InvalidSelector as exc:
            self.event(budget, "Warning", "NoPods", f"Failed to get pods: {exc}")
            await self._fail(budget, str(exc))
            return Result()
        pods = sorted(self.lister(PODS).list(key.namespace, selector), key=name_of)
        if not pods:
            self.event(budget, "Normal", "NoPods", "No matching pods found")
        scale = 0
        if needs_scale(budget):
            try:
                found = await self._scales.of(pods)
            except (UnknownScale, ApiError) as exc:
                why = f"Failed to calculate the number of expected pods: {exc}"
                self.event(budget, "Warning", "CalculateExpectedPodCountFailed", why)
                await self._fail(budget, str(exc))
                if isinstance(exc, ApiError):
                    raise
                return Result()  # until something changes
            scale = found.replicas
            if found.unmanaged:
                self.event(budget, "Warning", "UnmanagedPods", _UNMANAGED.format(selector))
        plan = plan_budget(budget, pods, scale, self.clock.now())
        for pod in plan.not_deleted:
            why = f"Pod was expected by PDB {key} to be deleted but it wasn't"
            self.event(pod, "Warning", "NotDeleted", why)
        if plan.status is not None:
            await self._write(budget, plan.status)
        return Result(requeue_after=plan.requeue_after)

    async def _fail(self, budget: Object, why: str) -> None:
        """Better no disruption than one too many."""
        status = plan_failure(budget, why, self.clock.now())
        if status is not None:
            await self._write(budget, status)
            log.info("budget could not be computed budget=%s error=%s", key_of(budget), why)

    async def _write(self, budget: Object, status: Object) -> None:
        """Raises Conflict when an eviction was granted meanwhile."""
        await self.client.update(POD_DISRUPTION_BUDGETS, budget | {"status": status}, subresource="status")


def _budget_changed(old: Object, new: Object) -> bool:
    return any(old.get(part) != new.get(part) for part in ("spec", "status")) or uid_of(old) != uid_of(new)


def _pod_changed(old: Object, new: Object) -> bool:
    def relevant(pod: Object) -> Iterable[object]:
        return uid_of(pod), is_deleting(pod), is_ready(pod), labels_of(pod), controller_of(pod)

    return relevant(old) != relevant(new)


def _replicas_changed(old: Object, new: Object) -> bool:
    def relevant(workload: Object) -> Iterable[object]:
        return uid_of(workload), get_path(workload, "spec", "replicas"), controller_of(workload)

    return relevant(old) != relevant(new)
