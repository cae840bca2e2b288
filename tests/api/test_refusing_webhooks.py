"""Workloads whose pods a webhook refuses, now and then or for a while: they get there, tell why not, and try no more
often than it takes.

The server, controllers, scheduler are real; nodes are hollow, and an admission plugin stands for the webhook.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.api.hollow import HollowCluster, image_patch, reach, workload
from tests.api.refusing import DENIED, FAILED, Verdict, denied, every_second, failed, webhook
from tests.api.unlucky import UnluckyClient
from timonel.api.objects import Object, find_by, uid_of
from timonel.api.refs import (
    DAEMON_SETS,
    DEPLOYMENTS,
    EVENTS,
    JOBS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    SERVICE_ACCOUNTS,
    STATEFUL_SETS,
    ResourceRef,
)
from timonel.testing.server import start_api_server

pytestmark = pytest.mark.asyncio(loop_scope="module")
KINDS = {
    "ReplicaSet": REPLICA_SETS,
    "Deployment": DEPLOYMENTS,
    "StatefulSet": STATEFUL_SETS,
    "DaemonSet": DAEMON_SETS,
    "Job": JOBS,
}
REPLICAS = 3
"""As many as nodes, for DaemonSets."""
WORDS = {"denied": DENIED, "failed": FAILED}
VERDICTS = {"denied": denied, "failed": failed}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory) -> AsyncIterator[HollowCluster]:
    server = await start_api_server(tmp_path_factory.mktemp("server"))
    cluster = HollowCluster(server, nodes=REPLICAS, client=UnluckyClient(server.client))
    await cluster.start()
    await cluster.see(PODS, EVENTS, SERVICE_ACCOUNTS, *KINDS.values())
    yield cluster
    await cluster.stop()
    await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def namespace(cluster) -> AsyncIterator[str]:
    name = f"ns-{uuid.uuid4().hex[:8]}"
    await cluster.client.create(NAMESPACES, {"metadata": {"name": name}})
    await reach("the service account", lambda: cluster.lister(SERVICE_ACCOUNTS).get(name, "default"))
    yield name
    for ref in (*KINDS.values(), PODS):
        await cluster.client.delete_collection(ref, name)
    await reach("nothing is left", lambda: not cluster.lister(PODS).list(name), 40)


def made(kind: str, namespace: str) -> Object:
    if kind == "Job":
        template = {
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i:1", "command": ["true"]}]}
        }
        spec = {"completions": REPLICAS, "parallelism": REPLICAS, "template": template}
        return {"metadata": {"name": "web", "namespace": namespace}, "spec": spec}
    options = {"serviceName": "web"} if kind == "StatefulSet" else {}
    return workload(kind, "web", namespace, **options, **({} if kind == "DaemonSet" else {"replicas": REPLICAS}))


def is_done(cluster: HollowCluster, kind: str, namespace: str) -> bool:
    status = cluster.get(KINDS[kind], "web", namespace).get("status") or {}
    told = status.get("succeeded") or status.get("availableReplicas") or status.get("numberAvailable")
    return bool(told == REPLICAS)


def messages(cluster: HollowCluster, kind: str, namespace: str) -> list[str]:
    """Of Events about pods of this kind's that were not made."""
    return [
        event["message"]
        for event in cluster.lister(EVENTS).list(namespace)
        if event["reason"] == "FailedCreate" and event["involvedObject"]["kind"] == kind and event["type"] == "Warning"
    ]


def failure(cluster: HollowCluster, ref: ResourceRef, namespace: str) -> Object:
    owners = cluster.lister(ref).list(namespace)
    found = [find_by((each.get("status") or {}).get("conditions"), "type", "ReplicaFailure") for each in owners]
    return next(filter(None, found), {})


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("kind", KINDS)
async def test_every_second_pod_is_refused(cluster, namespace, kind: str, word: str) -> None:
    writes = cluster.controllers_client.written
    writes.clear()
    verdict: Verdict = every_second(VERDICTS[word])
    with webhook(cluster.server, verdict) as hook:
        await cluster.client.create(KINDS[kind], made(kind, namespace))
        await reach("all are there", lambda: is_done(cluster, kind, namespace), 40)
    assert hook.passed.total() == REPLICAS == len({uid_of(pod) for pod in cluster.pods(namespace)})
    # Of two attempts one is refused; a batch that is under way when the first is refused adds a few.
    assert hook.met <= 2 * REPLICAS + 2
    assert writes.total() < 40
    await reach("it is told", lambda: messages(cluster, maker_of(kind), namespace))
    assert all(WORDS[word] in message for message in messages(cluster, maker_of(kind), namespace))
    for ref in (REPLICA_SETS, DEPLOYMENTS):
        await reach("nothing is in the way any more", lambda ref=ref: not failure(cluster, ref, namespace))
    before = writes.total()
    await asyncio.sleep(0.7)
    assert writes.total() == before


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("kind", KINDS)
async def test_all_pods_are_refused_for_a_while(cluster, namespace, kind: str, word: str) -> None:
    writes = cluster.controllers_client.written
    writes.clear()
    with webhook(cluster.server, VERDICTS[word], delay_seconds=0.05) as hook:
        await cluster.client.create(KINDS[kind], made(kind, namespace))
        await reach("it is told", lambda: messages(cluster, maker_of(kind), namespace))
        if kind in ("ReplicaSet", "Deployment"):
            await reach("the status tells", lambda: failure(cluster, KINDS[kind], namespace))
            condition = failure(cluster, KINDS[kind], namespace)
            assert (condition["status"], condition["reason"]) == ("True", "FailedCreate")
            assert WORDS[word] in condition["message"]
        await asyncio.sleep(1.0)
        # Each attempt waits twice as long as the one before, from 5 ms on: ten in five seconds at the most.
        assert hook.met <= 14
        assert writes.total() < 40
        assert not cluster.pods(namespace)
        hook.verdict = None
        await reach("all are there", lambda: is_done(cluster, kind, namespace), 40)
        assert hook.passed.total() == REPLICAS


async def test_a_rollout_goes_on_between_refusals(cluster, namespace) -> None:
    with webhook(cluster.server, every_second(denied)):
        await cluster.client.create(DEPLOYMENTS, made("Deployment", namespace))
        await reach("all are there", lambda: is_done(cluster, "Deployment", namespace), 40)
        await cluster.client.patch(DEPLOYMENTS, "web", image_patch("i:2"), namespace, type="strategic")
        await reach("rolled", lambda: cluster.images(namespace) == ["i:2"] * REPLICAS, 40)
    assert len(cluster.lister(REPLICA_SETS).list(namespace)) == 2


def maker_of(kind: str) -> str:
    """Whose controller makes the pods."""
    return "ReplicaSet" if kind == "Deployment" else kind
