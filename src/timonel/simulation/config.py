"""What the hollow nodes are, and how they behave."""

from __future__ import annotations

from dataclasses import dataclass, field

from timonel.simulation.behaviour import Behaviour, Chance


@dataclass(frozen=True, slots=True)
class HollowConfig:
    count: int
    """How many nodes there are to be."""
    address: str
    """Where this process answers for all of them: every hollow node's InternalIP."""
    port: int = 10250
    """Of the answering server, told as that of every hollow node's kubelet."""
    name_prefix: str = "hollow-"
    cpu: str = "32"
    memory: str = "256Gi"
    max_pods: int = 110
    zones: int = 3
    """Nodes are spread over so many zones, zone-a, zone-b, …; 0: none is told."""
    leases_per_second: float = 50.0
    """How many leases are renewed in a second. With more nodes than this renews in ten seconds, leases are renewed less
    often and made good for longer, so that heartbeats cost the same for five thousand nodes as for five hundred."""
    writers: int = 16
    """Requests at once."""
    behaviour: Behaviour = field(default_factory=Behaviour)
    chance: Chance = field(default_factory=Chance)


LEASE_SECONDS = 40
"""Of the kubelet: a lease is good for so long and renewed after a quarter of it."""


def lease_seconds(nodes: int, per_second: float) -> int:
    """How long the leases of so many nodes are good for."""
    return max(LEASE_SECONDS, round(4 * nodes / per_second))
