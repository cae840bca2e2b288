"""A cluster in memory: the manager, the fake client, and pods that become ready by themselves."""

import asyncio

from tests.unit.controllers.rights import MANAGER, Guarded, identities
from timonel.api.clock import format_micro_time, format_time
from timonel.api.errors import NotFound
from timonel.api.objects import is_deleting, name_of, namespace_of, uid_of
from timonel.api.placement import pinned_node
from timonel.api.refs import DEPLOYMENTS, EVENTS, LEASES, NODES, PODS, REPLICA_SETS
from timonel.controllers.manager import ControllerManager, ManagerConfig
from timonel.controllers.pods import is_ready
from timonel.testing.clock import VirtualClock, settle
from timonel.testing.fake_client import FakeClient


def namespace(name):
    return {
        "kind": "Namespace",
        "apiVersion": "v1",
        "metadata": {"name": name},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def node(name, ready="True", **metadata):
    return {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {"name": name, **metadata},
        "spec": {},
        "status": {
            "conditions": [
                {
                    "type": "Ready",
                    "status": ready,
                    "lastHeartbeatTime": "2026-01-01T00:00:00Z",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
            ]
        },
    }


def deployment(name="web", replicas=3, image="nginx:1", **spec):
    return {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
            **spec,
        },
    }


class Cluster:
    """Use as an async context manager. `kubelet` is a function (pod, age in seconds) -> whether it is ready."""

    def __init__(self, *objects, config=None, client=None, clock=None, kubelet=None, grace=2.0, without=()):
        self.clock = clock or VirtualClock()
        self.client = client or FakeClient(namespace("default"), *objects, clock=self.clock)
        self.config = config or ManagerConfig(leader_election=False, without=frozenset(without))
        self.kubelet = kubelet or (lambda pod, age: age >= 1)
        self.grace = grace
        self.observe = lambda: None
        self._started = {}
        self._ending = {}
        self.dead = set()
        """Names of nodes whose kubelet is silent."""

    async def __aenter__(self):
        self.refused = []
        """What somebody's role did not allow; every suite ends with none."""
        self.manager = ControllerManager(
            Guarded(self.client, MANAGER, self.refused),
            self.clock,
            self.config,
            identities=identities(self.client, self.refused),
        )
        self._task = asyncio.create_task(self.manager.run())
        await settle(200)
        return self

    async def __aexit__(self, *args):
        self._task.cancel()
        try:
            await self._task
        except asyncio.CancelledError:
            pass
        assert self.refused == []

    async def run(self, seconds, step=0.5):
        """Time passes: pods start, become ready and end."""
        for _ in range(int(seconds / step)):
            self.step_kubelet()
            await self.clock.advance(step)
            await settle(100)
            self.observe()

    def step_kubelet(self):
        now = self.clock.monotonic()
        for item in self.client.objects(NODES):
            if name_of(item) not in self.dead:
                self._heartbeat(name_of(item))
        for pod in self.client.objects(PODS):
            uid = uid_of(pod)
            where = pod["spec"].get("nodeName")
            if where in self.dead or not (where or self.alive()):
                continue
            if is_deleting(pod):
                if now - self._ending.setdefault(uid, now) >= self.grace:
                    self.client.remove(PODS, name_of(pod), namespace_of(pod))
                continue
            age = now - self._started.setdefault(uid, now)
            ready = self.kubelet(pod, age)
            if ready != is_ready(pod) or not pod["spec"].get("nodeName"):
                self._start(pod, ready)

    def alive(self):
        return [name_of(item) for item in self.client.objects(NODES) if name_of(item) not in self.dead]

    def _heartbeat(self, name):
        """Every ten seconds, as a kubelet does."""
        moment = format_micro_time(self.clock.now())
        if self.clock.monotonic() % 10:
            return
        try:
            self.client.change(LEASES, name, "kube-node-lease", lambda obj: obj["spec"].update(renewTime=moment))
        except NotFound:
            metadata = {"name": name, "namespace": "kube-node-lease"}
            spec = {"holderIdentity": name, "renewTime": moment}
            self.client.add(
                {"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": metadata, "spec": spec}
            )

    def _start(self, pod, ready):
        def change(obj):
            if "nodeName" not in obj["spec"]:
                obj["spec"]["nodeName"] = pinned_node(obj["spec"]) or self.alive()[0]
            number = int(uid_of(obj)[-4:])
            address = f"10.244.{number // 250}.{number % 250 + 1}"
            obj["status"] = {
                "phase": "Running",
                "podIP": address,
                "podIPs": [{"ip": address}],
                "conditions": [
                    {
                        "type": "Ready",
                        "status": "True" if ready else "False",
                        "lastTransitionTime": format_time(self.clock.now()),
                    }
                ],
            }

        try:
            self.client.change(PODS, name_of(pod), namespace_of(pod), change)
        except NotFound:
            pass

    # What is there

    @property
    def deployment(self):
        return self.client.objects(DEPLOYMENTS)[0]

    @property
    def pods(self):
        return self.client.objects(PODS)

    @property
    def replica_sets(self):
        return self.client.objects(REPLICA_SETS)

    def serving(self):
        return [pod for pod in self.pods if is_ready(pod) and not is_deleting(pod)]

    def condition(self, type, obj=None):
        conditions = (obj or self.deployment).get("status", {}).get("conditions", [])
        return next((item for item in conditions if item["type"] == type), None)

    def set_template(self, image):
        def change(obj):
            obj["spec"]["template"]["spec"]["containers"][0]["image"] = image
            obj["metadata"]["generation"] += 1

        self.client.change(DEPLOYMENTS, "web", "default", change)

    def set_spec(self, **fields):
        def change(obj):
            obj["spec"].update(fields)
            obj["metadata"]["generation"] += 1

        self.client.change(DEPLOYMENTS, "web", "default", change)

    def events(self):
        return [(e["involvedObject"]["kind"], e["reason"], e["message"]) for e in self.client.objects(EVENTS)]
