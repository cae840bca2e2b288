"""All pods of the node: gives each its worker, tells workers what happened, and clears away what belongs to no pod."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator

from timonel.api.clock import format_time
from timonel.api.objects import Object, name_of, namespace_of, uid_of
from timonel.kubelet.containers.labels import (
    CONTAINER_NAME,
    GRACE,
    POD_UID,
    container_from_annotations,
    pod_from_labels,
)
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.cri.runtime import RuntimeEvents, RuntimeFailure
from timonel.kubelet.pods.services import PodServices
from timonel.kubelet.pods.spec import grace_seconds
from timonel.kubelet.pods.worker import PodWorker

log = logging.getLogger(__name__)

_EVENTLESS_SECONDS = 3.0
"""Between looks at the runtime while its event stream is away."""


class PodWorkers:
    """Pods come in by `add`, `update` and `delete`; `run` works on them until cancelled."""

    def __init__(
        self, *, services: PodServices, events: RuntimeEvents, on_connected: Callable[[], None] = lambda: None
    ) -> None:
        self._on_connected = on_connected
        """Called when the runtime's event stream stands (again)."""
        self._services = services
        self._events = events
        self._workers: dict[str, PodWorker] = {}
        self._by_name: dict[tuple[str, str], str] = {}
        self._after_orphan: dict[str, Object] = {}
        self._group: asyncio.TaskGroup | None = None
        self._streaming = False
        self.knows_all = True
        """Whether every pod of the node is known, so that what runs for no pod belongs to none."""
        services.objects.add_handler(lambda name, uids: self._inputs_changed(uids))

    # From the API

    def add(self, pod: Object) -> None:
        uid = uid_of(pod)
        self._by_name[namespace_of(pod), name_of(pod)] = uid
        worker = self._workers.get(uid)
        if worker is not None and worker.orphan:
            self._after_orphan[uid] = pod  # its remains are cleared away first
            return
        if worker is not None:
            worker.update(pod)
            return
        self._begin(PodWorker(pod, self._services))
        self._balance()

    def update(self, old: Object, new: Object) -> None:
        if uid_of(old) != uid_of(new):
            self.delete(old)
        self.add(new)

    def delete(self, pod: Object) -> None:
        worker = self._workers.get(uid_of(pod))
        if worker is not None:
            worker.deleted(pod)

    async def remove_ended(self) -> None:
        """Containers and sandboxes of pods that are over; what they said goes with them. Raises RuntimeFailure."""
        for worker in self:
            await worker.remove_ended()

    def end_static(self, uid: str) -> None:
        """A pod without an API object is to end as if somebody had deleted it."""
        worker = self._workers.get(uid)
        if worker is None:
            return
        now = format_time(self._services.clock.now())
        grace = {"deletionTimestamp": now, "deletionGracePeriodSeconds": grace_seconds(worker.pod)}
        worker.deleted({**worker.pod, "metadata": {**worker.pod["metadata"], **grace}})

    # Views for others

    def __iter__(self) -> Iterator[PodWorker]:
        return iter(list(self._workers.values()))

    def get(self, uid: str) -> PodWorker | None:
        return self._workers.get(uid)

    def find(self, namespace: str, name: str) -> PodWorker | None:
        return self._workers.get(self._by_name.get((namespace, name), ""))

    def notify(self, uid: str) -> None:
        worker = self._workers.get(uid)
        if worker is not None:
            worker.notify()

    def _inputs_changed(self, uids: set[str]) -> None:
        for uid in uids:
            worker = self._workers.get(uid)
            if worker is not None:
                worker.inputs_changed()

    # Work

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                for worker in self._workers.values():
                    self._launch(worker)
                group.create_task(self._follow_events(), name="runtime events")
                await self._relist_forever()
            finally:
                self._group = None

    def _begin(self, worker: PodWorker) -> None:
        self._workers[worker.uid] = worker
        if self._group is not None:
            self._launch(worker)

    def _launch(self, worker: PodWorker) -> None:
        assert self._group is not None
        task = self._group.create_task(worker.run(), name=f"pod {namespace_of(worker.pod)}/{name_of(worker.pod)}")
        task.add_done_callback(lambda _: self._finished(worker))

    def _finished(self, worker: PodWorker) -> None:
        self._workers.pop(worker.uid, None)
        key = (namespace_of(worker.pod), name_of(worker.pod))
        if self._by_name.get(key) == worker.uid:
            del self._by_name[key]
        following = self._after_orphan.pop(worker.uid, None)
        if following is not None and self._group is not None:
            self.add(following)
        self._balance()

    def _balance(self) -> None:
        try:
            self._services.cgroups.balance([worker.pod for worker in self._workers.values() if worker.pod.get("spec")])
        except OSError as exc:
            log.warning("cgroup weights not set error=%s", exc)

    async def _follow_events(self) -> None:
        clock = self._services.clock
        while True:
            try:
                async for event in self._events.subscribe():
                    if event is None:
                        self._streaming = True
                        self._on_connected()
                        for waiting in self:
                            if waiting.failing:
                                waiting.notify()
                        await self._relist_quietly()
                        continue
                    if event.kind == "exit":
                        self._services.reader.note_end(event.id)
                    uid = self._services.reader.owner(event.id)
                    worker = self._workers.get(uid) if uid else None
                    if worker is not None:
                        worker.notify()
            except RuntimeFailure as exc:
                log.info("runtime event stream broke error=%s", exc)
            self._streaming = False
            await clock.sleep(1.0)

    async def _relist_forever(self) -> None:
        clock, config = self._services.clock, self._services.config
        since = 0.0
        while True:
            await clock.sleep(_EVENTLESS_SECONDS)
            since += _EVENTLESS_SECONDS
            if not self._streaming or since >= config.relist_seconds:
                since = 0.0
                await self._relist_quietly()

    async def learnt_all(self) -> None:
        """From now on what runs for no known pod is cleared away."""
        self.knows_all = True
        await self._relist_quietly()

    async def _relist_quietly(self) -> None:
        try:
            await self.relist()
        except RuntimeFailure as exc:
            log.info("runtime not listed error=%s", exc)

    async def relist(self) -> None:
        """Looks at everything in the runtime: wakes workers that do not know it, ends what no pod owns."""
        sandboxes: dict[str, list[cri.PodSandbox]] = defaultdict(list)
        containers: dict[str, list[cri.Container]] = defaultdict(list)
        for sandbox in await self._services.runtime.list_pod_sandboxes():
            sandboxes[sandbox.labels.get(POD_UID, "")].append(sandbox)
        for container in await self._services.runtime.list_containers():
            containers[container.labels.get(POD_UID, "")].append(container)
        for uid, worker in list(self._workers.items()):
            if self._services.reader.differs(uid, sandboxes.get(uid, ()), containers.get(uid, ())):
                worker.notify()
        if not self.knows_all:
            return
        for uid in (sandboxes.keys() | containers.keys()) - self._workers.keys() - {""}:
            try:
                orphan = _restore(sandboxes.get(uid, []), containers.get(uid, []))
            except (KeyError, ValueError) as exc:
                # Not made by an agent of ours, or not as we write it: left alone, and no reason to end the kubelet.
                log.warning("unknown pod left alone uid=%s error=%r", uid, exc)
                continue
            log.info("orphaned pod found pod=%s/%s uid=%s", namespace_of(orphan), name_of(orphan), uid)
            self._begin(PodWorker(orphan, self._services, orphan=True))
        await self._clear_orphans()

    async def _clear_orphans(self) -> None:
        """Volumes, cgroups and logs of pods that are neither in the API nor in the runtime."""
        services = self._services
        for uid in services.volumes.pods_on_disk() - self._workers.keys():
            try:
                await services.volumes.unmount(uid)
                log.info("orphaned volumes removed pod_uid=%s", uid)
            except OSError as exc:
                log.warning("orphaned volumes not removed pod_uid=%s error=%s", uid, exc)
        for uid in services.cgroups.pod_uids() - self._workers.keys():
            services.cgroups.remove_pod(uid)
        logs = services.config.pod_logs_dir
        for name in await asyncio.to_thread(_names, logs):
            if name.count("_") == 2 and name.rpartition("_")[2] not in self._workers:
                await asyncio.to_thread(shutil.rmtree, os.path.join(logs, name), ignore_errors=True)


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _restore(sandboxes: list[cri.PodSandbox], containers: list[cri.Container]) -> Object:
    """As much of a deleted pod as its labels and annotations tell: enough to end it as it asked to be ended."""
    labels = [dict(sandbox.labels) for sandbox in sandboxes] + [dict(container.labels) for container in containers]
    pod = pod_from_labels(labels[0])
    for container in containers:
        annotations = dict(container.annotations)
        if annotations.get(GRACE, "").isdigit():
            pod["spec"]["terminationGracePeriodSeconds"] = int(annotations[GRACE])
        name = container.labels.get(CONTAINER_NAME, container.metadata.name)
        pod["spec"]["containers"].append(container_from_annotations(name, annotations))
    return pod
