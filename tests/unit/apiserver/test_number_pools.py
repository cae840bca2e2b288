"""Numbers of which each may be used once; bands as KEP-3070 and KEP-3668 reserve them."""

from __future__ import annotations

import base64
import ipaddress
import random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timonel.apiserver.allocators.addresses import AddressRange
from timonel.apiserver.allocators.pool import NumberRange, RangeFull, static_band
from timonel.apiserver.allocators.port_set import PortSet, decode_ports, encode_ports


@pytest.mark.parametrize(
    ("size", "band"),
    [(16, 0), (256, 16), (4096, 256), (2**20, 256), (17, 16), (1024, 64)],
)
def test_bands_of_address_ranges(size: int, band: int) -> None:
    """min(max(16, size/16), 256), and none of a /28."""
    assert static_band(size, low=16, high=256, step=16) == band


def test_the_band_of_the_default_port_range() -> None:
    assert static_band(2768, low=16, high=128, step=32) == 86


def test_the_band_is_used_when_the_rest_is_full() -> None:
    numbers, taken, rng = NumberRange(1, 20, band=5), set[int](), random.Random(1)
    picked = []
    for _ in range(20):
        picked.append(numbers.pick(lambda number: number not in taken, rng))
        taken.add(picked[-1])
    assert sorted(picked[:15]) == list(range(6, 21))
    assert sorted(picked[15:]) == [1, 2, 3, 4, 5]
    with pytest.raises(RangeFull, match="range is full"):
        numbers.pick(lambda number: number not in taken, rng)


@pytest.mark.parametrize(
    ("network", "low", "high"),
    [
        ("10.96.0.0/12", "10.96.0.1", "10.111.255.254"),  # neither the network's own address nor the broadcasts'
        ("192.0.2.0/24", "192.0.2.1", "192.0.2.254"),
        ("fd00::/112", "fd00::1", "fd00::ffff"),  # IPv6 has no broadcasts
    ],
)
def test_what_of_a_network_services_may_have(network: str, low: str, high: str) -> None:
    of = AddressRange.of(ipaddress.ip_network(network))
    first, last = ipaddress.ip_address(low), ipaddress.ip_address(high)
    assert (of.address(of.numbers.low), of.address(of.numbers.high)) == (first, last)
    assert of.holds(first)
    assert of.holds(last)
    assert not of.holds(first - 1)
    assert not of.holds(last + 1)
    assert not of.holds(ipaddress.ip_address("2001:db8::1" if first.version == 4 else "10.0.0.1"))


PORTS = NumberRange(30000, 32767, 86)


def test_ports_are_stored_as_a_range_allocation() -> None:
    """Bit n of the data, read as one big-endian number, is port n of the range (k8s.io/api/core/v1 RangeAllocation)."""
    stored = orjson.loads(encode_ports(PortSet.of([30000, 30003, 30008], PORTS)))
    assert (stored["kind"], stored["apiVersion"], stored["range"]) == ("RangeAllocation", "v1", "30000-32767")
    assert base64.b64decode(stored["data"]) == bytes([0b1, 0b1001])


@given(st.sets(st.integers(30000, 32767)))
def test_stored_ports_are_read_again(ports: set[int]) -> None:
    read = decode_ports(encode_ports(PortSet.of(ports, PORTS)), PORTS)
    assert read is not None
    assert set(read) == ports
    assert len(read) == len(ports)
    assert all((port in read) == (port in ports) for port in (29999, 30000, 30001, 32767, 32768))


@pytest.mark.parametrize(
    "stored", [b"", b"[]", b"{}", b'{"range":"30000-32767","data":"&"}', b'{"range":"1-2","data":""}', b"k8s\x00\x0a"]
)
def test_what_cannot_be_read_is_counted_anew(stored: bytes) -> None:
    assert decode_ports(stored, PORTS) is None
