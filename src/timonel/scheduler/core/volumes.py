"""Claims, volumes and classes as the scheduler knows them, and where the claims of a pod let it go.

Only pods with claims look in here. What the scheduler decided and the API does not show yet is kept beside what it
shows: volumes promised to claims, and claims whose node is chosen.
Source: kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode; reasons are upstream's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from timonel.api.objects import (
    Object,
    ObjectKey,
    annotations_of,
    get_path,
    is_deleting,
    key_of,
    name_of,
    owner_references,
)
from timonel.api.volumes import (
    NO_PROVISIONER,
    SELECTED_NODE,
    claim_key_of,
    class_of,
    is_for,
    is_fully_bound,
    matching_volumes,
    request_of,
    waits_for_consumer,
)
from timonel.scheduler.core.nodes import NodeTable
from timonel.scheduler.core.pods import Pod
from timonel.scheduler.core.selectors import Mask, NodeRequirement, NodeTerm, parse_node_term

UNBOUND = "pod has unbound immediate PersistentVolumeClaims"


@dataclass(frozen=True, slots=True)
class VolumePlan:
    """What has to be written, and waited for, before a pod can be bound to its node."""

    bind: tuple[tuple[ObjectKey, str], ...] = ()
    """(claim, volume)"""
    provision: tuple[ObjectKey, ...] = ()
    """Claims that get volumes made on the node."""

    def __bool__(self) -> bool:
        return bool(self.bind or self.provision)

    @property
    def claims(self) -> tuple[ObjectKey, ...]:
        return (*(key for key, _ in self.bind), *self.provision)


@dataclass(frozen=True, slots=True)
class _Option:
    """One way to fulfil a claim, and the slots where it is one. `volume` "" is to have one made."""

    volume: str
    mask: Mask


class Volumes:
    """Changed by events. Costs a dictionary entry for each claim, volume and class."""

    def __init__(self, nodes: NodeTable) -> None:
        self._nodes = nodes
        self.claims: dict[ObjectKey, Object] = {}
        self.volumes: dict[str, Object] = {}
        self.classes: dict[str, Object] = {}
        self.limits: dict[str, dict[str, int]] = {}
        """Node -> driver -> how many of its volumes the node can have."""
        self._by_use: dict[ObjectKey | str, set[str]] = {}
        """Claim -> volumes that are for it; class -> volumes that are nobody's."""
        self._terms: dict[str, tuple[NodeTerm, ...]] = {}
        self._promised: dict[str, ObjectKey] = {}
        self._chosen: dict[ObjectKey, str] = {}

    # Changes

    def put_claim(self, claim: Object) -> None:
        self.claims[key_of(claim)] = claim

    def remove_claim(self, key: ObjectKey) -> None:
        self.claims.pop(key, None)

    def put_volume(self, volume: Object) -> None:
        self.remove_volume(name_of(volume))
        self.volumes[name_of(volume)] = volume
        self._by_use.setdefault(_use_of(volume), set()).add(name_of(volume))

    def remove_volume(self, name: str) -> None:
        old = self.volumes.pop(name, None)
        self._terms.pop(name, None)
        if old is None:
            return
        use = _use_of(old)
        self._by_use[use].discard(name)
        if not self._by_use[use]:
            del self._by_use[use]

    def put_class(self, storage_class: Object) -> None:
        self.classes[name_of(storage_class)] = storage_class

    def remove_class(self, name: str) -> None:
        self.classes.pop(name, None)

    def put_limits(self, csi_node: Object) -> None:
        """Takes what a CSINode says about its drivers."""
        limits = {
            driver["name"]: count
            for driver in get_path(csi_node, "spec", "drivers", default=())
            if (count := get_path(driver, "allocatable", "count")) is not None
        }
        if limits:
            self.limits[name_of(csi_node)] = limits
        else:
            self.limits.pop(name_of(csi_node), None)

    def remove_limits(self, node: str) -> None:
        self.limits.pop(node, None)

    # Decisions on their way

    def assume(self, plan: VolumePlan, node: str) -> None:
        self._promised |= {volume: claim for claim, volume in plan.bind}
        self._chosen |= dict.fromkeys(plan.provision, node)

    def forget(self, plan: VolumePlan) -> None:
        """It is written, or came to nothing."""
        for _, volume in plan.bind:
            self._promised.pop(volume, None)
        for claim in plan.provision:
            self._chosen.pop(claim, None)

    # Reading

    def of_pod(self, pod: Pod) -> Iterator[Object]:
        """The pod's claims that are there."""
        for name, _ in pod.claims:
            claim = self.claims.get(ObjectKey(pod.key[0], name))
            if claim is not None:
                yield claim

    def blocked(self, pod: Pod) -> str:
        """Why the pod fits nowhere whatever the nodes are like; "" when that is not so."""
        namespace = pod.key[0]
        for name, is_own in pod.claims:
            claim = self.claims.get(ObjectKey(namespace, name))
            if claim is None:
                if is_own:
                    return f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
                return f'persistentvolumeclaim "{name}" not found'
            if get_path(claim, "status", "phase") == "Lost":
                volume = get_path(claim, "spec", "volumeName", default="")
                return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{volume}"'
            if is_deleting(claim):
                return f'persistentvolumeclaim "{name}" is being deleted'
            if is_own and not any(ref.get("uid") == pod.uid for ref in owner_references(claim)):
                where = f"{namespace}/{pod.key[1]}"
                return f"PVC {namespace}/{name} was not created for pod {where} (pod is not owner)"
        return UNBOUND if any(self._must_be_bound(claim) for claim in self.of_pod(pod)) else ""

    def _must_be_bound(self, claim: Object) -> bool:
        """Not bound, and not for the scheduler to bind."""
        if is_fully_bound(claim):
            return False
        waits = waits_for_consumer(self.classes.get(class_of(claim)))
        return not waits or bool(get_path(claim, "spec", "volumeName"))

    def affinity_mask(self, volume: Object) -> Mask | None:
        """Slots of nodes from which a volume can be reached; None: from all."""
        required = get_path(volume, "spec", "nodeAffinity", "required")
        if required is None:
            return None
        terms = self._terms.get(name_of(volume))
        if terms is None:
            terms = tuple(parse_node_term(term) for term in required.get("nodeSelectorTerms") or ())
            self._terms[name_of(volume)] = terms
        mask = np.zeros(self._nodes.capacity, np.bool_)
        for term in terms:
            mask |= term.mask(self._nodes)
        return mask

    def openings(self, pod: Pod) -> list[tuple[ObjectKey, list[_Option]]]:
        """For each claim that the scheduler is to bind, the ways to do so; a slot takes the first that it is in.

        No volume is offered to two claims at one slot. The smallest claims choose first.
        """
        found: list[tuple[ObjectKey, list[_Option]]] = []
        taken: dict[str, Mask] = {}
        for claim in sorted((each for each in self.of_pod(pod) if not is_fully_bound(each)), key=request_of):
            options = []
            left = np.ones(self._nodes.capacity, np.bool_)
            for option in self._options(claim):
                mask = option.mask & left
                if option.volume in taken:
                    mask &= ~taken[option.volume]
                left &= ~mask
                if option.volume:
                    taken[option.volume] = taken[option.volume] | mask if option.volume in taken else mask
                options.append(_Option(option.volume, mask))
            found.append((key_of(claim), options))
        return found

    def plan(self, pod: Pod, slot: int) -> VolumePlan:
        """What to do about the pod's claims once it goes to that slot, which the filters allowed."""
        bind, provision = [], []
        for key, options in self.openings(pod):
            chosen = next(option for option in options if option.mask[slot])
            if chosen.volume:
                bind.append((key, chosen.volume))
            else:
                provision.append(key)
        return VolumePlan(tuple(bind), tuple(provision))

    def _options(self, claim: Object) -> Iterator[_Option]:
        key = key_of(claim)
        everywhere = np.ones(self._nodes.capacity, np.bool_)
        node = self._chosen.get(key) or annotations_of(claim).get(SELECTED_NODE)
        if node:
            mask = np.zeros(self._nodes.capacity, np.bool_)
            if node in self._nodes.slots:
                mask[self._nodes.slots[node]] = True
            yield _Option("", mask)
            return
        names = self._by_use.get(key, set()) | self._by_use.get(class_of(claim), set())
        volumes = [self.volumes[name] for name in names if self._promised.get(name, key) == key]
        for volume in matching_volumes(claim, volumes):
            reachable = self.affinity_mask(volume)
            yield _Option(name_of(volume), everywhere if reachable is None else reachable)
            if is_for(volume, claim):
                return
        storage_class = self.classes.get(class_of(claim)) or {}
        if storage_class.get("provisioner") not in (None, NO_PROVISIONER):
            yield _Option("", self._topology_mask(storage_class))

    def _topology_mask(self, storage_class: Object) -> Mask:
        terms: Iterable[Object] = storage_class.get("allowedTopologies") or ()
        if not terms:
            return np.ones(self._nodes.capacity, np.bool_)
        mask = np.zeros(self._nodes.capacity, np.bool_)
        for term in terms:
            requirements = tuple(
                NodeRequirement(item.get("key", ""), "In", tuple(item.get("values") or ()))
                for item in term.get("matchLabelExpressions") or ()
            )
            mask |= NodeTerm(requirements).mask(self._nodes)
        return mask


def _use_of(volume: Object) -> ObjectKey | str:
    return claim_key_of(volume) or class_of(volume)
