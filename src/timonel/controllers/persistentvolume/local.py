"""Volumes that are directories of a node: made, grown and deleted, as far as the API goes.

A claim of the class `timonel-local` gets one once the scheduler chose a node for the first pod that uses it. The
directory itself is the business of that node's agent (kubelet/volumes/local.py): it is made when the first pod mounts
it, and removed when the volume is deleted, which a finalizer waits for. How much is written into it is not limited.
Source for how provisioners behave: kubernetes.io/docs/concepts/storage/persistent-volumes/#provisioning, and the
annotations and events of sig-storage's external provisioner and resizer.
"""

from __future__ import annotations

import logging

from timonel.api.errors import AlreadyExists, NotFound
from timonel.api.objects import (
    Object,
    ObjectKey,
    annotations_of,
    get_path,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from timonel.api.refs import NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES
from timonel.api.volumes import (
    LOCAL_DIRECTORY,
    LOCAL_FINALIZER,
    LOCAL_NODE_LABEL,
    LOCAL_PROVISIONER,
    PROVISIONED_BY,
    PROVISIONER,
    SELECTED_NODE,
    class_of,
    is_for,
    is_fully_bound,
    modes_of,
    request_of,
    size_of,
    volume_mode_of,
)
from timonel.client.controller import Controller, Keys, Result, Watch

log = logging.getLogger(__name__)

CLASS_NAME = "timonel-local"
_NOWHERE = "/nowhere"
"""Directory of volumes on nodes that are not real."""
_HOST_NAME = "kubernetes.io/hostname"
_RESIZING = ("Resizing", "FileSystemResizePending", "ControllerResizeError", "NodeResizeError")


def local_class() -> Object:
    """The default class of a new cluster."""
    return {
        "kind": "StorageClass",
        "apiVersion": STORAGE_CLASSES.api_version,
        "metadata": {"name": CLASS_NAME, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": LOCAL_PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
    }


def unsuitable(claim: Object) -> str:
    """Why no directory can be what the claim asks for; "" when one can."""
    if volume_mode_of(claim) != "Filesystem":
        return f"a directory cannot be a volume of mode {volume_mode_of(claim)}"
    if shared := sorted(set(modes_of(claim)) - {"ReadWriteOnce", "ReadWriteOncePod"}):
        return f"a directory of one node cannot be {' or '.join(shared)}; only ReadWriteOnce and ReadWriteOncePod"
    if get_path(claim, "spec", "dataSourceRef") or get_path(claim, "spec", "dataSource"):
        return "local volumes cannot be made from a data source"
    if get_path(claim, "spec", "selector"):
        return "claim Selector is not supported"
    return ""


def local_volume(claim: Object, storage_class: Object, node: Object) -> Object:
    """The volume for a claim on that node, reserved for the claim."""
    name = f"pvc-{uid_of(claim)}"
    host_name = labels_of(node).get(_HOST_NAME) or name_of(node)
    directory = annotations_of(node)[LOCAL_DIRECTORY]
    here = {"matchExpressions": [{"key": _HOST_NAME, "operator": "In", "values": [host_name]}]}
    spec: Object = {
        "capacity": {"storage": get_path(claim, "spec", "resources", "requests", "storage", default="0")},
        "accessModes": list(modes_of(claim)),
        "volumeMode": "Filesystem",
        "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy") or "Delete",
        "storageClassName": name_of(storage_class),
        "claimRef": {
            "kind": "PersistentVolumeClaim",
            "apiVersion": "v1",
            "namespace": namespace_of(claim),
            "name": name_of(claim),
            "uid": uid_of(claim),
        },
        "local": {"path": f"{directory or _NOWHERE}/{name}"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [here]}},
    }
    return {
        "kind": "PersistentVolume",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "labels": {LOCAL_NODE_LABEL: name_of(node)},
            "annotations": {PROVISIONED_BY: LOCAL_PROVISIONER},
            "finalizers": [LOCAL_FINALIZER] if directory else [],
        },
        "spec": spec,
    }


