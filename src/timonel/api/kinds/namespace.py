"""Namespace: removed in two steps, `spec.finalizers` by the finalize subresource after its content is gone."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, invalid
from timonel.api.kinds.columns import AGE, NAME, cell_at
from timonel.api.kinds.fields import text_at
from timonel.api.kinds.rules import Errors, check_qualified_name
from timonel.api.kinds.subresources import STATUS
from timonel.api.names import validate_dns1123_label
from timonel.api.objects import Object, is_deleting
from timonel.api.resource import Column, Resource, Strategy, Subresource

FINALIZER = "kubernetes"
NAME_LABEL = "kubernetes.io/metadata.name"
_FINALIZERS = Path("spec") / "finalizers"


class NamespaceStrategy(Strategy):
    tracks_generation = False

    def validate_name(self, name: str) -> list[str]:
        return validate_dns1123_label(name)

    def default(self, obj: Object) -> None:
        metadata = obj["metadata"]
        if metadata.get("name"):
            metadata.setdefault("labels", {})[NAME_LABEL] = metadata["name"]
        obj.setdefault("spec", {})
        status = obj.setdefault("status", {})
        if not status.get("phase"):
            status["phase"] = "Active"

    def prepare_create(self, obj: Object) -> None:
        # Again, for names generated since.
        self.default(obj)
        obj["status"] = {"phase": "Active"}
        finalizers = obj["spec"].setdefault("finalizers", [])
        if FINALIZER not in finalizers:
            finalizers.append(FINALIZER)

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        for name in obj["spec"].get("finalizers") or ():
            _check_finalizer(errors, _FINALIZERS, name)
        return errors

    def prepare_update(self, new: Object, old: Object) -> None:
        spec, before = new.setdefault("spec", {}), old.get("spec") or {}
        if "finalizers" in before:
            spec["finalizers"] = list(before["finalizers"])
        else:
            spec.pop("finalizers", None)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return []

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        phase = (new.get("status") or {}).get("phase") or ""
        path = Path("status") / "Phase"
        if is_deleting(new):
            if phase != "Terminating":
                return [invalid(path, phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")]
        elif phase != "Active":
            return [invalid(path, phase, "may only be 'Active' if `deletionTimestamp` is empty")]
        return []


def validate_finalize(namespace: Object) -> list[FieldError]:
    """For the finalize subresource, which alone may change `spec.finalizers`."""
    errors: Errors = []
    for index, name in enumerate((namespace.get("spec") or {}).get("finalizers") or ()):
        _check_finalizer(errors, _FINALIZERS[index], name)
    return errors


def _check_finalizer(errors: Errors, path: Path, name: str) -> None:
    check_qualified_name(errors, path, name)
    if "/" not in name and name not in (FINALIZER, "orphan", "foregroundDeletion"):
        errors.append(invalid(path, name, "name is neither a standard finalizer name nor is it fully qualified"))


NAMESPACES = Resource(
    ref=refs.NAMESPACES,
    definition="io.k8s.api.core.v1.Namespace",
    singular="namespace",
    short_names=("ns",),
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    subresources=(Subresource("finalize", verbs=("update",)), STATUS),
    strategy=NamespaceStrategy(),
    columns=(NAME, Column("Status", cell_at("status", "phase"), description="Active or Terminating."), AGE),
    selectable_fields={"status.phase": text_at("status", "phase"), "name": text_at("metadata", "name")},
    storage_prefix="/registry/namespaces/",
    has_status=True,
)
