"""Reads what runs of a pod from the runtime. A list per look; details only of what has changed since the last one."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from timonel.kubelet.containers import labels
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.cri.runtime import Runtime, RuntimeNotFound
from timonel.kubelet.pods.view import (
    CREATED,
    EXITED,
    LOST_EXIT_CODE,
    LOST_MESSAGE,
    LOST_REASON,
    RUNNING,
    UNKNOWN,
    ContainerView,
    PodView,
    SandboxView,
    make_view,
)

_STATES = {
    cri.CONTAINER_CREATED: CREATED,
    cri.CONTAINER_RUNNING: RUNNING,
    cri.CONTAINER_EXITED: EXITED,
    cri.CONTAINER_UNKNOWN: UNKNOWN,
}
# Source: kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure
_MESSAGE_LIMIT = 4096
_LOG_MESSAGE_LIMIT = 2048
_LOG_MESSAGE_LINES = 80
_TOLD_ENDS = 512


class ViewReader:
    """Caches by pod; `forget` a pod that is gone. All calls may raise RuntimeFailure."""

    def __init__(self, *, runtime: Runtime) -> None:
        self._runtime = runtime
        self._sandboxes: dict[str, dict[str, SandboxView]] = {}
        self._containers: dict[str, dict[str, ContainerView]] = {}
        self._owners: dict[str, str] = {}
        self._end_waiters: dict[str, asyncio.Event] = {}
        self._told_ends: OrderedDict[str, None] = OrderedDict()

    def known(self, uid: str) -> PodView:
        """As of the last look."""
        return make_view(self._sandboxes.get(uid, {}).values(), self._containers.get(uid, {}).values())

    def owner(self, container_id: str) -> str | None:
        """Uid of the pod that a container or sandbox belongs to, if it was there at the last look."""
        return self._owners.get(container_id)

    def note_end(self, container_id: str) -> None:
        """The event stream told of an end: the runtime's lists say so later, or no look has seen the start yet."""
        self._told_ends[container_id] = None
        if len(self._told_ends) > _TOLD_ENDS:
            self._told_ends.popitem(last=False)

    def told_end(self, container_id: str) -> bool:
        return container_id in self._told_ends

    def is_running(self, container_id: str) -> bool:
        """By the last look; an unknown id does not run."""
        containers = self._containers.get(self._owners.get(container_id, ""), {})
        return container_id in containers and containers[container_id].state == RUNNING

    async def wait_ended(self, container_id: str) -> None:
        """Returns once a look finds that the container does not run."""
        if self.is_running(container_id):
            await self._end_waiters.setdefault(container_id, asyncio.Event()).wait()

    def _tell_ended(self) -> None:
        for container_id in [cid for cid in self._end_waiters if not self.is_running(cid)]:
            self._end_waiters.pop(container_id).set()

    def forget(self, uid: str) -> None:
        for gone in (*self._sandboxes.pop(uid, {}), *self._containers.pop(uid, {})):
            self._owners.pop(gone, None)
        self._tell_ended()

    async def read(self, uid: str) -> PodView:
        known_sandboxes = self._sandboxes.get(uid, {})
        known_containers = self._containers.get(uid, {})
        sandboxes: dict[str, SandboxView] = {}
        for item in await self._runtime.list_pod_sandboxes(uid):
            known = known_sandboxes.get(item.id)
            ready = item.state == cri.SANDBOX_READY
            if known is None or known.ready != ready or (ready and not known.ips and not known.host_network):
                made = await self._sandbox(item)
                if made is None:
                    continue
                known = made
            sandboxes[item.id] = known
        containers: dict[str, ContainerView] = {}
        for listed in await self._runtime.list_containers(uid):
            view = known_containers.get(listed.id)
            if view is None or view.state != _STATES[listed.state]:
                view = await self._container(listed)
            if view is not None:
                containers[listed.id] = view
        for gone in (known_sandboxes.keys() | known_containers.keys()) - sandboxes.keys() - containers.keys():
            self._owners.pop(gone, None)
        self._owners |= dict.fromkeys((*sandboxes, *containers), uid)
        self._sandboxes[uid] = sandboxes
        self._containers[uid] = containers
        self._tell_ended()
        return make_view(sandboxes.values(), containers.values())

    def differs(self, uid: str, sandboxes: Iterable[cri.PodSandbox], containers: Iterable[cri.Container]) -> bool:
        """Whether the runtime's lists say something else than the last look."""
        before = {item.id: item.ready for item in self._sandboxes.get(uid, {}).values()}
        runs = {item.id: item.state for item in self._containers.get(uid, {}).values()}
        return before != {item.id: item.state == cri.SANDBOX_READY for item in sandboxes} or runs != {
            item.id: _STATES[item.state] for item in containers
        }

    async def _sandbox(self, item: cri.PodSandbox) -> SandboxView | None:
        try:
            status = await self._runtime.pod_sandbox_status(item.id)
        except RuntimeNotFound:
            return None  # removed between the two calls
        ips = [status.network.ip, *(extra.ip for extra in status.network.additional_ips)]
        return SandboxView(
            id=item.id,
            attempt=item.metadata.attempt,
            ready=status.state == cri.SANDBOX_READY,
            created_at=item.created_at,
            host_network=status.linux.namespaces.options.network == cri.NODE,
            ips=tuple(ip for ip in ips if ip),
        )

    async def _container(self, listed: cri.Container) -> ContainerView | None:
        try:
            status = await self._runtime.container_status(listed.id)
        except RuntimeNotFound:
            return None
        return container_view(status, listed.pod_sandbox_id)