def resized_status(claim: Object) -> Object:
    """The status once the claim has all it asks for."""
    status: Object = dict(claim.get("status") or {})
    wanted = get_path(claim, "spec", "resources", "requests", "storage")
    conditions = [each for each in status.pop("conditions", None) or () if each.get("type") not in _RESIZING]
    if conditions:
        status["conditions"] = conditions
    status.pop("allocatedResourceStatuses", None)
    status["capacity"] = {**(status.get("capacity") or {}), "storage": wanted}
    status["allocatedResources"] = {**(status.get("allocatedResources") or {}), "storage": wanted}
    return status


class LocalVolumeProvisioner(Controller):
    """Keys with a namespace are claims, those without are volumes."""

    name = "local-volume-provisioner"
    watches = (
        Watch(PERSISTENT_VOLUME_CLAIMS, key=lambda claim: _claim_key(claim)),
        Watch(PERSISTENT_VOLUMES, key=lambda volume: _volume_key(volume)),
        Watch(STORAGE_CLASSES, key=lambda storage_class: None),
        Watch(NODES, key=lambda node: None, changed=lambda old, new: False),
    )

    def register(self) -> None:
        super().register()
        # Only a node that goes matters: what was on it is gone with it.
        self.informer(NODES).add_handler(on_delete=self._node_gone)

    def _node_gone(self, node: Object) -> None:
        for volume in self.lister(PERSISTENT_VOLUMES).list():
            if labels_of(volume).get(LOCAL_NODE_LABEL) == name_of(node):
                self.queue.add(key_of(volume))

    async def prepare(self) -> None:
        """A cluster without this class gets it, marked as default unless there is a default already."""
        classes = self.lister(STORAGE_CLASSES)
        if classes.get("", CLASS_NAME) is not None:
            return
        made = local_class()
        (mark,) = made["metadata"]["annotations"]
        if any(annotations_of(each).get(mark) == "true" for each in classes.list()):
            made["metadata"]["annotations"][mark] = "false"
        try:
            await self.client.create(STORAGE_CLASSES, made)
            log.info("storage class was created name=%s", CLASS_NAME)
        except AlreadyExists:
            return

    async def sync(self, key: ObjectKey) -> Result:
        if key.namespace:
            claim = self.lister(PERSISTENT_VOLUME_CLAIMS).get(*key)
            if claim is not None and not is_deleting(claim):
                await self._sync_claim(claim)
        else:
            volume = self.lister(PERSISTENT_VOLUMES).get(*key)
            if volume is not None and annotations_of(volume).get(PROVISIONED_BY) == LOCAL_PROVISIONER:
                await self._sync_volume(volume)
        return Result()

    # Claims

    async def _sync_claim(self, claim: Object) -> None:
        if get_path(claim, "spec", "volumeName"):
            if is_fully_bound(claim):
                await self._grow(claim)
            return
        node_name = annotations_of(claim).get(SELECTED_NODE)
        storage_class = self.lister(STORAGE_CLASSES).get("", class_of(claim))
        if annotations_of(claim).get(PROVISIONER) != LOCAL_PROVISIONER or storage_class is None:
            return
        if storage_class["provisioner"] != LOCAL_PROVISIONER:
            return
        if self.lister(PERSISTENT_VOLUMES).get("", f"pvc-{uid_of(claim)}") is not None:
            return  # made; the binder does the rest
        why = unsuitable(claim)
        if not why and not node_name:
            why = "a local volume is on a node, so its class must have volumeBindingMode WaitForFirstConsumer"
        if why:
            self._failed(claim, storage_class, why)
            return
        node = self.lister(NODES).get("", node_name or "")
        if node is None or LOCAL_DIRECTORY not in annotations_of(node):
            why = "does not offer local volumes" if node is not None else "does not exist any more"
            self._failed(claim, storage_class, f'node "{node_name}" {why}')
            await self._choose_again(claim)
            return
        await self._provision(claim, storage_class, node)

    async def _provision(self, claim: Object, storage_class: Object, node: Object) -> None:
        text = f'External provisioner is provisioning volume for claim "{key_of(claim)}"'
        self.event(claim, "Normal", "Provisioning", text)
        volume = local_volume(claim, storage_class, node)
        try:
            await self.client.create(PERSISTENT_VOLUMES, volume)
        except AlreadyExists:
            return
        log.info("volume was made volume=%s claim=%s node=%s", name_of(volume), key_of(claim), name_of(node))
        self.event(claim, "Normal", "ProvisioningSucceeded", f"Successfully provisioned volume {name_of(volume)}")

    def _failed(self, claim: Object, storage_class: Object, why: str) -> None:
        text = f'failed to provision volume with StorageClass "{name_of(storage_class)}": {why}'
        self.event(claim, "Warning", "ProvisioningFailed", text)

    async def _choose_again(self, claim: Object) -> None:
        """Without the annotation the scheduler looks for a node anew."""
        annotations = {key: value for key, value in annotations_of(claim).items() if key != SELECTED_NODE}
        metadata = {**claim["metadata"], "annotations": annotations}
        await self.client.update(PERSISTENT_VOLUME_CLAIMS, {**claim, "metadata": metadata})

    async def _grow(self, claim: Object) -> None:
        """A directory has room as it is: the volume, then the claim, say so."""
        volume = self.lister(PERSISTENT_VOLUMES).get("", claim["spec"]["volumeName"])
        if volume is None or annotations_of(volume).get(PROVISIONED_BY) != LOCAL_PROVISIONER:
            return
        wanted = get_path(claim, "spec", "resources", "requests", "storage")
        has = get_path(claim, "status", "capacity", "storage")
        if not is_for(volume, claim) or has is None or request_of(claim) <= request_of(_asking(has)):
            return
        if size_of(volume) < request_of(claim):
            spec = {**volume["spec"], "capacity": {**volume["spec"]["capacity"], "storage": wanted}}
            await self.client.update(PERSISTENT_VOLUMES, {**volume, "spec": spec})
        await self.client.update(
            PERSISTENT_VOLUME_CLAIMS, {**claim, "status": resized_status(claim)}, subresource="status"
        )
        self.event(claim, "Normal", "VolumeResizeSuccessful", "Resize volume succeeded")
        log.info("volume has grown volume=%s claim=%s size=%s", name_of(volume), key_of(claim), wanted)

    # Volumes

    async def _sync_volume(self, volume: Object) -> None:
        if not is_deleting(volume):
            is_free = get_path(volume, "status", "phase") == "Released"
            if is_free and get_path(volume, "spec", "persistentVolumeReclaimPolicy") == "Delete":
                try:
                    await self.client.delete(PERSISTENT_VOLUMES, name_of(volume), uid=uid_of(volume))
                except NotFound:
                    return
                log.info("released volume is being deleted volume=%s", name_of(volume))
            return
        finalizers = volume["metadata"].get("finalizers") or []
        node = labels_of(volume).get(LOCAL_NODE_LABEL) or ""
        if LOCAL_FINALIZER in finalizers and self.lister(NODES).get("", node) is None:
            kept = [each for each in finalizers if each != LOCAL_FINALIZER]
            await self.client.update(
                PERSISTENT_VOLUMES, {**volume, "metadata": {**volume["metadata"], "finalizers": kept}}
            )
            log.info("volume is gone with its node volume=%s node=%s", name_of(volume), node)


def _asking(amount: str) -> Object:
    return {"spec": {"resources": {"requests": {"storage": amount}}}}


def _claim_key(claim: Object) -> Keys:
    is_asked = annotations_of(claim).get(PROVISIONER) == LOCAL_PROVISIONER
    return key_of(claim) if is_asked or is_fully_bound(claim) else None


def _volume_key(volume: Object) -> Keys:
    return key_of(volume) if annotations_of(volume).get(PROVISIONED_BY) == LOCAL_PROVISIONER else None
