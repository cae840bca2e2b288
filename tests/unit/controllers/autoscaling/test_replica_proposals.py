"""How many replicas one metric asks for.

The cases are those of kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale, "Algorithm details";
each says which sentence it is about.
"""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timonel.controllers.horizontalpodautoscaler.config import AutoscalerConfig
from timonel.controllers.horizontalpodautoscaler.replicas import (
    MOST_REPLICAS,
    NoProposal,
    Proposal,
    Tolerances,
    group_pods,
    pod_request,
    propose_by_average,
    propose_by_share,
    propose_by_utilization,
    propose_by_value,
)

from .objects import NOW, metric, metrics, pod, pods

CONFIG = AutoscalerConfig()
TENTH = Tolerances(0.1, 0.1)


def by_utilization(some, values, *, current, target, tolerances=TENTH):
    groups = group_pods(some, values, "cpu", NOW, CONFIG)
    requests = {each["metadata"]["name"]: pod_request(each, "", "cpu") for each in some}
    return propose_by_utilization(
        some, values, requests, groups, current=current, target_percent=target, tolerances=tolerances
    )


def by_average(some, values, *, current, target, resource=""):
    groups = group_pods(some, values, resource, NOW, CONFIG)
    return propose_by_average(some, values, groups, current=current, target=target, tolerances=TENTH)


@pytest.mark.parametrize(
    ("values", "target", "replicas"),
    [
        # "if the current metric value is 200m, and the desired value is 100m, the number of replicas will be doubled"
        ((200, 200), 100, 4),
        # "If the current value is instead 50m, you'll halve the number of replicas"
        ((50, 50), 100, 1),
        # "skips any scaling action if the ratio is sufficiently close to 1.0 (within … 0.1 by default)"
        ((109, 109), 100, 2),
        ((91, 91), 100, 2),
        ((112, 112), 100, 3),
        ((88, 88, 88, 88), 100, 4),
        # ceil: 3 x 1.2 = 3.6
        ((120, 120, 120), 100, 4),
    ],
)
def test_the_ratio_of_use_to_target(values: tuple[int, ...], target: int, replicas: int) -> None:
    some = pods(len(values))
    assert by_average(some, metrics(*values), current=len(values), target=target).replicas == replicas


def test_utilization_is_of_what_pods_request() -> None:
    """Three pods that request a core each and use 0.3, 0.5, 0.7 are at 50 %; of a target of 30 %: 3 x 50/30 = 5."""
    assert by_utilization(pods(3), metrics(300, 500, 700), current=3, target=30) == Proposal(5, 500, 50)


def test_each_pod_counts_by_its_own_request() -> None:
    some = [pod("p0", request="500m"), pod("p1", request="1500m")]
    assert by_utilization(some, metrics(500, 500), current=2, target=50).utilization == 50


@pytest.mark.parametrize(
    ("tolerances", "replicas"),
    [(Tolerances(0.1, 0.1), 10), (Tolerances(0.1, 0.04), 11), (Tolerances(0.0, 0.0), 11), (Tolerances(0.5, 0.06), 10)],
)
def test_tolerance_by_direction(tolerances: Tolerances, replicas: int) -> None:
    assert by_utilization(pods(10), metrics(*[530] * 10), current=10, target=50, tolerances=tolerances).replicas == (
        replicas
    )


