"""All controllers against a real server: each writes as its own service account, and RBAC refuses none of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import orjson
import pytest_asyncio

from timonel.api.clock import SystemClock, format_time
from timonel.api.errors import ApiError
from timonel.api.objects import Object, get_path, is_deleting, name_of, namespace_of, uid_of
from timonel.api.placement import pinned_node
from timonel.api.refs import (
    CLUSTER_ROLES,
    CONFIGMAPS,
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    JOBS,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    RESOURCE_QUOTAS,
    SERVICE_ACCOUNTS,
    SERVICES,
    STATEFUL_SETS,
    ResourceRef,
)  # fmt: skip
from timonel.client.config import ClientConfig
from timonel.client.informer import Informers
from timonel.client.rest import Client
from timonel.client.service_accounts import ServiceAccountClients
from timonel.cluster.pki import MANAGER
from timonel.controllers.manager import ControllerManager, ManagerConfig
from timonel.controllers.nodes import NodeLifecycleConfig
from timonel.controllers.pod_gc import PodGcConfig
from timonel.controllers.pods import condition_of, node_name_of
from timonel.testing.server import start_api_server

USER = "system:kube-controller-manager"
ACCOUNTS = "system:serviceaccount:kube-system:"
PATIENCE_SECONDS = 30.0
CLOCK = SystemClock()


@pytest_asyncio.fixture
async def recorded(tmp_path):
    """A server and its audit log."""
    log = tmp_path / "audit.log"
    server = await start_api_server(tmp_path, audit_log=log)
    yield server, log
    await server.stop()


@asynccontextmanager
async def managing(server):
    """The manager as `timonel up` wires it: a certificate of its own, tokens of its controllers."""
    pair = server.pki.clients[MANAGER]
    config = ClientConfig(server=server.url, ca_file=str(server.ca), cert_file=str(pair.cert), key_file=str(pair.key))
    settings = ManagerConfig(
        root_ca=server.ca.read_text(),
        node_lifecycle=NodeLifecycleConfig(startup_grace_seconds=1.0),
        pod_gc=PodGcConfig(quarantine_seconds=0.1),
    )
    async with Client(config) as client:
        accounts = ServiceAccountClients(client, clock=CLOCK)
        manager = ControllerManager(client, CLOCK, settings, identities=accounts.client)
        task = asyncio.create_task(manager.run())
        await asyncio.wait_for(manager.wait_ready(), PATIENCE_SECONDS)
        try:
            yield
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await accounts.aclose()


class Users:
    """People and kubelets: pods are placed, run and are ready at once; those of Jobs succeed."""

    def __init__(self, client: Client, *kinds: ResourceRef) -> None:
        self.client = client
        self.informers = Informers(client, clock=CLOCK)
        self._changed = asyncio.Event()
        self._pods: asyncio.Queue[Object] = asyncio.Queue()
        self._started: set[str] = set()
        for kind in kinds:
            wake: Callable[..., None] = lambda *objects: self._changed.set()  # noqa: E731
            self.informers.of(kind).add_handler(on_add=wake, on_update=wake, on_delete=wake)
        put = self._pods.put_nowait
        self.informers.of(PODS).add_handler(on_add=put, on_update=lambda old, new: put(new))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.informers.run())
            group.create_task(self._attend_pods())

    async def until(self, what: str, holds: Callable[[], object]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"never: {what}") from None

    def all(self, ref: ResourceRef, namespace: str = "one") -> list[Object]:
        return self.informers.of(ref).lister.list(namespace)

    def one(self, ref: ResourceRef, name: str, *path: str, namespace: str = "one") -> object:
        """A field of an object, None when there is none."""
        found = self.informers.of(ref).lister.get(namespace, name)
        return get_path(found, *path) if found is not None else None

    async def _attend_pods(self) -> None:
        while True:
            pod = await self._pods.get()
            where = name_of(pod), namespace_of(pod)
            try:
                if is_deleting(pod):
                    await self.client.delete(PODS, *where, grace_period_seconds=0, uid=uid_of(pod))
                elif not node_name_of(pod):
                    binding = {
                        "metadata": {"name": where[0]},
                        "target": {"kind": "Node", "name": pinned_node(pod["spec"]) or "n1"},
                    }
                    await self.client.create(PODS, binding, where[1], subresource="binding", name=where[0])
                elif uid_of(pod) not in self._started:
                    await self._start(pod)
                    self._started.add(uid_of(pod))
            except ApiError:
                now_there = self.informers.of(PODS).lister.get(namespace_of(pod), name_of(pod))
                if now_there is not None:
                    self._pods.put_nowait(now_there)

    async def _start(self, pod: Object) -> None:
        ends = "job-name" in (pod["metadata"].get("labels") or {})
        condition = {"type": "Ready", "status": "False" if ends else "True", "lastTransitionTime": now()}
        status = {"phase": "Succeeded" if ends else "Running", "conditions": [condition], "podIP": "10.244.0.9",
                  "podIPs": [{"ip": "10.244.0.9"}]}  # fmt: skip
        patch = {"metadata": {"uid": uid_of(pod)}, "status": status}
        await self.client.patch(PODS, name_of(pod), patch, namespace_of(pod), type="strategic", subresource="status")


def is_unready(pod: Object | None) -> bool:
    ready = condition_of(pod, "Ready") if pod is not None else None
    return ready is not None and ready["status"] == "False"


def now() -> str:
    return format_time(CLOCK.now())


def obj(kind: str, name: str, api_version: str = "v1", namespace: str = "one", **fields: object) -> Object:
    return {"kind": kind, "apiVersion": api_version, "metadata": {"name": name, "namespace": namespace}, **fields}


def template(app: str, **spec: object) -> Object:
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


def selected(app: str, **spec: object) -> Object:
    return {"selector": {"matchLabels": {"app": app}}, "template": template(app), **spec}


def claim(name: str) -> Object:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return obj("PersistentVolumeClaim", name, spec=spec)


EVERYTHING = (
    (DEPLOYMENTS, obj("Deployment", "d", "apps/v1", spec=selected("d", replicas=2))),
    (STATEFUL_SETS, obj("StatefulSet", "s", "apps/v1", spec=selected(
        "s", serviceName="s", volumeClaimTemplates=[{"metadata": {"name": "v"}, "spec": claim("v")["spec"]}],
        persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete", "whenScaled": "Delete"}))),
    (DAEMON_SETS, obj("DaemonSet", "ds", "apps/v1", spec=selected("ds"))),
    (REPLICATION_CONTROLLERS, obj("ReplicationController", "rc", spec={
        "replicas": 1, "selector": {"app": "rc"}, "template": template("rc")})),
    (JOBS, obj("Job", "j", "batch/v1", spec={
        "template": template("j", restartPolicy="Never"), "ttlSecondsAfterFinished": 0})),
    (CRON_JOBS, obj("CronJob", "cj", "batch/v1", spec={"schedule": "* * * * *", "startingDeadlineSeconds": 3600,
        "jobTemplate": {"spec": {"template": template("cj", restartPolicy="Never")}}})),
    (SERVICES, obj("Service", "web", spec={"selector": {"app": "d"}, "ports": [{"port": 80}]})),
    (POD_DISRUPTION_BUDGETS, obj("PodDisruptionBudget", "b", "policy/v1", spec={
        "minAvailable": "50%", "selector": {"matchLabels": {"app": "d"}}})),
    (RESOURCE_QUOTAS, obj("ResourceQuota", "q", spec={"hard": {"pods": "50"}})),
    (PERSISTENT_VOLUME_CLAIMS, claim("lone")),
    (REPLICA_SETS, obj("ReplicaSet", "adopter", "apps/v1", spec=selected("orphan", replicas=1))),
    (PODS, obj("Pod", "alone", spec=template(
        "alone", nodeName="silent", tolerations=[{"operator": "Exists"}])["spec"])),
    (PODS, obj("Pod", "orphan", spec=template("orphan")["spec"]) | {
        "metadata": {"name": "orphan", "namespace": "one", "labels": {"app": "orphan"}}}),
    (CONFIGMAPS, obj("ConfigMap", "owned") | {"metadata": {"name": "owned", "namespace": "one", "ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "gone", "uid": "never-was"}]}}),
    (CLUSTER_ROLES, {"kind": "ClusterRole", "apiVersion": "rbac.authorization.k8s.io/v1", "rules": [], "metadata": {
        "name": "sum"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"part": "yes"}}]}}),
    (CLUSTER_ROLES, {"kind": "ClusterRole", "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {
        "name": "part", "labels": {"part": "yes"}}, "rules": [
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]}),
)  # fmt: skip


async def test_each_controller_acts_as_itself_and_is_refused_nothing(recorded):
    server, log = recorded
    client = server.client
    users = Users(client, *{ref for ref, _ in EVERYTHING}, NODES, NAMESPACES, SERVICE_ACCOUNTS, ENDPOINT_SLICES)
    running = asyncio.create_task(users.run())
    async with managing(server):
        await client.create(NAMESPACES, {"metadata": {"name": "one"}})
        ready = [{"type": "Ready", "status": "True", "lastHeartbeatTime": now(), "lastTransitionTime": now()}]
        for name, conditions in (("n1", ready), ("silent", [])):
            created = await client.create(NODES, {"metadata": {"name": name}})
            await client.update(NODES, created | {"status": {"conditions": conditions}}, subresource="status")
        await users.until("default account", lambda: users.one(SERVICE_ACCOUNTS, "default", "metadata", "name"))
        for ref, subject in EVERYTHING:
            await client.create(ref, subject, namespace_of(subject))
        missed = {"status": {"lastScheduleTime": format_time(CLOCK.now() - timedelta(minutes=5))}}
        await client.patch(CRON_JOBS, "cj", missed, "one", type="merge", subresource="status")
        for kind, name, field, wanted in (
            (DEPLOYMENTS, "d", "readyReplicas", 2),
            (STATEFUL_SETS, "s", "readyReplicas", 1),
            (DAEMON_SETS, "ds", "observedGeneration", 1),
            (REPLICATION_CONTROLLERS, "rc", "readyReplicas", 1),
            (REPLICA_SETS, "adopter", "readyReplicas", 1),
            (POD_DISRUPTION_BUDGETS, "b", "currentHealthy", 2),
        ):
            await users.until(f"{name} {field}", lambda: users.one(kind, name, "status", field) == wanted)  # noqa: B023
        await users.until("endpoints", lambda: any(each.get("endpoints") for each in users.all(ENDPOINT_SLICES)))
        await users.until("job is tidied away", lambda: users.one(JOBS, "j", "metadata") is None)
        await users.until("missed start is made up for", lambda: any(name_of(job) != "j" for job in users.all(JOBS)))
        await users.until("aggregated", lambda: users.one(CLUSTER_ROLES, "sum", "rules", namespace=""))
        await users.until("garbage", lambda: users.one(CONFIGMAPS, "owned", "metadata") is None)
        await users.until("root CA", lambda: users.one(CONFIGMAPS, "kube-root-ca.crt", "data"))
        # A node never says anything, and goes away; sets are scaled and deleted; in the end all of it.
        await users.until("taints", lambda: users.one(NODES, "silent", "spec", "taints", namespace=""))
        await users.until("unready", lambda: is_unready(users.informers.of(PODS).lister.get("one", "alone")))
        await client.delete(NODES, "silent")
        await client.patch(DEPLOYMENTS, "d", {"spec": {"replicas": 1}}, "one", type="merge")
        await client.patch(STATEFUL_SETS, "s", {"spec": {"replicas": 0}}, "one", type="merge")
        await client.delete(PERSISTENT_VOLUME_CLAIMS, "lone", "one")
        await client.delete(REPLICA_SETS, "adopter", "one", propagation_policy="Foreground")
        await client.delete(REPLICATION_CONTROLLERS, "rc", "one", propagation_policy="Orphan")
        await users.until("foreground", lambda: users.one(REPLICA_SETS, "adopter", "metadata") is None)
        await users.until("orphaning", lambda: users.one(REPLICATION_CONTROLLERS, "rc", "metadata") is None)
        await users.until("claim", lambda: users.one(PERSISTENT_VOLUME_CLAIMS, "lone", "metadata") is None)
        await client.delete(NAMESPACES, "one")
        await users.until("namespace", lambda: users.one(NAMESPACES, "one", "metadata", namespace="") is None)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await server.stop()
    events = [orjson.loads(line) for line in log.read_bytes().splitlines()]
    ours = [each for each in events if each["user"]["username"].startswith((USER, ACCOUNTS))]
    refused = {(each["user"]["username"], each["responseStatus"].get("message"))
               for each in ours if each["responseStatus"]["code"] in (401, 403)
               and "NamespaceTerminating" not in str(each) and "being terminated" not in str(each)}  # fmt: skip
    assert refused == set()
    active = [each for each in ours if each["verb"] not in ("list", "watch")]
    writers = {each["user"]["username"].removeprefix(ACCOUNTS) for each in active}
    assert writers >= {
        "deployment-controller", "replicaset-controller", "statefulset-controller", "daemon-set-controller",
        "replication-controller", "job-controller", "cronjob-controller", "ttl-after-finished-controller",
        "endpointslice-controller", "endpoint-controller", "node-controller", "namespace-controller",
        "service-account-controller", "root-ca-cert-publisher", "pod-garbage-collector", "resourcequota-controller",
        "disruption-controller", "clusterrole-aggregation-controller", "pvc-protection-controller",
        "generic-garbage-collector",
    }  # fmt: skip
    # What the manager does itself: elect a leader, make accounts and tokens.
    own = {(each["objectRef"]["resource"], each["objectRef"].get("subresource")) for each in active
           if each["user"]["username"] == USER and "objectRef" in each}  # fmt: skip
    assert own == {("leases", None), ("serviceaccounts", None), ("serviceaccounts", "token")}
