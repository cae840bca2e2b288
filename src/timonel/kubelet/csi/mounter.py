"""Brings volumes of CSI drivers into pods, and out of them again.

What was done is written beside each mount before it is done, in upstream's places and form, so that a later agent can
undo it: `vol_data.json` in the volume's folder of the pod, and in the folder where the node stages the volume once.
Source: kubernetes-csi.github.io/docs, github.com/container-storage-interface/spec, "RPC Interactions"
"""

from __future__ import annotations

import hashlib
import logging
import os
from base64 import b64decode
from collections.abc import Iterator, Mapping
from glob import escape, glob

import orjson

from timonel.api.clock import Clock
from timonel.api.errors import ApiError, NotFound
from timonel.api.objects import Object, get_path, name_of, namespace_of, uid_of
from timonel.api.refs import CSI_DRIVERS, SECRETS, VOLUME_ATTACHMENTS
from timonel.api.volumes import attachment_name, modes_of, needs_attaching, unique_name
from timonel.client.protocol import ApiClient
from timonel.kubelet.csi import csi_pb2 as csi
from timonel.kubelet.csi.driver import CsiDriver, CsiError, Volume
from timonel.kubelet.csi.drivers import CsiDrivers

log = logging.getLogger(__name__)

FOLDER = "kubernetes.io~csi"
_DATA = "vol_data.json"
_ATTACH_SECONDS = 60.0
_POD_INFO = "csi.storage.k8s.io"
_Mode = csi.VolumeCapability.AccessMode.Mode


