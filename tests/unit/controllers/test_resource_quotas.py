"""What the quota controller writes, and when: kubernetes.io/docs/concepts/policy/resource-quotas."""

from __future__ import annotations

import pytest

from tests.unit.controllers.cluster import Cluster, node
from timonel.api.errors import conflict
from timonel.api.refs import (
    CONFIGMAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    RESOURCE_QUOTAS,
    SERVICES,
    ResourceRef,
)
from timonel.controllers.resourcequota.kinds import QuotableKinds
from timonel.testing.clock import VirtualClock, settle
from timonel.testing.fake_client import FakeClient
from timonel.testing.fake_store import SERVED

OTHERS = ("root-ca-cert-publisher", "serviceaccount", "namespace", "garbage-collector", "pod-garbage-collector")


def quota(hard, name="quota", status=None, **spec):
    return {
        "kind": "ResourceQuota", "apiVersion": "v1", "metadata": {"name": name, "namespace": "default"},
        "spec": {"hard": hard, **spec}, "status": status or {},
    }  # fmt: skip


def config_map(name):
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name, "namespace": "default"}}


def pod(name, **fields):
    container = {"name": "c", "resources": {"requests": {"cpu": "500m"}}}
    return {
        "kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [container], "nodeName": "gone"}, **fields,
    }  # fmt: skip


def status_of(cluster, name="quota"):
    return next(item for item in cluster.client.objects(RESOURCE_QUOTAS) if item["metadata"]["name"] == name)["status"]


def writes_of(cluster):
    return [write for write in cluster.client.written() if write.ref == RESOURCE_QUOTAS]


def charge(cluster, **used):
    """As admission does."""
    cluster.client.change(RESOURCE_QUOTAS, "quota", "default", lambda obj: obj["status"]["used"].update(used))


async def test_status_is_stated_promptly_and_written_only_when_it_changes():
    hard = {"configmaps": "3", "requests.cpu": "2", "pods": "5", "count/deployments.apps": "1"}
    async with Cluster(quota(hard), config_map("a"), pod("p"), without=OTHERS) as cluster:
        used = {"configmaps": "1", "requests.cpu": "500m", "pods": "1", "count/deployments.apps": "0"}
        await cluster.run(1)
        assert status_of(cluster) == {"hard": hard, "used": used}
        writes = writes_of(cluster)
        assert {(write.verb, write.subresource) for write in writes} == {("update", "status")}
        await cluster.run(3)
        assert writes_of(cluster) == writes

        hard = {"configmaps": "9", "services": "1"}
        cluster.client.change(RESOURCE_QUOTAS, "quota", "default", lambda obj: obj["spec"].update(hard=hard))
        await cluster.run(1)
        assert status_of(cluster) == {
            "hard": {"configmaps": "9", "services": "1"}, "used": {"configmaps": "1", "services": "0"},
        }  # fmt: skip


