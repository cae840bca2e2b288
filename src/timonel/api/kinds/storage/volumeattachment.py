"""VolumeAttachment: a volume that shall be attached to a node, and whether it is."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, forbidden, invalid, required, too_long
from timonel.api.kinds.columns import AGE, NAME, cell_at
from timonel.api.kinds.pod.volumes import check_csi_driver
from timonel.api.kinds.resource_lists import canonical_resource_list
from timonel.api.kinds.rules import Errors, check_immutable, check_subdomain
from timonel.api.kinds.storage.sources import default_sources
from timonel.api.kinds.storage.volumespec import check_volume_spec
from timonel.api.kinds.subresources import STATUS
from timonel.api.objects import Object
from timonel.api.resource import Column, Resource, Strategy

_SPEC = Path("spec")
_STATUS = Path("status")
_ONE_SOURCE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
_METADATA_LIMIT = 256 * 1024  # bytes
_MESSAGE_LIMIT = 1024


class VolumeAttachmentStrategy(Strategy):
    status_carries = ()
    tracks_generation = False
    allow_unconditional_update = False

    def default(self, obj: Object) -> None:
        inline = ((obj.get("spec") or {}).get("source") or {}).get("inlineVolumeSpec")
        if inline is not None:
            default_sources(inline)
            if inline.get("capacity"):
                canonical_resource_list(inline["capacity"])
        status = obj.setdefault("status", {})
        status.setdefault("attached", False)

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        check_csi_driver(errors, _SPEC / "attacher", spec.get("attacher") or "")
        source = spec.get("source") or {}
        name = _check_source(errors, source)
        check_subdomain(errors, _SPEC / "nodeName", spec.get("nodeName") or "")
        metadata = status.get("attachmentMetadata") or {}
        if sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items()) > _METADATA_LIMIT:
            errors.append(too_long(_STATUS / "attachmentMetadata", _METADATA_LIMIT))
        for field in ("attachError", "detachError"):
            _check_volume_error(errors, _STATUS / field, status.get(field) or {})
        if name is not None:
            check_subdomain(errors, _SPEC / "source" / "persistentVolumeName", name)
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.validate_create(new)
        check_immutable(errors, _SPEC, new.get("spec"), old.get("spec"))
        return errors

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.validate_update(new, old)


def _check_source(errors: Errors, source: Object) -> str | None:
    """The name of the volume, if it is there to be checked."""
    path = _SPEC / "source"
    inline, name = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
    if inline is None and name is None:
        errors.append(required(path, _ONE_SOURCE))
    elif inline is not None and name is not None:
        errors.append(forbidden(path, _ONE_SOURCE))
    elif inline is not None:
        check_volume_spec(errors, path / "inlineVolumeSpec", inline, "", inline=True)
    elif not name:
        errors.append(required(path / "persistentVolumeName", "must specify non empty persistentVolumeName"))
    return name


def _check_volume_error(errors: Errors, path: Path, error: Object) -> None:
    if len((error.get("message") or "").encode()) > _MESSAGE_LIMIT:
        # Upstream names the other limit here.
        errors.append(too_long(path / "message", _METADATA_LIMIT))
    code = error.get("errorCode")
    if code is not None and code < 0:
        errors.append(invalid(path / "errorCode", code, "must be between 0 and 2147483647, inclusive"))


VOLUME_ATTACHMENTS = Resource(
    ref=refs.VOLUME_ATTACHMENTS,
    definition="io.k8s.api.storage.v1.VolumeAttachment",
    singular="volumeattachment",
    subresources=(STATUS,),
    strategy=VolumeAttachmentStrategy(),
    columns=(
        NAME,
        Column("Attacher", cell_at("spec", "attacher"), format="name", description="The CSI driver that attaches."),
        Column("PV", cell_at("spec", "source", "persistentVolumeName"), description="The volume."),
        Column("Node", cell_at("spec", "nodeName"), description="The node."),
        Column(
            "Attached", cell_at("status", "attached", default=False), type="boolean", description="Whether it is done."
        ),
        AGE,
    ),
    storage_prefix="/registry/volumeattachments/",
    has_status=True,
)
