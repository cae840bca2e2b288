"""What pods with claims are decided by: slices, classes, claims, and on which nodes the devices could be had.

Answers are kept for each set of equal wishes, and asked anew only of nodes whose devices changed since, so the
hundredth pod of a template costs as much as the nodes that the ninety-nine before it changed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from timonel.api.objects import Object, ObjectKey, controller_of, is_deleting, key_of, name_of, uid_of
from timonel.scheduler.core.devices.allocator import TIMED_OUT, Allocation, Refused, allocate
from timonel.scheduler.core.devices.catalogue import Catalogue, View, selector_mask
from timonel.scheduler.core.devices.extended import ClassesByResource
from timonel.scheduler.core.devices.ledger import (
    MOST_CONSUMERS,
    Ledger,
    allocation_of,
    consumers_of,
    is_reserved_for,
)
from timonel.scheduler.core.devices.readiness import is_lost
from timonel.scheduler.core.devices.results import NewId, rating, render_allocation
from timonel.scheduler.core.devices.wishes import Claim, Selectors, Steps, parse_claim
from timonel.scheduler.core.nodes import NodeTable
from timonel.scheduler.core.pods import Pod
from timonel.scheduler.core.selectors import Mask

NOT_AVAILABLE = "resourceclaim not available on the node"
STEPS_PER_NODE, STEPS_PER_POD = 20_000, 400_000
"""About 20 ms and half a second. What is left over is looked at when the pod is tried again."""
_KEPT = 32
"""Answers for as many different wishes."""
_UNKNOWN, _FITS = 0, 1


@dataclass(frozen=True, slots=True)
class ClaimPlan:
    """What is to be written before the pod is bound. `allocations`: by claim, for those that have none yet.

    The last claim may be one that is to be made, for extended resources; then `mappings` says whose its requests are.
    """

    claims: tuple[Object, ...]
    allocations: Mapping[ObjectKey, Object] = field(default_factory=dict)
    mappings: tuple[Object, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.claims)


class _Answers:
    """For one set of wishes, by slot: 0 not known, 1 it fits, more a reason; and how well the alternatives are."""

    def __init__(self, capacity: int) -> None:
        self.codes: NDArray[np.int16] = np.zeros(capacity, np.int16)
        self.ratings: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.reasons: list[str] = []
        self.version = 0

    def grow(self, capacity: int) -> None:
        added = capacity - len(self.codes)
        self.codes, self.ratings = np.pad(self.codes, (0, added)), np.pad(self.ratings, (0, added))

    def put(self, slot: int, found: tuple[Allocation, ...] | Refused, rated: int) -> None:
        if not isinstance(found, Refused):
            self.codes[slot], self.ratings[slot] = _FITS, rated
            return
        if found.reason not in self.reasons:
            self.reasons.append(found.reason)
        self.codes[slot] = _FITS + 1 + self.reasons.index(found.reason)


class Inventory:
    """Changed by events. `version` rises with each change that any answer depends on."""

    def __init__(self, nodes: NodeTable) -> None:
        self._nodes = nodes
        self.catalogue = Catalogue(nodes)
        self.ledger = Ledger()
        self.classes: dict[str, Object] = {}
        self.by_resource = ClassesByResource()
        self._selectors = Selectors()
        self._answers: OrderedDict[bytes, _Answers] = OrderedDict()
        self._log: list[int] = []
        """Slots whose answers may have changed."""
        self._log_began = 0

    def __bool__(self) -> bool:
        """Whether there is anything that a pod with claims could get."""
        return bool(len(self.catalogue) or self.classes or self.ledger.claims)

    # Changes

    def put_class(self, obj: Object) -> None:
        self.classes[name_of(obj)] = obj
        self.by_resource.put(obj)

    def remove_class(self, name: str) -> None:
        self.classes.pop(name, None)
        self.by_resource.remove(name)

    def node_changed(self, name: str) -> None:
        if len(self.catalogue):
            self.catalogue.node_changed(name)

    # A pod's claims

    def claims_of(self, pod: Pod) -> tuple[Object, ...] | str:
        """Those that exist; or why the pod must wait, in upstream's words."""
        found = []
        for entry in pod.device_claims:
            if entry.claim is None:
                return f'pod "{pod.key[1]}": pod claim {entry.name}: resource claim is not created yet'
            if not entry.claim:
                continue  # somebody decided that none is needed
            claim = self.ledger.claims.get(ObjectKey(pod.key[0], entry.claim))
            if claim is None:
                return f'resourceclaim.resource.k8s.io "{entry.claim}" not found'
            if is_deleting(claim):
                return f'resourceclaim "{entry.claim}" is being deleted'
            if entry.is_generated and (controller_of(claim) or {}).get("uid") != pod.uid:
                return (
                    f"ResourceClaim {pod.key[0]}/{entry.claim} was not created for pod {pod.key[0]}/{pod.key[1]} "
                    "(pod is not owner)"
                )
            found.append(claim)
        return tuple(found)

    def blocked(self, pod: Pod) -> str:
        """Why the pod can go to no node at all; "" when that depends on the node. Raises CannotAllocate."""
        claims = self.claims_of(pod)
        if isinstance(claims, str):
            return claims
        for claim in claims:
            if allocation_of(claim) is not None:
                if len(consumers_of(claim)) >= MOST_CONSUMERS and not is_reserved_for(claim, pod.uid):
                    return "resourceclaim in use"
                continue
            if self.ledger.is_promised(uid_of(claim)):
                return f"resource claim {key_of(claim)} is in the process of being allocated"
            for wish in (wish for request in parse_claim(claim).requests for wish in request):
                if wish.class_name not in self.classes:
                    return f"request {wish.name}: device class {wish.class_name} does not exist"
        return ""

    def unavailable(
        self, claims: Iterable[Object], now: datetime | None, binding_timeout: timedelta
    ) -> dict[int, Mask]:
        """For those of the claims that have devices: nodes where these cannot be used, by place in `claims`."""
        found = {}
        for place, claim in enumerate(claims):
            allocation = allocation_of(claim)
            if allocation is None:
                continue
            mask = np.zeros(self._nodes.capacity, np.bool_)
            if selector := allocation.get("nodeSelector"):
                mask = ~selector_mask(selector, self._nodes)
            if now is not None and is_lost(claim, now, binding_timeout):
                mask = np.ones(self._nodes.capacity, np.bool_)
            if mask.any():
                found[place] = mask
        return found

    # Devices for claims that have none

    def answers(
        self, claims: Sequence[Object], among: Mask, steps_per_node: int = STEPS_PER_NODE
    ) -> tuple[NDArray[np.int16], NDArray[np.int64], Sequence[str]]:
        """By slot: what was found (0: too much to look at now, 1: it fits, 2 and more: a reason); ratings; reasons.

        Only of the nodes `among` is it certain. Raises CannotAllocate.
        """
        wishes = _Wishes(claims, self.classes)
        answers = self._current(wishes)
        left = Steps(STEPS_PER_POD)
        equal: dict[Any, tuple[tuple[Allocation, ...] | Refused, int]] = {}
        is_untouched = self.ledger.is_untouched
        for slot in np.flatnonzero((answers.codes == _UNKNOWN) & self._nodes.alive & among).tolist():
            if left.left <= 0:
                break
            view = self.catalogue.view(self._nodes.names[slot])
            alike = view.layout if all(is_untouched(pool.id) for pool in view.pools) else view
            known = equal.get(alike)
            if known is None:
                known = equal[alike] = self._look(view, wishes, left, steps_per_node)
            answers.put(slot, *known)
        return answers.codes, answers.ratings, answers.reasons

    def allocate(self, claims: Sequence[Object], node: str) -> tuple[Allocation, ...] | Refused:
        """Again, what `answers` found for a node: it is the same as long as nothing changed."""
        wishes = _Wishes(claims, self.classes)
        return self._look(self.catalogue.view(node), wishes, Steps(STEPS_PER_POD), STEPS_PER_POD)[0]

    def plan(
        self, claims: Sequence[Object], node: str, new_id: NewId, mappings: tuple[Object, ...] = ()
    ) -> ClaimPlan | None:
        """None when the devices cannot be had after all."""
        opened = [each for each in claims if allocation_of(each) is None]
        allocations: dict[ObjectKey, Object] = {}
        if opened:
            found = self.allocate(opened, node)
            if isinstance(found, Refused):
                return None
            for obj, one in zip(opened, found, strict=True):
                allocations[key_of(obj)] = render_allocation(parse_claim(obj), one, node, self.classes, new_id)
        return ClaimPlan(tuple(claims), allocations, mappings)

    def assume(self, plan: ClaimPlan) -> None:
        """The devices are the claims' from now on."""
        for claim in plan.claims:
            if (allocation := plan.allocations.get(key_of(claim))) is not None:
                self.ledger.promise(uid_of(claim), allocation)

    # Parts

    def _look(
        self, view: View, wishes: _Wishes, left: Steps, most: int
    ) -> tuple[tuple[Allocation, ...] | Refused, int]:
        allowed = min(most, left.left)
        steps = Steps(allowed)
        found = allocate(view, wishes.parsed, wishes.selectors, self.ledger, self._selectors, steps)
        left.left -= allowed - max(steps.left, 0)
        if isinstance(found, Refused):
            return found, 0
        got = ([pick.wish.name for pick in one.picks] for one in found)
        return found, rating(zip(wishes.claims, got, strict=True))

    def _current(self, wishes: _Wishes) -> _Answers:
        """What is known, without what may have changed."""
        self._take_changes()
        now = self._log_began + len(self._log)
        answers = self._answers.get(wishes.signature)
        if answers is None or answers.version < self._log_began:
            answers = self._answers[wishes.signature] = _Answers(self._nodes.capacity)
        else:
            answers.codes[self._log[answers.version - self._log_began :]] = _UNKNOWN
        answers.version = now
        self._answers.move_to_end(wishes.signature)
        if len(self._answers) > _KEPT:
            self._answers.popitem(last=False)
        return answers

    def _take_changes(self) -> None:
        nodes = self.catalogue.take_changed()
        capacity = self._nodes.capacity
        if nodes is None:
            self._answers.clear()
            self._log_began += len(self._log)
            self._log.clear()
        else:
            pools, self.ledger.touched = self.ledger.touched, set()
            for pool in pools:
                nodes.update(self.catalogue.reached_by(pool))
            self._log += [slot for name in nodes if (slot := self._nodes.slots.get(name)) is not None]
            if len(self._log) > 2 * capacity:
                self._log_began += capacity
                del self._log[:capacity]
        for each in self._answers.values():
            if len(each.codes) < capacity:
                each.grow(capacity)


