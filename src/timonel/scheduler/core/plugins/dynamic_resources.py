"""Devices that a pod claims: it can go where those its claims have can be used, or others can still be had.

Source: kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation; reasons are upstream's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from timonel.api.objects import Object, uid_of
from timonel.scheduler.core.arguments import DynamicResourcesArgs
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.devices.extended import Mapped, map_requests, render_claim
from timonel.scheduler.core.devices.inventory import NOT_AVAILABLE, STEPS_PER_POD, TIMED_OUT, ClaimPlan
from timonel.scheduler.core.devices.ledger import allocation_of, results_of
from timonel.scheduler.core.devices.results import NewId, rating
from timonel.scheduler.core.devices.wishes import CannotAllocate
from timonel.scheduler.core.framework import (
    Attempt,
    Change,
    PluginFailed,
    PodScope,
    Ratings,
    Refusal,
    Slots,
    normalised,
)
from timonel.scheduler.core.selectors import Mask

TO_BE_MADE = "<extended-resources>"
"""Name of a claim that is made for extended resources once a node is found."""
_LEFT_OVER = "cannot schedule extended resource claim"
_STEPS_PER_SECOND = 2_000
"""Time is counted in steps, so that the same is found on any machine."""


class DynamicResources:
    name = "DynamicResources"
    is_static = False
    pod_scope = PodScope.NONE  # who has which device is told by claims, not by pods
    helped_by = frozenset({
        Change.NODE_ADDED, Change.NODE_LABELS, Change.NODE_ALLOCATABLE,
        Change.DEVICE_SLICE, Change.DEVICE_CLASS, Change.DEVICES_FREED,
    })  # fmt: skip

    def __init__(self, args: DynamicResourcesArgs | None = None) -> None:
        given = args or DynamicResourcesArgs()
        seconds = given.filter_timeout_seconds
        self._binding_timeout = timedelta(seconds=given.binding_timeout_seconds)
        self._steps = int(seconds * _STEPS_PER_SECOND) if seconds else STEPS_PER_POD

    def refuse(self, cluster: Cluster, attempt: Attempt) -> Sequence[Refusal]:
        claims = _claims(cluster, attempt)
        if not claims and not _stood_for(cluster, attempt):
            return ()
        masks = cluster.devices.unavailable(claims, attempt.now, self._binding_timeout)
        refusals = [Refusal(NOT_AVAILABLE, mask) for mask in masks.values()]
        if _left_over(cluster, attempt):
            refusals.append(Refusal(_LEFT_OVER, np.ones(cluster.nodes.capacity, np.bool_)))
            return refusals
        for case in _cases(cluster, attempt, claims):
            codes, _, reasons = self._answers(cluster, case)
            for code, reason in enumerate((TIMED_OUT, "", *reasons)):
                mask = case.mask & (codes == code)
                if reason and mask.any():
                    refusals.append(Refusal(reason, mask))
        return refusals

    def score(self, cluster: Cluster, attempt: Attempt, nodes: Slots) -> Ratings | None:
        claims = _claims(cluster, attempt)
        if not any(_has_alternatives(claim) for claim in claims):
            return None
        had = [(each, results_of(each)) for each in claims if allocation_of(each) is not None]
        total = np.zeros(cluster.nodes.capacity, np.int64)
        for case in _cases(cluster, attempt, claims):
            total = np.where(case.mask, self._answers(cluster, case)[1], total)
        total += rating((claim, [result["request"] for result in results]) for claim, results in had)
        return normalised(total[nodes])

    def _answers(self, cluster: Cluster, case: _Case) -> tuple[np.ndarray, np.ndarray, Sequence[str]]:
        try:
            return cluster.devices.answers(case.open, case.mask, self._steps)
        except CannotAllocate as exc:
            raise PluginFailed(f'running "{self.name}" filter plugin: {exc}') from exc


@dataclass(frozen=True, slots=True)
class _Case:
    """Nodes that stand for the same extended resources themselves, and what has to be allocated on the others."""

    mask: Mask
    open: tuple[Object, ...]


def blocked_by_claims(cluster: Cluster, attempt: Attempt) -> str:
    """Why claims let the pod go nowhere, whatever the nodes are like."""
    if not attempt.pod.device_claims:
        return ""
    try:
        return cluster.devices.blocked(attempt.pod)
    except CannotAllocate as exc:
        return str(exc)


def plan_claims(cluster: Cluster, attempt: Attempt, node: str, new_id: NewId) -> ClaimPlan | None:
    """What has to be written for a pod that goes to a node; None when its devices cannot be had after all."""
    claims = _claims(cluster, attempt)
    slot = cluster.nodes.slots[node]
    mapped = _mapped(cluster, attempt, [name for name, mask in _lacking(cluster, attempt) if mask[slot]])
    if mapped is None:
        return cluster.devices.plan(claims, node, new_id) if claims else ClaimPlan(())
    made = _to_be_made(attempt, mapped)
    return cluster.devices.plan((*claims, made), node, new_id, mapped.mappings)


def lost_claims(cluster: Cluster, attempt: Attempt, binding_timeout: timedelta) -> list[Object]:
    """Claims whose devices cannot be used on some node, and that nobody else is waiting for: others may do better."""
    claims = _claims(cluster, attempt)
    found = [claims[place] for place in cluster.devices.unavailable(claims, attempt.now, binding_timeout)]
    return [
        each
        for each in found
        if all(one.get("uid") == attempt.pod.uid for one in (each.get("status") or {}).get("reservedFor") or ())
    ]


def left_over_claim(cluster: Cluster, attempt: Attempt) -> Object | None:
    """One that was made for the pod's extended resources when it was tried before."""
    return cluster.devices.ledger.made_for(attempt.pod.uid)


