"""Taints and tolerations, and which nodes have which taint.

Source: kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from timonel.api.objects import Object

HARD_EFFECTS = ("NoSchedule", "NoExecute")
PREFERENCE = "PreferNoSchedule"


class Taint(NamedTuple):
    key: str
    value: str
    effect: str


class Toleration(NamedTuple):
    key: str
    operator: str
    value: str
    effect: str

    def tolerates(self, taint: Taint) -> bool:
        """An empty key or effect stands for all of them; operator "Exists" disregards values."""
        if self.effect and self.effect != taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        if self.operator in ("", "Equal"):
            return self.value == taint.value
        return self.operator == "Exists"


UNSCHEDULABLE = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")
"""What cordoning a node amounts to."""


def parse_taints(node: Object) -> tuple[Taint, ...]:
    return tuple(
        Taint(taint.get("key", ""), taint.get("value") or "", taint.get("effect", ""))
        for taint in (node.get("spec") or {}).get("taints") or ()
    )


def parse_tolerations(spec: Object) -> tuple[Toleration, ...]:
    return tuple(
        Toleration(item.get("key") or "", item.get("operator") or "", item.get("value") or "", item.get("effect") or "")
        for item in spec.get("tolerations") or ()
    )


class TaintIndex:
    """For every distinct taint, the slots that have it. Costs follow the nodes that are tainted, not all nodes."""

    def __init__(self) -> None:
        self._slots: dict[Taint, set[int]] = {}

    def set(self, slot: int, old: Iterable[Taint], new: Iterable[Taint]) -> None:
        for taint in old:
            slots = self._slots.get(taint)
            if slots is not None:
                slots.discard(slot)
                if not slots:
                    del self._slots[taint]
        for taint in new:
            self._slots.setdefault(taint, set()).add(slot)

    def untolerated(self, tolerations: tuple[Toleration, ...], capacity: int) -> NDArray[np.bool_] | None:
        """Slots with a taint that keeps the pod away; None when there is none."""
        mask = None
        for taint, slots in self._slots.items():
            if taint.effect in HARD_EFFECTS and not any(each.tolerates(taint) for each in tolerations):
                if mask is None:
                    mask = np.zeros(capacity, np.bool_)
                mask[list(slots)] = True
        return mask

    def disliked(self, tolerations: tuple[Toleration, ...], capacity: int) -> NDArray[np.int64] | None:
        """Per slot, how many of its PreferNoSchedule taints the pod does not tolerate; None when all are zero."""
        relevant = [each for each in tolerations if each.effect in ("", PREFERENCE)]
        counts = None
        for taint, slots in self._slots.items():
            if taint.effect == PREFERENCE and not any(each.tolerates(taint) for each in relevant):
                if counts is None:
                    counts = np.zeros(capacity, np.int64)
                counts[list(slots)] += 1
        return counts