class _Wishes:
    """Claims to be allocated together, and what tells equal ones apart from others."""

    def __init__(self, claims: Sequence[Object], classes: Mapping[str, Object]) -> None:
        self.claims = claims
        self._classes = classes
        self._specs = [((claim.get("spec") or {}).get("devices") or {}) for claim in claims]

    @cached_property
    def parsed(self) -> list[Claim]:
        return [parse_claim(each) for each in self.claims]

    @cached_property
    def selectors(self) -> dict[str, list[str]]:
        return {name: _expressions(self._classes.get(name) or {}) for name in self._class_names()}

    @cached_property
    def signature(self) -> bytes:
        specs = [(each.get("requests"), each.get("constraints")) for each in self._specs]
        return orjson.dumps([specs, self.selectors], option=orjson.OPT_SORT_KEYS)

    def _class_names(self) -> set[str]:
        return {
            wish.get("deviceClassName") or ""
            for spec in self._specs
            for request in spec.get("requests") or ()
            for wish in (request.get("exactly"), *(request.get("firstAvailable") or ()))
            if wish
        }


def _expressions(device_class: Object) -> list[str]:
    selectors = (device_class.get("spec") or {}).get("selectors") or ()
    return [(each.get("cel") or {}).get("expression") or "" for each in selectors]


__all__ = ["NOT_AVAILABLE", "TIMED_OUT", "ClaimPlan", "Inventory"]
