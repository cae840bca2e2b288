"""Claims and volumes: their annotations, their classes, and which volume would do for a claim. Pure.

In one place, for the binder, the scheduler and the kubelet have to agree about it.
Source: kubernetes.io/docs/concepts/storage/persistent-volumes, .../storage-classes
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from timonel.api.labels import EVERYTHING, NOTHING, InvalidSelector, Selector, selector_from_object
from timonel.api.objects import (
    Object,
    ObjectKey,
    annotations_of,
    controller_of,
    get_path,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    resource_version_of,
    uid_of,
)
from timonel.api.quantity import parse_quantity
from timonel.api.refs import PERSISTENT_VOLUME_CLAIMS

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
BETA_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
NO_PROVISIONER = "kubernetes.io/no-provisioner"
"""Of classes whose volumes somebody makes by hand."""
WAIT_FOR_FIRST_CONSUMER = "WaitForFirstConsumer"

LOCAL_PROVISIONER = "timonel.dev/local"
"""Of volumes that are directories of a node, made by Timonel itself."""
LOCAL_NODE_LABEL = "timonel.dev/volume-node"
"""On such a volume: its node. The node's agent watches the volumes that have its name here."""
LOCAL_FINALIZER = "timonel.dev/local-volume"
"""Keeps such a volume until its directory is gone."""
LOCAL_DIRECTORY = "timonel.dev/local-volumes"
"""Annotation of a Node: the directory in which its agent keeps such volumes; "" on a hollow node, where they are only
names."""


def class_of(obj: Object) -> str:
    """The StorageClass of a volume or claim; "" when none. The beta annotation still goes before the field."""
    name: str = annotations_of(obj).get(BETA_CLASS, get_path(obj, "spec", "storageClassName", default=""))
    return name


def is_pending(claim: Object) -> bool:
    """Not bound to any volume, as far as the claim itself tells."""
    return BIND_COMPLETED not in annotations_of(claim)


def is_fully_bound(claim: Object) -> bool:
    return bool(get_path(claim, "spec", "volumeName")) and not is_pending(claim)


def waits_for_consumer(storage_class: Object | None) -> bool:
    return (storage_class or {}).get("volumeBindingMode") == WAIT_FOR_FIRST_CONSUMER


def claim_key_of(volume: Object) -> ObjectKey | None:
    """The claim that a volume is bound to, or reserved for."""
    ref = get_path(volume, "spec", "claimRef")
    return ObjectKey(ref.get("namespace") or "", ref.get("name") or "") if ref is not None else None


def is_for(volume: Object, claim: Object) -> bool:
    """Whether the volume is bound to just this claim, or reserved for one of its name."""
    ref = get_path(volume, "spec", "claimRef")
    if ref is None or (ref.get("namespace") or "", ref.get("name")) != (namespace_of(claim), name_of(claim)):
        return False
    return not ref.get("uid") or ref["uid"] == uid_of(claim)


def bound_volume(volume: Object, claim: Object) -> Object | None:
    """The volume as it has to be written, bound to the claim, or None. One reserved by hand only gets the uid."""
    if is_for(volume, claim) and get_path(volume, "spec", "claimRef", "uid") == uid_of(claim):
        return None
    reserved = is_for(volume, claim)
    ref = {
        **(get_path(volume, "spec", "claimRef", default={})),
        "kind": PERSISTENT_VOLUME_CLAIMS.kind,
        "apiVersion": PERSISTENT_VOLUME_CLAIMS.api_version,
        "namespace": namespace_of(claim),
        "name": name_of(claim),
        "uid": uid_of(claim),
        "resourceVersion": resource_version_of(claim),
    }
    bound = {**volume, "spec": {**volume["spec"], "claimRef": ref}}
    if not reserved:
        annotations = {**annotations_of(volume), BOUND_BY_CONTROLLER: "yes"}
        bound["metadata"] = {**volume["metadata"], "annotations": annotations}
    return bound


def size_of(volume: Object) -> int:
    """Bytes; -1 when it does not say."""
    amount = get_path(volume, "spec", "capacity", "storage")
    return int(parse_quantity(str(amount))) if amount is not None else -1


def request_of(claim: Object) -> int:
    """Bytes asked for."""
    return int(parse_quantity(str(get_path(claim, "spec", "resources", "requests", "storage", default="0"))))


def modes_of(obj: Object) -> Sequence[str]:
    """The access modes of a claim or volume."""
    modes: Sequence[str] = get_path(obj, "spec", "accessModes", default=())
    return modes


def volume_mode_of(obj: Object) -> str:
    mode: str = get_path(obj, "spec", "volumeMode", default="Filesystem")
    return mode


