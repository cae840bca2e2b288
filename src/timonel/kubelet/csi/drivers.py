"""The CSI drivers of this node: found by the sockets they put into the registration folder, announced in the CSINode.

Source: kubernetes.io/docs/concepts/storage/volumes, "csi"; kubernetes-csi.github.io/docs, "kubelet plugin registration"
"""

from __future__ import annotations

import logging
import os
import stat

from timonel.api.clock import Clock
from timonel.api.errors import AlreadyExists, ApiError, NotFound
from timonel.api.objects import Object, annotations_of, get_path, labels_of, uid_of
from timonel.api.refs import CSI_NODES, NODES
from timonel.client.protocol import ApiClient
from timonel.kubelet.cri.grpc_runtime import open_channel
from timonel.kubelet.csi import registration_pb2 as registration
from timonel.kubelet.csi.driver import CsiDriver, CsiError, call
from timonel.kubelet.csi.folders import watch_folder
from timonel.kubelet.waiting import wait_event

log = logging.getLogger(__name__)

_SERVICE = "/pluginregistration.Registration/"
_CALL_SECONDS = 10.0
_RETRY_SECONDS = 2.0
_NODE_IDS = "csi.volume.kubernetes.io/nodeid"


class CsiDrivers:
    """`get` gives those that are registered now; `run` keeps them so."""

    def __init__(self, *, client: ApiClient, clock: Clock, node_name: str, folder: str) -> None:
        self._client = client
        self._clock = clock
        self._node_name = node_name
        self._folder = folder
        self._by_socket: dict[str, CsiDriver] = {}

    def get(self, name: str) -> CsiDriver | None:
        return next((driver for driver in self._by_socket.values() if driver.name == name), None)

    async def run(self) -> None:
        os.makedirs(self._folder, mode=0o750, exist_ok=True)
        try:
            with watch_folder(self._folder) as changed:
                while True:
                    changed.clear()
                    done = await self._look()
                    await wait_event(changed, None if done else _RETRY_SECONDS, self._clock)
        finally:
            for driver in self._by_socket.values():
                await driver.close()

    async def _look(self) -> bool:
        """Takes in what came and lets go of what went; False when some of it has to be tried again."""
        sockets = set(self._sockets())
        done = True
        for socket in [socket for socket in self._by_socket if socket not in sockets]:
            driver = self._by_socket.pop(socket)
            log.info("csi driver went driver=%s", driver.name)
            await driver.close()
            done = await self._announce() and done
        for socket in sorted(sockets - self._by_socket.keys()):
            try:
                await self._register(socket)
            except (CsiError, ApiError) as exc:
                log.info("csi driver not registered socket=%s error=%s", socket, exc)
                done = False
        return done

    def _sockets(self) -> list[str]:
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode):
                    found.append(entry.path)
        return found

    async def _register(self, socket: str) -> None:
        """Raises CsiError, ApiError."""
        channel = open_channel(socket)
        try:
            info = await call(
                channel, _SERVICE + "GetInfo", registration.InfoRequest(), registration.PluginInfo, _CALL_SECONDS
            )
            if info.type != "CSIPlugin":
                return
            driver = CsiDriver(info.name, info.endpoint or socket)
            error = ""
            try:
                await driver.learn()
                self._by_socket[socket] = driver
                await self._write_node()
            except (CsiError, ApiError) as exc:
                self._by_socket.pop(socket, None)
                await driver.close()
                error = str(exc)
                raise
            finally:
                status = registration.RegistrationStatus(plugin_registered=not error, error=error)
                await call(
                    channel,
                    _SERVICE + "NotifyRegistrationStatus",
                    status,
                    registration.RegistrationStatusResponse,
                    _CALL_SECONDS,
                )
            log.info("csi driver was registered driver=%s endpoint=%s", info.name, info.endpoint)
        finally:
            await channel.close()

    async def _announce(self) -> bool:
        try:
            await self._write_node()
        except ApiError as exc:
            log.info("csi drivers not announced error=%s", exc)
            return False
        return True

    async def _write_node(self) -> None:
        """The node's labels and annotation first: they are what topology in the CSINode refers to. Raises ApiError."""
        drivers = sorted(self._by_socket.values(), key=lambda driver: driver.name)
        node = await self._client.get(NODES, self._node_name)
        labels = {key: value for each in drivers for key, value in each.info.accessible_topology.segments.items()}
        ids = "{" + ",".join(f'"{each.name}":"{each.info.node_id}"' for each in drivers) + "}"
        changed: Object = {}
        if not labels.items() <= labels_of(node).items():
            changed["labels"] = labels
        if annotations_of(node).get(_NODE_IDS, "{}") != ids:
            changed["annotations"] = {_NODE_IDS: ids if drivers else None}
        if changed:
            await self._client.patch(NODES, self._node_name, {"metadata": changed}, type="merge")
        await self._write_csi_node(node, [csi_node_entry(driver) for driver in drivers])

    async def _write_csi_node(self, node: Object, entries: list[Object]) -> None:
        try:
            present = await self._client.get(CSI_NODES, self._node_name)
        except NotFound:
            owner = {"apiVersion": "v1", "kind": "Node", "name": self._node_name, "uid": uid_of(node)}
            metadata = {"name": self._node_name, "ownerReferences": [owner]}
            made = {"kind": "CSINode", "apiVersion": "storage.k8s.io/v1", "metadata": metadata}
            try:
                await self._client.create(CSI_NODES, {**made, "spec": {"drivers": entries}})
                return
            except AlreadyExists:
                present = await self._client.get(CSI_NODES, self._node_name)
        if get_path(present, "spec", "drivers", default=[]) != entries:
            await self._client.update(CSI_NODES, {**present, "spec": {"drivers": entries}})


def csi_node_entry(driver: CsiDriver) -> Object:
    entry: Object = {
        "name": driver.name,
        "nodeID": driver.info.node_id,
        "topologyKeys": sorted(driver.info.accessible_topology.segments) or None,
    }
    if driver.info.max_volumes_per_node > 0:
        entry["allocatable"] = {"count": int(driver.info.max_volumes_per_node)}
    return entry
