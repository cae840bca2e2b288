"""The volumes of every pod on this node.

Whether something is made is always read from disk and mount table, never remembered: so the manager needs no state
file, adopts what an earlier agent made, and finishes what it left half done.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Mapping
from datetime import timedelta

from timonel.api.clock import Clock
from timonel.api.objects import Object, namespace_of, uid_of
from timonel.api.quantity import int_value
from timonel.client.protocol import ApiClient
from timonel.kubelet.containers.config import Device, MountPoint
from timonel.kubelet.containers.expansion import expand
from timonel.kubelet.csi.mounter import CsiMounter
from timonel.kubelet.images.volumes import ImageVolumes
from timonel.kubelet.objects import ObjectName, ObjectsUnavailable, ReferencedObjects, references_of
from timonel.kubelet.volumes import mounts
from timonel.kubelet.volumes.atomic import write_files
from timonel.kubelet.volumes.attachments import Attachments
from timonel.kubelet.volumes.attachments import MountFailure as MountFailure
from timonel.kubelet.volumes.hostpath import HostPathError, ensure_host_path
from timonel.kubelet.volumes.layout import BUILT, IMAGE, PERSISTENT, WRITTEN, PodPaths, source_of
from timonel.kubelet.volumes.payload import PayloadError, PayloadSource, reads_object, render_volume, token_projections
from timonel.kubelet.volumes.persistent import Attached
from timonel.kubelet.volumes.subpath import SubPathError, bind_subpath
from timonel.kubelet.volumes.tokens import TokenSource
from timonel.kubelet.volumes.trees import remove_tree
from timonel.kubelet.waiting import wait_event

log = logging.getLogger(__name__)

_RETRY_SECONDS = 30.0
_IDLE_SECONDS = 600.0


class _NotKnownYet(PayloadError):
    """The API has not told whether the object exists. Whoever keeps a volume up to date is told when it does."""


class Volumes:
    """`mount` and `unmount` by pod; `run` keeps files of mounted volumes up to date."""

    def __init__(
        self,
        *,
        root_dir: str,
        volumes_dir: str,
        client: ApiClient,
        objects: ReferencedObjects,
        tokens: TokenSource,
        clock: Clock,
        allocatable: Object,
        csi: CsiMounter,
        images: ImageVolumes,
    ) -> None:
        self._root = root_dir
        self._objects = objects
        self._tokens = tokens
        self._clock = clock
        self.allocatable = allocatable
        self._pods: dict[str, Object] = {}
        self._images = images
        self._attachments = Attachments(client=client, csi=csi, volumes_dir=volumes_dir)
        self._stale: set[tuple[str, str]] = set()
        """(pod uid, volume name) to write again."""
        self._wake = asyncio.Event()
        objects.add_handler(self._object_changed)

    def paths(self, uid: str) -> PodPaths:
        return PodPaths(f"{self._root}/pods/{uid}")

    def pods_on_disk(self) -> set[str]:
        try:
            return set(os.listdir(f"{self._root}/pods"))
        except FileNotFoundError:
            return set()

    # Making

    async def mount(self, pod: Object) -> None:
        """Makes every volume of the pod that is not made. Raises MountFailure."""
        uid = uid_of(pod)
        paths = self.paths(uid)
        await asyncio.to_thread(self._make_directories, paths)
        volumes = pod["spec"].get("volumes") or []
        for volume in volumes:
            if source_of(volume) not in (*BUILT, *PERSISTENT):
                raise MountFailure(volume["name"], f"volume source {source_of(volume)} is not built in Timonel")
        try:
            await self._objects.wait_known(references_of(pod))
        except ObjectsUnavailable as exc:
            name = next((v["name"] for v in volumes if source_of(v) in WRITTEN), "")
            raise MountFailure(name, exc) from exc
        for volume in volumes:
            if source_of(volume) in PERSISTENT and self._attachments.get(uid, volume["name"]) is None:
                await self._attachments.attach(pod, volume, paths)
        if uid not in self._pods:
            for volume in volumes:
                if source_of(volume) in (*PERSISTENT, IMAGE):
                    continue
                try:
                    await self._mount_one(pod, volume, paths)
                except (OSError, HostPathError, PayloadError) as exc:
                    raise MountFailure(volume["name"], exc) from exc
        self._pods[uid] = pod
        self._wake.set()

    def _make_directories(self, paths: PodPaths) -> None:
        os.makedirs(paths.root, mode=0o750, exist_ok=True)
        os.makedirs(paths.volumes, mode=0o750, exist_ok=True)

    async def _mount_one(self, pod: Object, volume: Object, paths: PodPaths) -> None:
        source = source_of(volume)
        path = paths.volume(volume)
        if source == "hostPath":
            # In a thread: it may be on a network file system whose server is away.
            await asyncio.to_thread(ensure_host_path, path, volume["hostPath"].get("type") or "")
            return
        os.makedirs(path, exist_ok=True)
        if source == "emptyDir":
            self._make_empty_dir(pod, volume["emptyDir"] or {}, path)
            return
        if source in ("secret", "projected") and not mounts.is_mount_point(path):
            # Secrets and tokens are never on a disk.
            mounts.mount_tmpfs(path, mode="0755")
        await self._write(pod, volume)

    def _make_empty_dir(self, pod: Object, source: Object, path: str) -> None:
        fresh = not os.path.exists(path + ".ready")
        medium = source.get("medium") or ""
        if medium == "Memory":
            if not mounts.is_mount_point(path):
                size = int_value(str(source["sizeLimit"])) if source.get("sizeLimit") else 0
                mounts.mount_tmpfs(path, size_bytes=size)
                fresh = True
        elif medium:
            raise PayloadError(f"emptyDir medium {medium} is not built in Timonel")
        if fresh:
            os.chmod(path, 0o777)
            group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
            if group is not None:
                os.chown(path, -1, group)
                os.chmod(path, 0o777 | stat.S_ISGID)
            with open(path + ".ready", "ab"):
                pass

    async def _write(self, pod: Object, volume: Object) -> bool:
        for source in (volume.get("projected") or {}).get("sources") or ():
            if source.get("serviceAccountToken"):
                await self._tokens.ensure(pod, source["serviceAccountToken"])
        namespace = namespace_of(pod)
        files = render_volume(
            pod,
            volume,
            PayloadSource(
                lookup=lambda kind, name: self._lookup(kind, namespace, name),
                token=lambda projection: self._tokens.get(pod, projection),
                allocatable=self.allocatable,
            ),
        )
        return write_files(
            self.paths(uid_of(pod)).volume(volume),
            files,
            now=self._clock.now(),
            group=(pod["spec"].get("securityContext") or {}).get("fsGroup"),
        )

    def _lookup(self, kind: str, namespace: str, name: str) -> Object | None:
        if not self._objects.is_known(kind, namespace, name):
            # Not the same as absent: an optional object must not vanish while the API is away.
            raise _NotKnownYet(f'{kind} "{name}" is not known yet')
        return self._objects.get(kind, namespace, name)

    def adopt(self, pod: Object) -> None:
        """Of a pod whose volumes an earlier agent made: keeps them up to date from now on."""
        uid = uid_of(pod)
        if uid in self._pods:
            return
        self._pods[uid] = pod
        for volume in pod["spec"].get("volumes") or ():
            if source_of(volume) in WRITTEN:
                self._mark(uid, volume["name"])

    def place(self, uid: str, volume: Object) -> str | None:
        """Where the files of a pod's volume are; None for what has none, or is not mounted yet."""
        if source_of(volume) in PERSISTENT:
            attached = self._attachments.get(uid, volume["name"])
            return None if attached is None or attached.is_block else attached.path
        # The files of images belong to the node, not to the pod.
        return self.paths(uid).volume(volume) if source_of(volume) in BUILT and source_of(volume) != IMAGE else None

    # Into containers

    def container_mounts(
        self,
        pod: Object,
        container: Object,
        environment: Mapping[str, str],
        images: Mapping[str, str],
    ) -> list[MountPoint]:
        """Raises SubPathError, OSError; the pod's volumes are mounted before.

        `images`: by volume, the image that the runtime is to mount itself.
        """
        paths = self.paths(uid_of(pod))
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
        made = []
        for index, mount in enumerate(container.get("volumeMounts") or ()):
            volume = volumes[mount["name"]]
            attached = self._attachments.get(uid_of(pod), mount["name"]) or Attached(
                paths.volume(volume), is_free=source_of(volume) == "hostPath"
            )
            host_path = attached.path
            sub_path = mount.get("subPath") or expand(mount.get("subPathExpr") or "", environment.get)
            if sub_path.startswith("/") or ".." in sub_path.split("/"):
                raise SubPathError(f"subPath {sub_path!r} must be a relative path without ..")
            if mount["name"] in images:
                made.append(
                    MountPoint(
                        "",
                        _absolute(mount["mountPath"]),
                        read_only=True,
                        image=images[mount["name"]],
                        image_sub_path=sub_path,
                    )
                )
                continue
            if sub_path:
                target = f"{paths.subpaths}/{mount['name']}/{container['name']}/{index}"
                bind_subpath(host_path, sub_path, target, create_mode=None if source_of(volume) == IMAGE else 0o750)
                host_path = target
            elif attached.is_free and not os.path.exists(host_path):
                os.makedirs(host_path, 0o755)
            written = source_of(volume) in WRITTEN
            made.append(
                MountPoint(
                    host_path,
                    _absolute(mount["mountPath"]),
                    # An image is read-only where it is mounted; a runtime that is to make it so anew drops its noexec.
                    (bool(mount.get("readOnly")) and source_of(volume) != IMAGE) or written or attached.read_only,
                    mount.get("mountPropagation") or "None",
                )
            )
        return made

    def container_devices(self, pod: Object, container: Object) -> list[Device]:
        """Volumes of mode Block; the pod's volumes are mounted before."""
        uid = uid_of(pod)
        return [
            Device(found.path, device["devicePath"], "r" if found.read_only else "mrw")
            for device in container.get("volumeDevices") or ()
            if (found := self._attachments.get(uid, device["name"])) is not None
        ]

    # Updates

    def update_pod(self, pod: Object) -> None:
        """Labels or annotations may have changed: downwardAPI files follow."""
        uid = uid_of(pod)
        if uid not in self._pods:
            return
        self._pods[uid] = pod
        for volume in pod["spec"].get("volumes") or ():
            sources = (volume.get("projected") or {}).get("sources") or [volume]
            if any(source.get("downwardAPI") for source in sources):
                self._mark(uid, volume["name"])

    def _object_changed(self, name: ObjectName, uids: set[str]) -> None:
        for uid in uids:
            pod = self._pods.get(uid)
            if pod is None:
                continue
            for volume in pod["spec"].get("volumes") or ():
                if source_of(volume) in WRITTEN and reads_object(volume, name.kind, name.name):
                    self._mark(uid, volume["name"])

    def _mark(self, uid: str, volume: str) -> None:
        self._stale.add((uid, volume))
        self._wake.set()

    async def run(self) -> None:
        while True:
            self._wake.clear()
            while self._stale:
                await self._refresh(*self._stale.pop())
            await self._renew_tokens()
            await wait_event(self._wake, self._pause(), self._clock)

    def _pause(self) -> float:
        renewal = self._tokens.next_renewal()
        if renewal is None:
            return _IDLE_SECONDS
        return min(_IDLE_SECONDS, max(1.0, (renewal - self._clock.now()).total_seconds()))

    async def _refresh(self, uid: str, name: str) -> None:
        pod = self._pods.get(uid)
        if pod is None:
            return
        volume = next((v for v in pod["spec"].get("volumes") or () if v["name"] == name), None)
        if volume is None or source_of(volume) not in WRITTEN:
            return
        try:
            if await self._write(pod, volume):
                log.info("volume updated pod_uid=%s volume=%s", uid, name)
        except _NotKnownYet:
            return  # after a restart, say: what an earlier agent wrote stays until then
        except (OSError, PayloadError) as exc:
            # What was written before stays; an object that was deleted may come back.
            log.warning("volume not updated pod_uid=%s volume=%s error=%s", uid, name, exc)
        except Exception:
            # A defect that one volume brings to light must not stop the others, nor the kubelet.
            log.exception("volume broke pod_uid=%s volume=%s", uid, name)

    async def _renew_tokens(self) -> None:
        now = self._clock.now()
        for uid in self._tokens.due(now):
            pod = self._pods.get(uid)
            if pod is None:
                self._tokens.forget(uid)
                continue
            for projection in token_projections(pod):
                try:
                    await self._tokens.ensure(pod, projection)
                except PayloadError as exc:
                    log.warning("token not renewed pod_uid=%s error=%s", uid, exc)
                except Exception:
                    log.exception("token renewal broke pod_uid=%s", uid)
            self._tokens.postpone(uid, now + timedelta(seconds=_RETRY_SECONDS))
            for volume in pod["spec"].get("volumes") or ():
                if volume.get("projected"):
                    await self._refresh(uid, volume["name"])

    # Removal

    async def unmount(self, uid: str) -> None:
        """Unmounts and removes all of a pod's volumes and files. Raises OSError when something is left."""
        self._pods.pop(uid, None)
        self._tokens.forget(uid)
        await self._attachments.detach(uid, self.paths(uid))
        await asyncio.to_thread(_unmount_all, self.paths(uid).root)
        await self._images.unmount(uid, self.paths(uid).images)
        await asyncio.to_thread(_remove_tree, self.paths(uid).root)


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


def _unmount_all(root: str) -> None:
    for point in mounts.mount_points(root):
        mounts.unmount(point)


def _remove_tree(root: str) -> None:
    """Never removes through a mount: whatever could not be unmounted stops it."""
    if not os.path.exists(root):
        return
    _unmount_all(root)
    left = mounts.mount_points(root)
    if left:
        raise OSError(f"still mounted: {', '.join(left)}")
    remove_tree(root)
