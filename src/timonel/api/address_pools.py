"""Pools of addresses as configuration writes them: "192.0.2.10-192.0.2.20", "192.0.2.64/28", "192.0.2.7". IPv4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network


def check_pool(pool: Iterable[str]) -> None:
    """Raises ValueError that names the entry that is none."""
    for text in pool:
        try:
            first, last = _bounds(text)
        except ValueError:
            first, last = 1, 0
        if first > last:
            raise ValueError(f"{text!r} is neither an IPv4 address nor a range of them")


def in_pool(address: str, pool: Iterable[str]) -> bool:
    """False for what is no IPv4 address."""
    try:
        number = int(IPv4Address(address))
    except ValueError:
        return False
    return any(first <= number <= last for first, last in map(_bounds, pool))


def addresses_of(pool: Iterable[str]) -> Iterator[str]:
    """All of them, in order of the pool."""
    for first, last in map(_bounds, pool):
        for number in range(first, last + 1):
            yield str(IPv4Address(number))


def _bounds(text: str) -> tuple[int, int]:
    """First and last. Raises ValueError."""
    first, dash, last = text.partition("-")
    if dash:
        return int(IPv4Address(first.strip())), int(IPv4Address(last.strip()))
    network = IPv4Network(text, strict=False)
    low, high = int(network.network_address), int(network.broadcast_address)
    # The first and last of a network mean something else to those on its segment.
    return (low + 1, high - 1) if network.prefixlen < 31 else (low, high)
