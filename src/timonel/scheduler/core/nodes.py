"""The nodes as arrays: one slot a node, one row a resource, one column a label key that somebody selects by.

An event changes a few cells. A slot outlives its node while pods are still on it, and is given to another node after.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from timonel.api.objects import Object, labels_of, name_of
from timonel.scheduler.core.requests import CPU, EPHEMERAL_STORAGE, MEMORY, PODS, Amounts, parse_amounts
from timonel.scheduler.core.taints import Taint, TaintIndex, parse_taints

_FIRST_CAPACITY = 64
_TOUCHED_KEPT = 4096
"""Changes of usage that are remembered; whoever is further behind looks at every node again."""
_BASE_RESOURCES = (CPU, MEMORY, EPHEMERAL_STORAGE, PODS)


class LabelColumn:
    """The values of one label key: an id per slot, -1 where the node has no such label."""

    def __init__(self, capacity: int) -> None:
        self.ids: NDArray[np.int32] = np.full(capacity, -1, np.int32)
        self.values: dict[str, int] = {}

    def set(self, slot: int, value: str | None) -> None:
        self.ids[slot] = -1 if value is None else self.values.setdefault(value, len(self.values))

    def where(self, values: Iterable[str]) -> NDArray[np.bool_]:
        """Slots that have one of the values."""
        known = [self.values[value] for value in values if value in self.values]
        if len(known) == 1:
            same: NDArray[np.bool_] = self.ids == known[0]
            return same
        chosen = np.zeros(len(self.values) + 1, np.bool_)
        chosen[known] = True
        mask: NDArray[np.bool_] = chosen[self.ids]  # -1 is the last entry, which is never chosen
        return mask

    def grow(self, capacity: int) -> None:
        self.ids = np.concatenate([self.ids, np.full(capacity - len(self.ids), -1, np.int32)])


class NodeTable:
    """`static_version` rises with every change that masks of labels, taints and names depend on.

    Rows of `allocatable` and `requested` are resources, as `rows` names them; columns are slots.
    """

    def __init__(self) -> None:
        self.capacity = _FIRST_CAPACITY
        self.count = 0
        """Nodes that are there."""
        self.slots: dict[str, int] = {}
        self.names: list[str] = []
        self.static_version = 0
        self.alive: NDArray[np.bool_] = np.zeros(self.capacity, np.bool_)
        self.unschedulable: NDArray[np.bool_] = np.zeros(self.capacity, np.bool_)
        self.rows: dict[str, int] = {name: row for row, name in enumerate(_BASE_RESOURCES)}
        self.allocatable: NDArray[np.int64] = np.zeros((len(self.rows), self.capacity), np.int64)
        self.requested: NDArray[np.int64] = np.zeros((len(self.rows), self.capacity), np.int64)
        self.assumed: NDArray[np.int64] = np.zeros((2, self.capacity), np.int64)
        """cpu and memory requested, with `requests.ASSUMED` for containers that ask for none: for scoring only."""
        self.taints = TaintIndex()
        self.images: dict[str, dict[int, int]] = {}
        """Image name -> slot -> size in bytes."""
        self._labels: list[Mapping[str, str]] = []
        self._node_taints: list[tuple[Taint, ...]] = []
        self._node_images: list[tuple[str, ...]] = []
        self._columns: dict[str, LabelColumn] = {}
        self._free: list[int] = []
        self._touched: list[int] = []
        self._touched_before = 0

    # Changes

    def slot_of(self, name: str) -> int:
        """The slot of a name, made when a pod is there before its node, or still there after it."""
        slot = self.slots.get(name)
        if slot is None:
            if self._free:
                slot = self._free.pop()
                self.names[slot] = name
            else:
                slot = len(self.names)
                self.names.append(name)
                self._labels.append({})
                self._node_taints.append(())
                self._node_images.append(())
                if slot >= self.capacity:
                    self._grow()
            self.slots[name] = slot
        return slot

    def put(self, node: Object) -> int:
        """Adds a node or takes over its new state; returns its slot."""
        name = name_of(node)
        slot = self.slot_of(name)
        if not self.alive[slot]:
            self.alive[slot] = True
            self.count += 1
            self.static_version += 1
        self._set_static(slot, labels_of(node), parse_taints(node), bool((node.get("spec") or {}).get("unschedulable")))
        status = node.get("status") or {}
        self._set_allocatable(slot, parse_amounts(status.get("allocatable") or status.get("capacity")))
        self._set_images(slot, status.get("images") or ())
        return slot

    def remove(self, name: str) -> None:
        slot = self.slots.get(name)
        if slot is None or not self.alive[slot]:
            return
        self.alive[slot] = False
        self.count -= 1
        self._set_static(slot, {}, (), False)
        self._set_allocatable(slot, {})
        self._set_images(slot, ())
        self.static_version += 1
        self.release(slot)

    def release(self, slot: int) -> None:
        """Frees a slot that has neither a node nor pods."""
        if not self.alive[slot] and not self.requested[self.rows[PODS], slot]:
            del self.slots[self.names[slot]]
            self.names[slot] = ""
            self._free.append(slot)

    def add_usage(self, slot: int, requests: Amounts, assumed_cpu: int, assumed_memory: int, sign: int) -> None:
        """Adds (or with sign -1, takes away) what one pod requests; `requests` includes its one pod."""
        for name, amount in requests.items():
            row = self.row_of(name)  # first: it may make a larger array
            self.requested[row, slot] += sign * amount
        self._touch(slot)
        self.assumed[0, slot] += sign * assumed_cpu
        self.assumed[1, slot] += sign * assumed_memory

    # Reading

    def row_of(self, resource: str) -> int:
        """The row of a resource; a new one, of zeros, for a name never seen."""
        row = self.rows.get(resource)
        if row is None:
            row = self.rows[resource] = len(self.rows)
            zeros = np.zeros((1, self.capacity), np.int64)
            self.allocatable = np.concatenate([self.allocatable, zeros])
            self.requested = np.concatenate([self.requested, zeros])
        return row

    @property
    def usage_version(self) -> int:
        """Rises with every change of what a node offers or has given away."""
        return self._touched_before + len(self._touched)

    def touched_since(self, version: int) -> list[int] | None:
        """Slots whose usage changed after that version; None when that is too long ago to tell."""
        if version < self._touched_before:
            return None
        return self._touched[version - self._touched_before :]

    def label_column(self, key: str) -> LabelColumn:
        """Made when first asked for, which costs a look at every node; kept up to date from then on."""
        column = self._columns.get(key)
        if column is None:
            column = self._columns[key] = LabelColumn(self.capacity)
            for slot, labels in enumerate(self._labels):
                if key in labels:
                    column.set(slot, labels[key])
        return column

    def labels(self, slot: int) -> Mapping[str, str]:
        return self._labels[slot]

    def taints_of(self, slot: int) -> tuple[Taint, ...]:
        return self._node_taints[slot]

    # Parts

    def _set_static(self, slot: int, labels: Mapping[str, str], taints: tuple[Taint, ...], unschedulable: bool) -> None:
        old_labels = self._labels[slot]
        if labels != old_labels:
            self._labels[slot] = labels
            for key, column in self._columns.items():
                if labels.get(key) != old_labels.get(key):
                    column.set(slot, labels.get(key))
            self.static_version += 1
        if taints != self._node_taints[slot]:
            self.taints.set(slot, self._node_taints[slot], taints)
            self._node_taints[slot] = taints
            self.static_version += 1
        if unschedulable != self.unschedulable[slot]:
            self.unschedulable[slot] = unschedulable
            self.static_version += 1

    def _set_allocatable(self, slot: int, amounts: Amounts) -> None:
        self._touch(slot)
        for name in amounts:
            self.row_of(name)
        for name, row in self.rows.items():
            self.allocatable[row, slot] = amounts.get(name, 0)

    def _set_images(self, slot: int, images: Iterable[Object]) -> None:
        sizes = {name: image.get("sizeBytes") or 0 for image in images for name in image.get("names") or ()}
        for name in self._node_images[slot]:
            if name not in sizes:
                holders = self.images[name]
                del holders[slot]
                if not holders:
                    del self.images[name]
        for name, size in sizes.items():
            self.images.setdefault(name, {})[slot] = size
        self._node_images[slot] = tuple(sizes)

    def _touch(self, slot: int) -> None:
        self._touched.append(slot)
        if len(self._touched) >= 2 * _TOUCHED_KEPT:
            self._touched_before += _TOUCHED_KEPT
            del self._touched[:_TOUCHED_KEPT]

    def _grow(self) -> None:
        added = self.capacity
        self.capacity += added
        self.alive = np.concatenate([self.alive, np.zeros(added, np.bool_)])
        self.unschedulable = np.concatenate([self.unschedulable, np.zeros(added, np.bool_)])
        self.allocatable = np.pad(self.allocatable, ((0, 0), (0, added)))
        self.requested = np.pad(self.requested, ((0, 0), (0, added)))
        self.assumed = np.pad(self.assumed, ((0, 0), (0, added)))
        for column in self._columns.values():
            column.grow(self.capacity)