def _left_over(cluster: Cluster, attempt: Attempt) -> bool:
    return bool(_stood_for(cluster, attempt)) and left_over_claim(cluster, attempt) is not None


def _claims(cluster: Cluster, attempt: Attempt) -> tuple[Object, ...]:
    if not attempt.pod.device_claims:
        return ()
    claims = cluster.devices.claims_of(attempt.pod)
    return () if isinstance(claims, str) else claims  # then no node was asked


def _cases(cluster: Cluster, attempt: Attempt, claims: Sequence[Object]) -> Iterator[_Case]:
    opened = tuple(each for each in claims if allocation_of(each) is None)
    lacking = list(_lacking(cluster, attempt))
    kinds = np.zeros(cluster.nodes.capacity, np.int64)
    for place, (_, mask) in enumerate(lacking):
        kinds |= mask.astype(np.int64) << place
    for kind in np.unique(kinds[cluster.nodes.alive]).tolist():
        names = [name for place, (name, _) in enumerate(lacking) if kind >> place & 1]
        mapped = _mapped(cluster, attempt, names)
        wanted = opened if mapped is None else (*opened, _to_be_made(attempt, mapped))
        if wanted:
            yield _Case(kinds == kind, wanted)


def _stood_for(cluster: Cluster, attempt: Attempt) -> list[str]:
    """Resources that the pod requests and that devices may stand for."""
    by_resource = cluster.devices.by_resource
    return [name for name, amount in attempt.pod.klass.requests.items() if amount > 0 and name in by_resource]


def _lacking(cluster: Cluster, attempt: Attempt) -> Iterator[tuple[str, Mask]]:
    """For each such resource, the nodes that have none of it themselves."""
    nodes = cluster.nodes
    for name in _stood_for(cluster, attempt)[:16]:
        row = nodes.rows.get(name)
        yield name, np.ones(nodes.capacity, np.bool_) if row is None else nodes.allocatable[row] == 0


def _mapped(cluster: Cluster, attempt: Attempt, names: Sequence[str]) -> Mapped | None:
    if not names:
        return None
    mapped = map_requests(attempt.object, {name: cluster.devices.by_resource.class_of(name) for name in names})
    return mapped if mapped.requests else None


def _to_be_made(attempt: Attempt, mapped: Mapped) -> Object:
    made = render_claim(attempt.object, mapped.requests)
    made["metadata"] |= {"name": TO_BE_MADE, "uid": f"of pod {uid_of(attempt.object)}"}
    return made


def _has_alternatives(claim: Object) -> bool:
    return any(each.get("firstAvailable") for each in claim["spec"]["devices"].get("requests") or ())
