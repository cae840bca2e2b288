"""How fast replicas may change. Source: kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale,
"Configurable scaling behavior" """

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timonel.controllers.horizontalpodautoscaler.limits import (
    History,
    Limited,
    down_limit,
    limit_by_behavior,
    limit_plainly,
    up_limit,
)

from .objects import DOWN, NOW, UP, rules


def past(*moments: tuple[float, int]) -> tuple[tuple[datetime, int], ...]:
    """From (seconds ago, replicas)."""
    return tuple((NOW - timedelta(seconds=seconds), replicas) for seconds, replicas in moments)


def plainly(desired: int, current: int, *, fewest: int = 1, most: int = 100, history: History | None = None) -> Limited:
    return limit_plainly(
        desired,
        current=current,
        fewest=fewest,
        most=most,
        history=history or History(),
        window_seconds=300,
        now=NOW,
    )


def behaving(
    desired: int, current: int, *, up=UP, down=DOWN, fewest: int = 1, most: int = 100, history: History | None = None
) -> Limited:
    return limit_by_behavior(
        desired,
        current=current,
        fewest=fewest,
        most=most,
        behavior={"scaleUp": up, "scaleDown": down},
        history=history or History(),
        down_window_seconds=300,
        now=NOW,
    )


@pytest.mark.parametrize(
    ("desired", "current", "replicas", "reason"),
    [
        (5, 5, 5, "DesiredWithinRange"),
        (8, 5, 8, "DesiredWithinRange"),
        (30, 5, 10, "ScaleUpLimit"),  # twice as many at once
        (30, 1, 4, "ScaleUpLimit"),  # or four
        (30, 12, 20, "TooManyReplicas"),
        (1, 5, 3, "TooFewReplicas"),
    ],
)
def test_without_behaviour(desired: int, current: int, replicas: int, reason: str) -> None:
    limited = plainly(desired, current, fewest=3, most=20)
    assert (limited.replicas, limited.limit[0]) == (replicas, reason)
    assert limited.is_limited == (reason != "DesiredWithinRange")
    assert limited.stabilized[0] == "ReadyForNewScale"


def test_going_down_waits_for_the_highest_recommendation_of_five_minutes() -> None:
    history = History(recommendations=past((400, 9), (290, 7), (100, 4)))
    limited = plainly(3, 7, history=history)
    assert (limited.replicas, limited.stabilized[0]) == (7, "ScaleDownStabilized")
    assert limited.history.recommendations == (*past((290, 7), (100, 4)), (NOW, 3))
    assert plainly(3, 7, history=History(recommendations=past((400, 9)))).replicas == 3


def test_a_window_of_an_autoscalers_own() -> None:
    """ "If … the stabilization window is 60 seconds, all desired states within the past minute are considered." """
    history = History(recommendations=past((100, 9), (50, 6)))
    assert behaving(3, 9, down=rules(("Percent", 100, 15), window=60), history=history).replicas == 6
    assert behaving(3, 9, down=rules(("Percent", 100, 15), window=0), history=history).replicas == 3
    assert behaving(3, 9, history=history).replicas == 9  # the controller's: five minutes


def test_a_window_for_going_up() -> None:
    """The lowest recommendation counts there."""
    history = History(recommendations=past((50, 6), (20, 8)))
    up = rules(("Percent", 900, 15), window=60)
    limited = behaving(9, 5, up=up, history=history)
    assert (limited.replicas, limited.stabilized[0]) == (6, "ScaleUpStabilized")


@pytest.mark.parametrize(
    ("start", "policies", "select", "limit"),
    [
        # "at most 4 replicas to be scaled down in one minute … at most 10% of the current replicas"
        (80, (("Pods", 4, 60), ("Percent", 10, 60)), "Max", 72),
        (72, (("Pods", 4, 60), ("Percent", 10, 60)), "Max", 64),  # 64.8: percentages leave fewer, rounded down
        (20, (("Pods", 4, 60), ("Percent", 10, 60)), "Max", 16),  # "the larger change is used": 4 pods
        (80, (("Pods", 4, 60), ("Percent", 10, 60)), "Min", 76),
        (80, (("Pods", 4, 60),), "Disabled", 80),
    ],
)
def test_policies_downwards(start: int, policies, select: str, limit: int) -> None:
    assert down_limit(start, rules(*policies, select=select), History(), NOW) == limit