async def test_use_is_given_back_when_objects_go_or_end():
    hard = {"configmaps": "3", "pods": "5", "count/pods": "5", "services.nodeports": "3", "requests.storage": "9Gi"}
    service = {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "s", "namespace": "default"},
               "spec": {"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]}}  # fmt: skip
    claim = {"kind": "PersistentVolumeClaim", "apiVersion": "v1",
             "metadata": {"name": "v", "namespace": "default", "finalizers": ["kubernetes.io/pvc-protection"]},
             "spec": {"resources": {"requests": {"storage": "4Gi"}}}}  # fmt: skip
    async with Cluster(quota(hard), config_map("a"), pod("p"), service, claim, without=OTHERS) as cluster:
        cluster.dead.add("gone")
        await cluster.run(2)
        assert status_of(cluster)["used"] == {
            "configmaps": "1", "pods": "1", "count/pods": "1", "services.nodeports": "2", "requests.storage": "4Gi",
        }  # fmt: skip
        await cluster.client.delete(CONFIGMAPS, "a", "default")
        cluster.client.change(PODS, "p", "default", lambda obj: obj.update(status={"phase": "Failed"}))
        cluster.client.change(SERVICES, "s", "default", lambda obj: obj["spec"].update(type="ClusterIP"))
        await cluster.client.delete(PERSISTENT_VOLUME_CLAIMS, "v", "default")  # and its protection ends
        await cluster.run(2)
        assert status_of(cluster)["used"] == {
            "configmaps": "0", "pods": "0", "count/pods": "1", "services.nodeports": "0", "requests.storage": "0",
        }  # fmt: skip


async def test_a_charge_is_not_undone_before_its_object_can_have_been_seen():
    async with Cluster(quota({"configmaps": "3"}), config_map("a"), config_map("b"), without=OTHERS) as cluster:
        await cluster.run(2)
        charge(cluster, configmaps="3")  # admission let "c" through, which is on its way to the store
        await cluster.client.delete(CONFIGMAPS, "a", "default")
        await settle(200)
        assert status_of(cluster)["used"] == {"configmaps": "3"}
        cluster.client.add(config_map("c"))
        await cluster.run(1)
        assert status_of(cluster)["used"] == {"configmaps": "2"}


async def test_under_steady_charges_the_old_is_still_given_back():
    async with Cluster(quota({"configmaps": "99"}), config_map("a"), config_map("b"), without=OTHERS) as cluster:
        await cluster.run(2)
        await cluster.client.delete(CONFIGMAPS, "a", "default")
        await settle(200)
        for number in range(6):
            used = int(status_of(cluster)["used"]["configmaps"])
            charge(cluster, configmaps=str(used + 1))
            cluster.client.add(config_map(f"new-{number}"))
            await cluster.run(0.25, step=0.25)
        # 1 + 6 are there; what is charged within the last moment may be counted twice, "a" no more.
        assert 7 <= int(status_of(cluster)["used"]["configmaps"]) < 8 + 3
        await cluster.run(2)
        assert status_of(cluster)["used"] == {"configmaps": "7"}


async def test_a_lost_race_is_tried_again_at_once():
    async with Cluster(quota({"configmaps": "3"}), config_map("a"), without=OTHERS) as cluster:
        await cluster.run(2)
        cluster.client.fail(conflict(RESOURCE_QUOTAS, "quota"), verb="update", ref=RESOURCE_QUOTAS, times=3)
        await cluster.client.delete(CONFIGMAPS, "a", "default")
        await cluster.run(2)
        assert status_of(cluster)["used"] == {"configmaps": "0"}


async def test_what_nobody_serves_waits_until_somebody_does():
    things = ResourceRef("example.com", "v1", "things", "Thing")
    clock = VirtualClock()
    client = FakeClient(quota({"count/things.example.com": "2", "configmaps": "2"}), clock=clock)
    async with Cluster(client=client, clock=clock, without=OTHERS) as cluster:
        await cluster.run(1)
        assert status_of(cluster)["used"] == {"configmaps": "0"}
        client.served = (*SERVED, things)
        client.add({"kind": "Thing", "apiVersion": "example.com/v1", "metadata": {"name": "t", "namespace": "default"}})
        definition = {"kind": "CustomResourceDefinition", "apiVersion": CUSTOM_RESOURCE_DEFINITIONS.api_version}
        client.add({**definition, "metadata": {"name": "things.example.com"}})
        await cluster.run(2)
        assert status_of(cluster)["used"] == {"configmaps": "0", "count/things.example.com": "1"}


async def test_kinds_that_nobody_serves_are_doubted_now_and_then_and_not_remembered():
    clock = VirtualClock()
    doubts = []

    class Kinds(QuotableKinds):
        def doubt(self):
            doubts.append(clock.monotonic())

    nothing = dict.fromkeys(("client", "informers", "is_concerned", "on_release", "on_known", "on_change"))
    kinds = Kinds(clock=clock, **nothing)
    for number in range(100):
        kinds.check_counts({"count/things.example.com": "1", f"count/things{number}.example.com": "1", "pods": "1"})
        kinds.check_counts({"count/things.example.com": "1"})
        await clock.advance(2)
    assert len(doubts) == 100  # each new name is one
    assert len(kinds._missed) <= 4
    doubts.clear()
    for _ in range(10):
        kinds.check_counts({"count/things.example.com": "1"})
        await clock.advance(1)
    assert len(doubts) == 2


async def test_the_safety_net_corrects_what_somebody_wrote():
    async with Cluster(quota({"configmaps": "2"}), without=OTHERS) as cluster:
        await cluster.run(2)
        wrong = {"hard": {"configmaps": "9"}, "used": {"configmaps": "7"}}
        cluster.client.change(RESOURCE_QUOTAS, "quota", "default", lambda obj: obj.update(status=wrong))
        await cluster.run(5)
        assert status_of(cluster) == wrong  # no news to the controller, which writes it itself
        await cluster.clock.advance(300)
        await cluster.run(2)
        assert status_of(cluster) == {"hard": {"configmaps": "2"}, "used": {"configmaps": "0"}}


async def test_a_pod_stuck_on_a_lost_node_counts_no_more_once_its_time_is_over():
    going = {"deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30}
    stuck = pod("p", metadata={"name": "p", "namespace": "default", "finalizers": ["x/y"], **going})
    async with Cluster(quota({"pods": "2"}), stuck, node("gone"), without=OTHERS) as cluster:
        cluster.dead.add("gone")
        await cluster.run(2)
        assert status_of(cluster)["used"] == {"pods": "1"}
        await cluster.clock.advance(60)
        await cluster.run(2)
        assert status_of(cluster)["used"] == {"pods": "0"}


@pytest.mark.parametrize("used_by", ["pod", "finished", "nobody"])
async def test_a_claim_stays_while_a_pod_on_a_node_uses_it(used_by):
    finalizer = "kubernetes.io/pvc-protection"
    claim = {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": {"name": "v", "namespace": "default"}}
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "v"}}]
    user = pod("p", status={"phase": "Running"})
    user["spec"] |= {"volumes": volumes, "nodeName": "" if used_by == "finished" else "n"}
    objects = [claim] if used_by == "nobody" else [claim, user]
    async with Cluster(*objects, without=OTHERS) as cluster:
        await cluster.run(1)
        found = cluster.client.objects(PERSISTENT_VOLUME_CLAIMS)
        assert found[0]["metadata"]["finalizers"] == [finalizer]  # also one from before admission added it
        await cluster.client.delete(PERSISTENT_VOLUME_CLAIMS, "v", "default")
        await cluster.run(1)
        assert len(cluster.client.objects(PERSISTENT_VOLUME_CLAIMS)) == (1 if used_by == "pod" else 0)
        if used_by == "pod":
            cluster.client.remove(PODS, "p", "default")
            await cluster.run(1)
            assert cluster.client.objects(PERSISTENT_VOLUME_CLAIMS) == []
