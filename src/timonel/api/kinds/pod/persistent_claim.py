"""What a claim for storage may ask: used by ephemeral volumes and by PersistentVolumeClaims."""

from __future__ import annotations

from timonel.api.field_errors import Path, forbidden, invalid, required
from timonel.api.kinds.resource_lists import quantity_of
from timonel.api.kinds.rules import (
    POSITIVE,
    Errors,
    check_annotations,
    check_label,
    check_label_selector,
    check_labels,
    check_option,
    check_subdomain,
)
from timonel.api.objects import Object

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_TEMPLATE_METADATA = ("annotations", "labels")


def check_claim_template(errors: Errors, path: Path, template: Object) -> None:
    metadata = template.get("metadata") or {}
    check_annotations(errors, path / "metadata" / "annotations", metadata.get("annotations"))
    check_labels(errors, path / "metadata" / "labels", metadata.get("labels"))
    for field, value in metadata.items():
        if value and field not in _TEMPLATE_METADATA:
            errors.append(forbidden(path / "metadata" / field, "cannot be set"))
    check_claim_spec(errors, path / "spec", template.get("spec") or {})


def check_claim_spec(errors: Errors, path: Path, spec: Object) -> None:
    modes = spec.get("accessModes") or []
    if not modes:
        errors.append(required(path / "accessModes", "at least 1 access mode is required"))
    check_label_selector(errors, path / "selector", spec.get("selector"))
    for mode in modes:
        check_option(errors, path / "accessModes", mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and any(m != "ReadWriteOncePod" and m in ACCESS_MODES for m in modes):
        errors.append(forbidden(path / "accessModes", "may not use ReadWriteOncePod with other access modes"))
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if storage is None:
        errors.append(required((path / "resources")["storage"]))
    else:
        value = quantity_of(storage)
        if value is None or value <= 0:
            errors.append(invalid((path / "resources")["storage"], str(storage), POSITIVE))
    for field in ("storageClassName", "volumeAttributesClassName"):
        if spec.get(field):
            check_subdomain(errors, path / field, spec[field])
    check_option(errors, path / "volumeMode", spec.get("volumeMode"), ("Block", "Filesystem"))
    _check_data_sources(errors, path, spec)


def _check_data_sources(errors: Errors, path: Path, spec: Object) -> None:
    source, ref = spec.get("dataSource"), spec.get("dataSourceRef")
    for field, given in (("dataSource", source), ("dataSourceRef", ref)):
        if given is None:
            continue
        here = path / field
        for part in ("name", "kind"):
            if not given.get(part):
                errors.append(required(here / part))
        group = given.get("apiGroup") or ""
        if not group and given.get("kind") != "PersistentVolumeClaim":
            why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
            errors.append(invalid(here, given.get("kind") or "", why))
        if group:
            check_subdomain(errors, here / "apiGroup", group)
        if given.get("namespace"):
            check_label(errors, here / "namespace", given["namespace"])
    if source is None or ref is None:
        return
    if ref.get("namespace"):
        why = "may not be specified when dataSourceRef.namespace is specified"
        errors.append(invalid(path, {}, why))  # upstream shows the path as a value, which comes out empty
    elif any(source.get(part) != ref.get(part) for part in ("apiGroup", "kind", "name")):
        errors.append(invalid(path, {}, "must match dataSourceRef"))