@pytest.mark.parametrize(
    ("start", "policies", "select", "limit"),
    [
        (3, (("Pods", 4, 15), ("Percent", 100, 15)), "Max", 7),
        (10, (("Pods", 4, 15), ("Percent", 100, 15)), "Max", 20),
        (10, (("Pods", 4, 15), ("Percent", 100, 15)), "Min", 14),
        (1, (("Percent", 10, 15),), "Max", 2),  # 1.1: rounded up, or it would never grow
        (10, (("Percent", 10, 15),), "Max", 11),
        (10, (("Percent", 10, 15),), "Disabled", 10),
    ],
)
def test_policies_upwards(start: int, policies, select: str, limit: int) -> None:
    assert up_limit(start, rules(*policies, select=select), History(), NOW) == limit


def test_what_was_changed_in_the_period_counts() -> None:
    """Five in a minute: three were added already, and one taken away."""
    up = rules(("Pods", 5, 60))
    history = History(ups=past((70, 9), (30, 3)), downs=past((10, 1)))
    assert up_limit(12, up, history, NOW) == 12 - 3 + 1 + 5
    limited = behaving(40, 12, up=up, history=history)
    assert (limited.replicas, limited.limit[0]) == (15, "ScaleUpLimit")
    assert behaving(40, 30, up=up, history=History(ups=past((30, 20)))).replicas == 30  # never below what there is


def test_bounds_come_before_policies() -> None:
    assert behaving(40, 8, most=10).limit[0] == "TooManyReplicas"
    limited = behaving(0, 3, fewest=2, down=rules(("Percent", 100, 15), window=0))
    assert (limited.replicas, limited.limit[0]) == (2, "TooFewReplicas")


def test_changes_are_kept_for_the_longest_period() -> None:
    behavior = {"scaleUp": rules(("Pods", 1, 15), ("Pods", 2, 60)), "scaleDown": DOWN}
    history = History(ups=past((100, 5), (50, 2))).rescaled(4, 7, behavior, NOW)
    assert history.ups == (*past((50, 2)), (NOW, 3))
    assert history.rescaled(7, 5, behavior, NOW).downs == ((NOW, 2),)
    assert History().rescaled(4, 7, None, NOW) == History()


policy = st.tuples(st.sampled_from(["Pods", "Percent"]), st.integers(1, 200), st.integers(1, 600))
some_rules = st.builds(
    lambda policies, select, window: rules(*policies, select=select, window=window),
    st.lists(policy, min_size=1, max_size=3),
    st.sampled_from(["Max", "Min", "Disabled"]),
    st.integers(0, 600),
)


@given(
    wishes=st.lists(st.tuples(st.integers(0, 200), st.integers(1, 120)), min_size=1, max_size=30),
    up=some_rules,
    down=some_rules,
    start=st.integers(1, 50),
    bounds=st.tuples(st.integers(1, 50), st.integers(0, 100)),
)
def test_never_beyond_bounds_and_never_faster_than_every_policy_allows(wishes, up, down, start, bounds) -> None:
    fewest, most = bounds[0], bounds[0] + bounds[1]
    current, now, history = min(max(start, fewest), most), NOW, History()
    behavior = {"scaleUp": up, "scaleDown": down}
    lived = [(now, current)]
    for wish, seconds in wishes:
        now += timedelta(seconds=seconds)
        limited = limit_by_behavior(
            wish, current=current, fewest=fewest, most=most, behavior=behavior, history=history,
            down_window_seconds=300, now=now,
        )  # fmt: skip
        after = limited.replicas
        assert fewest <= after <= most
        assert not (after > current and up["selectPolicy"] == "Disabled")
        assert not (after < current and down["selectPolicy"] == "Disabled")
        assert not (after > current and wish <= current)
        if after > current and len(up["policies"]) == 1 and up["policies"][0]["type"] == "Pods":
            only = up["policies"][0]
            since = now - timedelta(seconds=only["periodSeconds"])
            before = [replicas for at, replicas in lived if at <= since]
            assert after - (before[-1] if before else lived[0][1]) <= only["value"]
        history = limited.history
        if after != current:
            history = history.rescaled(current, after, behavior, now)
        current = after
        lived.append((now, current))


@given(
    wishes=st.lists(st.tuples(st.integers(0, 200), st.integers(1, 120)), min_size=1, max_size=30),
    start=st.integers(1, 50),
)
def test_without_behaviour_never_below_a_recent_recommendation(wishes, start: int) -> None:
    current, now = start, NOW
    history = History(recommendations=((now, start),))
    told = [(now, start)]
    for wish, seconds in wishes:
        now += timedelta(seconds=seconds)
        limited = limit_plainly(wish, current=current, fewest=1, most=100, history=history, window_seconds=300, now=now)
        if limited.replicas < current:
            recent = [replicas for at, replicas in told if at >= now - timedelta(seconds=300)]
            assert limited.replicas >= max(recent, default=0)
        assert limited.replicas <= max(2 * current, 4)
        told.append((now, wish))
        history, current = limited.history, limited.replicas
