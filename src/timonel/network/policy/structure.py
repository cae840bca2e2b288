"""All of the table but the members of its sets: which pods of this node are isolated, and by what. Pure.

    egress4, egress6     source address → the chain of all policies that isolate the pod's egress
    ingress4, ingress6   destination address → the same for ingress
    itself4, itself6     pods to themselves, which is always allowed
    all-…                jumps to each policy's chain, counts what none accepted for each of them, and drops it
    pol-…                one policy, one direction: rules that accept

A pod that no policy selects in a direction is in no map, and its packets cost one look-up. Pods that the same policies
select share a chain.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from timonel.network.policy.compiler import EGRESS, INGRESS, Policy, PortUse, render_policy, used_selections
from timonel.network.policy.facts import PodFacts
from timonel.network.policy.selections import Selection

Element = tuple[str, str]
"""Name of the map or set, and key."""


@dataclass(frozen=True, slots=True)
class Structure:
    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    counters: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    """Name to namespace, name and direction of the policy."""
    verdicts: Mapping[Element, str] = field(default_factory=dict)
    """"" in sets."""
    sets: Mapping[str, str] = field(default_factory=dict)
    """Name to definition, of the sets that members.py fills."""
    selections: frozenset[Selection] = frozenset()
    ports: frozenset[PortUse] = frozenset()


EMPTY = Structure()


def plan_structure(pods: Iterable[PodFacts], policies: Iterable[Policy]) -> Structure:
    """For the pods of this node; policies that select none of them cost nothing. Takes pods × policies of a namespace.

    Where two pods claim one address, the later one in `pods` has it.
    """
    by_namespace: dict[str, list[Policy]] = {}
    for policy in sorted(policies, key=lambda item: item.key):
        by_namespace.setdefault(policy.key.namespace, []).append(policy)
    chains: dict[str, tuple[str, ...]] = {}
    counters: dict[str, tuple[str, str, str]] = {}
    verdicts: dict[Element, str] = {}
    selections: set[Selection] = set()
    ports: set[PortUse] = set()
    for pod in pods:
        for address in pod.addresses:
            for direction in (EGRESS, INGRESS, "itself"):
                verdicts.pop(_place(direction, address), None)
        selecting = [item for item in by_namespace.get(pod.key.namespace, ()) if item.target.pods.matches(pod.labels)]
        for direction in (EGRESS, INGRESS):
            isolating = [item for item in selecting if direction in item.directions()]
            if not isolating:
                continue
            name = _chain_of_all(isolating, direction)
            if name not in chains:
                for policy in isolating:
                    chains[policy_chain(policy, direction)] = render_policy(policy, direction)
                    counters[counter_name(policy, direction)] = (*policy.key, direction)
                    used_addresses, used_ports = used_selections(policy, direction)
                    selections |= used_addresses
                    ports |= used_ports
                chains[name] = (
                    *(f"jump {policy_chain(policy, direction)}" for policy in isolating),
                    *(f'counter name "{counter_name(policy, direction)}"' for policy in isolating),
                    "drop",
                )
            for address in pod.addresses:
                verdicts[_place(direction, address)] = f"goto {name}"
                verdicts[_place("itself", address)] = ""
    return Structure(chains, counters, verdicts, _sets(selections, ports), frozenset(selections), frozenset(ports))


def _place(container: str, address: str) -> Element:
    family = 6 if ":" in address else 4
    return f"{container}{family}", f"{address} . {address}" if container == "itself" else address


def _sets(selections: Iterable[Selection], ports: Iterable[PortUse]) -> dict[str, str]:
    sets = {}
    for selection in selections:
        for family in (4, 6):
            sets[selection.set_name(family)] = f"{{ type ipv{family}_addr; }}"
    for selection, protocol, name in ports:
        for family in (4, 6):
            definition = f"{{ type ipv{family}_addr . inet_proto . inet_service; }}"
            sets[selection.port_set_name(name, protocol, family)] = definition
    return sets


def policy_chain(policy: Policy, direction: str) -> str:
    return _name("pol", policy, direction)


def counter_name(policy: Policy, direction: str) -> str:
    return _name("drops", policy, direction)


def _name(prefix: str, policy: Policy, direction: str) -> str:
    """Unique by a digest, readable by the rest; nft allows 128 characters."""
    digest = hashlib.sha256(f"{policy.key}".encode()).hexdigest()[:10]
    readable = re.sub(r"[^a-zA-Z0-9/._-]", "_", str(policy.key))[:80]
    return f"{prefix}-{direction}-{digest}-{readable}"


def _chain_of_all(policies: list[Policy], direction: str) -> str:
    keys = " ".join(str(policy.key) for policy in policies)
    return f"all-{direction}-{hashlib.sha256(keys.encode()).hexdigest()[:16]}"