def test_pods_that_go_or_have_failed_are_discarded() -> None:
    """ "All Pods with a deletion timestamp set … are ignored, and all failed Pods are discarded." """
    gone = pod("p1")
    gone["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    some = [pod("p0"), gone, pod("p2", phase="Failed")]
    assert by_utilization(some, metrics(1000, 0, 0), current=1, target=50) == Proposal(2, 1000, 100)


@pytest.mark.parametrize(
    ("used", "missing", "replicas"),
    [
        # "assuming those pods were consuming 100% of the desired value in case of a scale down": of the request.
        # Used 3 x 10 %, one missing reckoned at 100 %: 130/400 = 32 %, of 50 %: 0.64 x 4 = 2.56.
        ((100, 100, 100), 1, 3),
        # "and 0% in case of a scale up": 3 x 100 % and 0: 75 %, of 50 %: 1.5 x 4 = 6 and not 2 x 3.
        ((1000, 1000, 1000), 1, 6),
        # The direction never changes: 40 % would mean fewer, with two at 100 % more: nothing happens.
        ((400, 400), 2, 4),
    ],
)
def test_pods_without_figures_dampen(used: tuple[int, ...], missing: int, replicas: int) -> None:
    count = len(used) + missing
    assert by_utilization(pods(count), metrics(*used), current=count, target=50).replicas == replicas


def test_missing_pods_use_the_target_when_it_is_above_all_they_request() -> None:
    """One at 150 % of its request, of a target of 300 %, one missing: reckoned at 300 %, it is 225 % of 300 %."""
    assert by_utilization(pods(2), metrics(1500), current=2, target=300).replicas == 2
    assert by_utilization(pods(4), metrics(300, 300, 300), current=4, target=300).replicas == ceil(3.9 / 12 * 4)


def test_pods_that_are_not_yet_ready_count_as_idle_when_going_up() -> None:
    """ "if any Pods were not yet ready …, conservatively assume they are consuming 0%": 3 x 100 % and a 0: 75 %."""
    some = [*pods(3), pod("p3", ready=False, started=60, turned=60)]
    assert by_utilization(some, metrics(1000, 1000, 1000, 1000), current=4, target=50).replicas == 6


def test_pods_that_are_not_yet_ready_are_set_aside_when_going_down() -> None:
    some = [*pods(3), pod("p3", ready=False, started=60, turned=60)]
    assert by_utilization(some, metrics(100, 100, 100, 1000), current=4, target=50).replicas == 1


@pytest.mark.parametrize(
    ("fields", "seconds_ago", "unready"),
    [
        # --horizontal-pod-autoscaler-cpu-initialization-period, five minutes: while young, only a ready pod counts, …
        ({"ready": False, "started": 200, "turned": 200}, 0, True),
        # … and with a window that began after it turned ready.
        ({"started": 200, "turned": 10}, 0, True),
        ({"started": 200, "turned": 30}, 0, False),
        ({"started": 200, "turned": 30}, 20, True),
        # Later, only a pod that has never been ready does not: unready since the first thirty seconds.
        ({"ready": False, "started": 400, "turned": 390}, 0, True),
        ({"ready": False, "started": 400, "turned": 100}, 0, False),
        ({"started": 400, "turned": 5}, 0, False),
        # Nothing is known of it.
        ({"ready": None}, 0, True),
    ],
)
def test_when_the_cpu_of_a_pod_counts(fields, seconds_ago: float, unready: bool) -> None:
    figures = {"p": metric(1, seconds_ago=seconds_ago)}
    groups = group_pods([pod("p", **fields)], figures, "cpu", NOW, CONFIG)
    assert (groups.unready, groups.ready) == ((frozenset({"p"}), 0) if unready else (frozenset(), 1))
    # Memory does not rise because a program starts.
    assert group_pods([pod("p", **fields)], figures, "memory", NOW, CONFIG).ready == 1


def test_pending_pods_are_unready_for_every_metric() -> None:
    assert group_pods([pod("p", phase="Pending")], {}, "", NOW, CONFIG).unready == {"p"}


@pytest.mark.parametrize(
    ("some", "values", "message"),
    [
        ([], metrics(1), "no pods returned by selector while calculating replica count"),
        (pods(1, ready=False, started=10, turned=10), metrics(1),
         "did not receive metrics for targeted pods (pods might be unready)"),
        (pods(1), {"other": metric(1)}, "no metrics returned matched known pods"),
    ],
)  # fmt: skip
def test_what_cannot_be_reckoned(some, values, message: str) -> None:
    with pytest.raises(NoProposal) as refused:
        by_utilization(some, values, current=1, target=50)
    assert str(refused.value) == message


def test_requests() -> None:
    sidecar = {"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": "200m"}}}
    init = {"name": "init", "resources": {"requests": {"cpu": "5"}}}
    one = pod("p", initContainers=[init, sidecar])
    assert pod_request(one, "", "cpu") == 1200
    assert pod_request(one, "side", "cpu") == 200
    assert pod_request({**one, "spec": {**one["spec"], "resources": {"requests": {"cpu": "3"}}}}, "", "cpu") == 3000


@pytest.mark.parametrize(
    ("one", "container", "message"),
    [
        (pod("p", request=None), "", "missing request for cpu in container main of Pod p"),
        (pod("p"), "other", "container other not found in Pod p"),
        (pod("p", resources={"requests": {"memory": "1Gi"}}), "", "missing pod-level request for cpu in Pod p"),
    ],
)
def test_requests_that_are_missing(one, container: str, message: str) -> None:
    with pytest.raises(NoProposal) as refused:
        pod_request(one, container, "cpu")
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("value", "target", "current", "replicas"),
    [
        (2000, 1000, 3, 6),  # twice the target: twice the ready pods
        (1050, 1000, 3, 3),
        (400, 1000, 3, 2),
        (10**18, 1, 3, MOST_REPLICAS),
    ],
)
def test_a_value_for_all_pods_together(value: int, target: int, current: int, replicas: int) -> None:
    found = propose_by_value(pods(3), value, current=current, target=target, tolerances=TENTH)
    assert found == Proposal(replicas, value)


def test_only_ready_pods_count_for_a_value() -> None:
    some = [*pods(2), pod("p2", ready=False)]
    assert propose_by_value(some, 3000, current=3, target=1000, tolerances=TENTH).replicas == 6


@pytest.mark.parametrize(
    ("value", "target", "current", "proposal"),
    [
        (9000, 1000, 3, Proposal(9, 3000)),
        (3100, 1000, 3, Proposal(3, 1034)),
        (100, 1000, 3, Proposal(1, 34)),
        (0, 1000, 3, Proposal(0, 0)),
        (500, 1000, 0, Proposal(1, 0)),
    ],
)
def test_a_value_that_pods_share(value: int, target: int, current: int, proposal: Proposal) -> None:
    assert propose_by_share(value, current=current, target=target, tolerances=TENTH) == proposal


@given(
    used=st.lists(st.integers(0, 5000), min_size=1, max_size=12),
    missing=st.integers(0, 4),
    young=st.integers(0, 4),
    target=st.integers(1, 200),
)
def test_pods_without_figures_never_turn_the_direction(used: list[int], missing: int, young: int, target: int) -> None:
    known = pods(len(used))
    count = len(used) + missing + young
    some = [
        *known,
        *(pod(f"m{number}") for number in range(missing)),
        *(pod(f"y{number}", ready=False, started=5, turned=5) for number in range(young)),
    ]
    proposal = by_utilization(some, metrics(*used), current=count, target=target)
    percent = proposal.utilization
    assert percent is not None
    if percent > target and missing + young:
        assert proposal.replicas >= count
    if percent < target and missing:
        assert proposal.replicas <= count
