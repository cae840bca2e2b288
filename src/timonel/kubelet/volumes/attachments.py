"""The volumes of pods that come from elsewhere: claims, NFS shares, CSI volumes. What is where, and who uses it.

Kept in memory only as long as it helps: what is mounted is read from the mount table, and all else found out anew when
a pod's next container starts under a new agent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from timonel.api.objects import Object, name_of, uid_of
from timonel.api.volumes import modes_of
from timonel.client.protocol import ApiClient
from timonel.kubelet.csi.driver import CsiError
from timonel.kubelet.csi.mounter import CsiMounter
from timonel.kubelet.volumes.claims import ClaimedVolume, ClaimError, claimed_volume
from timonel.kubelet.volumes.hostpath import HostPathError
from timonel.kubelet.volumes.layout import PodPaths, source_of
from timonel.kubelet.volumes.ownership import give_to_group
from timonel.kubelet.volumes.persistent import Attached, VolumeError, attach, directory_of

T = TypeVar("T")


class MountFailure(Exception):
    """`volume` could not be made; the message is the text of the FailedMount event."""

    def __init__(self, volume: str, why: object) -> None:
        super().__init__(f'MountVolume.SetUp failed for volume "{volume}" : {why}')
        self.volume = volume


class ClaimFailure(MountFailure):
    """The claim behind `volume` does not lead to a volume (yet); the message is the whole text of the event."""

    def __init__(self, volume: str, why: str) -> None:
        Exception.__init__(self, why)
        self.volume = volume


class Attachments:
    """`attach` and `detach` by pod; both may be repeated after any interruption."""

    def __init__(self, *, client: ApiClient, csi: CsiMounter, volumes_dir: str) -> None:
        self._client = client
        self._csi = csi
        self._volumes_dir = volumes_dir
        self._attached: dict[str, dict[str, Attached]] = {}
        """Pod uid -> name of a PERSISTENT volume -> where it is."""
        self._attaching: dict[str, set[asyncio.Task[Any]]] = {}
        self._used_by: dict[str, set[str]] = {}
        """PersistentVolume -> uids of pods here."""

    def get(self, uid: str, name: str) -> Attached | None:
        """Where a volume of a pod is; None when it is not attached yet, or is of another kind."""
        return self._attached.get(uid, {}).get(name)

    async def attach(self, pod: Object, volume: Object, paths: PodPaths) -> None:
        """Raises MountFailure, ClaimFailure."""
        name, uid = volume["name"], uid_of(pod)
        try:
            if source_of(volume) == "csi":
                attached = Attached(
                    await self._finish(uid, self._csi.mount_inline(pod, volume, paths.volumes)),
                    bool(volume["csi"].get("readOnly")),
                )
            elif source_of(volume) == "nfs":
                attached = await self._finish(
                    uid,
                    attach(volume, name=name, folder=paths.volumes, pod=pod, is_block=False, read_only=False),
                )
            else:
                found = await claimed_volume(self._client, pod, volume)
                name = name_of(found.volume)
                self._check_alone(uid, found)
                left: Mapping[str, str] = {}
                if found.volume["spec"].get("csi") and not found.is_block:
                    left = await self._csi.wait_attached(found.volume)
                attached = await self._finish(uid, self._bring(pod, found, paths.volumes, left))
                self._used_by.setdefault(name, set()).add(uid)
        except ClaimError as exc:
            raise ClaimFailure(volume["name"], str(exc)) from exc
        except (OSError, HostPathError, VolumeError, CsiError) as exc:
            raise MountFailure(name, exc) from exc
        self._attached.setdefault(uid, {})[volume["name"]] = attached

    async def _bring(
        self, pod: Object, found: ClaimedVolume, folder: str, publish_context: Mapping[str, str]
    ) -> Attached:
        spec = found.volume["spec"]
        if not spec.get("csi") or found.is_block:
            own = directory_of(found.volume, self._volumes_dir)
            return await attach(
                spec,
                name=name_of(found.volume),
                folder=folder,
                pod=pod,
                is_block=found.is_block,
                read_only=found.read_only,
                own=own,
            )
        path, wants_group = await self._csi.mount(
            pod, found.volume, folder, read_only=found.read_only, publish_context=publish_context
        )
        if wants_group:
            security = pod["spec"]["securityContext"]
            lazily = security.get("fsGroupChangePolicy") == "OnRootMismatch"
            await asyncio.to_thread(give_to_group, path, security["fsGroup"], only_if_root_differs=lazily)
        return Attached(path, found.read_only)

    async def _finish(self, uid: str, work: Coroutine[Any, Any, T]) -> T:
        """To the end, also when nobody waits any more: a thread cannot be stopped, and what it binds while the pod's
        folder is being removed would be removed with it. `unmount` waits for this.
        """
        task = asyncio.ensure_future(work)
        running = self._attaching.setdefault(uid, set())
        running.add(task)
        task.add_done_callback(running.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # told by the next attempt
        return await asyncio.shield(task)

    def _check_alone(self, uid: str, found: ClaimedVolume) -> None:
        """ReadWriteOncePod, also for pods that came past the scheduler."""
        if "ReadWriteOncePod" in modes_of(found.claim) and self._used_by.get(name_of(found.volume), {uid}) - {uid}:
            raise VolumeError("volume uses the ReadWriteOncePod access mode and is already in use by another pod")

    async def detach(self, uid: str, paths: PodPaths) -> None:
        """Before the pod's folder is removed. Raises OSError when it must not be yet."""
        if running := self._attaching.pop(uid, None):
            await asyncio.wait(running)
        try:
            await self._csi.unmount(paths.volumes)
        except CsiError as exc:
            raise OSError(str(exc)) from exc
        self._attached.pop(uid, None)
        for name in [name for name, users in self._used_by.items() if uid in users]:
            self._used_by[name].discard(uid)
            if not self._used_by[name]:
                del self._used_by[name]
