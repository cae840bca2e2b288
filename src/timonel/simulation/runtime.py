"""A container runtime that is not there: what it would show of a pod, from what the pod's status says. Pure.

Nothing is remembered, so a restarted process finds every pod as it left it. Ids follow from the pod's uid.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

from timonel.api.clock import parse_time
from timonel.api.objects import Object, find_by, get_path, uid_of
from timonel.kubelet.pods.spec import Kind, containers_of, is_host_network, restart_policy, spec_hash
from timonel.kubelet.pods.view import EXITED, RUNNING, ContainerView, PodView, SandboxView, make_view
from timonel.simulation.behaviour import CRASH, Behaviour
from timonel.simulation.script import Run, parse_command

RUNTIME_NAME = "hollow"
_CRASH = Run(1.0, 1)
_FIELDS = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")


def runtime_id(*parts: object) -> str:
    """64 hexadecimal digits, as containerd's ids, always the same for the same thing."""
    return hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=32).hexdigest()


def run_of(pod: Object, kind: Kind, container: Object, behaviour: Behaviour) -> Run:
    """How long a container of this pod runs once it is started, and how it ends."""
    if kind is Kind.MAIN:
        if behaviour.failure == CRASH:
            return _CRASH if behaviour.run_seconds is None else Run(behaviour.run_seconds, behaviour.exit_code or 1)
        if behaviour.run_seconds is not None:
            return Run(behaviour.run_seconds, behaviour.exit_code)
    told = parse_command([*(container.get("command") or ()), *(container.get("args") or ())])
    if told is not None:
        return told
    if kind is Kind.INIT:
        return Run(0.0)
    if kind is Kind.MAIN and (container.get("restartPolicy") or restart_policy(pod)) != "Always":
        return Run(behaviour.job_seconds)
    return Run(math.inf)


def view_of(pod: Object, pod_ip: str, *, has_sandbox: bool) -> PodView:
    status = pod.get("status") or {}
    uid = uid_of(pod)
    sandboxes = [new_sandbox(pod, pod_ip, _nanoseconds(status.get("startTime")))] if has_sandbox else []
    containers: list[ContainerView] = []
    for field in _FIELDS:
        for told in status.get(field) or ():
            containers += _instances(pod, uid, told)
    return make_view(sandboxes, containers)


def new_sandbox(pod: Object, pod_ip: str, created_at: int) -> SandboxView:
    host = is_host_network(pod)
    return SandboxView(runtime_id(uid_of(pod), "sandbox"), 0, True, created_at, host, () if host else (pod_ip,))


def new_container(pod: Object, container: Object, attempt: int, now: int) -> ContainerView:
    """One that has just been started. Times in nanoseconds since 1970."""
    uid = uid_of(pod)
    return ContainerView(
        id=runtime_id(uid, container["name"], attempt),
        name=container["name"],
        sandbox_id=runtime_id(uid, "sandbox"),
        state=RUNNING,
        attempt=attempt,
        created_at=now,
        started_at=now,
        image=container.get("image", ""),
        spec_hash=spec_hash(container),
    )


def end_container(container: ContainerView, exit_code: int, finished_at: int) -> ContainerView:
    reason = "Completed" if exit_code == 0 else "Error"
    return replace(container, state=EXITED, exit_code=exit_code, finished_at=finished_at, reason=reason)


def ends_of(pod: Object, view: PodView, behaviour: Behaviour) -> Iterator[tuple[ContainerView, int, int]]:
    """Containers that run and will end by themselves: (container, when in nanoseconds, exit code)."""
    for kind, container in containers_of(pod):
        running = next((c for c in view.containers if c.name == container["name"] and c.state == RUNNING), None)
        if running is not None:
            run = run_of(pod, kind, container, behaviour)
            if not math.isinf(run.seconds):
                yield running, running.started_at + round(run.seconds * 1e9), run.exit_code


def with_containers(view: PodView, changed: Iterable[ContainerView]) -> PodView:
    """The changed ones replace those of the same id; new ones come beside the others."""
    by_id = {container.id: container for container in view.containers}
    by_id |= {container.id: container for container in changed}
    return make_view(view.sandboxes, by_id.values())


def _instances(pod: Object, uid: str, told: Object) -> Iterator[ContainerView]:
    name, count = told["name"], told.get("restartCount") or 0
    state = told.get("state") or {}
    last = get_path(told, "lastState", "terminated")
    if "waiting" in state:
        if last is not None:
            yield _ended(uid, name, count, last)
        return
    if "running" in state:
        started = _nanoseconds(state["running"].get("startedAt"))
        yield ContainerView(
            id=runtime_id(uid, name, count),
            name=name,
            sandbox_id=runtime_id(uid, "sandbox"),
            state=RUNNING,
            attempt=count,
            created_at=started,
            started_at=started,
            image=told.get("image", ""),
            spec_hash=_hash_of(pod, name, told.get("image", "")),
        )
    elif "terminated" in state:
        yield _ended(uid, name, count, state["terminated"])
    if last is not None and count:
        yield _ended(uid, name, count - 1, last)


def _ended(uid: str, name: str, attempt: int, ended: Object) -> ContainerView:
    started = _nanoseconds(ended.get("startedAt"))
    return ContainerView(
        id=runtime_id(uid, name, attempt),
        name=name,
        sandbox_id=runtime_id(uid, "sandbox"),
        state=EXITED,
        attempt=attempt,
        created_at=started,
        started_at=started,
        finished_at=_nanoseconds(ended.get("finishedAt")),
        exit_code=ended.get("exitCode") or 0,
        reason=ended.get("reason") or "",
        message=ended.get("message") or "",
    )


def _hash_of(pod: Object, name: str, image: str) -> str:
    """Of the container as it was started: a change of its image in the spec shows."""
    found = find_by([container for _, container in containers_of(pod)], "name", name)
    return spec_hash({**(found or {"name": name}), "image": image})


def _nanoseconds(text: str | None) -> int:
    return round(parse_time(text).timestamp()) * 1_000_000_000 if text else 0


def moment_of(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)
