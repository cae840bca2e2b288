"""Keeps VolumeAttachments as the pods of each node need them. Keys are nodes; one without CSI volumes costs nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime

from timonel.api.clock import Clock
from timonel.api.errors import AlreadyExists, NotFound
from timonel.api.objects import Object, ObjectKey, get_path, key_of, name_of, namespace_of
from timonel.api.refs import (
    CSI_DRIVERS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    VOLUME_ATTACHMENTS,
)
from timonel.api.volumes import claim_names, is_fully_bound, needs_attaching
from timonel.client.controller import Controller, Keys, Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.attachdetach.planner import NodeView, plan_node
from timonel.controllers.pods import is_terminal, node_name_of
from timonel.controllers.volume_use import BY_CLAIM, index_by_claim

log = logging.getLogger(__name__)

_BY_NODE = "with claims, by node"


class AttachDetachController(Controller):
    name = "attach-detach"
    watches = (
        Watch(PODS), Watch(PERSISTENT_VOLUME_CLAIMS), Watch(PERSISTENT_VOLUMES), Watch(VOLUME_ATTACHMENTS),
        Watch(CSI_DRIVERS), Watch(NODES),
    )  # fmt: skip

    def __init__(
        self, *, client: ApiClient, informers: Informers, clock: Clock, recorder: EventRecorder | None = None
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        index_by_claim(self.informer(PODS))
        self.informer(PODS).add_index(_BY_NODE, _node_with_claims)
        self.informer(VOLUME_ATTACHMENTS).add_index(_BY_NODE, lambda each: [each["spec"].get("nodeName") or ""])
        self._unneeded: dict[str, dict[str, datetime]] = {}
        """By node: attachments, and since when nobody there needs them."""

    def register(self) -> None:
        self._watch(Watch(PODS, key=_pod_key, changed=lambda old, new: _pod_state(old) != _pod_state(new)))
        self._watch(Watch(PERSISTENT_VOLUME_CLAIMS, key=self._of_claim, changed=_is_newly_bound))
        self._watch(Watch(VOLUME_ATTACHMENTS, key=self._of_attachment))
        self._watch(Watch(NODES, key=self._of_node, changed=lambda old, new: _node_state(old) != _node_state(new)))

    # Who is concerned

    def _of_claim(self, claim: Object) -> Keys:
        pods = self.lister(PODS).by_index(BY_CLAIM, key_of(claim))
        return [ObjectKey("", node) for pod in pods if (node := node_name_of(pod))]

    def _of_attachment(self, attachment: Object) -> Keys:
        """Its node, and those where pods may have waited for the volume."""
        keys = {ObjectKey("", attachment["spec"].get("nodeName") or "")}
        volume = self._volume(_volume_name(attachment))
        ref = get_path(volume, "spec", "claimRef")
        if ref is not None:
            key = ObjectKey(ref.get("namespace") or "", ref.get("name") or "")
            keys |= {ObjectKey("", node_name_of(pod)) for pod in self.lister(PODS).by_index(BY_CLAIM, key)}
        return [key for key in keys if key.name]

    def _of_node(self, node: Object) -> Keys:
        return key_of(node) if self.lister(VOLUME_ATTACHMENTS).by_index(_BY_NODE, name_of(node)) else None

    # Acting

    async def sync(self, key: ObjectKey) -> Result:
        name, now = key.name, self.clock.now()
        view = self._view(name)
        if not view.wanted and not view.attachments and not get_path(view.node, "status", "volumesAttached"):
            self._unneeded.pop(name, None)
            return Result()
        volumes = {
            _volume_name(each): volume
            for each in view.attachments
            if (volume := self._volume(_volume_name(each))) is not None
        }
        plan = plan_node(view, volumes, now)
        self._remember(name, plan.unneeded, now)
        if plan.attached is not None:
            # First, so that nobody takes a volume for attached that is about to go.
            await self.client.patch(
                NODES, name, {"status": {"volumesAttached": plan.attached}}, type="merge", subresource="status"
            )
        for attachment in plan.attach:
            await self._attach(attachment)
        for attachment_name in plan.detach:
            await self._detach(attachment_name, name)
        for told in plan.told:
            self.event(told.pod, told.type, told.reason, told.message)
        return Result(requeue_after=plan.look_again)

    def _view(self, node: str) -> NodeView:
        attachments = self.lister(VOLUME_ATTACHMENTS)
        drivers = {name_of(each): each for each in self.lister(CSI_DRIVERS).list()}
        wanted: dict[str, tuple[Object, list[Object]]] = {}
        for pod in self.lister(PODS).by_index(_BY_NODE, node):
            for volume in self._volumes_of(pod):
                if needs_attaching(volume, drivers):
                    wanted.setdefault(name_of(volume), (volume, []))[1].append(pod)
        elsewhere: dict[str, str] = {}
        for each in attachments.list() if wanted else ():
            other, named = each["spec"].get("nodeName") or "", _volume_name(each)
            if other != node and named in wanted:
                elsewhere[named] = other
        return NodeView(
            name=node,
            node=self.lister(NODES).get("", node),
            wanted=wanted,
            attachments=attachments.by_index(_BY_NODE, node),
            elsewhere=elsewhere,
            unneeded_since=self._unneeded.get(node, {}),
        )

    def _volumes_of(self, pod: Object) -> Iterable[Object]:
        if is_terminal(pod):
            return
        for name, _ in claim_names(pod):
            claim = self.lister(PERSISTENT_VOLUME_CLAIMS).get(namespace_of(pod), name)
            if claim is not None and is_fully_bound(claim):
                volume = self._volume(claim["spec"]["volumeName"])
                if volume is not None:
                    yield volume

    def _volume(self, name: str) -> Object | None:
        return self.lister(PERSISTENT_VOLUMES).get("", name)

    def _remember(self, node: str, unneeded: Iterable[str], now: datetime) -> None:
        known = self._unneeded.pop(node, {})
        if found := {name: known.get(name, now) for name in unneeded}:
            self._unneeded[node] = found

    async def _attach(self, attachment: Object) -> None:
        try:
            await self.client.create(VOLUME_ATTACHMENTS, attachment)
        except AlreadyExists:
            return  # the cache will say so
        spec = attachment["spec"]
        log.info("attachment was asked for volume=%s node=%s", spec["source"]["persistentVolumeName"], spec["nodeName"])

    async def _detach(self, name: str, node: str) -> None:
        try:
            await self.client.delete(VOLUME_ATTACHMENTS, name)
        except NotFound:
            pass
        log.info("detachment was asked for attachment=%s node=%s", name, node)


def _volume_name(attachment: Object) -> str:
    """Of the PersistentVolume; "" when it is of a pod's own volume."""
    name: str = get_path(attachment, "spec", "source", "persistentVolumeName", default="")
    return name


def _node_with_claims(pod: Object) -> Iterable[str]:
    node = node_name_of(pod)
    return [node] if node and any(True for _ in claim_names(pod)) else ()


def _pod_key(pod: Object) -> Keys:
    return [ObjectKey("", node) for node in _node_with_claims(pod)]


def _pod_state(pod: Object) -> tuple[str, bool, bool]:
    return node_name_of(pod), is_terminal(pod), bool(pod["metadata"].get("deletionTimestamp"))


def _is_newly_bound(old: Object, new: Object) -> bool:
    return is_fully_bound(old) != is_fully_bound(new)


def _node_state(node: Object) -> tuple[object, ...]:
    status = node.get("status") or {}
    return status.get("volumesInUse"), status.get("volumesAttached"), get_path(node, "spec", "taints")
