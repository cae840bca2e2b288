"""Bad days of controllers, on hollow nodes and a real server: whatever happens on the way, they arrive, write no more
than it takes, and say what stands in their way.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from tests.api.hollow import HollowCluster, image_patch, reach, workload
from tests.api.unlucky import UnluckyClient
from timonel.api.errors import ApiError, Conflict, TooManyRequests
from timonel.api.objects import controller_of, find_by, name_of, uid_of
from timonel.api.refs import (
    DEPLOYMENTS,
    EVENTS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    RESOURCE_QUOTAS,
    SERVICE_ACCOUNTS,
    STATEFUL_SETS,
)
from timonel.client.transport import ConnectionFailed
from timonel.testing.server import start_api_server
from timonel.testing.waiting import stays, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory) -> AsyncIterator[HollowCluster]:
    server = await start_api_server(tmp_path_factory.mktemp("server"))
    cluster = HollowCluster(server, nodes=3, client=UnluckyClient(server.client))
    await cluster.start()
    await cluster.see(PODS, DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, EVENTS, SERVICE_ACCOUNTS, RESOURCE_QUOTAS)
    yield cluster
    await cluster.stop()
    await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def namespace(cluster) -> AsyncIterator[str]:
    """Nothing of it is left at work for the tests after."""
    name = f"ns-{uuid.uuid4().hex[:8]}"
    await cluster.client.create(NAMESPACES, {"metadata": {"name": name}})
    await reach("the service account", lambda: cluster.lister(SERVICE_ACCOUNTS).get(name, "default"))
    yield name
    cluster.controllers_client.settle()
    for ref in (DEPLOYMENTS, STATEFUL_SETS, REPLICA_SETS, PODS):
        await cluster.client.delete_collection(ref, name)
    await reach("nothing is left", lambda: not cluster.lister(PODS).list(name), 40)


@pytest_asyncio.fixture(loop_scope="module")
async def unlucky(cluster) -> AsyncIterator[UnluckyClient]:
    client = cluster.controllers_client
    client.settle()
    client.written.clear()
    yield client
    client.settle()
    cluster.clock.jumped = timedelta(0)


def is_rolled_out(cluster, namespace: str, name: str = "web") -> bool:
    found = cluster.get(DEPLOYMENTS, name, namespace)
    status, wanted = found["status"], found["spec"].get("replicas")
    return (
        status.get("observedGeneration") == found["metadata"].get("generation")
        and status.get("updatedReplicas") == status.get("availableReplicas") == status.get("replicas") == wanted
    )


async def stays_quiet(unlucky: UnluckyClient) -> None:
    """Nothing is written when nothing is left to do, but for what may be under way now."""
    last = -1

    def is_still() -> bool:
        nonlocal last
        before, last = last, unlucky.written.total()
        return last == before

    await wait_until(is_still)
    await stays(lambda: unlucky.written.total() == last, "nothing is written", seconds=0.7)


async def make(cluster, namespace: str, replicas: int, name: str = "web", **spec) -> None:
    await cluster.client.create(DEPLOYMENTS, workload("Deployment", name, namespace, replicas=replicas, **spec))


# Whose pods they are


async def test_an_orphan_is_adopted_and_others_pods_are_left_alone(cluster, namespace, unlucky) -> None:
    """kubernetes.io/docs/concepts/workloads/controllers/replicaset: a pod with a controller is nobody else's."""
    labels = {"app": "web"}
    spec = {"containers": [{"name": "c", "image": "i:1"}]}
    bare = {"metadata": {"name": "bare", "namespace": namespace, "labels": labels}, "spec": spec}
    await cluster.client.create(PODS, bare)
    other = {"apiVersion": "v1", "kind": "ConfigMap", "name": "some", "uid": "1-2-3", "controller": True}
    held = {"metadata": {"name": "held", "namespace": namespace, "labels": labels, "ownerReferences": [other]}}
    await cluster.client.create(PODS, held | {"spec": spec})
    selector = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}}
    replica_set = {"metadata": {"name": "web", "namespace": namespace}, "spec": {"replicas": 3, **selector}}
    await cluster.client.create(REPLICA_SETS, replica_set)
    await reach("three ready", lambda: cluster.get(REPLICA_SETS, "web", namespace)["status"].get("readyReplicas") == 3)
    owners = {name_of(pod): (controller_of(pod) or {}).get("name") for pod in cluster.pods(namespace)}
    assert owners.pop("bare") == "web"
    assert owners.pop("held", "some") == "some"  # the garbage collector may have taken it: its owner does not exist
    assert list(owners.values()) == ["web", "web"]


