"""Pools of addresses, as configuration writes them."""

from __future__ import annotations

import pytest

from timonel.api.address_pools import addresses_of, check_pool, in_pool


def test_what_a_pool_may_be() -> None:
    check_pool(["192.0.2.7", "192.0.2.0/28", "192.0.2.1-192.0.2.9"])
    for odd in ("192.0.2.9-192.0.2.1", "fd00::/64", "192.0.2", "a-b"):
        with pytest.raises(ValueError, match="is neither an IPv4 address nor a range of them"):
            check_pool([odd])


def test_what_is_in_it() -> None:
    assert list(addresses_of(["192.0.2.4/30", "192.0.2.9-192.0.2.10", "192.0.2.1"])) == [
        # Of a network, neither its own address nor the one for broadcasts.
        "192.0.2.5",
        "192.0.2.6",
        "192.0.2.9",
        "192.0.2.10",
        "192.0.2.1",
    ]
    assert in_pool("192.0.2.14", ["192.0.2.0/28"])
    assert not in_pool("192.0.2.15", ["192.0.2.0/28"])
    assert not in_pool("fd00::1", ["192.0.2.0/28"])
