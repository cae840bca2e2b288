"""Readings of a pod's spec that several parts of the kubelet need. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from enum import StrEnum

from timonel.api.objects import Object, find_by, get_path

DEFAULT_GRACE_SECONDS = 30
MINIMUM_GRACE_SECONDS = 2
"""What a container gets at least, so that nothing is killed without a chance to end (upstream's minimum)."""


class Kind(StrEnum):
    INIT = "init"
    SIDECAR = "sidecar"
    """An init container with restartPolicy Always: starts in order, runs beside the main containers."""
    MAIN = "main"
    EPHEMERAL = "ephemeral"


def is_sidecar(container: Object) -> bool:
    return container.get("restartPolicy") == "Always"


def containers_of(pod: Object) -> Iterator[tuple[Kind, Object]]:
    """Every container with its kind, in order of start."""
    spec = pod["spec"]
    for container in spec.get("initContainers") or ():
        yield (Kind.SIDECAR if is_sidecar(container) else Kind.INIT), container
    for container in spec.get("containers") or ():
        yield Kind.MAIN, container
    for container in spec.get("ephemeralContainers") or ():
        yield Kind.EPHEMERAL, container


def images_of(pod: Object) -> Iterator[str]:
    """Every image that the pod names, also of its volumes."""
    for _, container in containers_of(pod):
        yield container.get("image") or ""
    for volume in pod["spec"].get("volumes") or ():
        if volume.get("image"):
            yield volume["image"].get("reference") or ""


def find_container(pod: Object, name: str) -> tuple[Kind, Object] | None:
    return next(((kind, c) for kind, c in containers_of(pod) if c["name"] == name), None)


def field_path(kind: Kind, name: str) -> str:
    """How an event names the container in its involvedObject: `spec.containers{web}`."""
    field = {Kind.INIT: "initContainers", Kind.SIDECAR: "initContainers", Kind.EPHEMERAL: "ephemeralContainers"}
    return f"spec.{field.get(kind, 'containers')}{{{name}}}"


def is_host_network(pod: Object) -> bool:
    return bool(pod["spec"].get("hostNetwork"))


def restart_policy(pod: Object) -> str:
    return pod["spec"].get("restartPolicy") or "Always"


def restarts_after(pod: Object, kind: Kind, container: Object, exit_code: int) -> bool:
    """Whether a container that ended with this code is started again.

    The container's own rules and policy come before the pod's; init containers know no Always.
    Source: kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle, "Container restart policy".
    """
    if kind is Kind.EPHEMERAL:
        return False
    if kind is Kind.SIDECAR:
        return True
    for rule in container.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        listed = exit_code in (codes.get("values") or ())
        if listed == (codes.get("operator") == "In"):
            return bool(rule.get("action") == "Restart")
    policy = container.get("restartPolicy") or restart_policy(pod)
    if kind is Kind.INIT and policy == "Always":
        policy = "OnFailure"
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def restarts_when_killed(pod: Object, kind: Kind, container: Object) -> bool:
    """Whether a container that a probe condemned comes back: exit codes do not matter then."""
    if kind is Kind.EPHEMERAL:
        return False
    return kind is Kind.SIDECAR or (container.get("restartPolicy") or restart_policy(pod)) != "Never"


def spec_hash(container: Object) -> str:
    """Changes when a running container must be replaced: its name or image. Other fields are immutable or resized."""
    return f"{zlib.crc32((container['name'] + chr(0) + (container.get('image') or '')).encode()):08x}"


def grace_seconds(pod: Object) -> int:
    """What the pod as it is now grants its containers to end; a deletion may have shortened it."""
    metadata = pod["metadata"]
    if metadata.get("deletionTimestamp") and metadata.get("deletionGracePeriodSeconds") is not None:
        return int(metadata["deletionGracePeriodSeconds"])
    value = pod["spec"].get("terminationGracePeriodSeconds")
    return DEFAULT_GRACE_SECONDS if value is None else int(value)


def container_status(status: Object, name: str) -> Object | None:
    for field in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        found = find_by(status.get(field), "name", name)
        if found is not None:
            return found
    return None


def has_run(status: Object) -> bool:
    """Whether a container status tells of a run, past or present."""
    ended = get_path(status, "lastState", "terminated") or get_path(status, "state", "terminated")
    return bool(ended or status.get("restartCount") or get_path(status, "state", "running"))


def full_name(pod: Object) -> str:
    """As messages name a pod: `web_default(uid)`."""
    metadata = pod["metadata"]
    return f"{metadata['name']}_{metadata['namespace']}({metadata.get('uid', '')})"
