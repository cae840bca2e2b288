"""NominalCL(i) = ceil(ServerCL * NCS(i) / sum_ncs), LendableCL = round(NominalCL * lendablePercent / 100),
BorrowingCL = round(NominalCL * borrowingLimitPercent / 100): the reference of PriorityLevelConfiguration."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timonel.api.kinds.flowcontrol.mandatory import MANDATORY_PRIORITY_LEVELS
from timonel.apiserver.flowcontrol.limits import Demand, Item, Limits, adjust, allocate, divide, next_demand
from timonel.apiserver.flowcontrol.suggested import SUGGESTED_PRIORITY_LEVELS


def test_the_default_levels_share_600_seats() -> None:
    limits = divide(SUGGESTED_PRIORITY_LEVELS | MANDATORY_PRIORITY_LEVELS, 600)
    # Shares: 30 + 40 + 10 + 40 + 100 + 20 + 5 + 0 = 245.
    assert {name: (each.nominal, each.lower) for name, each in limits.items()} == {
        "system": (74, 50),
        "node-high": (98, 73),
        "leader-election": (25, 25),
        "workload-high": (98, 49),
        "workload-low": (245, 24),
        "global-default": (49, 24),
        "catch-all": (13, 13),
        "exempt": (0, 0),
    }
    assert limits["system"].upper == 74 + 600  # no borrowing limit
    # max(1, min(ceil(0.15 * 49), 49 // 6))
    assert limits["global-default"].widest == 8
    assert limits["catch-all"].widest == 0


def test_borrowing_is_limited_in_percent() -> None:
    spec = {"type": "Limited", "limited": {"nominalConcurrencyShares": 1, "borrowingLimitPercent": 50}}
    other = {"type": "Limited", "limited": {"nominalConcurrencyShares": 3}}
    limits = divide({"a": spec, "b": other}, 100)
    assert limits["a"] == Limits(25, 25, 25 + 13)  # 12.5, halves away from zero


@pytest.mark.parametrize(
    ("items", "total", "parts"),
    [
        ([Item(10, 0, 100), Item(30, 0, 100)], 80, [20, 60]),  # no bound matters
        ([Item(10, 0, 15), Item(30, 0, 100)], 80, [15, 65]),
        ([Item(10, 0, 100), Item(30, 30, 100)], 20, [0, 30]),  # lower bounds are more than there is
        ([Item(50, 40, 100), Item(50, 0, 100)], 60, [40, 20]),
        ([Item(1, 0, 2), Item(1, 0, 3)], 80, [2, 3]),  # upper bounds are less
        ([Item(0, 0, 100), Item(0, 0, 100)], 10, [5, 5]),
        ([], 10, []),
    ],
)
def test_seats_go_by_target_within_bounds(items: list[Item], total: float, parts: list[float]) -> None:
    given_parts, _ = allocate(total, items)
    assert given_parts == pytest.approx(parts)


_bounded = st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 300)).map(
    lambda three: Item(three[0] + three[1], three[0], three[0] + three[2])
)


@given(st.lists(_bounded, min_size=1, max_size=8), st.integers(1, 600))
def test_what_is_given_sums_up_and_is_fair(items: list[Item], total: int) -> None:
    parts, proportion = allocate(total, items)
    low, high = sum(item.lower for item in items), sum(item.upper for item in items)
    assert sum(parts) == pytest.approx(min(max(total, low), high), abs=1e-6)
    for item, part in zip(items, parts, strict=True):
        assert item.lower - 1e-9 <= part <= item.upper + 1e-9
        if low < total < high:
            fair = proportion * max(item.target, 0.001)
            assert part == pytest.approx(max(item.lower, min(item.upper, fair)), abs=1e-6)


def test_demand_rises_at_once_and_falls_slowly() -> None:
    high = next_demand(Demand(), seconds=10, area=200, square=4000, peak=20)
    assert (high.average, high.deviation, high.peak, high.smoothed) == (20, 0, 20, 20)
    low = next_demand(high, seconds=10, area=0, square=0, peak=0)
    assert low.smoothed == pytest.approx(20 * 0.977)
    for _ in range(29):  # five minutes in all: its half-life
        low = next_demand(low, seconds=10, area=0, square=0, peak=0)
    assert low.smoothed == pytest.approx(10, rel=0.02)


def test_deviation_counts() -> None:
    # 5 s of 0 and 5 s of 10: average 5, deviation 5.
    assert next_demand(Demand(), seconds=10, area=50, square=500, peak=10).smoothed == pytest.approx(10)


def test_a_busy_level_borrows_what_idle_ones_lend() -> None:
    limits = {"busy": Limits(50, 25, 150), "idle": Limits(50, 10, 150)}
    demands = {"busy": Demand(peak=200, smoothed=200.0), "idle": Demand()}
    result = adjust(limits, demands, frozenset())
    assert result.current["busy"] + result.current["idle"] == 100
    assert result.current["busy"] == 90
    assert result.current["idle"] == 10


def test_nobody_lends_below_its_recent_use() -> None:
    limits = {"busy": Limits(50, 25, 150), "used": Limits(50, 10, 150)}
    demands = {"busy": Demand(peak=200, smoothed=200.0), "used": Demand(peak=40, smoothed=1.0)}
    assert adjust(limits, demands, frozenset()).current["used"] == 40


def test_exempt_requests_leave_the_lower_limits() -> None:
    limits = {"exempt": Limits(0, 0, 100), "a": Limits(50, 20, 150), "b": Limits(50, 30, 150)}
    demands = {"exempt": Demand(peak=60), "a": Demand(peak=50), "b": Demand(peak=50)}
    # 40 are left, which is less than the lower limits together.
    assert adjust(limits, demands, frozenset({"exempt"})).current == {"exempt": 60, "a": 20, "b": 30}
    demands["exempt"] = Demand(peak=25)
    # 75 are left: half of the way from the lower limits (50) to recent use (100).
    assert adjust(limits, demands, frozenset({"exempt"})).current == {"exempt": 25, "a": 35, "b": 40}
