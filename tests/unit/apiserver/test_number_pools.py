"""Numbers of which each may be used once; bands as KEP-3070 and KEP-3668 reserve them."""

from __future__ import annotations

import random

import pytest

from timonel.apiserver.allocators.pool import Pool, RangeFull, static_band


@pytest.mark.parametrize(
    ("size", "band"),
    [(16, 0), (256, 16), (4096, 256), (2**20, 256), (17, 16), (1024, 64)],
)
def test_bands_of_address_ranges(size, band):
    """min(max(16, size/16), 256), and none of a /28."""
    assert static_band(size, low=16, high=256, step=16) == band


def test_the_band_of_the_default_port_range():
    assert static_band(2768, low=16, high=128, step=32) == 86


def pool(high=20, band=5):
    return Pool(1, high, band=band, rng=random.Random(1))


def test_the_band_is_used_when_the_rest_is_full():
    numbers = pool()
    picked = [numbers.reserve_any() for _ in range(20)]
    assert sorted(picked[:15]) == list(range(6, 21))
    assert sorted(picked[15:]) == [1, 2, 3, 4, 5]
    with pytest.raises(RangeFull, match="range is full"):
        numbers.reserve_any()


def test_what_is_used_or_reserved_is_taken():
    numbers = pool()
    assert numbers.reserve(3)
    assert not numbers.reserve(3)
    numbers.unreserve({3})
    numbers.use({3})
    assert not numbers.reserve(3)
    numbers.release({3})
    assert numbers.reserve(3)


def test_a_number_used_twice_is_free_after_the_second_release():
    numbers = pool()
    numbers.use({3})
    numbers.use({3})
    numbers.release({3})
    assert not numbers.is_free(3)
    numbers.release({3})
    assert numbers.is_free(3)
