"""Removes the directories of local volumes that are deleted. (controllers/persistentvolume/local.py makes the volumes.)

The API says which: the agent watches the volumes that carry its node's label, and takes a finalizer away from one that
is being deleted once its directory is gone. A directory that the API says nothing about stays: nothing is ever removed
because something is missing.
"""

from __future__ import annotations

import asyncio
import logging
import os
from glob import escape, glob

from timonel.api.clock import Clock
from timonel.api.errors import ApiError, NotFound
from timonel.api.objects import Object, ObjectKey, get_path, is_deleting, key_of, name_of
from timonel.api.refs import PERSISTENT_VOLUMES
from timonel.api.volumes import LOCAL_FINALIZER, LOCAL_NODE_LABEL
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.client.workqueue import WorkQueue
from timonel.kubelet.volumes.persistent import LOCAL_FOLDER, directory_of
from timonel.kubelet.volumes.trees import remove_tree

log = logging.getLogger(__name__)

_GOING = ".removed-"
_IN_USE_SECONDS = 2.0
_PROTECTION = "kubernetes.io/pv-protection"


def may_go(volume: Object) -> bool:
    """Deleted, and nobody's: no claim is bound to it and nothing else protects it."""
    finalizers = volume["metadata"].get("finalizers") or []
    is_free = _PROTECTION not in finalizers and get_path(volume, "status", "phase") != "Bound"
    return is_deleting(volume) and LOCAL_FINALIZER in finalizers and is_free


class LocalVolumes:
    """`pods_dir` holds the folders of pods, `volumes_dir` the directories of volumes."""

    def __init__(
        self,
        *,
        client: ApiClient,
        informers: Informers,
        clock: Clock,
        node_name: str,
        pods_dir: str,
        volumes_dir: str,
    ) -> None:
        self._client = client
        self._pods_dir = pods_dir
        self._volumes_dir = volumes_dir
        self._volumes = informers.of(PERSISTENT_VOLUMES, label_selector=f"{LOCAL_NODE_LABEL}={node_name}")
        self._queue: WorkQueue[ObjectKey] = WorkQueue(clock, name="local volumes", base_delay=1.0)
        self._volumes.add_handler(on_add=self._seen, on_update=lambda old, new: self._seen(new))

    def _seen(self, volume: Object) -> None:
        if may_go(volume):
            self._queue.add(key_of(volume))

    async def run(self) -> None:
        await asyncio.to_thread(self._finish)
        try:
            while True:
                key = await self._queue.get()
                try:
                    await self._sync(key)
                except (ApiError, OSError) as exc:
                    log.warning("local volume not removed volume=%s error=%s", key, exc)
                    self._queue.add_rate_limited(key)
                else:
                    self._queue.forget(key)
                finally:
                    self._queue.done(key)
        finally:
            self._queue.close()

    async def _sync(self, key: ObjectKey) -> None:
        volume = self._volumes.lister.get(*key)
        if volume is None or not may_go(volume):
            return
        if await asyncio.to_thread(self._is_in_use, name_of(volume)):
            self._queue.add_after(key, _IN_USE_SECONDS)
            return
        directory = directory_of(volume, self._volumes_dir)
        if directory and get_path(volume, "spec", "persistentVolumeReclaimPolicy") == "Delete":
            await asyncio.to_thread(self._remove, directory)
            log.info("local volume was removed volume=%s", key)
        kept = [each for each in volume["metadata"]["finalizers"] if each != LOCAL_FINALIZER]
        patch = {"metadata": {"resourceVersion": volume["metadata"]["resourceVersion"], "finalizers": kept}}
        try:
            await self._client.patch(PERSISTENT_VOLUMES, name_of(volume), patch, type="merge")
        except NotFound:
            return

    def _is_in_use(self, name: str) -> bool:
        """A pod that was deleted with force may not have ended yet."""
        return bool(glob(f"{escape(self._pods_dir)}/*/volumes/{LOCAL_FOLDER}/{escape(name)}"))

    def _remove(self, directory: str) -> None:
        """In two steps, so that half a volume is never taken for a whole one."""
        going = f"{self._volumes_dir}/{_GOING}{os.path.basename(directory)}"
        if os.path.lexists(directory):
            os.rename(directory, going)
        if os.path.lexists(going):
            remove_tree(going)

    def _finish(self) -> None:
        """What an earlier agent was about to remove."""
        try:
            names = os.listdir(self._volumes_dir)
        except FileNotFoundError:
            return
        for name in names:
            if name.startswith(_GOING):
                try:
                    remove_tree(f"{self._volumes_dir}/{name}")
                except OSError as exc:
                    log.warning("rest of a volume not removed name=%s error=%s", name, exc)