def mismatch(volume: Object, claim: Object) -> str:
    """Why a claim that names this volume cannot have it, in upstream's words; "" when it can."""
    if is_deleting(volume):
        return f'the volume is marked for deletion "{name_of(volume)}"'
    if size_of(volume) < request_of(claim):
        return "requested PV is too small"
    if class_of(volume) != class_of(claim):
        return "storageClassName does not match"
    if _attributes_class(volume) != _attributes_class(claim):
        return "volumeAttributesClassName does not match"
    if volume_mode_of(volume) != volume_mode_of(claim):
        return "incompatible volumeMode"
    if not set(modes_of(claim)) <= set(modes_of(volume)):
        return "incompatible accessMode"
    return ""


def matching_volumes(claim: Object, volumes: Iterable[Object]) -> list[Object]:
    """Volumes that would do for a claim that names none, the best first.

    One that is reserved for the claim goes before all others. Of the rest: as few access modes beyond those asked for
    as can be, then the smallest.
    """
    selector = _selector_of(claim)
    request, wanted, claims_class = request_of(claim), set(modes_of(claim)), class_of(claim)
    found: list[tuple[bool, int, int, str, Object]] = []
    for volume in volumes:
        reserved = is_for(volume, claim)
        if get_path(volume, "spec", "claimRef") is not None and not reserved:
            continue
        size, modes = size_of(volume), set(modes_of(volume))
        if is_deleting(volume) or size < request or volume_mode_of(volume) != volume_mode_of(claim):
            continue
        if _attributes_class(volume) != _attributes_class(claim) or not wanted <= modes:
            continue
        if not reserved:
            if get_path(volume, "status", "phase") != "Available" or class_of(volume) != claims_class:
                continue
            if not selector.matches(labels_of(volume)):
                continue
        found.append((not reserved, len(modes - wanted), size, name_of(volume), volume))
    return [volume for *_, volume in sorted(found, key=lambda item: item[:4])]


def _selector_of(claim: Object) -> Selector:
    selector = get_path(claim, "spec", "selector")
    if selector is None:
        return EVERYTHING
    try:
        return selector_from_object(selector)
    except InvalidSelector:
        return NOTHING


def _attributes_class(obj: Object) -> str:
    name: str = get_path(obj, "spec", "volumeAttributesClassName", default="")
    return name


# Volumes of CSI drivers


def attachment_name(volume: Object, node: str) -> str:
    csi = volume["spec"]["csi"]
    text = f"{csi['volumeHandle']}{csi['driver']}{node}"
    return f"csi-{hashlib.sha256(text.encode()).hexdigest()}"


def unique_name(volume: Object) -> str:
    """What a node's status calls the volume."""
    csi = volume["spec"]["csi"]
    return f"kubernetes.io/csi/{csi['driver']}^{csi['volumeHandle']}"


def needs_attaching(volume: Object, drivers: Mapping[str, Object]) -> bool:
    """Of CSI volumes, unless the driver says otherwise."""
    csi = get_path(volume, "spec", "csi")
    if csi is None:
        return False
    return bool(get_path(drivers.get(csi["driver"]), "spec", "attachRequired", default=True))


def node_secrets(volume: Object) -> list[tuple[str, str]]:
    """(namespace, name) of the Secrets that a node needs for a CSI volume."""
    source = get_path(volume, "spec", "csi", default={})
    found = [source.get(field) for field in ("nodeStageSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef")]
    return [(each.get("namespace") or "", each["name"]) for each in found if each]


# Pods and their claims


def claim_names(pod: Object) -> Iterator[tuple[str, bool]]:
    """(name of a claim in the pod's namespace, whether it is made for the pod alone), by volume."""
    for volume in get_path(pod, "spec", "volumes", default=()):
        name = claim_name(pod, volume)
        if name:
            yield name, volume.get("ephemeral") is not None


def claim_name(pod: Object, volume: Object) -> str:
    """The claim behind one of the pod's volumes; "" when it is of another kind."""
    if volume.get("persistentVolumeClaim"):
        return volume["persistentVolumeClaim"].get("claimName") or ""
    if volume.get("ephemeral") is not None:
        return f"{name_of(pod)}-{volume.get('name')}"
    return ""


def is_made_for(claim: Object, pod: Object) -> bool:
    """Whether the claim of a generic ephemeral volume is really this pod's: another one of that name is not."""
    owner = controller_of(claim)
    return owner is not None and owner.get("uid") == uid_of(pod)


def not_made_for(claim: Object, pod: Object) -> str:
    """Upstream's words for one that is not."""
    return (
        f"PVC {namespace_of(claim)}/{name_of(claim)} was not created for pod {namespace_of(pod)}/{name_of(pod)} "
        "(pod is not owner)"
    )
