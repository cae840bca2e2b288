"""Resource quotas over a real server, with the controller that counts beside it: what is charged, refused, given back.

The life cycles are those of kubernetes.io/docs/concepts/policy/resource-quotas.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.api.quotas import config_map, limit, pod, run_controllers, stop, used
from timonel.api.objects import Object
from timonel.testing.server import RunningServer
from timonel.testing.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def controllers(server: RunningServer) -> AsyncIterator[None]:
    task = await run_controllers(server)
    yield
    await stop(task)


async def test_parallel_creates_never_exceed(server: RunningServer, namespace: str) -> None:
    await limit(server, namespace, {"configmaps": "10", "count/configmaps": "10"})
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    answers = await asyncio.gather(*(server.request("POST", path, config_map(f"m-{n}")) for n in range(100)))
    assert sorted(status for status, _ in answers) == [201] * 10 + [403] * 90
    refused = next((n, body) for n, (status, body) in enumerate(answers) if status == 403)
    assert refused[1] == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": f'configmaps "m-{refused[0]}" is forbidden: exceeded quota: quota, requested:'
                   " configmaps=1,count/configmaps=1, used: configmaps=10,count/configmaps=10, limited:"
                   " configmaps=10,count/configmaps=10",
        "reason": "Forbidden", "details": {"name": f"m-{refused[0]}", "kind": "configmaps"}, "code": 403,
    }  # fmt: skip
    _, listed = await server.request("GET", path)
    assert len(listed["items"]) == 10
    await used(server, namespace, {"configmaps": "10", "count/configmaps": "10"})


async def test_churn_never_exceeds_and_ends_exact(server: RunningServer, namespace: str) -> None:
    """While objects come and go, the count that gives back must not overlook those that were just charged."""
    await limit(server, namespace, {"count/configmaps": "5"})
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    made = 0

    async def come_and_go(worker: int) -> None:
        nonlocal made
        for n in range(1000):
            if made >= 20:
                return
            status, _ = await server.request("POST", path, config_map(f"m-{worker}-{n}"))
            _, listed = await server.request("GET", path)
            assert len(listed["items"]) <= 5
            if status == 201:
                made += 1
                assert (await server.request("DELETE", f"{path}/m-{worker}-{n}"))[0] == 200
            await asyncio.sleep(0.05)

    async with asyncio.timeout(20):  # much was given back meanwhile
        await asyncio.gather(*map(come_and_go, range(8)))
    await used(server, namespace, {"count/configmaps": "0"})


async def test_use_is_given_back(server: RunningServer, namespace: str) -> None:
    await limit(server, namespace, {"secrets": "1", "count/secrets": "1", "resourcequotas": "1"})
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    assert (await server.request("POST", secrets, config_map("one")))[0] == 201
    await used(server, namespace, {"secrets": "1", "count/secrets": "1", "resourcequotas": "1"})
    status, answer = await server.request("POST", secrets, config_map("two"))
    assert (status, answer["reason"]) == (403, "Forbidden")
    assert (await server.request("DELETE", f"{secrets}/one"))[0] == 200
    await used(server, namespace, {"secrets": "0", "count/secrets": "0", "resourcequotas": "1"})
    assert (await server.request("POST", secrets, config_map("two")))[0] == 201


async def test_dry_runs_and_taken_names_are_charged_nothing(server: RunningServer, namespace: str) -> None:
    await limit(server, namespace, {"count/configmaps": "2"})
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    for _ in range(3):
        assert (await server.request("POST", f"{path}?dryRun=All", config_map("m")))[0] == 201
    assert (await server.request("POST", path, config_map("m")))[0] == 201
    for _ in range(3):
        assert (await server.request("POST", path, config_map("m")))[0] == 409
    await used(server, namespace, {"count/configmaps": "1"})
    assert (await server.request("POST", path, config_map("n")))[0] == 201
    assert (await server.request("POST", f"{path}?dryRun=All", config_map("o")))[0] == 403


async def test_a_pod_is_held_against_what_it_asks_for(server: RunningServer, namespace: str) -> None:
    hard = {"pods": "5", "cpu": "1", "memory": "500Mi", "ephemeral-storage": "50Gi", "requests.example.com/dongle": "3"}
    await limit(server, namespace, hard)
    path = f"/api/v1/namespaces/{namespace}/pods"
    dongle = {"example.com/dongle": "2"}
    fitting = pod("p", {"cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi"} | dongle, dongle)
    assert (await server.request("POST", path, fitting))[0] == 201
    taken = {
        "pods": "1", "cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", "requests.example.com/dongle": "2",
    }  # fmt: skip
    await used(server, namespace, taken)
    status, answer = await server.request("POST", path, pod("q", {"cpu": "600m", "memory": "100Mi"}))
    assert (status, answer["message"]) == (
        403, 'pods "q" is forbidden: exceeded quota: quota, requested: cpu=600m, used: cpu=500m, limited: cpu=1',
    )  # fmt: skip
    status, answer = await server.request("POST", path, pod("q", {"cpu": "5", "memory": "1Gi"} | dongle, dongle))
    assert answer["message"].endswith(
        "exceeded quota: quota, requested: cpu=5,memory=1Gi,requests.example.com/dongle=2, used: cpu=500m,memory=252Mi,"
        "requests.example.com/dongle=2, limited: cpu=1,memory=500Mi,requests.example.com/dongle=3"
    )
    status, answer = await server.request("POST", path, pod("q"))
    assert answer["message"] == 'pods "q" is forbidden: failed quota: quota: must specify cpu for: c; memory for: c'
    await used(server, namespace, taken)
    assert (await server.request("DELETE", f"{path}/p"))[0] == 200
    await used(server, namespace, dict.fromkeys(hard, "0"))


async def test_a_finished_pod_gives_back_all_but_its_count(server: RunningServer, namespace: str) -> None:
    await limit(server, namespace, {"pods": "1", "requests.cpu": "1", "count/pods": "3"})
    path = f"/api/v1/namespaces/{namespace}/pods"
    assert (await server.request("POST", path, pod("p", {"cpu": "1"})))[0] == 201
    patch = {"status": {"phase": "Succeeded"}}
    headers = {"Content-Type": "application/merge-patch+json"}
    assert (await server.request("PATCH", f"{path}/p/status", patch, headers=headers))[0] == 200
    await used(server, namespace, {"pods": "0", "requests.cpu": "0", "count/pods": "1"})
    assert (await server.request("POST", path, pod("q", {"cpu": "1"})))[0] == 201


async def test_scopes_share_pods_out(server: RunningServer, namespace: str) -> None:
    for name, scope in (("ends", "Terminating"), ("stays", "NotTerminating"), ("best", "BestEffort")):
        await limit(server, namespace, {"pods": "5"}, name, scopes=[scope])
    classes = {"scopeName": "PriorityClass", "operator": "In", "values": ["system-cluster-critical"]}
    await limit(server, namespace, {"pods": "1"}, "critical", scopeSelector={"matchExpressions": [classes]})
    path = f"/api/v1/namespaces/{namespace}/pods"
    assert (await server.request("POST", path, pod("long", {"cpu": "1"})))[0] == 201
    assert (await server.request("POST", path, pod("short", activeDeadlineSeconds=3600)))[0] == 201
    critical = {"priorityClassName": "system-cluster-critical"}
    assert (await server.request("POST", path, pod("first", {"cpu": "1"}, **critical)))[0] == 201
    status, answer = await server.request("POST", path, pod("second", {"cpu": "1"}, **critical))
    assert (status, answer["message"]) == (
        403, 'pods "second" is forbidden: exceeded quota: critical, requested: pods=1, used: pods=1, limited: pods=1',
    )  # fmt: skip
    for name, count in (("ends", "1"), ("stays", "2"), ("best", "1"), ("critical", "1")):
        await used(server, namespace, {"pods": count}, name)
    # A pod that gets a deadline changes sides.
    headers = {"Content-Type": "application/merge-patch+json"}
    patch = {"spec": {"activeDeadlineSeconds": 60}}
    assert (await server.request("PATCH", f"{path}/long", patch, headers=headers))[0] == 200
    await used(server, namespace, {"pods": "2"}, "ends")
    await used(server, namespace, {"pods": "1"}, "stays")


async def test_services_are_charged_for_what_they_become(server: RunningServer, namespace: str) -> None:
    hard = {"services": "2", "services.nodeports": "1", "services.loadbalancers": "1"}
    await limit(server, namespace, hard)
    path = f"/api/v1/namespaces/{namespace}/services"
    ports = [{"port": 80}]
    assert (await server.request("POST", path, {"metadata": {"name": "a"}, "spec": {"ports": ports}}))[0] == 201
    balancer = {"metadata": {"name": "b"}, "spec": {"type": "LoadBalancer", "ports": ports}}
    assert (await server.request("POST", path, balancer))[0] == 201
    await used(server, namespace, {"services": "2", "services.nodeports": "1", "services.loadbalancers": "1"})
    headers = {"Content-Type": "application/merge-patch+json"}
    status, answer = await server.request("PATCH", f"{path}/a", {"spec": {"type": "NodePort"}}, headers=headers)
    assert (status, answer["message"]) == (
        403, 'services "a" is forbidden: exceeded quota: quota, requested: services.nodeports=1, used:'
             " services.nodeports=1, limited: services.nodeports=1",
    )  # fmt: skip
    assert (await server.request("PATCH", f"{path}/b", {"spec": {"type": "ClusterIP"}}, headers=headers))[0] == 200
    await used(server, namespace, {"services": "2", "services.nodeports": "0", "services.loadbalancers": "0"})
    assert (await server.request("PATCH", f"{path}/a", {"spec": {"type": "NodePort"}}, headers=headers))[0] == 200
    await used(server, namespace, {"services": "2", "services.nodeports": "1", "services.loadbalancers": "0"})


async def test_claims_are_charged_by_storage_class(server: RunningServer, namespace: str) -> None:
    of_gold = "gold.storageclass.storage.k8s.io"
    hard = {
        "persistentvolumeclaims": "3", "requests.storage": "10Gi", f"{of_gold}/requests.storage": "2Gi",
        f"{of_gold}/persistentvolumeclaims": "1",
    }  # fmt: skip
    await limit(server, namespace, hard)
    path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"

    def claim(name: str, size: str, storage_class: str) -> Object:
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
        return {"metadata": {"name": name}, "spec": {**spec, "storageClassName": storage_class}}

    status, answer = await server.request("POST", path, claim("big", "3Gi", "gold"))
    assert (status, answer["message"]) == (
        403, f'persistentvolumeclaims "big" is forbidden: exceeded quota: quota, requested: {of_gold}/requests.storage'
             f"=3Gi, used: {of_gold}/requests.storage=0, limited: {of_gold}/requests.storage=2Gi",
    )  # fmt: skip
    assert (await server.request("POST", path, claim("a", "1Gi", "gold")))[0] == 201
    assert (await server.request("POST", path, claim("b", "3Gi", "tin")))[0] == 201
    await used(server, namespace, {
        "persistentvolumeclaims": "2", "requests.storage": "4Gi", f"{of_gold}/requests.storage": "1Gi",
        f"{of_gold}/persistentvolumeclaims": "1",
    })  # fmt: skip
    status, found = await server.request("DELETE", f"{path}/a")
    assert found["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    await used(server, namespace, {
        "persistentvolumeclaims": "1", "requests.storage": "3Gi", f"{of_gold}/requests.storage": "0",
        f"{of_gold}/persistentvolumeclaims": "0",
    })  # fmt: skip


async def test_devices_are_charged_by_class(server: RunningServer, namespace: str) -> None:
    of_gpu = "gpu.deviceclass.resource.k8s.io/devices"
    await limit(server, namespace, {"count/resourceclaims.resource.k8s.io": "2", of_gpu: "3"})
    path = f"/apis/resource.k8s.io/v1/namespaces/{namespace}/resourceclaims"

    def claim(name: str, **exactly: Any) -> Object:
        request = {"name": "r", "exactly": {"deviceClassName": "gpu", **exactly}}
        return {"metadata": {"name": name}, "spec": {"devices": {"requests": [request]}}}

    assert (await server.request("POST", path, claim("a", count=2)))[0] == 201
    await used(server, namespace, {"count/resourceclaims.resource.k8s.io": "1", of_gpu: "2"})
    _, answer = await server.request("POST", path, claim("b", allocationMode="All"))
    assert answer["message"].endswith(
        f"exceeded quota: quota, requested: {of_gpu}=32, used: {of_gpu}=2, limited: {of_gpu}=3"
    )
    assert (await server.request("DELETE", f"{path}/a"))[0] == 200
    await used(server, namespace, {"count/resourceclaims.resource.k8s.io": "0", of_gpu: "0"})


async def test_any_kind_can_be_counted_and_unknown_ones_wait(server: RunningServer, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    hard = {"count/replicasets.apps": "1", "count/things.example.com": "1"}
    assert (await server.request("POST", path, {"metadata": {"name": "quota"}, "spec": {"hard": hard}}))[0] == 201
    await used(server, namespace, {"count/replicasets.apps": "0"})
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    sets = f"/apis/apps/v1/namespaces/{namespace}/replicasets"
    spec = {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    assert (await server.request("POST", sets, {"metadata": {"name": "r"}, "spec": spec}))[0] == 201
    await used(server, namespace, {"count/replicasets.apps": "1"})
    assert (await server.request("POST", sets, {"metadata": {"name": "s"}, "spec": spec}))[0] == 403
    # Raising the limit is promptly known.
    headers = {"Content-Type": "application/merge-patch+json"}
    patch = {"spec": {"hard": {"count/replicasets.apps": "2"}}}
    assert (await server.request("PATCH", f"{path}/quota", patch, headers=headers))[0] == 200

    async def is_made() -> bool:
        return (await server.request("POST", sets, {"metadata": {"name": "s"}, "spec": spec}))[0] == 201

    await wait_until(is_made, seconds=5)
