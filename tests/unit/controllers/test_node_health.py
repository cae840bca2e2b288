"""Nodes that fall silent: conditions, taints, pods that leave the endpoints at once and their node in time."""

import ipaddress

import pytest

from tests.unit.controllers.cluster import Cluster, deployment, namespace, node
from timonel.api.clock import parse_time
from timonel.api.errors import ServiceUnavailable
from timonel.api.objects import find_by, name_of
from timonel.api.placement import tolerates
from timonel.api.refs import LEASES, NODES, PODS
from timonel.controllers.manager import ManagerConfig
from timonel.controllers.nodes import EvictionConfig, NodeIpamConfig, NodeLifecycleConfig
from timonel.controllers.nodes.cidrs import CidrPool
from timonel.controllers.nodes.eviction import eviction_delay
from timonel.controllers.nodes.health import NOT_READY, UNREACHABLE, plan_taints
from timonel.controllers.pods import condition_of, is_ready
from timonel.testing.clock import VirtualClock
from timonel.testing.fake_client import FakeClient

NOW = parse_time("2026-01-01T00:01:00Z")
TAINT = {"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}


def taints(cluster, name):
    found = next(item for item in cluster.client.objects(NODES) if name_of(item) == name)
    return sorted((taint["key"], taint["effect"]) for taint in found["spec"].get("taints", ()))


def quick(**fields):
    lifecycle = NodeLifecycleConfig(grace_seconds=20, startup_grace_seconds=30, eviction=EvictionConfig(rate=1))
    return ManagerConfig(leader_election=False, node_lifecycle=lifecycle, **fields)


async def test_silent_node_loses_readiness_endpoints_and_pods():
    tolerations = [{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}]
    subject = deployment()
    subject["spec"]["template"]["spec"]["tolerations"] = tolerations
    async with Cluster(subject, node("node-1"), node("node-2"), config=quick()) as cluster:
        await cluster.run(5)
        assert {pod["spec"]["nodeName"] for pod in cluster.pods} == {"node-1"}
        cluster.dead.add("node-1")
        await cluster.run(12)
        assert len(cluster.serving()) == 3
        await cluster.run(18)
        silent = next(item for item in cluster.client.objects(NODES) if name_of(item) == "node-1")
        ready = condition_of(silent, "Ready")
        assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
        assert ready["message"] == "Kubelet stopped posting node status."
        assert taints(cluster, "node-1") == [(UNREACHABLE, "NoExecute"), (UNREACHABLE, "NoSchedule")]
        assert taints(cluster, "node-2") == []
        assert not any(map(is_ready, cluster.pods))
        assert ("Pod", "NodeNotReady", "Node is not ready") in cluster.events()
        await cluster.run(40)
        assert [pod["spec"]["nodeName"] for pod in cluster.serving()] == ["node-2"] * 3
        left = [pod for pod in cluster.pods if pod["spec"]["nodeName"] == "node-1"]
        assert all(pod["metadata"]["deletionTimestamp"] for pod in left)
        assert condition_of(left[0], "DisruptionTarget")["reason"] == "DeletionByTaintManager"


async def test_node_that_comes_back_is_clean_again():
    async with Cluster(node("node-1"), node("node-2"), config=quick()) as cluster:
        cluster.dead.add("node-1")
        await cluster.run(40)
        assert taints(cluster, "node-1")
        cluster.dead.clear()

        def recover(obj):
            ready = find_by(obj["status"]["conditions"], "type", "Ready")
            ready |= {"status": "True", "lastHeartbeatTime": "2026-01-01T00:01:00Z"}

        cluster.client.change(NODES, "node-1", "", recover)
        await cluster.run(5)
        assert taints(cluster, "node-1") == []


async def test_nobody_is_sent_away_when_no_node_is_ready():
    async with Cluster(deployment(), node("node-1"), config=quick()) as cluster:
        await cluster.run(5)
        cluster.dead.add("node-1")
        await cluster.run(60)
        assert taints(cluster, "node-1") == [(UNREACHABLE, "NoSchedule")]
        assert not any(pod["metadata"].get("deletionTimestamp") for pod in cluster.pods)


async def test_node_that_never_reported_gets_the_longer_grace():
    subject = node("node-2")
    subject["status"] = {}
    async with Cluster(node("node-1"), subject, config=quick()) as cluster:
        cluster.dead.add("node-2")
        await cluster.run(25)
        assert condition_of(cluster.client.objects(NODES)[1], "Ready") is None
        await cluster.run(10)
        ready = condition_of(cluster.client.objects(NODES)[1], "Ready")
        assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusNeverUpdated")


def ready_of(cluster, name):
    found = next(item for item in cluster.client.objects(NODES) if name_of(item) == name)
    return condition_of(found, "Ready")["status"]


async def test_a_lease_that_is_good_for_longer_is_believed():
    lease = {
        "kind": "Lease",
        "apiVersion": "coordination.k8s.io/v1",
        "metadata": {"name": "node-1", "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": "node-1", "leaseDurationSeconds": 80, "renewTime": "2026-01-01T00:00:00.000000Z"},
    }
    async with Cluster(node("node-1"), node("node-2"), lease, config=quick()) as cluster:
        cluster.dead.add("node-1")
        await cluster.run(70)
        assert ready_of(cluster, "node-1") == "True"
        await cluster.run(20)
        assert ready_of(cluster, "node-1") == "Unknown"


async def test_silence_does_not_count_while_the_server_is_away():
    async with Cluster(node("node-1"), node("node-2"), config=quick()) as cluster:
        cluster.dead.add("node-1")
        cluster.client.fail(ServiceUnavailable("away"), verb="list", ref=LEASES, times=2)
        await cluster.run(40)
        assert ready_of(cluster, "node-1") == "True"
        await cluster.run(20)
        assert ready_of(cluster, "node-1") == "Unknown"


class FrozenServer(FakeClient):
    """Answers the first question for a node's Lease after half a minute."""

    frozen = True

    async def list(self, ref, namespace="", **options):
        if ref == LEASES and options.get("field_selector") and self.frozen:
            self.frozen = False
            await self.clock.sleep(30)
        return await super().list(ref, namespace, **options)


async def test_silence_does_not_count_while_the_server_is_frozen():
    clock = VirtualClock()
    client = FrozenServer(namespace("default"), node("node-1"), node("node-2"), clock=clock)
    async with Cluster(client=client, clock=clock, config=quick()) as cluster:
        cluster.dead.add("node-1")
        await cluster.run(65)
        assert ready_of(cluster, "node-1") == "True"
        await cluster.run(15)
        assert ready_of(cluster, "node-1") == "Unknown"


def tainted(status="True", taints=(), **spec):
    return {
        "metadata": {"name": "n"},
        "spec": {"taints": list(taints), **spec},
        "status": {"conditions": [{"type": "Ready", "status": status}]},
    }


@pytest.mark.parametrize(
    ("subject", "no_execute", "expected"),
    [
        (tainted(), "", None),
        (tainted("False"), "", [(NOT_READY, "NoSchedule")]),
        (tainted("Unknown"), UNREACHABLE, [(UNREACHABLE, "NoExecute"), (UNREACHABLE, "NoSchedule")]),
        (tainted(taints=[{"key": NOT_READY, "effect": "NoSchedule"}]), "", []),
        (tainted(taints=[{"key": "mine", "effect": "NoExecute"}]), "", None),
        (tainted(unschedulable=True), "", [("node.kubernetes.io/unschedulable", "NoSchedule")]),
        (tainted("False", taints=[TAINT]), NOT_READY, [(NOT_READY, "NoExecute"), (NOT_READY, "NoSchedule")]),
    ],
)
def test_taints_follow_conditions(subject, no_execute, expected):
    planned = plan_taints(subject, no_execute, NOW)
    found = None if planned is None else sorted((taint["key"], taint["effect"]) for taint in planned)
    assert found == expected


@pytest.mark.parametrize(
    ("tolerations", "expected"),
    [
        ([], 0),
        ([{"operator": "Exists"}], None),
        ([{"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": 300}], 240),
        ([{"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": 0}], -60),
        ([{"key": UNREACHABLE, "operator": "Exists"}, {"operator": "Exists", "tolerationSeconds": 90}], 30),
        ([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoSchedule"}], 0),
    ],
)
def test_eviction_delay_counts_from_the_taint(tolerations, expected):
    assert eviction_delay(tolerations, [TAINT], NOW) == expected


def test_equal_needs_key_and_value():
    taint = {"key": "a", "value": "1", "effect": "NoExecute"}
    assert tolerates({"key": "a", "value": "1"}, taint)
    assert not tolerates({"key": "a", "value": "2"}, taint)
    assert not tolerates({"value": "1"}, taint)


@pytest.mark.parametrize(
    ("held", "free"),
    [
        ([], ["10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24", "10.244.3.0/24", None]),
        (["10.244.0.0/24", "10.244.2.0/24"], ["10.244.1.0/24", "10.244.3.0/24", None]),
        (["10.244.0.0/23", "192.168.0.0/16", "fd00::/64"], ["10.244.2.0/24", "10.244.3.0/24", None]),
        (["10.0.0.0/8"], [None]),
    ],
)
def test_lowest_free_network(held, free):
    pool = CidrPool(ipaddress.ip_network("10.244.0.0/22"), 24)
    for cidr in held:
        pool.hold(cidr)
    assert [pool.take() for _ in free] == free


def test_a_network_is_free_again_once_all_its_holders_let_go():
    pool = CidrPool(ipaddress.ip_network("10.244.0.0/22"), 24)
    assert pool.take() == "10.244.0.0/24"
    pool.hold("10.244.0.0/24")  # the cache tells of what was taken
    pool.hold("10.244.0.0/23")
    pool.release("10.244.0.0/24")
    pool.release("10.244.0.0/24")
    assert pool.take() == "10.244.2.0/24"
    pool.release("10.244.0.0/23")
    assert pool.take() == "10.244.0.0/24"
    assert pool.take() == "10.244.1.0/24"


async def test_every_node_gets_its_own_pod_network():
    nodes = [node(f"node-{number}") for number in range(5)]
    nodes[3]["spec"] = {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]}
    config = quick(node_ipam=NodeIpamConfig(cluster_cidrs=("10.244.0.0/16", "fd00::/48")))
    async with Cluster(*nodes, config=config) as cluster:
        await cluster.run(2)
        found = [item["spec"]["podCIDRs"] for item in cluster.client.objects(NODES)]
        assert sorted(cidrs[0] for cidrs in found) == [f"10.244.{number}.0/24" for number in range(5)]
        assert found[0] == ["10.244.0.0/24", "fd00::/64"]


async def test_pods_of_a_node_that_is_gone_are_collected():
    async with Cluster(deployment(), node("node-1"), node("node-2"), config=quick()) as cluster:
        await cluster.run(5)
        cluster.dead.add("node-1")
        cluster.client.remove(NODES, "node-1")
        await cluster.run(30)
        assert {pod["spec"]["nodeName"] for pod in cluster.pods} == {"node-1"}
        await cluster.run(20)
        assert [pod["spec"]["nodeName"] for pod in cluster.client.objects(PODS)] == ["node-2"] * 3