class CsiMounter:
    """`root` is the kubelet's folder. All may be called again after any interruption."""

    def __init__(self, *, client: ApiClient, drivers: CsiDrivers, clock: Clock, node_name: str, root: str) -> None:
        self._client = client
        self._drivers = drivers
        self._clock = clock
        self._node_name = node_name
        self._root = root

    async def wait_attached(self, volume: Object) -> Mapping[str, str]:
        """Until a PersistentVolume is attached to this node, if it has to be; gives what the attacher left for `mount`.

        May be cancelled. Raises CsiError when there is no such driver, or after a while.
        """
        name = volume["spec"]["csi"]["driver"]
        self._driver(name)
        return await self._attachment_metadata(volume, await self._registered(name))

    async def mount(
        self, pod: Object, volume: Object, folder: str, *, read_only: bool, publish_context: Mapping[str, str]
    ) -> tuple[str, bool]:
        """Of a PersistentVolume, below the pod's volumes folder. Gives the path, and whether fsGroup is left to do.

        Raises CsiError, OSError.
        """
        source = volume["spec"]["csi"]
        driver = self._driver(source["driver"])
        registered = await self._registered(driver.name)
        context = dict(source.get("volumeAttributes") or {}) | self._pod_info(pod, registered, is_inline=False)
        group = None if read_only else _group_for(pod, volume, registered)
        given = group if driver.sets_group else None
        told = Volume(
            id=source["volumeHandle"],
            capability=capability(volume, driver, given),
            context=context,
            publish_context=publish_context,
        )
        place = f"{folder}/{FOLDER}/{name_of(volume)}"
        self._note(place, driver.name, told.id, name_of(volume), unique_name(volume))
        staged = ""
        if driver.stages:
            staged = f"{self._staging(driver.name, told.id)}/globalmount"
            os.makedirs(staged, mode=0o750, exist_ok=True)
            await driver.stage(told, staged, await self._secret(source.get("nodeStageSecretRef")))
        target = f"{place}/mount"
        secrets = await self._secret(source.get("nodePublishSecretRef"))
        is_read_only = read_only or bool(source.get("readOnly"))
        await driver.publish(told, target, staged=staged, read_only=is_read_only, secrets=secrets)
        return target, group is not None and given is None

    async def mount_inline(self, pod: Object, volume: Object, folder: str) -> str:
        """Of a volume that the pod describes itself. Raises CsiError, OSError."""
        source = volume["csi"]
        driver = self._driver(source["driver"])
        registered = await self._registered(driver.name)
        if "Ephemeral" not in get_path(registered, "spec", "volumeLifecycleModes", default=["Persistent"]):
            raise CsiError(f"driver {driver.name} does not support ephemeral inline volumes")
        digest = hashlib.sha256(f"{namespace_of(pod)}{uid_of(pod)}{volume['name']}".encode()).hexdigest()
        capability = csi.VolumeCapability(mount=csi.VolumeCapability.MountVolume(fs_type=source.get("fsType") or ""))
        capability.access_mode.mode = _Mode.SINGLE_NODE_WRITER
        context = dict(source.get("volumeAttributes") or {}) | self._pod_info(pod, registered, is_inline=True)
        told = Volume(f"csi-{digest}", capability, context, {})
        place = f"{folder}/{FOLDER}/{volume['name']}"
        self._note(place, driver.name, told.id, volume["name"], "")
        reference = source.get("nodePublishSecretRef")
        secrets = await self._secret({**reference, "namespace": namespace_of(pod)} if reference else None)
        target = f"{place}/mount"
        await driver.publish(told, target, staged="", read_only=bool(source.get("readOnly")), secrets=secrets)
        return target

    async def unmount(self, folder: str) -> None:
        """All such volumes of one pod; a volume that no other pod here has is unstaged. Raises CsiError, OSError."""
        for place in sorted(glob(f"{escape(folder)}/{FOLDER}/*")):
            data = _read(f"{place}/{_DATA}")
            if data is None:
                continue
            name, volume_id = data["driverName"], data["volumeHandle"]
            driver = self._driver(name)
            await driver.unpublish(volume_id, f"{place}/mount")
            if driver.stages and not self._is_used(name, volume_id, beside=place):
                staging = self._staging(name, volume_id)
                await driver.unstage(volume_id, f"{staging}/globalmount")
                _remove_empty(f"{staging}/globalmount", staging)
            os.unlink(f"{place}/{_DATA}")  # last: until then all of this is done again

    def in_use(self) -> list[str]:
        """For status.volumesInUse: volumes that some pod here has, or that are not unstaged yet."""
        return sorted({data["attachedName"] for _, data in self._all() if data.get("attachedName")})

    # Parts

    def _driver(self, name: str) -> CsiDriver:
        driver = self._drivers.get(name)
        if driver is None:
            raise CsiError(f"driver name {name} not found in the list of registered CSI drivers")
        return driver

    async def _registered(self, name: str) -> Object | None:
        """What the administrator says about the driver."""
        try:
            return await self._client.get(CSI_DRIVERS, name)
        except NotFound:
            return None
        except ApiError as exc:
            raise CsiError(f"failed to get CSIDriver {name}: {exc.message}") from exc

    async def _attachment_metadata(self, volume: Object, registered: Object | None) -> Mapping[str, str]:
        """Waits until the volume is attached to this node. A node may only get attachments, not watch them."""
        driver = volume["spec"]["csi"]["driver"]
        if not needs_attaching(volume, {driver: registered} if registered else {}):
            return {}
        name, pause = attachment_name(volume, self._node_name), 0.25
        deadline = self._clock.monotonic() + _ATTACH_SECONDS
        while True:
            try:
                attachment = await self._client.get(VOLUME_ATTACHMENTS, name)
                if get_path(attachment, "status", "attached"):
                    found: Mapping[str, str] = get_path(attachment, "status", "attachmentMetadata", default={})
                    return found
                why = get_path(attachment, "status", "attachError", "message", default="not attached yet")
            except ApiError as exc:
                why = exc.message
            if self._clock.monotonic() >= deadline:
                raise CsiError(f"volume {name_of(volume)} is not attached to this node: {why}")
            await self._clock.sleep(pause)
            pause = min(pause * 2, 4.0)

    async def _secret(self, reference: Object | None) -> Mapping[str, str]:
        if not reference:
            return {}
        try:
            secret = await self._client.get(SECRETS, reference["name"], reference.get("namespace") or "")
        except ApiError as exc:
            raise CsiError(f"fetching secret {reference.get('namespace')}/{reference['name']}: {exc.message}") from exc
        return {key: b64decode(value).decode(errors="replace") for key, value in (secret.get("data") or {}).items()}

    def _pod_info(self, pod: Object, registered: Object | None, *, is_inline: bool) -> dict[str, str]:
        if not get_path(registered, "spec", "podInfoOnMount"):
            return {}
        return {
            f"{_POD_INFO}/pod.name": name_of(pod),
            f"{_POD_INFO}/pod.namespace": namespace_of(pod),
            f"{_POD_INFO}/pod.uid": uid_of(pod),
            f"{_POD_INFO}/serviceAccount.name": pod["spec"].get("serviceAccountName") or "",
            f"{_POD_INFO}/ephemeral": "true" if is_inline else "false",
        }

    def _staging(self, driver: str, volume_id: str) -> str:
        digest = hashlib.sha256(volume_id.encode()).hexdigest()
        return f"{self._root}/plugins/kubernetes.io/csi/{driver}/{digest}"

    def _note(self, place: str, driver: str, volume_id: str, name: str, attached_name: str) -> None:
        os.makedirs(place, mode=0o750, exist_ok=True)
        data = {
            "driverName": driver,
            "volumeHandle": volume_id,
            "specVolID": name,
            "nodeName": self._node_name,
            "attachedName": attached_name,
        }
        with open(f"{place}/{_DATA}.new", "wb") as file:
            file.write(orjson.dumps(data))
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{place}/{_DATA}.new", f"{place}/{_DATA}")

    def _is_used(self, driver: str, volume_id: str, *, beside: str) -> bool:
        return any(
            (data["driverName"], data["volumeHandle"]) == (driver, volume_id)
            for place, data in self._all()
            if place != beside
        )

    def _all(self) -> Iterator[tuple[str, Object]]:
        """(folder, data) of every such volume in pods of this node."""
        for path in glob(f"{escape(self._root)}/pods/*/volumes/{FOLDER}/*/{_DATA}"):
            data = _read(path)
            if data is not None:
                yield os.path.dirname(path), data


