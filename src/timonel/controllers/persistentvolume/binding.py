"""What claims and volumes look like once they are bound, and apart again. Pure: objects in, new objects out.

Functions named `…_form` give the object to write, or None when it already is so.
Source: kubernetes.io/docs/concepts/storage/persistent-volumes/#binding; annotations and fields are upstream's.
"""

from __future__ import annotations

from timonel.api.objects import Object, annotations_of, get_path, name_of
from timonel.api.volumes import (
    BETA_PROVISIONER,
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    PROVISIONER,
    modes_of,
)


def freed_form(volume: Object) -> Object | None:
    """The volume without its claim. What somebody reserved by hand stays reserved, for a claim yet to come."""
    ref = get_path(volume, "spec", "claimRef")
    if ref is None:
        return None
    if BOUND_BY_CONTROLLER not in annotations_of(volume):
        if "uid" not in ref:
            return None
        kept = {field: value for field, value in ref.items() if field not in ("uid", "resourceVersion")}
        return {**volume, "spec": {**volume["spec"], "claimRef": kept}}
    spec = {field: value for field, value in volume["spec"].items() if field != "claimRef"}
    annotations = {key: value for key, value in annotations_of(volume).items() if key != BOUND_BY_CONTROLLER}
    return {**volume, "metadata": {**volume["metadata"], "annotations": annotations}, "spec": spec}


def claim_form(claim: Object, volume: Object) -> Object | None:
    """The claim, bound to the volume."""
    added = {}
    bound = claim
    if get_path(claim, "spec", "volumeName", default="") != name_of(volume):
        bound = {**claim, "spec": {**claim["spec"], "volumeName": name_of(volume)}}
        added[BOUND_BY_CONTROLLER] = "yes"
    if BIND_COMPLETED not in annotations_of(claim):
        added[BIND_COMPLETED] = "yes"
    return _annotated(bound, **added) if added else None


def classed_form(claim: Object, storage_class: str) -> Object:
    """The claim with a default class, given to it after its creation."""
    return {**claim, "spec": {**claim["spec"], "storageClassName": storage_class}}


def asked_form(claim: Object, provisioner: str) -> Object | None:
    """The claim, asking a provisioner for a volume."""
    wanted = {PROVISIONER: provisioner, BETA_PROVISIONER: provisioner}
    if wanted.items() <= annotations_of(claim).items():
        return None
    return _annotated(claim, **wanted)


def claim_status_form(claim: Object, phase: str, volume: Object | None) -> Object | None:
    """`volume`: whose modes and size the claim now has. A size that is already there stays: resizing sets it."""
    before: Object = claim.get("status") or {}
    status = {**before, "phase": phase}
    if volume is None:
        for field in ("accessModes", "capacity", "currentVolumeAttributesClassName"):
            status.pop(field, None)
    else:
        status["accessModes"] = list(modes_of(volume))
        if before.get("phase") != phase:
            status["capacity"] = dict(get_path(volume, "spec", "capacity", default={}))
            attributes_class = get_path(volume, "spec", "volumeAttributesClassName")
            if before.get("phase") == "Pending" and attributes_class is not None:
                status["currentVolumeAttributesClassName"] = attributes_class
    return {**claim, "status": status} if status != before else None


def volume_status_form(volume: Object, phase: str, message: str = "") -> Object | None:
    before: Object = volume.get("status") or {}
    if before.get("phase") == phase and (before.get("message") or "") == message:
        return None
    status = {field: value for field, value in before.items() if field != "message"} | {"phase": phase}
    if message:
        status["message"] = message
    return {**volume, "status": status}


def _annotated(obj: Object, **added: str) -> Object:
    annotations = {**annotations_of(obj), **added}
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}
