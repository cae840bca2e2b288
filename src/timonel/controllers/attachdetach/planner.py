"""What to attach to one node and what to take away from it. Pure: a snapshot in, a plan out.

A volume is taken away only when no pod needs it there and the node does not mount it any more; from a node that does
not answer after six minutes, or at once when an administrator says by a taint that it is out of service.
Source: kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/volume-attachment-v1,
kubernetes.io/docs/concepts/cluster-administration/node-shutdown/#non-graceful-node-shutdown; names of attachments and
messages are upstream's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from timonel.api.objects import Object, find_by, get_path, is_deleting, name_of
from timonel.api.volumes import attachment_name, modes_of, unique_name

UNMOUNT_SECONDS = 360.0
_OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
_OUR_NAME = re.compile(r"csi-[0-9a-f]{64}")
_EXCLUSIVE = {"ReadWriteOnce", "ReadWriteOncePod"}


@dataclass(frozen=True, slots=True)
class NodeView:
    """Of one node: what its pods need, and what there is."""

    name: str
    node: Object | None
    wanted: Mapping[str, tuple[Object, Sequence[Object]]]
    """PersistentVolume -> (it, the pods here that use it)."""
    attachments: Sequence[Object]
    """Of this node."""
    elsewhere: Mapping[str, str]
    """PersistentVolume -> another node that it is attached to."""
    unneeded_since: Mapping[str, datetime]
    """Attachment -> when it was first found that nobody here needs it."""


@dataclass(frozen=True, slots=True)
class Told:
    pod: Object
    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class NodePlan:
    attach: tuple[Object, ...] = ()
    """VolumeAttachments to make."""
    detach: tuple[str, ...] = ()
    """Names of VolumeAttachments to delete."""
    attached: list[Object] | None = None
    """For status.volumesAttached of the node; None: it says so already, or is gone."""
    told: tuple[Told, ...] = ()
    unneeded: tuple[str, ...] = ()
    """Attachments that nobody here needs."""
    look_again: float | None = None
    """Seconds."""


@dataclass(slots=True)
class _Draft:
    attach: list[Object] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)

    def tell(self, pods: Sequence[Object], type: str, reason: str, message: str) -> None:
        self.told += [Told(pod, type, reason, message) for pod in pods]


def plan_node(view: NodeView, volumes: Mapping[str, Object], now: datetime) -> NodePlan:
    """`volumes`: all PersistentVolumes that attachments of the node may name. Attachments of others are left alone."""
    present = {name_of(each): each for each in view.attachments if is_ours(each, volumes)}
    draft, needed = _Draft(), set()
    for volume, pods in view.wanted.values():
        name = attachment_name(volume, view.name)
        needed.add(name)
        attachment = present.get(name)
        if attachment is None:
            _attach(draft, view, volume, pods, name)
        elif error := get_path(attachment, "status", "attachError", "message"):
            text = f'AttachVolume.Attach failed for volume "{name_of(volume)}" : {error}'
            draft.tell(pods, "Warning", "FailedAttachVolume", text)
        elif get_path(attachment, "status", "attached") and not _is_told(view.node, volume):
            text = f'AttachVolume.Attach succeeded for volume "{name_of(volume)}" '
            draft.tell(pods, "Normal", "SuccessfulAttachVolume", text)
    unneeded = [each for name, each in present.items() if name not in needed and not is_deleting(each)]
    detach, waits = [], []
    for attachment in unneeded:
        left = _seconds_to_wait(view, attachment, volumes, now)
        if left <= 0:
            detach.append(name_of(attachment))
        else:
            waits.append(left)
    return NodePlan(
        tuple(draft.attach),
        tuple(detach),
        _attached_status(view, volumes, detach),
        tuple(draft.told),
        tuple(name_of(each) for each in unneeded),
        min(waits, default=None),
    )


def is_ours(attachment: Object, volumes: Mapping[str, Object]) -> bool:
    """Whether the attachment is one that is made for pods. Of a volume that is gone, its name has to tell."""
    name, volume = name_of(attachment), _volume_of(attachment, volumes)
    if volume is None:
        return _OUR_NAME.fullmatch(name) is not None
    return get_path(volume, "spec", "csi") is not None and name == attachment_name(
        volume, attachment["spec"]["nodeName"]
    )


def _volume_of(attachment: Object, volumes: Mapping[str, Object]) -> Object | None:
    return volumes.get(get_path(attachment, "spec", "source", "persistentVolumeName", default=""))


def _attach(draft: _Draft, view: NodeView, volume: Object, pods: Sequence[Object], name: str) -> None:
    if view.node is None or all(is_deleting(pod) for pod in pods):
        return
    if name_of(volume) in view.elsewhere and set(modes_of(volume)) <= _EXCLUSIVE:
        text = f'Multi-Attach error for volume "{name_of(volume)}" Volume is already exclusively attached to one node'
        draft.tell(pods, "Warning", "FailedAttachVolume", f"{text} and can't be attached to another")
        return
    draft.attach.append(
        {
            "kind": "VolumeAttachment",
            "apiVersion": "storage.k8s.io/v1",
            "metadata": {"name": name},
            "spec": {
                "attacher": volume["spec"]["csi"]["driver"],
                "nodeName": view.name,
                "source": {"persistentVolumeName": name_of(volume)},
            },
        }
    )


def _seconds_to_wait(view: NodeView, attachment: Object, volumes: Mapping[str, Object], now: datetime) -> float:
    """Before an attachment that nobody needs may go; 0: now."""
    volume = _volume_of(attachment, volumes)
    if view.node is None or volume is None or _is_out_of_service(view.node):
        return 0.0
    if unique_name(volume) not in get_path(view.node, "status", "volumesInUse", default=()):
        return 0.0
    since = view.unneeded_since.get(name_of(attachment), now)
    left = UNMOUNT_SECONDS - (now - since).total_seconds()
    if left <= 0 and _is_ready(view.node):
        return UNMOUNT_SECONDS  # it still mounts it and says so: never pulled from under a healthy node
    return max(left, 0.0)


def _attached_status(view: NodeView, volumes: Mapping[str, Object], detached: Sequence[str]) -> list[Object] | None:
    if view.node is None:
        return None
    names = {
        unique_name(volume)
        for each in view.attachments
        if get_path(each, "status", "attached") and not is_deleting(each) and name_of(each) not in detached
        if is_ours(each, volumes) and (volume := _volume_of(each, volumes)) is not None
    }
    said = {each["name"] for each in get_path(view.node, "status", "volumesAttached", default=())}
    return [{"name": name, "devicePath": ""} for name in sorted(names)] if names != said else None


def _is_told(node: Object | None, volume: Object) -> bool:
    attached = get_path(node, "status", "volumesAttached", default=())
    return any(each["name"] == unique_name(volume) for each in attached)


def _is_out_of_service(node: Object) -> bool:
    return find_by(get_path(node, "spec", "taints"), "key", _OUT_OF_SERVICE) is not None


def _is_ready(node: Object) -> bool:
    ready = find_by(get_path(node, "status", "conditions"), "type", "Ready")
    return ready is not None and ready.get("status") == "True"