async def test_two_with_the_same_selector_do_not_fight(cluster, namespace, unlucky) -> None:
    for name, replicas in (("one", 3), ("two", 2)):
        made = workload("Deployment", name, namespace, replicas=replicas)
        made["spec"]["selector"] = {"matchLabels": {"app": "both"}}
        made["spec"]["template"]["metadata"]["labels"] = {"app": "both"}
        made["spec"]["template"]["spec"]["containers"][0]["image"] = f"i:{name}"
        await cluster.client.create(DEPLOYMENTS, made)
    await reach("both rolled out", lambda: all(is_rolled_out(cluster, namespace, name) for name in ("one", "two")))
    assert cluster.images(namespace) == ["i:one"] * 3 + ["i:two"] * 2
    assert unlucky.written["create", "pods"] == 5
    await stays_quiet(unlucky)


async def test_deleted_and_made_again_between_events(cluster, namespace, unlucky) -> None:
    for number in range(5):
        made = workload("Deployment", "web", namespace, replicas=3)
        made["spec"]["template"]["spec"]["containers"][0]["image"] = f"i:{number}"
        if number:
            await cluster.client.delete(DEPLOYMENTS, "web", namespace)
        latest = await cluster.client.create(DEPLOYMENTS, made)
    await reach("only the last one's", lambda: cluster.images(namespace) == ["i:4"] * 3
                and len(cluster.lister(PODS).list(namespace)) == 3)  # fmt: skip
    [replica_set] = cluster.lister(REPLICA_SETS).list(namespace)
    assert controller_of(replica_set)["uid"] == uid_of(latest)
    await stays_quiet(unlucky)


# A server that refuses


async def test_storms_of_conflicts_and_too_many_requests(cluster, namespace, unlucky) -> None:
    """Two writes of three are refused for a while."""
    numbers = itertools.count()

    def refuse(verb, ref) -> ApiError | None:
        number = next(numbers)
        if number > 45 or number % 3 == 2:
            return None
        return Conflict("somebody was quicker") if number % 3 else TooManyRequests("not now", retry_after_seconds=0)

    unlucky.before = refuse
    await make(cluster, namespace, 6)
    await reach("rolled out", lambda: is_rolled_out(cluster, namespace), 40)
    await cluster.client.patch(DEPLOYMENTS, "web", image_patch("i:2"), namespace, type="strategic")
    await reach("rolled on", lambda: cluster.images(namespace) == ["i:2"] * 6 and is_rolled_out(cluster, namespace), 40)
    # What was refused was tried again, each time after a longer wait: not twice as often as without the storm.
    assert unlucky.written.total() < 150
    unlucky.settle()
    assert len(cluster.lister(REPLICA_SETS).list(namespace)) == 2
    await stays_quiet(unlucky)


async def test_answers_that_are_lost_double_nothing(cluster, namespace, unlucky) -> None:
    """The write happened, and the controller is told that the connection failed."""
    rng = random.Random(5)
    unlucky.after = lambda verb, ref: ConnectionFailed("lost") if rng.random() < 0.3 else None
    most = [0]

    def count(*_: object) -> None:
        most[0] = max(most[0], len(cluster.pods(namespace)))

    cluster.informers.of(PODS).add_handler(on_add=count)
    await make(cluster, namespace, 8)
    await cluster.client.create(STATEFUL_SETS, workload("StatefulSet", "db", namespace, replicas=3, serviceName="db"))
    await reach("all run", lambda: len(cluster.ready(namespace)) == 11 and is_rolled_out(cluster, namespace))
    unlucky.settle()
    assert len(cluster.lister(REPLICA_SETS).list(namespace)) == 1
    assert sorted(name_of(p) for p in cluster.pods(namespace) if name_of(p).startswith("db")) == [
        "db-0",
        "db-1",
        "db-2",
    ]
    # A create whose answer was lost is seen in the cache before another is made, or taken back at once.
    assert most[0] <= 11 + 3
    await stays_quiet(unlucky)


