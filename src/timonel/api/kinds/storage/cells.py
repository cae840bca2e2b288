"""Cells that volumes, claims and classes print alike."""

from __future__ import annotations

from timonel.api.kinds.columns import UNSET, cell_at, plain
from timonel.api.objects import Object, annotations_of, get_path, is_deleting
from timonel.api.resource import Column

BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
_SHORT_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def access_modes(modes: list[str] | None) -> str:
    """Gives "RWO,ROX", in a fixed order."""
    return ",".join(short for mode, short in _SHORT_MODES.items() if mode in (modes or ()))


def phase(obj: Object) -> str:
    said: str = get_path(obj, "status", "phase", default="")
    return "Terminating" if is_deleting(obj) else said


def class_of(obj: Object) -> str:
    """The StorageClass of a volume or claim: the beta annotation still goes before the field."""
    name: str = annotations_of(obj).get(BETA_CLASS, get_path(obj, "spec", "storageClassName", default=""))
    return name


def name_column(*default_annotations: str) -> Column:
    """The name, and "(default)" behind that of a class marked by one of the annotations."""

    def cell(obj: Object) -> str:
        annotations, name = annotations_of(obj), obj["metadata"].get("name", "")
        return f"{name} (default)" if any(annotations.get(key) == "true" for key in default_annotations) else name

    return Column("Name", plain(cell), format="name", description="Name of the object.")


def attributes_class_column(description: str) -> Column:
    return Column(
        "VolumeAttributesClass", cell_at("spec", "volumeAttributesClassName", default=UNSET), description=description
    )


VOLUME_MODE = Column(
    "VolumeMode",
    cell_at("spec", "volumeMode", default=UNSET),
    priority=1,
    description="Whether it is a file system or a block device.",
)
