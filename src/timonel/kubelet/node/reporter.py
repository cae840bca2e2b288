"""Registers the node, keeps its status true and its lease alive."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

from timonel.api.clock import Clock, format_micro_time
from timonel.api.errors import AlreadyExists, ApiError, NotFound
from timonel.api.objects import Object, annotations_of, copy_object, find_by, labels_of, resource_version_of, uid_of
from timonel.api.refs import LEASES, NODES
from timonel.client.backoff import Backoff
from timonel.client.events import EventRecorder
from timonel.client.protocol import ApiClient
from timonel.kubelet.config import KubeletConfig
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.cri.runtime import Runtime, RuntimeFailure
from timonel.kubelet.node.machine import Machine
from timonel.kubelet.node.status import (
    Health,
    add_extended,
    conditions,
    new_node,
    node_status,
    own_annotations,
    well_known_labels,
    without_heartbeat,
)
from timonel.kubelet.waiting import wait_event

log = logging.getLogger(__name__)

_LEASE_NAMESPACE = "kube-node-lease"
_RUNTIME_GRACE_SECONDS = 30.0
"""How long the runtime may be silent before the node says so (upstream's threshold)."""
_IMAGES_EVERY = 30
"""Images are listed on every so many looks: they change seldom and the list is long."""


class NodeReporter:
    """`network_error` and `runtime_name` are also what pod workers go by."""

    def __init__(
        self,
        *,
        config: KubeletConfig,
        client: ApiClient,
        runtime: Runtime,
        recorder: EventRecorder,
        machine: Machine,
        clock: Clock,
    ) -> None:
        self._config = config
        self._client = client
        self._runtime = runtime
        self._recorder = recorder
        self._machine = machine
        self._clock = clock
        self.volumes_in_use: Callable[[], list[str]] = list
        """Names of attached volumes that are not to be taken away."""
        self.pressure: Callable[[], Collection[str]] = tuple
        """Conditions of the node, true now, that come from what runs short."""
        self.devices: Callable[[], Mapping[str, tuple[int, int]]] = dict
        """Resource -> how many the node has, and how many of them work."""
        self._version: cri.VersionResponse | None = None
        self._abilities = cri.StatusResponse()
        self._images: list[cri.Image] = []
        self._looks = 0
        self._health = Health(runtime_error="container runtime is down", network_error="not looked at yet")
        self._looked = asyncio.Event()
        self._answered_at = float("-inf")
        self._node: Object | None = None
        self._written_at = float("-inf")
        self._wake = asyncio.Event()
        self._ready = asyncio.Event()
        self._was_ready: bool | None = None

    @property
    def runtime_name(self) -> str:
        return self._version.runtime_name if self._version else "containerd"

    @property
    def network_error(self) -> str:
        return self._health.network_error or self._health.runtime_error

    @property
    def health(self) -> Health:
        return self._health

    def poke(self) -> None:
        """Something changed: look now."""
        self._wake.set()

    def observe(self, node: Object | None) -> None:
        """The API's Node as a watch tells it; None: deleted. What others wrote into the status is corrected at once:

        a node that was silent for a while is called Unknown by the control plane, and nothing here has changed since.
        """
        if node is None:
            self._node = None
        elif self._node is None or _is_newer(node, self._node):
            self._node = node
        else:
            return
        self._wake.set()

    async def wait_looked(self) -> None:
        """Until the runtime answered for the first time."""
        await self._looked.wait()

    async def wait_ready(self) -> None:
        """Until the API knows this node as Ready."""
        await self._ready.wait()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_status(), name="node status")
            group.create_task(self._renew_lease(), name="node lease")

    async def _watch_status(self) -> None:
        backoff = Backoff(first=0.2, limit=self._config.status_seconds)
        while True:
            self._wake.clear()
            await self._look()
            try:
                await self._report()
                backoff.reset()
                pause = self._config.status_seconds
            except (ApiError, OSError) as exc:
                log.info("node status not written error=%s", exc)
                pause = backoff.next_delay()
            if self._health.runtime_error or self._health.network_error:
                pause = min(pause, 0.5 if self._was_ready is None or not self._ready.is_set() else 2.0)
            await wait_event(self._wake, pause, self._clock)

    async def _look(self) -> None:
        runtime_error = network_error = ""
        try:
            if self._version is None or self._health.runtime_error:
                self._version = await self._runtime.version()
            self._abilities = await self._runtime.status()
            for condition in self._abilities.status.conditions:
                if condition.status:
                    continue
                text = f"{condition.message or condition.reason or 'not ready'}"
                if condition.type == "NetworkReady":
                    network_error = (
                        "container runtime network not ready: "
                        f"NetworkReady=false reason:{condition.reason} message:{text}"
                    )
                elif condition.type == "RuntimeReady":
                    runtime_error = f"container runtime not ready: RuntimeReady=false reason:{condition.reason}"
            if self._looks % _IMAGES_EVERY == 0:
                self._images = list(await self._runtime.list_images())
            self._looks += 1
            self._looked.set()
            self._answered_at = self._clock.monotonic()
        except RuntimeFailure as exc:
            if self._clock.monotonic() - self._answered_at < _RUNTIME_GRACE_SECONDS:
                return  # it may just be restarting: what runs is not disturbed by that
            runtime_error = f"container runtime is down: {exc}"
        self._health = Health(runtime_error, network_error, frozenset(self.pressure()))

    async def _report(self) -> None:
        if self._node is None:
            self._node = await self._register()
        previous = self._node.get("status") or {}
        now = self._clock.now()
        status = node_status(
            self._config,
            self._machine,
            runtime_version=self._runtime_version(),
            images=self._images,
            abilities=self._abilities,
            condition_list=conditions(self._health, now, previous.get("conditions") or ()),
        )
        add_extended(status, previous, self.devices())
        in_use = self.volumes_in_use()
        if in_use != (previous.get("volumesInUse") or []):
            status["volumesInUse"] = in_use
        changed = any(without_heartbeat(status).get(key) != without_heartbeat(previous).get(key) for key in status)
        overdue = self._clock.monotonic() - self._written_at >= self._config.report_seconds
        if changed or overdue:
            await self._write(status, previous)
        ready = find_by(status["conditions"], "type", "Ready")
        assert ready is not None
        is_ready = ready["status"] == "True"
        if is_ready != self._was_ready:
            if self._was_ready is not None or is_ready:
                reason = "NodeReady" if is_ready else "NodeNotReady"
                self.tell("Normal", reason, f"Node {self._config.node_name} status is now: {reason}")
            self._was_ready = is_ready
        if is_ready:
            self._ready.set()

    def tell(self, event: str, reason: str, message: str) -> None:
        """An event about the node."""
        if self._node is not None:
            # Upstream names nodes by their name where an uid is asked for, and people select events by it.
            subject = {"kind": "Node", "apiVersion": "v1"} | {
                "metadata": {"name": self._config.node_name, "uid": self._config.node_name}
            }
            self._recorder.event(subject, event, reason, message)

    def _runtime_version(self) -> str:
        return f"{self._version.runtime_name}://{self._version.runtime_version}" if self._version else ""

    async def _register(self) -> Object:
        name = self._config.node_name
        try:
            node = await self._client.get(NODES, name)
        except NotFound:
            if not self._config.register:
                raise
            try:
                node = await self._client.create(NODES, new_node(self._config, self._machine))
                log.info("node registered node=%s", name)
            except AlreadyExists:
                node = await self._client.get(NODES, name)
        wanted = well_known_labels(self._config, self._machine)
        missing = {
            "labels": _changes(labels_of(node), wanted),
            "annotations": _changes(annotations_of(node), own_annotations(self._config)),
        }
        if any(missing.values()):
            node = await self._client.patch(NODES, name, {"metadata": missing}, type="merge")
        self._node = node
        self.tell("Normal", "Starting", "Starting kubelet.")
        return node

    async def _write(self, status: Object, previous: Object) -> None:
        body: dict[str, Any] = {"status": _patch(status, previous)}
        try:
            self._node = await self._client.patch(
                NODES, self._config.node_name, body, type="strategic", subresource="status"
            )
        except NotFound:
            self._node = None  # somebody deleted the node: registered again on the next look
            raise
        self._written_at = self._clock.monotonic()

    # Lease

    async def _renew_lease(self) -> None:
        pause = self._config.lease_seconds / 4
        lease: Object | None = None
        backoff = Backoff(first=0.2, limit=pause)
        while True:
            try:
                # A request that is never answered must not cost the node its lease: the next one may be.
                async with asyncio.timeout(pause):
                    lease = await self._put_lease(lease)
                backoff.reset()
                await self._clock.sleep(pause)
            except (ApiError, OSError) as exc:
                log.info("node lease not renewed error=%s", str(exc) or f"no answer within {pause:g} s")
                lease = None
                await self._clock.sleep(backoff.next_delay())

    async def _put_lease(self, lease: Object | None) -> Object:
        name = self._config.node_name
        if lease is None:
            try:
                lease = await self._client.get(LEASES, name, _LEASE_NAMESPACE)
            except NotFound:
                lease = None
        if lease is None:
            fresh: Object = {
                "kind": "Lease",
                "apiVersion": LEASES.api_version,
                "metadata": {"name": name, "namespace": _LEASE_NAMESPACE},
                "spec": self._lease_spec(),
            }
            if self._node is not None:
                fresh["metadata"]["ownerReferences"] = [
                    {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid_of(self._node)}
                ]
            return await self._client.create(LEASES, fresh, _LEASE_NAMESPACE)
        renewed = copy_object(lease)
        renewed["spec"] = (renewed.get("spec") or {}) | self._lease_spec()
        return await self._client.update(LEASES, renewed)

    def _lease_spec(self) -> Object:
        return {
            "holderIdentity": self._config.node_name,
            "leaseDurationSeconds": self._config.lease_seconds,
            "renewTime": format_micro_time(self._clock.now()),
        }


def _is_newer(node: Object, known: Object) -> bool:
    return int(resource_version_of(node) or 0) > int(resource_version_of(known) or 0)


def _changes(present: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in wanted.items() if present.get(key) != value}


def _patch(status: Object, previous: Object) -> Object:
    """Conditions are merged by type and addresses by type: those of others stay, addresses are replaced whole."""
    patch = {key: value for key, value in status.items() if key == "conditions" or previous.get(key) != value}
    if "addresses" in patch:
        patch["addresses"] = [*patch["addresses"], {"$patch": "replace"}]
    return patch
