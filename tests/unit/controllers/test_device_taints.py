"""Pods leave devices whose taints they do not tolerate.

Source: kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#device-taints-and-tolerations
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.controllers.cluster import Cluster
from tests.unit.controllers.test_resource_claims import CLUSTER, SHARED, claim, pod, user
from timonel.api.objects import Object, is_deleting, name_of
from timonel.api.refs import PODS, RESOURCE_SLICES
from timonel.controllers.device_taints import taints_of, tolerated_until
from timonel.testing.clock import settle

START = datetime(2026, 1, 1, tzinfo=UTC)
BROKEN = {"key": "broken", "value": "yes", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}


def tolerating(seconds: int | None = None, **fields: Any) -> Object:
    made: Object = {"operator": "Exists", "effect": "NoExecute", **fields}
    return made if seconds is None else made | {"tolerationSeconds": seconds}


@pytest.mark.parametrize(
    ("tolerations", "seconds"),
    [
        ([], 0),
        ([tolerating()], None),
        ([tolerating(30)], 30),
        ([tolerating(-5)], 0),
        ([tolerating(30), tolerating(10)], 10),
        ([tolerating(30), tolerating()], None),
        ([tolerating(key="other")], 0),
        ([tolerating(effect="NoSchedule")], 0),
        ([tolerating(effect="")], None),
        ([tolerating(key="broken", operator="Equal", value="yes")], None),
        ([tolerating(key="broken", operator="Equal", value="no")], 0),
        ([{"key": "broken", "value": "yes"}], None),
    ],
)
def test_how_long_a_taint_is_tolerated(tolerations: list[Object], seconds: int | None) -> None:
    until = None if seconds is None else START + timedelta(seconds=seconds)
    assert tolerated_until(tolerations, BROKEN, START + timedelta(hours=1)) == until


def pool(*taints: Object, name: str = "s", generation: int = 1, device: str = "d") -> Object:
    return {
        "kind": "ResourceSlice",
        "apiVersion": "resource.k8s.io/v1",
        "metadata": {"name": name},
        "spec": {
            "driver": "gpu.example",
            "nodeName": "n",
            "pool": {"name": "n", "generation": generation, "resourceSliceCount": 1},
            "devices": [{"name": device, "taints": list(taints)}],
        },
    }


def test_only_the_newest_generation_of_a_pool_counts() -> None:
    old, new = pool(BROKEN), pool(name="t", generation=2)
    assert taints_of([old], "d") == [BROKEN]
    assert taints_of([old, new], "d") == []
    assert taints_of([pool(BROKEN | {"effect": "NoSchedule"})], "d") == []
    assert taints_of([pool(BROKEN)], "other") == []


def allocated(*tolerations: Object) -> Object:
    made = claim(user("p"))
    device: Object = {"request": "r", "driver": "gpu.example", "pool": "n", "device": "d"}
    if tolerations:
        device["tolerations"] = list(tolerations)
    made["status"]["allocation"] = {"devices": {"results": [device]}}
    return made


RUNNING = pod("p", SHARED, phase="Running", nodeName="n")


def is_evicted(cluster: Cluster) -> bool:
    return any(is_deleting(each) for each in cluster.client.objects(PODS)) or not cluster.client.objects(PODS)


def told(cluster: Cluster) -> list[str]:
    return [message for _, reason, message in cluster.events() if reason == "DeviceTaintManagerEviction"]


async def test_a_pod_leaves_a_broken_device() -> None:
    async with Cluster(allocated(), RUNNING, pool(), **CLUSTER) as cluster:
        assert not is_evicted(cluster)
        cluster.client.change(RESOURCE_SLICES, "s", "", lambda obj: obj["spec"]["devices"][0].update(taints=[BROKEN]))
        await settle(300)
        assert is_evicted(cluster)
        (found,) = cluster.client.objects(PODS)
        (condition,) = found["status"]["conditions"]
        assert {field: condition[field] for field in ("type", "status", "reason", "message")} == {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByDeviceTaintManager",
            "message": "Device Taint manager: deleting due to NoExecute taint",
        }
        await cluster.clock.advance(2)
        assert told(cluster) == ["Marking for deletion"]


async def test_a_pod_that_tolerates_it_for_a_while() -> None:
    async with Cluster(allocated(tolerating(30)), RUNNING, pool(BROKEN), **CLUSTER) as cluster:
        await cluster.clock.advance(29)
        assert not is_evicted(cluster)
        await cluster.clock.advance(2)
        assert is_evicted(cluster)


async def test_a_taint_that_goes_in_time() -> None:
    async with Cluster(allocated(tolerating(30)), RUNNING, pool(BROKEN), **CLUSTER) as cluster:
        await cluster.clock.advance(10)
        cluster.client.change(RESOURCE_SLICES, "s", "", lambda obj: obj["spec"]["devices"][0].pop("taints"))
        await cluster.clock.advance(60)
        assert not is_evicted(cluster)
        assert told(cluster) == ["Cancelling deletion"]


@pytest.mark.parametrize(
    "others",
    [
        [allocated(), pod("p", SHARED), pool(BROKEN)],  # not on a node
        [claim(user("p")), RUNNING, pool(BROKEN)],  # no device allocated
        [allocated(), pod("q", SHARED, nodeName="n"), pool(BROKEN)],  # reserved for another
        [allocated(), RUNNING, pool(BROKEN, device="other")],
        [allocated(tolerating()), RUNNING, pool(BROKEN)],
    ],
)
async def test_pods_that_stay(others: list[Object]) -> None:
    async with Cluster(*others, without=(*CLUSTER["without"], "resourceclaim-controller")) as cluster:
        await cluster.clock.advance(60)
        assert not is_evicted(cluster)
        assert [name_of(each) for each in cluster.client.objects(PODS)]
