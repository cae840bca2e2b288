"""Which container's log a request means, by the pod's status; pure."""

from __future__ import annotations

from timonel.api.errors import BadRequest, NotFound
from timonel.api.objects import Object, find_by, get_path, name_of

_CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")
_STATUS_LISTS = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")

_WAITING = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}


def container_spec(pod: Object, name: str) -> Object | None:
    """A container of any kind, by name."""
    for field in _CONTAINER_LISTS:
        if (spec := find_by(get_path(pod, "spec", field, default=[]), "name", name)) is not None:
            return spec
    return None


def choose_container_id(pod: Object, container: str, *, previous: bool) -> str:
    """CRI id (without "containerd://") of the container whose log is wanted.

    Raises NotFound for a container that the pod does not have, BadRequest with upstream's words when there is no log:
    the container waits, or there was no previous one.
    """
    pod_name = name_of(pod)
    if container_spec(pod, container) is None:
        raise NotFound(f'container "{container}" not found in pod "{pod_name}"')
    subject = f'container "{container}" in pod "{pod_name}"'
    status = next(
        (
            found
            for field in _STATUS_LISTS
            if (found := find_by(get_path(pod, "status", field, default=[]), "name", container)) is not None
        ),
        None,
    )
    if status is None:
        raise BadRequest(f"{subject} is not available")
    state = status.get("state") or {}
    last_terminated = get_path(status, "lastState", "terminated")
    last_id = get_path(last_terminated, "containerID", default="")
    if previous:
        if not last_id:
            raise BadRequest(f"previous terminated {subject} not found")
        return _bare(last_id)
    if state.get("running") is not None:
        return _bare(status.get("containerID") or "")
    terminated = state.get("terminated")
    if terminated is not None or last_terminated is not None:
        # When the next container did not start, only the last one has an id.
        chosen = get_path(terminated, "containerID", default="") or last_id
        if not chosen:
            raise BadRequest(f"{subject} is terminated")
        return _bare(chosen)
    waiting = state.get("waiting")
    if waiting is not None:
        reason = waiting.get("reason") or ""
        raise BadRequest(f"{subject} is waiting to start: {_WAITING.get(reason, reason)}")
    raise BadRequest(f"{subject} is waiting to start - no logs yet")


def _bare(container_id: str) -> str:
    return container_id.rpartition("://")[2]
