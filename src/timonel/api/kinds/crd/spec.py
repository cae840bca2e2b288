"""The spec of a CustomResourceDefinition: names, versions, conversion, subresources, columns.

What all versions have alike, upstream keeps once, beside the versions, and names it there: a single version's schema
is found at spec.validation, not at spec.versions[0].schema.
"""

from __future__ import annotations

from typing import Any

from timonel.api.field_errors import Path, duplicate, forbidden, invalid, required, too_many
from timonel.api.kinds.admission.clients import check_client, check_review_versions
from timonel.api.kinds.crd.openapi import check_schema
from timonel.api.kinds.crd.walking import each_schema, find_field
from timonel.api.kinds.rules import Errors, check_choice
from timonel.api.names import validate_dns1035_label, validate_dns1123_subdomain
from timonel.api.objects import Object, find_by, get_path

_MOST_SELECTABLE = 8
_WARNING_LIMIT = 256
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_SHARED = {
    "schema": "validation", "subresources": "subresources", "additionalPrinterColumns": "additionalPrinterColumns",
    "selectableFields": "selectableFields",
}  # fmt: skip
"""Fields of a version, and their names where all versions share them."""


def check_spec(errors: Errors, path: Path, spec: Object, old: Object | None = None) -> None:
    """`old`: the spec before an update."""
    group, versions = spec.get("group") or "", spec.get("versions") or []
    if not group:
        errors.append(required(path / "group"))
    elif found := validate_dns1123_subdomain(group):
        errors.append(invalid(path / "group", group, ",".join(found)))
    elif "." not in group:
        errors.append(invalid(path / "group", group, "should be a domain with at least one dot"))
    check_choice(errors, path / "scope", spec.get("scope"), ("Cluster", "Namespaced"))
    for index, version in enumerate(versions):
        if get_path(version, "schema", "openAPIV3Schema") is None:
            errors.append(required((path / "versions")[index] / "schema" / "openAPIV3Schema"))
    if spec.get("preserveUnknownFields") and _has_defaults(versions):
        why = "must be false in order to use defaults in the schema"
        errors.append(invalid(path / "preserveUnknownFields", True, why))
    shared = {field for field in _SHARED if all(v.get(field) == versions[0].get(field) for v in versions)}
    for index, version in enumerate(versions):
        _check_version(errors, (path / "versions")[index], version, shared, old)
    names = [version.get("name") or "" for version in versions]
    if len(set(names)) < len(names):
        errors.append(invalid(path / "versions", versions, "must contain unique version names"))
    if sum(bool(version.get("storage")) for version in versions) != 1:
        why = "must have exactly one version marked as storage version"
        errors.append(invalid(path / "versions", versions, why))
    if names and names[0] and (found := validate_dns1035_label(names[0])):
        errors.append(invalid(path / "version", names[0], ",".join(found)))
    for name in ("plural", "singular", "kind", "listKind"):
        if not get_path(spec, "names", name):
            errors.append(required(path / "names" / name))
    check_names(errors, path / "names", spec.get("names") or {})
    if versions:
        _check_fields(errors, path, versions[0], shared, _SHARED, any(map(_has_status, versions)), old)
    _check_conversion(errors, path / "conversion", spec)


def check_names(errors: Errors, path: Path, names: Object) -> None:
    """Names in a spec, or those accepted in a status."""
    for field in ("plural", "singular"):
        if names.get(field) and (found := validate_dns1035_label(names[field])):
            errors.append(invalid(path / field, names[field], ",".join(found)))
    for field in ("kind", "listKind"):
        if names.get(field) and (found := validate_dns1035_label(names[field].lower())):
            why = f"may have mixed case, but should otherwise match: {','.join(found)}"
            errors.append(invalid(path / field, names[field], why))
    _check_labels(errors, path / "shortNames", names.get("shortNames") or [])
    if names.get("kind") and names["kind"] == names.get("listKind"):
        errors.append(invalid(path / "listKind", names["listKind"], "kind and listKind may not be the same"))
    _check_labels(errors, path / "categories", names.get("categories") or [])


def _check_labels(errors: Errors, path: Path, labels: list[str]) -> None:
    for index, label in enumerate(labels):
        if found := validate_dns1035_label(label):
            errors.append(invalid(path[index], label, ",".join(found)))


def _has_defaults(versions: list[Object]) -> bool:
    roots = (get_path(version, "schema", "openAPIV3Schema") for version in versions)
    return any("default" in schema for root in roots for schema in each_schema(root))


def _has_status(version: Object) -> bool:
    return get_path(version, "subresources", "status") is not None


def _has_new_schema(version: Object, old: Object | None) -> bool:
    """Whether it is another than the version had before."""
    before = find_by((old or {}).get("versions"), "name", version.get("name"))
    return before is None or before.get("schema") != version.get("schema")


def _check_version(errors: Errors, path: Path, version: Object, shared: set[str], old: Object | None) -> None:
    name = version.get("name") or ""
    if found := validate_dns1035_label(name):
        errors.append(invalid(path / "name", name, ",".join(found)))
    warning = version.get("deprecationWarning")
    if warning is not None:
        for why in _warning_findings(warning, bool(version.get("deprecated"))):
            errors.append(invalid(path / "deprecationWarning", warning, why))
    own = {field: field for field in _SHARED}
    _check_fields(errors, path, version, _SHARED.keys() - shared, own, _has_status(version), old)


