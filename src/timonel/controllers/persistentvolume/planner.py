"""What becomes of one claim, and of one volume. Pure: a snapshot in, a plan out; the controller carries it out.

Source: kubernetes.io/docs/concepts/storage/persistent-volumes/#lifecycle-of-a-volume-and-claim and
#reclaiming; reasons and messages of events are upstream's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from timonel.api.objects import Object, annotations_of, get_path, name_of, uid_of
from timonel.api.volumes import (
    BETA_CLASS,
    NO_PROVISIONER,
    PROVISIONED_BY,
    SELECTED_NODE,
    class_of,
    is_for,
    is_pending,
    matching_volumes,
    mismatch,
    volume_mode_of,
    waits_for_consumer,
)

_IN_TREE = "kubernetes.io/"
_NO_DELETER = "no deletable volume plugin matched"
_LOST = "Data on the volume is lost!"


@dataclass(frozen=True, slots=True)
class Event:
    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ClaimPlan:
    """`event` is told whatever happens; `when_changed` only if the phase really changes."""

    bind: Object | None = None
    """The volume to bind to; all else follows from that."""
    phase: str = ""
    """"" leaves the status alone."""
    default_class: str = ""
    """Given to a claim that never named one."""
    provisioner: str = ""
    """Who is to make a volume."""
    event: Event | None = None
    when_changed: Event | None = None


@dataclass(frozen=True, slots=True)
class ClaimView:
    """What deciding about a claim looks at."""

    volume: Callable[[str], Object | None]
    candidates: Sequence[Object]
    """Volumes that are reserved for the claim, and free ones of its class."""
    classes: Mapping[str, Object]
    default_class: str
    waiting_pods: Sequence[str] = ()
    """Names of pods that use the claim and are on no node yet."""


def plan_claim(claim: Object, view: ClaimView) -> ClaimPlan:
    if not is_pending(claim):
        return _plan_bound(claim, view)
    if name := get_path(claim, "spec", "volumeName", default=""):
        return _plan_named(claim, view.volume(name))
    return _plan_open(claim, view)


def _plan_bound(claim: Object, view: ClaimView) -> ClaimPlan:
    name = get_path(claim, "spec", "volumeName", default="")
    volume = view.volume(name) if name else None
    if volume is None:
        what = "lost its PersistentVolume" if name else "lost reference to PersistentVolume"
        return ClaimPlan(phase="Lost", when_changed=Event("Warning", "ClaimLost", f"Bound claim has {what}. {_LOST}"))
    ref = get_path(volume, "spec", "claimRef")
    if ref is None or ref.get("uid") == uid_of(claim) or is_for(volume, claim):
        return ClaimPlan(bind=volume)
    why = "Two claims are bound to the same volume, this one is bound incorrectly"
    return ClaimPlan(phase="Lost", when_changed=Event("Warning", "ClaimMisbound", why))


def _plan_named(claim: Object, volume: Object | None) -> ClaimPlan:
    """The claim says which volume it wants."""
    if volume is None:
        return ClaimPlan(phase="Pending")  # it may come yet
    if is_for(volume, claim):
        return ClaimPlan(bind=volume)
    if get_path(volume, "spec", "claimRef") is not None:
        why = f'volume "{name_of(volume)}" already bound to a different claim.'
        return ClaimPlan(phase="Pending", event=Event("Warning", "FailedBinding", why))
    if why := mismatch(volume, claim):
        told = f'Cannot bind to requested volume "{name_of(volume)}": {why}'
        return ClaimPlan(phase="Pending", event=Event("Warning", "VolumeMismatch", told))
    return ClaimPlan(bind=volume)


def _plan_open(claim: Object, view: ClaimView) -> ClaimPlan:
    """Any volume that fits will do."""
    wanted = class_of(claim)
    storage_class = view.classes.get(wanted)
    is_delayed = waits_for_consumer(storage_class) and SELECTED_NODE not in annotations_of(claim)
    matching = matching_volumes(claim, view.candidates)
    if is_delayed:
        # Which free volume to take is the scheduler's choice, together with the node.
        matching = [volume for volume in matching if is_for(volume, claim)]
    if matching:
        return ClaimPlan(bind=matching[0])
    names_none = get_path(claim, "spec", "storageClassName") is None and BETA_CLASS not in annotations_of(claim)
    if names_none and view.default_class:
        return ClaimPlan(default_class=view.default_class)
    if is_delayed:
        return ClaimPlan(phase="Pending", event=_delay(view.waiting_pods))
    if wanted:
        return _plan_provisioning(wanted, storage_class)
    why = "no persistent volumes available for this claim and no storage class is set"
    return ClaimPlan(phase="Pending", event=Event("Normal", "FailedBinding", why))


def _delay(pods: Sequence[str]) -> Event:
    if not pods:
        return Event("Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding")
    noun = "pod" if len(pods) == 1 else "pods"
    return Event("Normal", "WaitForPodScheduled", f"waiting for {noun} {','.join(pods)} to be scheduled")


def _plan_provisioning(name: str, storage_class: Object | None) -> ClaimPlan:
    if storage_class is None:
        why = f'storageclass.storage.k8s.io "{name}" not found'
        return ClaimPlan(event=Event("Warning", "ProvisioningFailed", why))
    provisioner: str = storage_class["provisioner"]
    if provisioner == NO_PROVISIONER or provisioner.startswith(_IN_TREE):
        why = f"no volume plugin matched name: {provisioner}"
        return ClaimPlan(event=Event("Warning", "ProvisioningFailed", why))
    why = (
        f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the "
        "system administrator. If volume creation is delayed, please verify that the provisioner is running and "
        "correctly registered."
    )
    return ClaimPlan(provisioner=provisioner, event=Event("Normal", "ExternalProvisioning", why))


@dataclass(frozen=True, slots=True)
class VolumePlan:
    phase: str = ""
    """"" leaves the status alone."""
    message: str = ""
    frees: bool = False
    """Takes the claim away from the volume, before the phase is set."""
    events: tuple[Event, ...] = ()
    when_changed: Event | None = None
    claim_event: Event | None = None
    asks_claim: bool = field(default=False)
    """The claim has to be looked at: it is the one that goes on."""


def plan_volume(volume: Object, claim: Object | None) -> VolumePlan:
    """`claim`: the one that the volume's claimRef names, if it is there with that uid; else None."""
    ref = get_path(volume, "spec", "claimRef")
    if ref is None or not ref.get("uid"):
        return VolumePlan("Available")
    if claim is None:
        return _plan_reclaiming(volume)
    chosen = get_path(claim, "spec", "volumeName", default="")
    if chosen == name_of(volume):
        return VolumePlan("Bound")
    if not chosen:
        if volume_mode_of(claim) != volume_mode_of(volume):
            why = "due to incompatible volumeMode."
            on_volume = f'Cannot bind PersistentVolume to requested PersistentVolumeClaim "{name_of(claim)}" {why}'
            on_claim = f'Cannot bind PersistentVolume "{name_of(volume)}" to requested PersistentVolumeClaim {why}'
            return VolumePlan(
                events=(Event("Warning", "VolumeMismatch", on_volume),),
                claim_event=Event("Warning", "VolumeMismatch", on_claim),
            )
        return VolumePlan(asks_claim=True)
    # The claim took another volume.
    is_ours = PROVISIONED_BY in annotations_of(volume)
    if is_ours and get_path(volume, "spec", "persistentVolumeReclaimPolicy") == "Delete":
        return _plan_reclaiming(volume)
    return VolumePlan("Available", frees=True)


def _plan_reclaiming(volume: Object) -> VolumePlan:
    """Its claim is gone. Volumes that somebody provisioned are deleted by that somebody."""
    phase = get_path(volume, "status", "phase", default="")
    match get_path(volume, "spec", "persistentVolumeReclaimPolicy", default="Retain"):
        case "Recycle":
            why = "recycling of volumes is not built in Timonel; use dynamic provisioning instead"
            return VolumePlan("Failed", why, when_changed=Event("Warning", "VolumeFailedRecycle", why))
        case "Delete" if PROVISIONED_BY not in annotations_of(volume):
            why = f'error getting deleter volume plugin for volume "{name_of(volume)}": {_NO_DELETER}'
            return VolumePlan("Failed", why, when_changed=Event("Warning", "VolumeFailedDelete", why))
        case "Retain" | "Delete" if phase in ("Released", "Failed"):
            return VolumePlan()
        case "Retain" | "Delete":
            return VolumePlan("Released")
        case unknown:
            why = f"Volume has an unrecognized PersistentVolumeReclaimPolicy: {unknown}"
            return VolumePlan("Failed", why, when_changed=Event("Warning", "VolumeUnknownReclaimPolicy", why))