async def test_a_quota_that_ends_in_the_middle(cluster, namespace, unlucky) -> None:
    quota = {"metadata": {"name": "few", "namespace": namespace}, "spec": {"hard": {"pods": "4"}}}
    await cluster.client.create(RESOURCE_QUOTAS, quota)
    await reach("counted", lambda: cluster.get(RESOURCE_QUOTAS, "few", namespace)["status"].get("used"))
    await make(cluster, namespace, 10)

    def condition(kind: str):
        return find_by(cluster.get(DEPLOYMENTS, "web", namespace)["status"].get("conditions"), "type", kind) or {}

    await reach("four run", lambda: len(cluster.ready(namespace)) == 4)
    await reach("it is told", lambda: condition("ReplicaFailure").get("status") == "True")
    assert "exceeded quota: few" in condition("ReplicaFailure")["message"]
    # Slow start: 1, 2, 4 at once, and then one refused attempt a time, each waiting twice as long.
    await stays(lambda: unlucky.written["create", "pods"] <= 20, "few attempts", seconds=1.0)
    events = [event for event in cluster.lister(EVENTS).list(namespace) if event["reason"] == "FailedCreate"]
    assert any("exceeded quota: few" in event["message"] for event in events)
    await cluster.client.patch(RESOURCE_QUOTAS, "few", {"spec": {"hard": {"pods": "12"}}}, namespace, type="merge")
    await reach("all run", lambda: is_rolled_out(cluster, namespace) and len(cluster.ready(namespace)) == 10)
    await reach("nothing is in the way", lambda: not condition("ReplicaFailure"))
    assert len(cluster.pods(namespace)) == 10


# Time and connections


async def test_watches_that_break_all_the_time(cluster, namespace, unlucky) -> None:
    async def breaking() -> None:
        while True:
            unlucky.disconnect()
            await asyncio.sleep(0.15)

    task = asyncio.create_task(breaking())
    try:
        await make(cluster, namespace, 6)
        await reach("rolled out", lambda: is_rolled_out(cluster, namespace), 40)
        await cluster.client.patch(DEPLOYMENTS, "web", image_patch("i:2"), namespace, type="strategic")
        await reach("rolled on", lambda: cluster.images(namespace) == ["i:2"] * 6, 40)
    finally:
        task.cancel()
    assert unlucky.written["create", "pods"] == 12
    await reach("settled", lambda: is_rolled_out(cluster, namespace), 40)


@pytest.mark.parametrize("hours", [48, -48])
async def test_a_wall_clock_that_jumps(cluster, namespace, unlucky, hours) -> None:
    """Nothing is judged as late, or as done, only since somebody set the clock."""
    await make(cluster, namespace, 4)
    await reach("rolled out", lambda: is_rolled_out(cluster, namespace))
    cluster.clock.jumped = timedelta(hours=hours)
    await cluster.client.patch(DEPLOYMENTS, "web", image_patch("i:2"), namespace, type="strategic")
    await reach("rolled on", lambda: cluster.images(namespace) == ["i:2"] * 4 and is_rolled_out(cluster, namespace))
    progressing = find_by(cluster.get(DEPLOYMENTS, "web", namespace)["status"]["conditions"], "type", "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("True", "NewReplicaSetAvailable")
    await stays_quiet(unlucky)


# A controller that dies


@pytest.mark.parametrize("after", [1, 2, 3, 4, 5, 7, 9, 12])
async def test_a_manager_that_dies_after_any_write(cluster, namespace, unlucky, after) -> None:
    """The write happened; nobody saw its answer; another manager goes on from what the API says."""
    made = workload("Deployment", "web", namespace, replicas=4)
    service_set = workload("StatefulSet", "db", namespace, replicas=2, serviceName="db")
    unlucky.stop_after = after
    await cluster.client.create(DEPLOYMENTS, made)
    await cluster.client.create(STATEFUL_SETS, service_set)
    async with asyncio.timeout(20):
        await unlucky.done.wait()
    await cluster.kill_manager()
    unlucky.settle()
    await cluster.start_manager()
    await reach("all run", lambda: len(cluster.ready(namespace)) == 6 and is_rolled_out(cluster, namespace))
    assert len(cluster.lister(REPLICA_SETS).list(namespace)) == 1
    assert len(cluster.pods(namespace)) == 6
    assert sum(controller_of(pod)["kind"] == "ReplicaSet" for pod in cluster.pods(namespace)) == 4
    await stays_quiet(unlucky)


async def test_a_new_manager_writes_nothing_that_is_already_so(cluster, namespace, unlucky) -> None:
    await make(cluster, namespace, 5)
    await cluster.client.create(STATEFUL_SETS, workload("StatefulSet", "db", namespace, replicas=2, serviceName="db"))
    await reach("all run", lambda: len(cluster.ready(namespace)) == 7 and is_rolled_out(cluster, namespace))
    await stays_quiet(unlucky)
    await cluster.kill_manager()
    unlucky.written.clear()
    await cluster.start_manager()
    await stays(lambda: not +unlucky.written, "nothing is written", seconds=0.7)