def _warning_findings(warning: str, deprecated: bool) -> list[str]:
    if not deprecated:
        return ["can only be set for deprecated versions"]
    found = []
    if len(warning.encode()) > _WARNING_LIMIT:
        found.append(f"must be <= {_WARNING_LIMIT} characters long")
    if not warning:
        found.append("must not be an empty string")
    for index, char in enumerate(warning):
        if not char.isprintable():
            why = "must only contain printable UTF-8 characters; non-printable character found at index"
            found.append(f"{why} {len(warning[:index].encode())}")
            break
    return found


def _check_fields(
    errors: Errors,
    path: Path,
    version: Object,
    fields: Any,
    called: dict[str, str],
    has_status: bool,
    old: Object | None,
) -> None:
    """Those of a version's parts that are kept at `path`."""
    schema = get_path(version, "schema", "openAPIV3Schema")
    if "schema" in fields and schema is not None:
        here, is_new = path / called["schema"] / "openAPIV3Schema", _has_new_schema(version, old)
        check_schema(errors, here, schema, has_status=has_status, costs_limited=is_new)
    if "subresources" in fields:
        _check_scale(errors, path / called["subresources"], get_path(version, "subresources", "scale"))
    if "additionalPrinterColumns" in fields:
        for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
            _check_column(errors, (path / called["additionalPrinterColumns"])[index], column)
    if "selectableFields" in fields and version.get("selectableFields"):
        here = path / called["selectableFields"]
        if schema is None:
            # The "not" is upstream's own.
            why = "may only be set when `version.schema.openAPIV3Schema` is not included"
            errors.append(invalid(here, "", why))
        else:
            _check_selectable(errors, here, version["selectableFields"], schema)


def _check_json_path(errors: Errors, path: Path, text: str) -> bool:
    if text.startswith("."):
        return True
    errors.append(invalid(path, text, "must be a simple json path starting with ."))
    return False


def _check_scale(errors: Errors, path: Path, scale: Object | None) -> None:
    if scale is None:
        return
    for field, root in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        here, text = path / f"scale.{field}", scale.get(field) or ""
        if not text:
            errors.append(required(here))
        elif _check_json_path(errors, here, text) and not text.startswith(root):
            errors.append(invalid(here, text, f"should be a json path under {root[:-1]}"))
    here, text = path / "scale.labelSelectorPath", scale.get("labelSelectorPath") or ""
    if text and _check_json_path(errors, here, text) and not text.startswith((".spec.", ".status.")):
        errors.append(invalid(here, text, "should be a json path under either .spec or .status"))


def _check_column(errors: Errors, path: Path, column: Object) -> None:
    kind, form, text = column.get("type") or "", column.get("format") or "", column.get("jsonPath") or ""
    if not column.get("name"):
        errors.append(required(path / "name"))
    choices = f"must be one of {','.join(_COLUMN_TYPES)}"
    if not kind:
        errors.append(required(path / "type", choices))
    elif kind not in _COLUMN_TYPES:
        errors.append(invalid(path / "type", kind, choices))
    if form and form not in _COLUMN_FORMATS:
        errors.append(invalid(path / "format", form, f"must be one of {','.join(_COLUMN_FORMATS)}"))
    if not text:
        errors.append(required(path / "JSONPath"))
    else:
        _check_json_path(errors, path / "JSONPath", text)


def _check_selectable(errors: Errors, path: Path, fields: list[Object], schema: Object) -> None:
    seen: set[tuple[str, ...]] = set()
    for index, field in enumerate(fields):
        here, text = path[index] / "jsonPath", field.get("jsonPath") or ""
        if not text:
            errors.append(required(here))
            continue
        found = find_field(schema, text, subscripts=False)
        if isinstance(found, str):
            errors.append(invalid(here, text, f"is an invalid path: {found}"))
            continue
        steps, target = found
        if steps[0] == "metadata":
            errors.append(invalid(here, text, "must not point to fields in metadata"))
        if target.get("type") not in ("string", "boolean", "integer"):
            why = (
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats "
                "are allowed."
            )
            errors.append(invalid(here, text, why))
        if steps in seen:
            errors.append(duplicate(here, text))
        seen.add(steps)
    if len(seen) > _MOST_SELECTABLE:
        errors.append(too_many(path, len(seen), _MOST_SELECTABLE))


def _check_conversion(errors: Errors, path: Path, spec: Object) -> None:
    conversion = spec.get("conversion") or {}
    strategy, webhook = conversion.get("strategy") or "", conversion.get("webhook") or {}
    client, versions = webhook.get("clientConfig"), webhook.get("conversionReviewVersions") or []
    if strategy != "None" and spec.get("preserveUnknownFields"):
        errors.append(invalid(path / "strategy", strategy, "must be None if spec.preserveUnknownFields is true"))
    check_choice(errors, path / "strategy", strategy, ("None", "Webhook"))
    if strategy == "Webhook":
        if client is None:
            errors.append(required(path / "webhookClientConfig", "required when strategy is set to Webhook"))
        else:
            check_client(errors, path / "webhookClientConfig", client)
        check_review_versions(errors, path / "conversionReviewVersions", versions)
        return
    for field, given in (("webhookClientConfig", client is not None), ("conversionReviewVersions", bool(versions))):
        if given:
            why = "should not be set when strategy is not set to Webhook"
            errors.append(forbidden(path / field, why))
