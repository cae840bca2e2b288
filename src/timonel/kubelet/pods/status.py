"""The status of a pod from its spec, what runs, probe results and its previous status. Pure.

Source: kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1, PodStatus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from timonel.api.clock import format_time
from timonel.api.objects import Object, find_by, get_path
from timonel.kubelet.pods import conditions as make
from timonel.kubelet.pods.phase import FAILED, PENDING, is_terminal, pod_phase
from timonel.kubelet.pods.plan import sandbox_needed
from timonel.kubelet.pods.qos import qos_class
from timonel.kubelet.pods.spec import Kind, containers_of, is_host_network, restarts_after
from timonel.kubelet.pods.view import (
    CREATED,
    EXITED,
    LOST_BEFORE_MESSAGE,
    LOST_EXIT_CODE,
    LOST_MESSAGE,
    LOST_REASON,
    RUNNING,
    ContainerView,
    PodProbes,
    PodView,
    Waiting,
)


@dataclass(frozen=True, slots=True)
class StatusInput:
    view: PodView
    probes: PodProbes
    now: datetime
    host_ips: tuple[str, ...]
    runtime_name: str = "containerd"
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    """By container name, why it does not run although it should."""
    ended: bool = False
    """The pod is over: nothing will be started again."""
    actual: Mapping[str, Object] = field(default_factory=dict)
    """Container id -> resources it runs with."""
    resize: Sequence[Object] = ()
    """Conditions of a resize that waits or goes on."""
    lost_when_gone: bool = False
    """A container that ran by the previous status and that the runtime does not know has ended without a trace."""
    disruption: str = ""
    """Message of the DisruptionTarget condition, when the kubelet ended the pod for others' sake."""
    reason: str = ""
    message: str = ""
    """Why the kubelet ended the pod: DeadlineExceeded, Evicted."""


def build_status(pod: Object, previous: Object, inputs: StatusInput) -> Object:
    """A whole new status. `previous` is the newest one known: the kubelet's own, or the API's after a restart."""
    init, main, ephemeral = _container_statuses(pod, previous, inputs)
    started = any(_has_started(status) for status in main)
    phase = pod_phase(pod, init, main, initialized=started, ended=inputs.ended)
    if is_terminal(previous.get("phase") or ""):
        phase = previous["phase"]  # a settled pod never comes back
    elif inputs.view.running and is_terminal(phase):
        phase = previous.get("phase") or PENDING  # others may act on it: it is said once nothing runs any more
    elif not inputs.view.running and (inputs.reason or (inputs.ended and not is_terminal(phase))):
        phase = FAILED
    status: Object = {"phase": phase}
    generation = pod["metadata"].get("generation")
    if generation is not None:
        status["observedGeneration"] = generation
    ready = make.containers_ready(pod, init + main, phase)
    needed, _ = sandbox_needed(pod, inputs.view)
    kept = previous.get("conditions") or []
    fresh = [
        make.condition("PodReadyToStartContainers", not needed),
        make.initialized(pod, init, phase, main_started=started),
        make.pod_ready(pod, ready, kept),
        ready,
        # Whoever wrote spec.nodeName instead of the scheduler did not say so; a pod seen here is scheduled.
        make.condition("PodScheduled", True),
        *inputs.resize,
    ]
    if inputs.disruption:
        fresh.append(make.condition("DisruptionTarget", True, "TerminationByKubelet", inputs.disruption))
    status["conditions"] = make.merge_conditions(kept, fresh, format_time(inputs.now), generation)
    for key, value in (
        ("reason", inputs.reason or previous.get("reason")),
        ("message", inputs.message or previous.get("message")),
    ):
        if value:
            status[key] = value
    _addresses(status, pod, previous, inputs)
    status["startTime"] = previous.get("startTime") or format_time(inputs.now)
    if init:
        status["initContainerStatuses"] = init
    status["containerStatuses"] = main
    if ephemeral:
        status["ephemeralContainerStatuses"] = ephemeral
    if level := pod["spec"].get("resources"):
        status["resources"] = {key: level[key] for key in ("limits", "requests") if level.get(key)}
    status["qosClass"] = previous.get("qosClass") or qos_class(pod)
    return status


def _addresses(status: Object, pod: Object, previous: Object, inputs: StatusInput) -> None:
    if inputs.host_ips:
        status["hostIP"] = inputs.host_ips[0]
        status["hostIPs"] = [{"ip": ip} for ip in inputs.host_ips]
    ips: tuple[str, ...] = ()
    sandbox = inputs.view.sandbox
    if sandbox is not None and is_host_network(pod):
        ips = inputs.host_ips
    elif sandbox is not None and sandbox.ips:
        ips = sandbox.ips
    elif inputs.ended or inputs.lost_when_gone:
        ips = tuple(entry["ip"] for entry in previous.get("podIPs") or ())
    if ips:
        status["podIP"] = ips[0]
        status["podIPs"] = [{"ip": ip} for ip in ips]


def _has_started(status: Object) -> bool:
    return bool(
        status.get("started")
        or get_path(status, "state", "running")
        or get_path(status, "state", "terminated")
        or get_path(status, "lastState", "terminated")
    )


def _container_statuses(
    pod: Object, previous: Object, inputs: StatusInput
) -> tuple[list[Object], list[Object], list[Object]]:
    has_init = bool(pod["spec"].get("initContainers"))
    init: list[Object] = []
    main: list[Object] = []
    ephemeral: list[Object] = []
    for kind, container in containers_of(pod):
        if kind is Kind.MAIN:
            field_name, target, waiting = "containerStatuses", main, "PodInitializing" if has_init else ""
        elif kind is Kind.EPHEMERAL:
            field_name, target, waiting = "ephemeralContainerStatuses", ephemeral, ""
        else:
            field_name, target, waiting = "initContainerStatuses", init, "PodInitializing"
        old = find_by(previous.get(field_name), "name", container["name"])
        target.append(_container_status(pod, kind, container, old, inputs, waiting or "ContainerCreating"))
    return init, main, ephemeral


