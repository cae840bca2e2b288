"""Which pods hold which ports of the node, so that no two of them fight for one.

The scheduler sees to it, too; pods that name their node come past it.
"""

from __future__ import annotations

from typing import NamedTuple

from timonel.api.objects import Object, uid_of
from timonel.kubelet.pods.spec import Kind, containers_of

_ANY = "0.0.0.0"


class HostPort(NamedTuple):
    address: str
    protocol: str
    port: int

    def conflicts(self, other: HostPort) -> bool:
        """All addresses of the node include each of them."""
        return self[1:] == other[1:] and (self.address == other.address or _ANY in (self.address, other.address))


class HostPorts:
    """Costs nothing for pods without host ports."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[HostPort, ...]] = {}

    def take(self, pod: Object) -> bool:
        """Whether the pod may have its ports; then it holds them. May be called again and again."""
        uid = uid_of(pod)
        if uid in self._held:
            return True
        wanted = host_ports_of(pod)
        if any(port.conflicts(other) for held in self._held.values() for other in held for port in wanted):
            return False
        if wanted:
            self._held[uid] = wanted
        return True

    def keep(self, pod: Object) -> None:
        """Of a pod that ran already when the kubelet came."""
        if wanted := host_ports_of(pod):
            self._held[uid_of(pod)] = wanted

    def release(self, uid: str) -> None:
        self._held.pop(uid, None)


def host_ports_of(pod: Object) -> tuple[HostPort, ...]:
    """Those of containers that run all the time: main ones and sidecars."""
    return tuple(
        HostPort(port.get("hostIP") or _ANY, port.get("protocol") or "TCP", port["hostPort"])
        for kind, container in containers_of(pod)
        if kind in (Kind.MAIN, Kind.SIDECAR)
        for port in container.get("ports") or ()
        if port.get("hostPort")
    )
