"""The pods of all hollow nodes: one watch, one queue, a few writers; what happens to a pod is decided in pod_plan.py.

Nothing of a pod is kept that its object in the API does not say, but its address.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

from timonel.api.clock import Clock
from timonel.api.errors import Conflict, NotFound
from timonel.api.objects import Object, ObjectKey, annotations_of, get_path, key_of, name_of, namespace_of, uid_of
from timonel.api.refs import NODES, PODS
from timonel.client.controller import Result, run_workers
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.client.sharing import SharedParts
from timonel.client.workqueue import WorkQueue
from timonel.simulation.addresses import PodAddresses
from timonel.simulation.behaviour import PREFIX, Behaviour, InvalidAnnotation, behaviour_of
from timonel.simulation.config import HollowConfig
from timonel.simulation.nodes import LABEL, is_silent, slim_node
from timonel.simulation.pod_plan import plan_hollow_pod

log = logging.getLogger(__name__)

_METADATA = (
    "name", "namespace", "uid", "resourceVersion", "generation", "deletionTimestamp", "deletionGracePeriodSeconds",
    "finalizers",
)  # fmt: skip
_SPEC = (
    "restartPolicy", "terminationGracePeriodSeconds", "activeDeadlineSeconds", "readinessGates", "hostNetwork",
    "resources",
)  # fmt: skip
_CONTAINER = ("name", "image", "command", "args", "resources", "restartPolicy", "restartPolicyRules", "readinessProbe")
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


class SlimPods:
    """What a simulation needs of a pod. What is alike, such as the specs of all pods of a Deployment, is kept once."""

    def __init__(self) -> None:
        self._share = SharedParts()

    def __call__(self, pod: Object) -> Object:
        """For Informers.of(PODS, transform=…)."""
        given, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
        metadata = {field: given[field] for field in _METADATA if field in given}
        annotations = {key: text for key, text in annotations_of(pod).items() if key.startswith(PREFIX)}
        if annotations:
            metadata["annotations"] = self._share(annotations)
        made = {field: spec[field] for field in _SPEC if field in spec}
        for field in _CONTAINERS:
            if spec.get(field):
                made[field] = [{key: item[key] for key in _CONTAINER if key in item} for item in spec[field]]
        if status.get("conditions"):
            status["conditions"] = [self._share(condition) for condition in status["conditions"]]
        slim = {"metadata": metadata, "nodeName": spec.get("nodeName") or "", "spec": self._share(made)}
        return slim | {"kind": "Pod", "apiVersion": "v1", "status": status}


@dataclass(slots=True)
class _Written:
    """An own write of a pod's status. What it made of the pod was decided with it, and when to look again: meeting it
    is no reason to decide anew."""

    version: int
    wake_at: float
    """Monotonic seconds; infinite: nothing happens by itself any more."""


class HollowPods:
    """Runs the pods that are bound to nodes with the label of hollow nodes, until cancelled."""

    def __init__(
        self, *, config: HollowConfig, client: ApiClient, informers: Informers, recorder: EventRecorder, clock: Clock
    ) -> None:
        self._config = config
        self._client = client
        self._recorder = recorder
        self._clock = clock
        self._addresses = PodAddresses()
        self._written: dict[str, _Written] = {}
        """By uid, an own write that was not met again yet."""
        self._complained: set[str] = set()
        self.queue: WorkQueue[ObjectKey] = WorkQueue(clock, name="hollow-pods")
        self._nodes = informers.of(NODES, label_selector=f"{LABEL}=true", transform=slim_node)
        self._pods = informers.of(PODS, field_selector="spec.nodeName!=", transform=SlimPods())
        self._pods.add_index("node", lambda pod: (pod["nodeName"],))
        self._pods.add_handler(
            on_add=self._changed, on_update=lambda old, new: self._changed(new), on_delete=self._deleted
        )
        self._nodes.add_handler(
            on_add=self._node_changed,
            on_update=self._node_updated,
            on_delete=lambda node: self._addresses.forget_node(name_of(node)),
        )

    async def run(self) -> None:
        await self._nodes.wait_synced()
        await self._pods.wait_synced()
        await run_workers("hollow-pods", self.queue, self.sync, self._config.writers)

    def count(self) -> int:
        """Pods on hollow nodes."""
        return sum(self._nodes.lister.get("", pod["nodeName"]) is not None for pod in self._pods.lister.list())

    def _changed(self, pod: Object) -> None:
        written = self._written.get(uid_of(pod))
        if written is not None:
            version = _version(pod)
            if version < written.version:
                return  # a later one is on its way
            del self._written[uid_of(pod)]
            if version == written.version and written.wake_at > self._clock.monotonic():
                return
        if self._nodes.lister.get("", pod["nodeName"]) is not None or not self._nodes.has_synced:
            self.queue.add(key_of(pod))

    def _deleted(self, pod: Object) -> None:
        uid = uid_of(pod)
        self._addresses.release(uid)
        self._written.pop(uid, None)
        self._complained.discard(uid)

    def _node_changed(self, node: Object) -> None:
        for pod in self._pods.lister.by_index("node", name_of(node)):
            self._written.pop(uid_of(pod), None)  # things are different now
            self.queue.add(key_of(pod))

    def _node_updated(self, old: Object, new: Object) -> None:
        if is_silent(old) != is_silent(new) or old["spec"].get("podCIDR") != new["spec"].get("podCIDR"):
            self._node_changed(new)

    async def sync(self, key: ObjectKey) -> Result:
        pod = self._pods.lister.get(*key)
        if pod is None:
            return Result()
        if (written := self._written.get(uid_of(pod))) is not None:
            if _version(pod) < written.version:
                written.wake_at = -math.inf  # what it left is to be looked at when the watch tells of it
                return Result()
            # Here, too, when the watch was quicker than the answer: the pod was put into the queue once more.
            del self._written[uid_of(pod)]
            left = written.wake_at - self._clock.monotonic()
            if _version(pod) == written.version and left > 0:
                return Result(requeue_after=None if math.isinf(left) else left)
        node = self._nodes.lister.get("", pod["nodeName"])
        if node is None or is_silent(node):
            return Result()
        cidr = node["spec"].get("podCIDR") or ""
        known = get_path(pod, "status", "podIP", default="")
        ip = known if pod["spec"].get("hostNetwork") else ""
        if not pod["spec"].get("hostNetwork"):
            if not cidr and not known:
                return Result()  # the node's pod network is on its way, and wakes its pods
            ip = self._addresses.take(uid_of(pod), name_of(node), cidr or f"{known}/32", known)
        host_ips = tuple(item["address"] for item in node["status"]["addresses"] if item["type"] == "InternalIP")
        plan = plan_hollow_pod(pod, self._behaviour(pod), self._clock.now(), host_ips=host_ips, pod_ip=ip)
        try:
            if plan.status is not None:
                await self._write(pod, plan.status, plan.wake_after)
            if plan.delete:
                await self._client.delete(PODS, key.name, key.namespace, grace_period_seconds=0, uid=uid_of(pod))
        except (NotFound, Conflict):
            return Result()  # gone, or changed by somebody else, which the watch tells
        return Result(requeue_after=plan.wake_after)

    async def _write(self, pod: Object, status: Object, wake_after: float | None) -> None:
        # A merge patch replaces whole lists, so it must be of the conditions and containers that it was made from.
        metadata = {"uid": uid_of(pod), "resourceVersion": pod["metadata"]["resourceVersion"]}
        patch = {"metadata": metadata, "status": status}
        written = await self._client.patch(
            PODS, name_of(pod), patch, namespace_of(pod), type="merge", subresource="status"
        )
        version = _version(written)
        seen = self._pods.lister.get(namespace_of(pod), name_of(pod))
        wake_at = math.inf if wake_after is None else self._clock.monotonic() + wake_after
        if seen is not None and uid_of(seen) == uid_of(pod) and _version(seen) <= version:
            self._written[uid_of(pod)] = _Written(version, wake_at)

    def _behaviour(self, pod: Object) -> Behaviour:
        try:
            return behaviour_of(pod, self._config.behaviour, self._config.chance)
        except InvalidAnnotation as error:
            if uid_of(pod) not in self._complained:
                self._complained.add(uid_of(pod))
                self._recorder.event(pod, "Warning", "InvalidHollowAnnotation", f"{error}; the pod runs as others do")
            return self._config.behaviour


def _version(pod: Object) -> int:
    return int(pod["metadata"]["resourceVersion"])
