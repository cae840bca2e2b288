"""The manager: one leader, further components on the same informers, readiness, and a server that comes and goes."""

import asyncio

import pytest

from tests.unit.controllers.cluster import Cluster, deployment, namespace, node
from tests.unit.controllers.rights import identities, without_rights
from timonel.api.errors import Forbidden, ServiceUnavailable
from timonel.api.refs import LEASES, PODS, SERVICE_ACCOUNTS
from timonel.client.discovery import discover
from timonel.controllers.manager import CONTROLLERS, ControllerManager, ManagerConfig
from timonel.controllers.slim import SlimPods, slim_pod
from timonel.testing.clock import VirtualClock, settle
from timonel.testing.fake_client import FakeClient


async def stop(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_leads_at_once_and_is_ready():
    clock = VirtualClock()
    client = FakeClient(namespace("default"), clock=clock)
    manager = ControllerManager(client, clock, ManagerConfig(identity="a"))
    task = asyncio.create_task(manager.run())
    await settle(200)
    await asyncio.wait_for(manager.wait_ready(), 1)
    assert clock.monotonic() == 0
    [lease] = [item for item in client.objects(LEASES) if item["metadata"]["namespace"] == "kube-system"]
    assert (lease["metadata"]["name"], lease["spec"]["holderIdentity"]) == ("timonel-manager", "a")
    assert len(client.objects(SERVICE_ACCOUNTS, "default")) == 1
    await stop(task)


async def test_second_manager_does_nothing_until_the_first_is_gone():
    clock = VirtualClock()
    client = FakeClient(namespace("default"), clock=clock)
    first = asyncio.create_task(ControllerManager(client, clock, ManagerConfig(identity="a")).run())
    await settle(200)
    second = ControllerManager(client, clock, ManagerConfig(identity="b"))
    waiting = asyncio.create_task(second.run())
    await clock.advance(60)
    assert client.objects(LEASES)[0]["spec"]["holderIdentity"] == "a"
    await stop(first)
    await clock.advance(1)
    await asyncio.wait_for(second.wait_ready(), 1)
    assert client.objects(LEASES)[0]["spec"]["holderIdentity"] == "b"
    await stop(waiting)


async def test_hosted_component_shares_the_informers_and_its_loss_is_a_failure():
    clock = VirtualClock()
    client = FakeClient(namespace("default"), clock=clock)

    class Hosted:
        def __init__(self, around):
            self.pods = around.informers.of(PODS)

        async def run(self):
            await self.pods.wait_synced()
            raise RuntimeError("lost")

    manager = ControllerManager(client, clock, ManagerConfig(leader_election=False), hosted=[Hosted])
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(manager.run(), 1)
    assert caught.group_contains(RuntimeError, match="lost")
    assert client.reads.count(("list", PODS)) == 1


async def test_server_that_goes_away_for_a_while_loses_nothing():
    async with Cluster(deployment(), node("node-1")) as cluster:
        await cluster.run(5)
        cluster.client.fail(ServiceUnavailable("away"), times=200)
        cluster.client.disconnect()
        cluster.set_template("nginx:2")
        await cluster.run(60)
        assert [pod["spec"]["containers"][0]["image"] for pod in cluster.pods] == ["nginx:2"] * 3
        cluster.client.expire_history()
        cluster.set_template("nginx:3")
        await cluster.run(60)
        assert [pod["spec"]["containers"][0]["image"] for pod in cluster.serving()] == ["nginx:3"] * 3


def test_names_in_the_table_are_unique():
    names = [name for name, _, _ in CONTROLLERS]
    assert len(names) == len(set(names))


def test_every_controller_has_a_role_but_those_that_work_as_the_manager():
    accounts = {account for _, account, _ in CONTROLLERS}
    assert without_rights(accounts - {""}) == set()
    # Upstream's controller of token Secrets has no role either: it works as the manager.
    assert [name for name, account, _ in CONTROLLERS if not account] == ["serviceaccount-token-controller"]


async def test_one_controllers_role_does_not_do_for_another():
    refused = []
    client = identities(FakeClient(), refused)("deployment-controller")
    with pytest.raises(Forbidden):
        await client.create(PODS, {"metadata": {"name": "x", "namespace": "default"}})
    assert len(refused) == 1


async def test_discovery_is_whole_or_fails():
    client = FakeClient()
    found = [(row.ref.group, row.ref.plural) for row in await discover(client)]
    assert sorted(found) == sorted({(ref.group, ref.plural) for ref in client.served})
    client.fail(ServiceUnavailable("group is away"))
    with pytest.raises(ServiceUnavailable):
        await discover(client)


def test_slim_pod_keeps_what_placing_and_owning_need():
    container = {
        "name": "c",
        "image": "i",
        "command": ["x"],
        "env": [{"name": "A", "value": "1"}],
        "resources": {"requests": {"cpu": "1"}},
        "ports": [{"hostPort": 80, "containerPort": 80}],
        "readinessProbe": {},
    }
    pod = {
        "metadata": {"name": "p", "labels": {"a": "b"}, "managedFields": [{}]},
        "spec": {"nodeName": "n", "containers": [container], "tolerations": [{"operator": "Exists"}]},
        "status": {"phase": "Running", "containerStatuses": [{"name": "c", "restartCount": 3, "state": {}}]},
    }
    assert slim_pod(pod) == {
        "metadata": {"name": "p", "labels": {"a": "b"}},
        "spec": {
            "nodeName": "n",
            "containers": [
                {
                    "name": "c",
                    "image": "i",
                    "ports": [{"hostPort": 80, "containerPort": 80}],
                    "resources": {"requests": {"cpu": "1"}},
                }
            ],
            "tolerations": [{"operator": "Exists"}],
        },
        "status": {"phase": "Running", "containerStatuses": [{"name": "c", "restartCount": 3}]},
    }


def test_slim_pods_keep_what_is_alike_once_and_say_the_same():
    def pod(name):
        condition = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        token = {"name": f"kube-api-access-{name}", "projected": {"sources": [{"secret": {"name": "s"}}]}}
        return {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "i"}], "volumes": [token], "nodeName": "n"},
            "status": {"phase": "Running", "podIP": name, "conditions": [condition]},
        }

    slim = SlimPods()
    one, two = slim(pod("one")), slim(pod("two"))
    assert (one, two) == (slim_pod(pod("one")), slim_pod(pod("two")))
    assert one["spec"]["containers"] is two["spec"]["containers"]
    assert one["status"]["conditions"][0] is two["status"]["conditions"][0]
    assert one["metadata"]["labels"] is two["metadata"]["labels"]
    assert one["spec"]["volumes"][0]["projected"] is two["spec"]["volumes"][0]["projected"]
