"""What ResourceSlices offer, and what of it can be reached from a node.

A pool is a driver's; its slices count only when all of its newest generation are there. Nodes that reach the same
devices share one view of them, so devices that every node reaches are looked at once, not once a node.
Source: kubernetes.io/docs/reference/kubernetes-api/resource/resource-slice-v1
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2b
from typing import Any, NamedTuple, TypeVar

import numpy as np
import orjson

from timonel.api.objects import Object, name_of
from timonel.api.quantity import parse_quantity
from timonel.scheduler.core.nodes import NodeTable
from timonel.scheduler.core.selectors import Mask, NodeTerm, parse_node_term

_K = TypeVar("_K")
_KINDS = ("bool", "int", "string", "version")
_INTERCHANGEABLE = (
    "attributes", "capacity", "taints", "consumesCounters", "bindsToNode", "bindingConditions",
    "bindingFailureConditions",
)  # fmt: skip


class PoolId(NamedTuple):
    driver: str
    name: str

    def __str__(self) -> str:
        return f"{self.driver}/{self.name}"


class DeviceId(NamedTuple):
    driver: str
    pool: str
    name: str

    def __str__(self) -> str:
        return f"{self.driver}/{self.pool}/{self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class Device:
    """`shape`: equal for devices that selectors cannot tell apart. `twin`: equal for those nothing can tell apart."""

    id: DeviceId
    obj: Object
    shape: bytes
    twin: bytes
    is_shareable: bool
    """Several claims can each have a part of it."""
    attributes: Mapping[str, tuple[str, Any]]
    """(kind, value) by full name."""
    capacity: Mapping[str, Object]
    taints: tuple[Object, ...]
    """Those that keep claims away that do not tolerate them."""
    consumes: tuple[tuple[str, str, Decimal], ...]
    """(counter set, counter, amount)."""
    node_name: str
    """Where its slice, or it itself, says that it is."""
    node_selector: Object | None
    """Which nodes reach it, if that is how its slice or it itself says so."""

    @property
    def has_binding_conditions(self) -> bool:
        return bool(self.obj.get("bindingConditions"))


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    name: str
    pool: PoolId
    generation: int
    slices_in_pool: int
    reach: Object
    """`nodeName`, `allNodes`, `nodeSelector` or `perDeviceNodeSelection` of its spec."""
    devices: tuple[Device, ...]
    counters: tuple[tuple[str, Mapping[str, Decimal]], ...]
    layout: bytes
    """Equal for slices that offer devices which nothing can tell apart."""

    @property
    def node_name(self) -> str:
        """The only node that it is of, "" for one that others may reach."""
        return "" if self.counters else self.reach.get("nodeName") or ""


@dataclass(frozen=True, slots=True, eq=False)
class PoolView:
    """A pool from one node. One that is `incomplete` or `invalid` offers nothing."""

    id: PoolId
    devices: tuple[Device, ...] = ()
    """That can be reached, in the order in which they are tried."""
    others: tuple[Device, ...] = ()
    """That cannot, but consume the same counters."""
    counters: Mapping[str, Mapping[str, Decimal]] = field(default_factory=dict)
    is_incomplete: bool = False
    is_invalid: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """All that can be reached from a node. `layout`: equal where the same can be had while nobody has any of it."""

    pools: tuple[PoolView, ...]
    layout: tuple[Any, ...] = ()


class Catalogue:
    """Changed by events; `view` is cheap when nothing changed."""

    def __init__(self, nodes: NodeTable) -> None:
        self._nodes = nodes
        self._slices: dict[str, Slice] = {}
        self._by_pool: dict[PoolId, dict[str, Slice]] = {}
        self._by_node: dict[str, dict[str, Slice]] = {}
        self._shared: dict[str, Slice] = {}
        self._views: dict[str, View] = {}
        """By name of the node; those that a change may concern are dropped."""
        self._equal: dict[Any, View] = {}
        self._reached_by: dict[PoolId, set[str]] = {}
        """Nodes whose views have the pool."""
        self._masks: dict[int, Mask] = {}
        self._changed: set[str] = set()
        self._all_changed = False

    def put(self, obj: Object) -> None:
        self.remove(name_of(obj))
        added = parse_slice(obj)
        self._slices[added.name] = added
        self._by_pool.setdefault(added.pool, {})[added.name] = added
        if added.node_name:
            self._by_node.setdefault(added.node_name, {})[added.name] = added
        else:
            self._shared[added.name] = added
        self._forget(added)

    def remove(self, name: str) -> None:
        old = self._slices.pop(name, None)
        if old is None:
            return
        self._forget(old)
        self._shared.pop(name, None)
        _drop(self._by_node, old.node_name, name)
        _drop(self._by_pool, old.pool, name)

    def __len__(self) -> int:
        return len(self._slices)

    def view(self, node: str) -> View:
        view = self._views.get(node)
        if view is None:
            view = self._views[node] = self._look(node)
            for pool in view.pools:
                self._reached_by.setdefault(pool.id, set()).add(node)
        return view

    def node_changed(self, node: str) -> None:
        """It came, went or has other labels, which decide what it reaches of what is not its alone."""
        self._masks.clear()
        self._forget_view(node)

    def take_changed(self) -> set[str] | None:
        """Nodes whose view may be another one since this was asked last; None: all of them."""
        changed = None if self._all_changed else self._changed
        self._changed, self._all_changed = set(), False
        return changed

    def reached_by(self, pool: PoolId) -> Iterable[str]:
        """Nodes that were looked at and reach it."""
        return self._reached_by.get(pool, ())

    # Parts

    def _forget(self, changed: Slice) -> None:
        """Slices of the same pool on other nodes decide with it whether the pool is complete."""
        pool = self._by_pool.get(changed.pool, {})
        if any(not each.node_name for each in (changed, *pool.values())):
            self._forget_all()
            return
        for node in {changed.node_name, *(each.node_name for each in pool.values())}:
            self._forget_view(node)

    def _forget_view(self, node: str) -> None:
        self._changed.add(node)
        view = self._views.pop(node, None)
        for each in view.pools if view else ():
            self._reached_by[each.id].discard(node)

    def _forget_all(self) -> None:
        self._views.clear()
        self._equal.clear()
        self._masks.clear()
        self._reached_by.clear()
        self._all_changed = True

    def _look(self, node: str) -> View:
        shared = [(each, self._reached(each, node)) for each in self._shared.values()]
        own = self._by_node.get(node)
        if not own:
            key = tuple((each.name, reached) for each, reached in shared if reached is not None)
            view = self._equal.get(key)
            if view is None:
                view = self._equal[key] = self._build([], shared)
            return view
        return self._build(list(own.values()), shared)

    def _reached(self, each: Slice, node: str) -> tuple[int, ...] | None:
        """Which devices of a slice can be reached; None when it does not concern the node at all."""
        reach = each.reach
        if reach.get("perDeviceNodeSelection"):
            found = tuple(index for index, device in enumerate(each.devices) if self._matches(device.obj, node))
            return found if found or each.counters else None
        return tuple(range(len(each.devices))) if each.counters or self._matches(reach, node) else None

    def _matches(self, reach: Object, node: str) -> bool:
        if reach.get("nodeName"):
            return bool(reach["nodeName"] == node)
        if reach.get("allNodes"):
            return True
        selector = reach.get("nodeSelector")
        slot = self._nodes.slots.get(node)
        if not selector or slot is None:
            return False
        mask = self._masks.get(id(selector))  # the slice that has the selector outlives the entry
        if mask is None or len(mask) != self._nodes.capacity:
            mask = self._masks[id(selector)] = selector_mask(selector, self._nodes)
        return bool(mask[slot])

    def _build(self, own: list[Slice], shared: list[tuple[Slice, tuple[int, ...] | None]]) -> View:
        pools: dict[PoolId, list[tuple[Slice, tuple[int, ...]]]] = {}
        reached = [(each, tuple(range(len(each.devices)))) for each in own]
        reached += [(each, which) for each, which in shared if which is not None]
        for each, which in reached:
            there = pools.setdefault(each.pool, [])
            if there and each.generation > there[0][0].generation:
                there.clear()
            if not there or each.generation == there[0][0].generation:
                there.append((each, which))
        views = [view for id_, there in pools.items() if (view := self._pool_view(id_, there)) is not None]
        layout = tuple((each.layout, each.slices_in_pool, which) for there in pools.values() for each, which in there)
        # Devices that take time to be ready for a node are the last choice.
        views.sort(key=lambda view: (any(each.has_binding_conditions for each in view.devices), view.id))
        return View(tuple(views), (layout, tuple((view.is_incomplete, view.is_invalid) for view in views)))

    def _pool_view(self, id_: PoolId, there: list[tuple[Slice, tuple[int, ...]]]) -> PoolView | None:
        first = there[0][0]
        everywhere = [each for each, _ in there]
        if len(there) != first.slices_in_pool:
            known = self._by_pool.get(id_, {}).values()
            if any(each.generation > first.generation for each in known):
                return None  # it is being replaced by one that has nothing for this node
            everywhere = [each for each in known if each.generation == first.generation]
            if len(everywhere) != first.slices_in_pool:
                return PoolView(id_, is_incomplete=True)
        there.sort(key=lambda pair: pair[0].name)
        offering = [(each, which) for each, which in there if not each.counters]
        devices = tuple(each.devices[index] for each, which in offering for index in which)
        names = [device.id.name for each, _ in offering for device in each.devices]
        sets = [pair for each, _ in there for pair in each.counters]
        counters = dict(sets)
        chosen = set(devices)
        others = tuple(device for each in everywhere for device in each.devices if device not in chosen)
        is_invalid = len(set(names)) < len(names) or len(counters) < len(sets)
        is_invalid |= any(
            counter not in counters.get(name, {})
            for device in (*devices, *others)
            for name, counter, _ in device.consumes
        )
        if is_invalid:
            return PoolView(id_, is_invalid=True)
        return PoolView(id_, devices, others, counters)


def _drop(index: dict[_K, dict[str, Slice]], key: _K, name: str) -> None:
    there = index.get(key, {})
    there.pop(name, None)
    if not there:
        index.pop(key, None)


def selector_mask(selector: Object, nodes: NodeTable) -> Mask:
    """Nodes that a node selector matches: any of its terms."""
    mask = np.zeros(nodes.capacity, np.bool_)
    for term in selector.get("nodeSelectorTerms") or ():
        parsed: NodeTerm = parse_node_term(term)
        mask |= parsed.mask(nodes)
    return mask & nodes.alive


def parse_slice(obj: Object) -> Slice:
    spec = obj.get("spec") or {}
    pool = spec.get("pool") or {}
    id_ = PoolId(spec.get("driver") or "", pool.get("name") or "")
    fields = ("nodeName", "allNodes", "nodeSelector", "perDeviceNodeSelection")
    reach = {name: spec[name] for name in fields if spec.get(name)}
    devices = tuple(_parse_device(id_, each, reach) for each in spec.get("devices") or ())
    counters = tuple((each["name"], _amounts(each.get("counters"))) for each in spec.get("sharedCounters") or ())
    # Devices with counters have the pool's name in their twin, so that such pools are never taken for one another.
    told = [id_.driver, [device.obj["name"] for device in devices], id_.name if counters else ""]
    digest = blake2b(orjson.dumps(told), digest_size=16)
    for device in devices:
        digest.update(device.twin)
    return Slice(
        name=name_of(obj),
        pool=id_,
        generation=pool.get("generation") or 0,
        slices_in_pool=pool.get("resourceSliceCount") or 0,
        reach=reach,
        devices=devices,
        counters=counters,
        layout=digest.digest(),
    )


def _parse_device(pool: PoolId, obj: Object, reach: Object) -> Device:
    attributes = {}
    for name, value in (obj.get("attributes") or {}).items():
        kind = next((kind for kind in _KINDS if kind in value), "")
        attributes[name if "/" in name else f"{pool.driver}/{name}"] = (kind, value.get(kind))
    is_shareable = bool(obj.get("allowMultipleAllocations"))
    options = orjson.OPT_SORT_KEYS
    shape = orjson.dumps([pool.driver, obj.get("attributes"), obj.get("capacity"), is_shareable], option=options)
    # Parts of a shareable device are in use to different degrees, and counters are the pool's.
    apart = [pool.name, obj["name"] if is_shareable else ""] if is_shareable or obj.get("consumesCounters") else []
    twin = orjson.dumps([pool.driver, [obj.get(name) for name in _INTERCHANGEABLE], apart], option=options)
    own = obj if reach.get("perDeviceNodeSelection") else reach
    return Device(
        id=DeviceId(pool.driver, pool.name, obj["name"]),
        obj=obj,
        shape=shape,
        twin=twin,
        is_shareable=is_shareable,
        attributes=attributes,
        capacity=obj.get("capacity") or {},
        taints=tuple(each for each in obj.get("taints") or () if each.get("effect") in ("NoSchedule", "NoExecute")),
        consumes=tuple(
            (each["counterSet"], name, amount)
            for each in obj.get("consumesCounters") or ()
            for name, amount in _amounts(each.get("counters")).items()
        ),
        node_name=own.get("nodeName") or "",
        node_selector=own.get("nodeSelector"),
    )


def _amounts(counters: Mapping[str, Object] | None) -> dict[str, Decimal]:
    return {name: parse_quantity(str(each.get("value"))) for name, each in (counters or {}).items()}
