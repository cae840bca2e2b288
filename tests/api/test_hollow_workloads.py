"""Workloads on hollow nodes: the real server, controllers and scheduler, and pods that live in memory."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.api.hollow import HollowCluster, image_patch, reach, workload
from timonel.api.clock import SystemClock
from timonel.api.objects import find_by, is_deleting, name_of
from timonel.api.refs import (
    DAEMON_SETS,
    DEPLOYMENTS,
    EVENTS,
    JOBS,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICE_ACCOUNTS,
    STATEFUL_SETS,
)
from timonel.controllers.pods import is_ready
from timonel.simulation.nodes import LEASE_NAMESPACE, SILENT, is_silent
from timonel.storage.etcd import open_etcd
from timonel.testing.server import start_api_server
from timonel.testing.waiting import stays

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "etcd"])
async def cluster(request, tmp_path_factory) -> AsyncIterator[HollowCluster]:
    """On either store: other suites with hollow nodes are about what is above it, and take the quicker one."""
    store = None
    if request.param == "etcd":
        store = await open_etcd(request.getfixturevalue("new_config")(), SystemClock())
    server = await start_api_server(tmp_path_factory.mktemp("server"), store=store)
    cluster = HollowCluster(server, nodes=4)
    await cluster.start()
    await cluster.see(PODS, DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS, JOBS, EVENTS, NODES, LEASES)
    await cluster.see(SERVICE_ACCOUNTS)
    yield cluster
    await cluster.stop()
    await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def namespace(cluster) -> str:
    name = f"ns-{uuid.uuid4().hex[:8]}"
    await cluster.client.create(NAMESPACES, {"metadata": {"name": name}})
    await reach("the service account", lambda: cluster.lister(SERVICE_ACCOUNTS).get(name, "default"))
    return name


def availability(cluster, ref, name, namespace):
    """Whether all is rolled out, as `kubectl rollout status` judges."""
    found = cluster.get(ref, name, namespace)
    status, wanted = found["status"], found["spec"].get("replicas", 1)
    return (
        status.get("observedGeneration") == found["metadata"].get("generation")
        and status.get("updatedReplicas") == status.get("availableReplicas") == status.get("replicas") == wanted
    )


async def test_nodes_are_like_those_of_kubelets(cluster) -> None:
    nodes = cluster.lister(NODES).list()
    assert sorted(map(name_of, nodes)) == [f"hollow-{number:04}" for number in range(4)]
    for node in nodes:
        conditions = {item["type"]: item["status"] for item in node["status"]["conditions"]}
        assert conditions["Ready"] == "True"
        assert node["spec"]["podCIDR"].endswith("/24")
        assert node["metadata"]["labels"]["kubernetes.io/hostname"] == name_of(node)
        await reach("its lease", lambda node=node: cluster.lister(LEASES).get(LEASE_NAMESPACE, name_of(node)))
        lease = cluster.get(LEASES, name_of(node), LEASE_NAMESPACE)
        assert lease["spec"]["holderIdentity"] == name_of(node)
        assert lease["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]
    assert len({node["spec"]["podCIDR"] for node in nodes}) == 4


async def test_a_deployment_is_rolled_out_and_back_within_its_bounds(cluster, namespace) -> None:
    least, most = [100], [0]

    def watch_bounds(*_: object) -> None:
        found = [pod for pod in cluster.lister(PODS).list(namespace) if not is_deleting(pod)]
        most[0] = max(most[0], len(found))
        if most[0] >= 8:
            least[0] = min(least[0], sum(map(is_ready, found)))

    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": 1}}
    made = workload("Deployment", "web", namespace, replicas=8, strategy=strategy)
    await cluster.client.create(DEPLOYMENTS, made)
    await reach("rolled out", lambda: availability(cluster, DEPLOYMENTS, "web", namespace))
    cluster.informers.of(PODS).add_handler(on_update=watch_bounds, on_delete=watch_bounds)
    for image in ("i:2", "i:1"):
        await cluster.client.patch(DEPLOYMENTS, "web", image_patch(image), namespace, type="strategic")
        await reach(f"rolled to {image}", lambda image=image: cluster.images(namespace) == [image] * 8
                    and availability(cluster, DEPLOYMENTS, "web", namespace))  # fmt: skip
    assert least[0] >= 7
    assert most[0] <= 10
    sets = {item["spec"]["template"]["spec"]["containers"][0]["image"]: item
            for item in cluster.lister(REPLICA_SETS).list(namespace)}  # fmt: skip
    assert {image: item["spec"]["replicas"] for image, item in sets.items()} == {"i:1": 8, "i:2": 0}
    assert sets["i:1"]["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    await cluster.client.delete(DEPLOYMENTS, "web", namespace)
    await reach("its pods are gone", lambda: not cluster.lister(PODS).list(namespace))


async def test_a_version_that_never_gets_ready_stops_the_rollout(cluster, namespace) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    made = workload("Deployment", "web", namespace, replicas=3, strategy=strategy, progressDeadlineSeconds=2)
    await cluster.client.create(DEPLOYMENTS, made)
    await reach("rolled out", lambda: availability(cluster, DEPLOYMENTS, "web", namespace))
    change = image_patch("broken:1")
    change["spec"]["template"]["metadata"] = {"annotations": {"hollow.timonel/failure": "image-pull"}}
    await cluster.client.patch(DEPLOYMENTS, "web", change, namespace, type="strategic")

    def progress():
        return find_by(cluster.get(DEPLOYMENTS, "web", namespace)["status"].get("conditions"), "type", "Progressing")

    await reach("the deadline is told", lambda: (progress() or {}).get("reason") == "ProgressDeadlineExceeded")
    assert cluster.images(namespace) == ["i:1"] * 3
    assert len(cluster.pods(namespace)) == 4


async def test_a_stateful_set_goes_up_and_down_in_order(cluster, namespace) -> None:
    order: list[tuple[str, str]] = []

    def made(pod) -> None:
        if pod["metadata"]["namespace"] == namespace:
            ready = sorted(name_of(other) for other in cluster.ready(namespace))
            order.append((name_of(pod), ",".join(ready)))

    cluster.informers.of(PODS).add_handler(on_add=made)
    await cluster.client.create(STATEFUL_SETS, workload("StatefulSet", "db", namespace, replicas=3, serviceName="db"))
    await reach("three are ready", lambda: len(cluster.ready(namespace)) == 3)
    assert order == [("db-0", ""), ("db-1", "db-0"), ("db-2", "db-0,db-1")]
    ended: list[str] = []
    cluster.informers.of(PODS).add_handler(
        on_delete=lambda pod: ended.append(name_of(pod)) if pod["metadata"]["namespace"] == namespace else None
    )
    await cluster.client.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 0}}, namespace, type="merge")
    await reach("none is left", lambda: not cluster.lister(PODS).list(namespace))
    assert ended == ["db-2", "db-1", "db-0"]


async def test_a_daemon_set_has_a_pod_on_every_node_that_it_may_use(cluster, namespace) -> None:
    await cluster.client.patch(NODES, "hollow-0003", {"metadata": {"labels": {"disk": "none"}}}, type="merge")
    term = {"matchExpressions": [{"key": "disk", "operator": "DoesNotExist"}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    spec = {"containers": [{"name": "c", "image": "i:1"}], "affinity": affinity}
    await cluster.client.create(DAEMON_SETS, workload("DaemonSet", "log", namespace, {"spec": spec}))

    def where() -> list[str]:
        return sorted(pod["spec"].get("nodeName", "") for pod in cluster.ready(namespace))

    await reach("on three nodes", lambda: where() == ["hollow-0000", "hollow-0001", "hollow-0002"])
    await cluster.client.patch(NODES, "hollow-0003", {"metadata": {"labels": {"disk": None}}}, type="merge")
    await reach("on the fourth, too", lambda: len(where()) == 4)
    await cluster.client.patch(DAEMON_SETS, "log", image_patch("i:2"), namespace, type="strategic")
    await reach("rolled", lambda: cluster.images(namespace) == ["i:2"] * 4)


def job(name: str, namespace: str, command: str, **spec):
    container = {"name": "c", "image": "busybox", "command": ["sh", "-c", command]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    made = {"metadata": {"name": name, "namespace": namespace}, "spec": {"template": template, **spec}}
    return {"apiVersion": "batch/v1", "kind": "Job", **made}


async def test_a_job_counts_its_pods(cluster, namespace) -> None:
    await cluster.client.create(JOBS, job("sum", namespace, "exit 0", completions=12, parallelism=5))
    await reach("complete", lambda: cluster.get(JOBS, "sum", namespace)["status"].get("completionTime"))
    status = cluster.get(JOBS, "sum", namespace)["status"]
    assert (status["succeeded"], status.get("failed", 0)) == (12, 0)
    assert len(cluster.pods(namespace)) == 12
    assert {pod["status"]["phase"] for pod in cluster.pods(namespace)} == {"Succeeded"}


async def test_a_job_ends_by_its_pod_failure_policy(cluster, namespace) -> None:
    rule = {"action": "FailJob", "onExitCodes": {"containerName": "c", "operator": "In", "values": [42]}}
    made = job("sum", namespace, "exit 42", backoffLimit=6, podFailurePolicy={"rules": [rule]})
    await cluster.client.create(JOBS, made)

    def failed():
        return find_by(cluster.get(JOBS, "sum", namespace)["status"].get("conditions"), "type", "Failed")

    await reach("failed", lambda: (failed() or {}).get("status") == "True")
    assert failed()["reason"] == "PodFailurePolicy"
    assert "exit code 42" in failed()["message"]
    assert cluster.get(JOBS, "sum", namespace)["status"]["failed"] == 1


async def test_failures_that_are_ignored_do_not_count(cluster, namespace) -> None:
    """Pods that a disruption ended are made again, and the Job goes on."""
    rule = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    made = job("sum", namespace, "sleep 3600", backoffLimit=0, podFailurePolicy={"rules": [rule]})
    await cluster.client.create(JOBS, made)
    await reach("it runs", lambda: len(cluster.ready(namespace)) == 1)
    first = name_of(cluster.ready(namespace)[0])
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": first, "namespace": namespace}}
    await cluster.client.create(PODS, eviction, namespace, subresource="eviction", name=first)
    await reach("another runs", lambda: [name_of(pod) for pod in cluster.ready(namespace)] not in ([], [first]))
    assert not find_by(cluster.get(JOBS, "sum", namespace)["status"].get("conditions"), "type", "Failed")


async def test_a_wrong_annotation_is_named_in_an_event(cluster, namespace) -> None:
    template = {"metadata": {"labels": {"app": "web"}, "annotations": {"hollow.timonel/failure": "explode"}}}
    await cluster.client.create(DEPLOYMENTS, workload("Deployment", "web", namespace, template))
    await reach("it runs all the same", lambda: len(cluster.ready(namespace)) == 1)

    def told() -> list[str]:
        events = cluster.lister(EVENTS).list(namespace)
        return [event["message"] for event in events if event["reason"] == "InvalidHollowAnnotation"]

    await reach("an event", told)
    assert "'explode' is none of crash, never-ready, image-pull, none" in told()[0]


async def test_a_silent_node_leaves_its_pods_as_they_are(cluster, namespace) -> None:
    """Until the node controller acts, which its own suite shows in virtual time."""
    await cluster.client.create(DEPLOYMENTS, workload("Deployment", "web", namespace, replicas=1))
    await reach("it runs", lambda: len(cluster.ready(namespace)) == 1)
    node = cluster.ready(namespace)[0]["spec"]["nodeName"]
    await cluster.client.patch(NODES, node, {"metadata": {"annotations": {SILENT: "true"}}}, type="merge")
    await reach("its kubelet knows", lambda: is_silent(cluster.hollow_nodes.get("", node)))
    pod = cluster.ready(namespace)[0]
    await cluster.client.delete(PODS, name_of(pod), namespace)
    await reach("it is to go", lambda: is_deleting(cluster.get(PODS, name_of(pod), namespace)))
    await stays(lambda: cluster.lister(PODS).get(namespace, name_of(pod)) is not None, "the pod")
    await cluster.client.patch(NODES, node, {"metadata": {"annotations": {SILENT: None}}}, type="merge")
    await reach("it is gone", lambda: cluster.lister(PODS).get(namespace, name_of(pod)) is None)
