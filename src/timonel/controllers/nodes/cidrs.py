"""Which parts of a pod network are free: counts of holders by block, so that taking one costs the same for any number
of nodes. Pure.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import TypeVar

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_Held = TypeVar("_Held")


class CidrPool:
    """Blocks of one length inside `cluster`. Whatever was held twice has to be released twice."""

    def __init__(self, cluster: Network, prefix: int) -> None:
        self._prefix = prefix
        self._version = cluster.version
        self._base = int(cluster.network_address)
        self._size = 1 << (cluster.max_prefixlen - prefix)
        self._blocks = cluster.num_addresses // self._size
        self._held: Counter[int] = Counter()
        self._wide: Counter[tuple[int, int]] = Counter()
        """Networks of more than one block, first and last: few, if any."""
        self._lowest = 0
        """All below are held."""

    def hold(self, cidr: str) -> None:
        span = self._span(cidr)
        if span is None:
            return
        if span[0] == span[1]:
            self._held[span[0]] += 1
        else:
            self._wide[span] += 1

    def release(self, cidr: str) -> None:
        span = self._span(cidr)
        if span is None:
            return
        if span[0] == span[1]:
            _count_down(self._held, span[0])
        else:
            _count_down(self._wide, span)
        self._lowest = min(self._lowest, max(span[0], 0))

    def take(self) -> str | None:
        """The lowest free block, now held; None when there is none."""
        index = self._lowest
        while index < self._blocks:
            if index in self._held:
                index += 1
                continue
            beyond = max((last for first, last in self._wide if first <= index <= last), default=-1)
            if beyond < 0:
                break
            index = beyond + 1
        self._lowest = index
        if index >= self._blocks:
            return None
        self._held[index] += 1
        return f"{ipaddress.ip_address(self._base + index * self._size)}/{self._prefix}"

    def _span(self, text: str) -> tuple[int, int] | None:
        """First and last block that the network touches; may lie outside."""
        network = ipaddress.ip_network(text, strict=False)
        if network.version != self._version:
            return None
        return (
            (int(network.network_address) - self._base) // self._size,
            (int(network.broadcast_address) - self._base) // self._size,
        )


def _count_down(counts: Counter[_Held], key: _Held) -> None:
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]
