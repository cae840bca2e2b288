"""When the node is under pressure, and who goes first: plain values in, decisions out.

Source: kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.kubelet.pods import container, pod
from timonel.api.objects import Object, name_of, uid_of
from timonel.kubelet.eviction.critical import plan_preemption
from timonel.kubelet.eviction.limits import has_limits, violation
from timonel.kubelet.eviction.pressure import Pressure
from timonel.kubelet.eviction.ranking import eviction_message, rank
from timonel.kubelet.eviction.thresholds import (
    ALLOCATABLE_MEMORY,
    DEFAULT_HARD,
    IMAGE_BYTES,
    MEMORY,
    NODE_BYTES,
    NODE_INODES,
    PROCESSES,
    Amount,
    Observation,
    Threshold,
    parse_thresholds,
)
from timonel.kubelet.eviction.usage import ContainerUse, Disk, PodUse

MI = 1 << 20
GI = 1 << 30


# Thresholds


def test_thresholds_as_people_write_them() -> None:
    made = parse_thresholds(
        {MEMORY: "100Mi", NODE_BYTES: "10%", NODE_INODES: "0%", IMAGE_BYTES: "100%"},
        {MEMORY: "300Mi"},
        {MEMORY: "1m30s"},
        {MEMORY: "50Mi"},
    )
    assert made == (
        Threshold(MEMORY, Amount(100 * MI), 0.0, Amount(50 * MI)),
        Threshold(NODE_BYTES, Amount(share=0.1)),
        Threshold(MEMORY, Amount(300 * MI), 90.0, Amount(50 * MI)),
        Threshold(ALLOCATABLE_MEMORY, Amount(100 * MI), 0.0, Amount(50 * MI)),
    )


@pytest.mark.parametrize(
    ("hard", "soft", "grace", "reclaim", "text"),
    [
        ({"disk": "1Gi"}, {}, {}, {}, "unsupported eviction signal disk"),
        ({ALLOCATABLE_MEMORY: "1Gi"}, {}, {}, {}, "unsupported eviction signal"),
        ({MEMORY: "0"}, {}, {}, {}, "must be positive"),
        ({MEMORY: "-1Gi"}, {}, {}, {}, "must be positive"),
        ({MEMORY: "120%"}, {}, {}, {}, "must be <= 100%"),
        ({MEMORY: "much"}, {}, {}, {}, "neither a quantity nor a percentage"),
        (
            {},
            {MEMORY: "1Gi"},
            {},
            {},
            "grace period must be specified for the soft eviction threshold memory.available",
        ),
        ({}, {MEMORY: "1Gi"}, {MEMORY: "-1s"}, {}, "must be a positive value"),
        ({}, {}, {}, {MEMORY: "0%"}, "minimum reclaim memory.available must be positive"),
    ],
)
def test_thresholds_that_cannot_be(
    hard: dict[str, str], soft: dict[str, str], grace: dict[str, str], reclaim: dict[str, str], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        parse_thresholds(hard, soft, grace, reclaim)


# Pressure over time


def memory(available: int) -> dict[str, Observation]:
    return {MEMORY: Observation(available, 10 * GI)}


def test_a_hard_threshold_calls_for_action_at_once_and_its_condition_outlives_it() -> None:
    pressure = Pressure(parse_thresholds({MEMORY: "1Gi"}, for_pods_as_well=False), 300)
    assert pressure.observe(memory(GI), 0) == []  # less than, not as much as
    assert pressure.conditions == frozenset()
    assert [each.signal for each in pressure.observe(memory(GI - 1), 10)] == [MEMORY]
    assert pressure.conditions == {"MemoryPressure"}
    assert pressure.observe(memory(2 * GI), 20) == []
    pressure.observe(memory(2 * GI), 309)
    assert pressure.conditions == {"MemoryPressure"}
    pressure.observe(memory(2 * GI), 310)
    assert pressure.conditions == frozenset()


def test_a_soft_threshold_has_to_be_met_for_its_whole_grace_period() -> None:
    pressure = Pressure(parse_thresholds({}, {MEMORY: "10%"}, {MEMORY: "30s"}), 300)
    assert pressure.observe(memory(GI - 1), 0) == []
    assert pressure.conditions == {"MemoryPressure"}
    assert pressure.observe(memory(GI), 20) == []  # over: the time begins anew
    assert pressure.observe(memory(0), 30) == []
    assert pressure.observe(memory(0), 59) == []
    assert len(pressure.observe(memory(0), 60)) == 1


def test_the_minimum_reclaim_is_reclaimed_before_it_is_over() -> None:
    pressure = Pressure(parse_thresholds({MEMORY: "1Gi"}, {}, {}, {MEMORY: "500Mi"}, for_pods_as_well=False), 0)
    assert pressure.observe(memory(GI + 400 * MI), 0) == []  # not below the threshold yet
    assert pressure.observe(memory(GI - 1), 1)
    assert pressure.observe(memory(GI + 400 * MI), 2)
    assert not pressure.is_relieved(memory(GI + 499 * MI))
    assert pressure.observe(memory(GI + 500 * MI), 3) == []
    assert pressure.conditions == frozenset()


def test_memory_comes_first_and_what_nobody_sees_is_never_met() -> None:
    pressure = Pressure(parse_thresholds(DEFAULT_HARD), 300)
    due = pressure.observe({NODE_BYTES: Observation(1, 100), MEMORY: Observation(1, GI)}, 0)
    assert [each.signal for each in due] == [MEMORY, NODE_BYTES]
    assert pressure.conditions == {"MemoryPressure", "DiskPressure"}


# Ranking


def asking(name: str, request: str = "", *, priority: int = 0, kind: str = "memory") -> Object:
    resources = {"resources": {"requests": {kind: request}}} if request else {}
    return pod(container("c", **resources), name=name, priority=priority)


def names(pods: list[Object]) -> list[str]:
    return [name_of(each) for each in pods]


def test_memory_those_above_their_requests_then_priority_then_by_how_much() -> None:
    pods = [
        asking("modest", "200Mi"),
        asking("important", priority=1000),
        asking("a-bit-above", "100Mi"),
        asking("far-above", "100Mi"),
        asking("unknown", "1Gi", priority=9),
    ]
    uses = {
        uid_of(pods[0]): PodUse(memory=199 * MI),
        uid_of(pods[1]): PodUse(memory=900 * MI),
        uid_of(pods[2]): PodUse(memory=110 * MI),
        uid_of(pods[3]): PodUse(memory=300 * MI),
    }
    assert names(rank(MEMORY, pods, uses)) == ["unknown", "far-above", "a-bit-above", "important", "modest"]


def test_processes_priority_then_how_many() -> None:
    pods = [asking("few"), asking("many"), asking("important", priority=1)]
    uses = {uid_of(p): PodUse(processes=n) for p, n in zip(pods, (3, 500, 900), strict=True)}
    assert names(rank(PROCESSES, pods, uses)) == ["many", "few", "important"]


def disk_use(layer: int = 0, logs: int = 0, volume: int = 0, inodes: int = 0) -> PodUse:
    return PodUse(
        containers={"c": ContainerUse(layer=Disk(layer, inodes), logs=Disk(logs))}, volumes={"v": Disk(volume)}
    )


@pytest.mark.parametrize(
    ("signal", "apart", "first"),
    [
        (NODE_BYTES, False, "layers"),  # everything counts
        (NODE_BYTES, True, "volumes"),  # layers are elsewhere
        (IMAGE_BYTES, True, "layers"),
        (NODE_INODES, False, "inodes"),
    ],
)
def test_disk_by_what_is_on_the_file_system_that_is_full(signal: str, apart: bool, first: str) -> None:
    pods = [asking("volumes"), asking("layers"), asking("inodes")]
    uses = {
        uid_of(pods[0]): disk_use(volume=5 * GI),
        uid_of(pods[1]): disk_use(layer=6 * GI, logs=1),
        uid_of(pods[2]): disk_use(layer=1, inodes=10**6),
    }
    assert names(rank(signal, pods, uses, images_apart=apart))[0] == first


def test_the_message_says_what_was_short_and_who_used_more_than_asked_for() -> None:
    threshold = Threshold(MEMORY, Amount(100 * MI))
    use = PodUse(memory=64 * MI, containers={"c": ContainerUse(memory=64 * MI)})
    message, annotations = eviction_message(threshold, {MEMORY: Observation(50 * MI, GI)}, asking("web", "10Mi"), use)
    assert message == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "
        "Container c was using 64Mi, request is 10Mi, has larger consumption of memory. "
    )
    assert annotations == {
        "offending_containers": "c",
        "offending_containers_usage": "64Mi",
        "starved_resource": "memory",
    }


# Limits on the disk


def limited(**spec: Any) -> Object:
    return pod(container("c", resources={"limits": {"ephemeral-storage": "1Gi"}}), **spec)


EMPTY_DIR = {"name": "v", "emptyDir": {"sizeLimit": "500Mi"}}


@pytest.mark.parametrize(
    ("of", "use", "apart", "text"),
    [
        (limited(), disk_use(layer=GI), False, ""),
        (
            pod(container("c"), volumes=[EMPTY_DIR]), disk_use(volume=500 * MI + 1), False,
            'Usage of EmptyDir volume "v" exceeds the limit "500Mi". ',
        ),
        (pod(container("c"), volumes=[EMPTY_DIR]), disk_use(volume=500 * MI), False, ""),
        (
            limited(), disk_use(layer=GI // 2, volume=GI), False,
            "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ",
        ),
        (
            pod(container("c", resources={"limits": {"ephemeral-storage": "1Gi"}}), container("d")),
            disk_use(layer=GI, logs=1), False,
            'Container c exceeded its local ephemeral storage limit "1Gi". ',
        ),
        (
            pod(container("c", resources={"limits": {"ephemeral-storage": "1Gi"}}), container("d")),
            disk_use(layer=5 * GI, logs=1), True, "",
        ),
    ],
)  # fmt: skip
def test_limits_that_pods_name(of: Object, use: PodUse, apart: bool, text: str) -> None:
    assert violation(of, use, images_apart=apart) == text


def test_who_has_to_be_measured() -> None:
    assert has_limits(limited())
    assert has_limits(pod(container("c"), volumes=[EMPTY_DIR]))
    in_memory = {"name": "v", "emptyDir": {"sizeLimit": "500Mi", "medium": "Memory"}}
    assert not has_limits(pod(container("c"), volumes=[in_memory]))


# Critical pods


def sized(name: str, cpu: str = "", *, guaranteed: bool = False, **spec: Any) -> Object:
    requests = {"cpu": cpu, "memory": "1Mi"} if cpu else {}
    resources = {"requests": requests, "limits": requests} if guaranteed else {"requests": requests}
    return pod(container("c", resources=resources), name=name, **spec)


CRITICAL = sized("critical", "1", priority=2_000_000_000)


@pytest.mark.parametrize(
    ("others", "missing", "victims"),
    [
        # As many best-effort pods as are needed for their places, nobody else.
        ([sized("a"), sized("b"), sized("c", "1")], {"pods": 1}, ["a"]),
        # The burstable pod that comes nearest, not the guaranteed one.
        ([sized("big", "2"), sized("fits", "600m"), sized("safe", "500m", guaranteed=True)], {"cpu": 500}, ["fits"]),
        ([sized("small", "200m"), sized("safe", "1", guaranteed=True)], {"cpu": 900}, ["safe"]),
        # Another critical pod is never in the way.
        ([sized("vital", "4", priority=2_000_000_001)], {"cpu": 100}, None),
        ([sized("small", "100m")], {"cpu": 900}, None),
    ],
)
def test_whom_a_critical_pod_pushes_off(
    others: list[Object], missing: dict[str, int], victims: list[str] | None
) -> None:
    planned = plan_preemption(CRITICAL, others, missing)
    assert (None if planned is None else names(planned)) == victims


def test_whoever_leaves_already_is_counted_on() -> None:
    leaving = [sized("leaving", "1")]
    assert plan_preemption(CRITICAL, [sized("other", "1")], {"cpu": 900}, leaving=leaving) == []