def _remove_empty(*folders: str) -> None:
    """Of those that are still there; a driver may have removed them."""
    for folder in folders:
        if os.path.isdir(folder):
            os.rmdir(folder)


def _read(path: str) -> Object | None:
    try:
        with open(path, "rb") as file:
            data: Object = orjson.loads(file.read())
            return data
    except (FileNotFoundError, ValueError):
        return None


def capability(volume: Object, driver: CsiDriver, group: int | None) -> csi.VolumeCapability:
    """How the volume is to be had, from its access modes and file system."""
    spec = volume["spec"]
    made = csi.VolumeCapability(
        mount=csi.VolumeCapability.MountVolume(
            fs_type=spec["csi"].get("fsType") or "",
            mount_flags=list(spec.get("mountOptions") or ()),
            volume_mount_group="" if group is None else str(group),
        )
    )
    modes = modes_of(volume)
    single = driver.knows_single_writers
    table = {
        "ReadWriteMany": _Mode.MULTI_NODE_MULTI_WRITER,
        "ReadOnlyMany": _Mode.MULTI_NODE_READER_ONLY,
        "ReadWriteOncePod": _Mode.SINGLE_NODE_SINGLE_WRITER if single else _Mode.SINGLE_NODE_WRITER,
        "ReadWriteOnce": _Mode.SINGLE_NODE_MULTI_WRITER if single else _Mode.SINGLE_NODE_WRITER,
    }
    made.access_mode.mode = next((mode for name, mode in table.items() if name in modes), _Mode.UNKNOWN)
    return made


def _group_for(pod: Object, volume: Object, registered: Object | None) -> int | None:
    """The group that the volume is to be given to, by the driver's fsGroupPolicy; None: none."""
    group: int | None = get_path(pod, "spec", "securityContext", "fsGroup")
    policy = get_path(registered, "spec", "fsGroupPolicy", default="ReadWriteOnceWithFSType")
    if group is None or policy == "None":
        return None
    if policy == "File":
        return group
    has_type = bool(volume["spec"]["csi"].get("fsType"))
    return group if has_type and "ReadWriteOnce" in modes_of(volume) else None