def container_view(status: cri.ContainerStatus, sandbox_id: str) -> ContainerView:
    attempt = status.annotations.get(labels.RESTART_COUNT)
    state = _STATES[status.state]
    message = status.message
    if state == EXITED:
        said = termination_message(status)
        message = f"{message}: {said}" if message and said else message or said
    # containerd's own words for a container whose process it did not find again after its start.
    lost = state == EXITED and (status.reason, status.exit_code) == ("Unknown", 255)
    return ContainerView(
        id=status.id,
        name=status.labels.get(labels.CONTAINER_NAME) or status.metadata.name,
        sandbox_id=sandbox_id,
        state=state,
        attempt=int(attempt) if attempt and attempt.isdigit() else status.metadata.attempt,
        created_at=status.created_at,
        started_at=status.started_at,
        finished_at=status.finished_at,
        exit_code=LOST_EXIT_CODE if lost else status.exit_code,
        reason=LOST_REASON if lost else status.reason,
        message=message or (LOST_MESSAGE if lost else ""),
        image=status.image.image,
        image_ref=status.image_ref,
        spec_hash=status.annotations.get(labels.CONTAINER_HASH, ""),
        log_path=status.log_path,
    )


def termination_message(status: Any) -> str:
    """What the container left at its terminationMessagePath, or the end of its log when the policy says so."""
    path = status.annotations.get(labels.TERMINATION_PATH)
    text = ""
    for mount in status.mounts:
        if mount.container_path == path:
            text = _tail(mount.host_path, _MESSAGE_LIMIT).decode(errors="replace")
    fallback = status.annotations.get(labels.TERMINATION_POLICY) == "FallbackToLogsOnError"
    if not text and fallback and status.exit_code != 0 and status.started_at:
        text = _log_tail(status.log_path)
    return text


def _tail(path: str, limit: int) -> bytes:
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit))
            return file.read(limit)
    except OSError:
        return b""


def _log_tail(path: str) -> str:
    lines = _tail(path, 64 * 1024).decode(errors="replace").splitlines()[-_LOG_MESSAGE_LINES:]
    text = ""
    for line in lines:
        parts = line.split(" ", 3)
        if len(parts) == 4:
            text += parts[3] + ("" if parts[2].startswith("P") else "\n")
    return text[-_LOG_MESSAGE_LIMIT:]
