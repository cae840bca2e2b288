"""All that decisions are made from: nodes, the pods on them, namespaces. Changed by events, never rebuilt."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from timonel.api.objects import Object, ObjectKey, name_of
from timonel.scheduler.core.counters import Counts, PodCounters, Question, TermCounts
from timonel.scheduler.core.devices.inventory import Inventory
from timonel.scheduler.core.disks import Disk
from timonel.scheduler.core.gangs import Gangs
from timonel.scheduler.core.nodes import NodeTable
from timonel.scheduler.core.pods import HostPort, Pod, PodClasses
from timonel.scheduler.core.selectors import PodMatch
from timonel.scheduler.core.volumes import Volumes


class Cluster:
    def __init__(self) -> None:
        self.nodes = NodeTable()
        self.namespaces: dict[str, Mapping[str, str]] = {}
        """Labels of each namespace."""
        self.terms = TermCounts()
        self._classes = PodClasses()
        self._pods: dict[str, Pod] = {}
        self._by_namespace: dict[str, dict[str, Pod]] = {}
        self._counters = PodCounters(self.namespaces)
        self._ports: dict[tuple[str, int], dict[int, list[str]]] = {}
        """(protocol, port) -> slot -> addresses in use there."""
        self.volumes = Volumes(self.nodes)
        self.devices = Inventory(self.nodes)
        self.gangs = Gangs()
        self._claims: dict[ObjectKey, dict[int, int]] = {}
        """Claim -> slot -> pods there that use it."""
        self._claims_on: dict[int, dict[ObjectKey, int]] = {}
        """The same by slot."""
        self._disks: dict[tuple[str, str], dict[int, list[bool]]] = {}
        """Disk -> slot -> for each user, whether it only reads."""
        self._on: dict[int, dict[str, Pod]] = {}
        """Slot -> uid -> pod there."""
        self._priorities: dict[int, dict[int, int]] = {}
        """Slot -> priority -> pods of that priority."""

    def parse_pod(self, obj: Object) -> Pod:
        """Compiles a pod for this cluster; 10 µs when one like it is known."""
        return self._classes.pod(obj)

    # Changes

    def put_node(self, node: Object) -> None:
        self.nodes.put(node)
        self.devices.node_changed(name_of(node))

    def remove_node(self, name: str) -> None:
        self.nodes.remove(name)
        self.devices.node_changed(name)

    def put_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        """None: the namespace is gone."""
        if labels is None:
            self.namespaces.pop(name, None)
        elif self.namespaces.get(name) == labels:
            return
        else:
            self.namespaces[name] = labels
        self._counters.namespaces_changed()

    def put_pod(self, pod: Pod) -> None:
        """A pod that is on a node, or is assumed to be; takes the place of what was known by its uid."""
        if pod.uid in self._pods:
            self.remove_pod(pod.uid)
        self._pods[pod.uid] = pod
        self._by_namespace.setdefault(pod.klass.namespace, {})[pod.uid] = pod
        self._account(pod, self.nodes.slot_of(pod.node), 1)

    def remove_pod(self, uid: str) -> Pod | None:
        pod = self._pods.pop(uid, None)
        if pod is None:
            return None
        namespace = self._by_namespace[pod.klass.namespace]
        del namespace[uid]
        if not namespace:
            del self._by_namespace[pod.klass.namespace]
        slot = self.nodes.slots[pod.node]
        self._account(pod, slot, -1)
        self.nodes.release(slot)
        return pod

    def _account(self, pod: Pod, slot: int, sign: int) -> None:
        klass = pod.klass
        self.nodes.add_usage(slot, klass.requests, klass.assumed_cpu, klass.assumed_memory, sign)
        self._counters.change(pod, slot, sign)
        self.terms.change(pod, slot, sign, self.nodes.capacity)
        for port in klass.host_ports:
            self._account_port(port, slot, sign)
        for name, _ in pod.claims:
            self._account_claim(ObjectKey(pod.key[0], name), slot, sign)
        for disk in pod.disks:
            self._account_disk(disk, slot, sign)
        there = self._on.setdefault(slot, {})
        if sign > 0:
            there[pod.uid] = pod
        else:
            del there[pod.uid]
        priorities = self._priorities.setdefault(slot, {})
        priorities[klass.priority] = priorities.get(klass.priority, 0) + sign
        if not priorities[klass.priority]:
            del priorities[klass.priority]

    def _account_port(self, port: HostPort, slot: int, sign: int) -> None:
        slots = self._ports.setdefault((port.protocol, port.port), {})
        addresses = slots.setdefault(slot, [])
        if sign > 0:
            addresses.append(port.ip)
            return
        addresses.remove(port.ip)
        if not addresses:
            del slots[slot]
        if not slots:
            del self._ports[port.protocol, port.port]

    def _account_claim(self, key: ObjectKey, slot: int, sign: int) -> None:
        slots, keys = self._claims.setdefault(key, {}), self._claims_on.setdefault(slot, {})
        slots[slot] = keys[key] = slots.get(slot, 0) + sign
        if not slots[slot]:
            del slots[slot], keys[key]
        if not slots:
            del self._claims[key]
        if not keys:
            del self._claims_on[slot]

    def _account_disk(self, disk: Disk, slot: int, sign: int) -> None:
        for each in disk.ids:
            slots = self._disks.setdefault(each, {})
            users = slots.setdefault(slot, [])
            if sign > 0:
                users.append(disk.read_only)
                continue
            users.remove(disk.read_only)
            if not users:
                del slots[slot]
            if not slots:
                del self._disks[each]

    # Reading

    @property
    def pod_count(self) -> int:
        return len(self._pods)

    def pod(self, uid: str) -> Pod | None:
        return self._pods.get(uid)

    def pods_on(self, slot: int) -> Collection[Pod]:
        return self._on.get(slot, {}).values()

    @contextmanager
    def beside(self, pods: Iterable[Pod]) -> Iterator[None]:
        """As if these were on their nodes already; those that are there are left as they are."""
        put: list[Pod] = []
        try:
            for pod in pods:
                if pod.uid not in self._pods:
                    self.put_pod(pod)
                    put.append(pod)
            yield
        finally:
            for pod in put:
                self.remove_pod(pod.uid)

    def count_pods(self, *matches: PodMatch, counts_terminating: bool = True) -> Counts:
        """Pods per slot that match all; read-only."""
        question = Question(matches, counts_terminating)
        return self._counters.counts(question, self.nodes.capacity, self._pods_of(matches))

    def _pods_of(self, matches: tuple[PodMatch, ...]) -> Iterator[tuple[Pod, int]]:
        for name in list(self._by_namespace):
            if all(match.covers(name, self.namespaces) for match in matches):
                for pod in self._by_namespace[name].values():
                    yield pod, self.nodes.slots[pod.node]

    def port_conflicts(self, port: HostPort) -> list[int]:
        """Slots where the port is taken: on the same address, or where either is all addresses."""
        slots = self._ports.get((port.protocol, port.port), {})
        if port.ip == "0.0.0.0":
            return list(slots)
        return [slot for slot, used in slots.items() if port.ip in used or "0.0.0.0" in used]

    def claim_slots(self, key: ObjectKey) -> Collection[int]:
        """Slots with pods that use a claim."""
        return self._claims.get(key, {}).keys()

    def claims_on(self, slot: int) -> Collection[ObjectKey]:
        """Claims that pods at a slot use."""
        return self._claims_on.get(slot, {}).keys()

    def disk_conflicts(self, disk: Disk) -> list[int]:
        """Slots where somebody uses the disk in a way that leaves none for this use."""
        return [
            slot
            for each in disk.ids
            for slot, users in self._disks.get(each, {}).items()
            if not (disk.read_only and all(users))
        ]

    def has_lower_priority(self, slot: int, priority: int) -> bool:
        """Whether a pod there is less important."""
        return any(each < priority for each in self._priorities.get(slot, ()))

    def domain_sums(
        self, topology_key: str, per_slot: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Sums of a value per slot over each value of a topology label: (label id per slot, sum per label id).

        Slots without the label have id -1, which indexes a last entry that is always zero.
        """
        column = self.nodes.label_column(topology_key)
        ids = column.ids
        sums = np.bincount(ids + 1, weights=per_slot, minlength=len(column.values) + 1)
        sums = np.append(sums[1:], 0)
        return ids, sums.astype(np.int64)