def _container_status(
    pod: Object, kind: Kind, container: Object, old: Object | None, inputs: StatusInput, default_reason: str
) -> Object:
    name = container["name"]
    instances = inputs.view.instances(name)
    waiting = inputs.waiting.get(name)
    status: Object = {"name": name}
    if instances:
        current = instances[0]
        state = _state(current, inputs.runtime_name)
        last = _ended(instances[1], inputs.runtime_name) if len(instances) > 1 else None
        if last is None and current.attempt:
            last = _remembered_end(old, _id(current, inputs.runtime_name))
        if "terminated" in state and waiting is not None and not inputs.ended:
            if restarts_after(pod, kind, container, current.exit_code):
                last = state["terminated"]
                state = {"waiting": _waiting(waiting)}
        elif "waiting" in state and waiting is not None:
            state = {"waiting": _waiting(waiting)}
        status |= {"state": state, "lastState": {"terminated": last} if last else {}}
        status |= {
            "restartCount": max(current.attempt, (old or {}).get("restartCount") or 0),
            "image": current.image or container.get("image", ""),
            "imageID": current.image_ref,
            "containerID": _id(current, inputs.runtime_name),
        }
        probes = inputs.probes.of(current.id)
        started = current.state == RUNNING and probes.startup is True
        if kind is Kind.INIT:
            ready = current.state == EXITED and current.exit_code == 0
        else:
            ready = started and probes.readiness is True
        if kind is Kind.EPHEMERAL:
            ready = False
        status |= {"ready": ready, "started": started}
    else:
        status |= _unseen_state(pod, kind, container, old, inputs, waiting or Waiting(default_reason))
    _add_spec_fields(status, container, inputs.actual.get(instances[0].id) if instances else None)
    return status


def _unseen_state(
    pod: Object, kind: Kind, container: Object, old: Object | None, inputs: StatusInput, waiting: Waiting
) -> Object:
    """Of a container the runtime knows nothing about."""
    count = (old or {}).get("restartCount") or 0
    last = (old or {}).get("lastState") or {}
    state: Object = {"waiting": _waiting(waiting)}
    old_state = (old or {}).get("state") or {}
    if "terminated" in old_state:
        state = old_state
    elif "running" in old_state and (inputs.lost_when_gone or inputs.ended):
        ended = {"exitCode": LOST_EXIT_CODE, "reason": LOST_REASON, "message": LOST_MESSAGE}
        ended |= {"startedAt": None, "finishedAt": None}
        if inputs.ended or not restarts_after(pod, kind, container, LOST_EXIT_CODE):
            state = {"terminated": ended}
        else:
            last = {"terminated": ended | {"message": LOST_BEFORE_MESSAGE}}
            count += 1  # it is about to be started again
    status: Object = {
        "state": state,
        "lastState": last,
        "ready": False,
        "restartCount": count,
        "image": container.get("image", ""),
        "imageID": "",
        "started": False,
    }
    if "terminated" in state and old is not None:
        status |= {key: old[key] for key in ("image", "imageID", "containerID", "ready") if key in old}
    return status


def _remembered_end(old: Object | None, container_id: str) -> Object | None:
    """How the container before this one ended, by the previous status, when the runtime has forgotten it."""
    if old is None:
        return None
    if old.get("containerID") != container_id and get_path(old, "state", "terminated"):
        ended: Object = old["state"]["terminated"]
        return ended
    return get_path(old, "lastState", "terminated")  # type: ignore[no-any-return]


def _add_spec_fields(status: Object, container: Object, actual: Object | None) -> None:
    resources = container.get("resources") or {}
    if resources.get("requests"):
        status["allocatedResources"] = resources["requests"]
    if actual is not None:
        resources = actual
    if resources.get("requests") or resources.get("limits"):
        status["resources"] = {key: resources[key] for key in ("limits", "requests") if resources.get(key)}
    mounts = []
    for mount in container.get("volumeMounts") or ():
        entry = {"name": mount["name"], "mountPath": mount["mountPath"]}
        if mount.get("readOnly"):
            entry |= {"readOnly": True, "recursiveReadOnly": "Disabled"}
        mounts.append(entry)
    if mounts:
        status["volumeMounts"] = mounts


def _waiting(waiting: Waiting) -> Object:
    made = {"reason": waiting.reason}
    if waiting.message:
        made["message"] = waiting.message
    return made


def _id(container: ContainerView, runtime_name: str) -> str:
    return f"{runtime_name}://{container.id}"


def _time(nanoseconds: int) -> str | None:
    """CRI's 0 means never; Go prints it as 1970, which is what clients of upstream see for a start that failed."""
    return format_time(datetime.fromtimestamp(nanoseconds / 1e9, UTC))


def _state(container: ContainerView, runtime_name: str) -> Object:
    if container.state == RUNNING:
        return {"running": {"startedAt": _time(container.started_at)}}
    if container.state == EXITED:
        return {"terminated": _ended(container, runtime_name)}
    return {"waiting": {"reason": "ContainerCreating" if container.state == CREATED else LOST_REASON}}


def _ended(container: ContainerView, runtime_name: str) -> Object:
    ended: Object = {"exitCode": container.exit_code}
    if container.reason:
        ended["reason"] = container.reason
    if container.message:
        ended["message"] = container.message
    ended |= {
        "startedAt": _time(container.started_at),
        "finishedAt": _time(container.finished_at),
        "containerID": _id(container, runtime_name),
    }
    return ended
