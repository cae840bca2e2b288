"""PersistentVolume: storage that outlives pods, bound to at most one claim."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.clock import format_time
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, forbidden, invalid
from timonel.api.kinds.columns import AGE, NAME, cell_at, plain
from timonel.api.kinds.pod.update import describe_difference
from timonel.api.kinds.pod.warnings import DEPRECATED_LABELS
from timonel.api.kinds.resource_lists import canonical_resource_list
from timonel.api.kinds.rules import IMMUTABLE, Errors, check_immutable
from timonel.api.kinds.storage.cells import VOLUME_MODE, access_modes, attributes_class_column, class_of, phase
from timonel.api.kinds.storage.sources import default_sources, sources_of
from timonel.api.kinds.storage.volumespec import check_volume_spec
from timonel.api.kinds.subresources import STATUS
from timonel.api.objects import Object, annotations_of, copy_object, get_path
from timonel.api.resource import Column, Occasion, Resource, Strategy

_SPEC = Path("spec")
_ANNOTATIONS = Path("metadata") / "annotations"
_MOUNT_OPTIONS = "volume.beta.kubernetes.io/mount-options"
_DEPRECATED_ANNOTATIONS = {
    "volume.beta.kubernetes.io/storage-class": 'deprecated since v1.8; use "storageClassName" attribute instead',
    _MOUNT_OPTIONS: 'deprecated since v1.31; use "mountOptions" attribute instead',
}
_MOUNTED_WITH_OPTIONS = frozenset(
    (
        "gcePersistentDisk", "awsElasticBlockStore", "glusterfs", "nfs", "rbd", "quobyte", "iscsi", "cinder", "cephfs",
        "azureFile", "vsphereVolume", "azureDisk", "photonPersistentDisk",
    )
)  # fmt: skip
_GONE_SOURCES = {
    "cephfs": ("cephfs", "v1.28", "v1.31"),
    "photonPersistentDisk": ("photonPersistentDisk", "v1.11", "v1.16"),
    "scaleIO": ("scaleIO", "v1.16", "v1.22"),
    "storageos": ("storageOS", "v1.22", "v1.25"),
    "glusterfs": ("glusterfs", "v1.25", "v1.26"),
    "rbd": ("rbd", "v1.28", "v1.31"),
}


class PersistentVolumeStrategy(Strategy):
    tracks_generation = False

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("persistentVolumeReclaimPolicy"):
            spec["persistentVolumeReclaimPolicy"] = "Retain"
        spec.setdefault("volumeMode", "Filesystem")
        if spec.get("capacity"):
            canonical_resource_list(spec["capacity"])
        default_sources(spec)
        status = obj.setdefault("status", {})
        if not status.get("phase"):
            status["phase"] = "Pending"

    def stamp(self, new: Object, old: Object | None, occasion: Occasion) -> None:
        """Notes when the phase changed last, unless the writer of the status did."""
        status, now = new["status"], format_time(occasion.now)
        if old is None:
            status["lastPhaseTransitionTime"] = now
        elif occasion.subresource == "status":
            before = old.get("status") or {}
            last = before.get("lastPhaseTransitionTime")
            if status.get("phase") != before.get("phase"):
                if status.get("lastPhaseTransitionTime") in (None, last):
                    status["lastPhaseTransitionTime"] = now
            elif last is not None:
                status.setdefault("lastPhaseTransitionTime", last)

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        spec = obj["spec"]
        check_volume_spec(errors, _SPEC, spec, obj["metadata"].get("name") or "")
        if _MOUNT_OPTIONS in annotations_of(obj) and not _MOUNTED_WITH_OPTIONS & spec.keys():
            why = "may not specify mount options for this volume type"
            errors.append(forbidden(_ANNOTATIONS / _MOUNT_OPTIONS, why))
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        # Found twice, shown twice among the causes: the rules of a new volume are asked twice upstream.
        errors = [*self.validate_create(new), *self.validate_create(new)]
        spec, before = new["spec"], old.get("spec") or {}
        source, source_before = sources_of(spec), sources_of(before)
        added = get_path(source, "csi", "controllerExpandSecretRef")
        if added and "csi" in source_before and not source_before["csi"].get("controllerExpandSecretRef"):
            # The one addition that is allowed: drivers learned to expand after many volumes had been made.
            source = copy_object(source)
            del source["csi"]["controllerExpandSecretRef"]
        if source != source_before:
            lines = "\n".join(describe_difference(source_before, source, "spec"))
            why = f"spec.persistentvolumesource is immutable after creation\n{lines}"
            errors.append(forbidden(_SPEC / "persistentvolumesource", why))
        check_immutable(errors, Path("volumeMode"), spec.get("volumeMode"), before.get("volumeMode"))
        if before.get("nodeAffinity") is not None:
            _check_affinity_update(errors, spec.get("nodeAffinity"), before["nodeAffinity"])
        if before.get("volumeAttributesClassName") is not None and spec.get("volumeAttributesClassName") is None:
            why = "update from non-nil value to nil is forbidden"
            errors.append(forbidden(_SPEC / "volumeAttributesClassName", why))
        return errors

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        spec, annotations = obj["spec"], annotations_of(obj)
        found = [f"{_ANNOTATIONS[key]}: {why}" for key, why in _DEPRECATED_ANNOTATIONS.items() if key in annotations]
        if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
            found.append(
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. "
                "Instead, the recommended approach is to use dynamic provisioning."
            )
        for index, term in enumerate(_terms(spec.get("nodeAffinity"))):
            here = (_SPEC / "nodeAffinity" / "required" / "nodeSelectorTerms")[index] / "matchExpressions"
            for position, expression in enumerate(term.get("matchExpressions") or ()):
                key = expression.get("key")
                if key in DEPRECATED_LABELS:
                    found.append(f"{here[position] / 'key'}: {key} is {DEPRECATED_LABELS[key]}")
        for kind, (called, since, gone) in _GONE_SOURCES.items():
            if spec.get(kind) is not None:
                found.append(f"{_SPEC / called}: deprecated in {since}, non-functional in {gone}+")
        return found


def _terms(affinity: Object | None) -> list[Object]:
    terms: list[Object] = get_path(affinity, "required", "nodeSelectorTerms", default=[])
    return terms


# From beta topology labels, and from the labels of cloud providers, to those that took their place.
_RENAMED_LABELS = {
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
}


def _check_affinity_update(errors: Errors, new: Object | None, old: Object) -> None:
    """Immutable but for keys that moved from a beta label to the one that replaced it."""
    renamed = copy_object(old)
    terms, wanted = _terms(renamed), _terms(new)
    if len(terms) == len(wanted):
        for term, other in zip(terms, wanted, strict=True):
            for mine, theirs in zip(
                term.get("matchExpressions") or (), other.get("matchExpressions") or (), strict=False
            ):
                better = _RENAMED_LABELS.get(mine.get("key") or "")
                if better is not None and theirs.get("key") == better:
                    mine["key"] = better
    if new != renamed:
        why = f"{IMMUTABLE}, except for updating from beta label to GA"
        errors.append(invalid(Path("nodeAffinity"), new, why))


def _claim(volume: Object) -> str:
    claim = volume["spec"].get("claimRef")
    return f"{claim.get('namespace') or ''}/{claim.get('name') or ''}" if claim is not None else ""


PERSISTENT_VOLUMES = Resource(
    ref=refs.PERSISTENT_VOLUMES,
    definition="io.k8s.api.core.v1.PersistentVolume",
    singular="persistentvolume",
    short_names=("pv",),
    subresources=(STATUS,),
    strategy=PersistentVolumeStrategy(),
    columns=(
        NAME,
        Column("Capacity", cell_at("spec", "capacity", "storage", default="0"), description="Size of the volume."),
        Column(
            "Access Modes",
            plain(lambda volume: access_modes(get_path(volume, "spec", "accessModes"))),
            description="How nodes may mount it.",
        ),
        Column(
            "Reclaim Policy",
            cell_at("spec", "persistentVolumeReclaimPolicy"),
            description="What becomes of it when its claim goes.",
        ),
        Column("Status", plain(phase), description="Whether it is available, bound, released or failed."),
        Column("Claim", plain(_claim), description="The claim it is bound to."),
        Column("StorageClass", plain(class_of), description="Class of the volume."),
        attributes_class_column("Class of its changeable attributes."),
        Column("Reason", cell_at("status", "reason"), description="Why it is in its state."),
        AGE,
        VOLUME_MODE,
    ),
    storage_prefix="/registry/persistentvolumes/",
    has_status=True,
)
