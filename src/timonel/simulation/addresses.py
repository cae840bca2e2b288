"""Addresses of hollow pods: each node gives out those of its own pod network, by who has which."""

from __future__ import annotations

import ipaddress


class PodAddresses:
    """Of all nodes. An address that was given back is given out again only after all others."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Network] = {}
        self._of_pod: dict[str, tuple[str, str]] = {}

    def take(self, uid: str, node: str, cidr: str, known: str = "") -> str:
        """The pod's address: the one it has, else `known`, which its status tells, else a free one; "" if none is."""
        held = self._of_pod.get(uid)
        if held is not None:
            return held[1]
        network = self._nodes.get(node)
        if network is None or network.cidr != cidr:
            network = self._nodes[node] = _Network(cidr)
        address = known or network.next_free()
        if address:
            network.used.add(address)
            self._of_pod[uid] = node, address
        return address

    def release(self, uid: str) -> None:
        node, address = self._of_pod.pop(uid, ("", ""))
        network = self._nodes.get(node)
        if network is not None:
            network.used.discard(address)

    def forget_node(self, node: str) -> None:
        self._nodes.pop(node, None)


class _Network:
    __slots__ = ("_first", "_next", "_size", "cidr", "used")

    def __init__(self, cidr: str) -> None:
        network = ipaddress.ip_network(cidr)
        self.cidr = cidr
        self.used: set[str] = set()
        # Without the network's own address, the node's end, which is the first, and the broadcast address.
        self._first = int(network.network_address) + 2
        self._size = min(network.num_addresses - 3, 1 << 16)
        self._next = 0

    def next_free(self) -> str:
        for _ in range(self._size):
            address = str(ipaddress.ip_address(self._first + self._next))
            self._next = (self._next + 1) % self._size
            if address not in self.used:
                return address
        return ""
