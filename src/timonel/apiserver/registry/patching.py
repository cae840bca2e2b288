"""PATCH: four ways of describing a change, each turned into a transform of the live object.

Source: kubernetes.io/docs/reference/using-api/api-concepts ("Patch and apply updates").
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from timonel.api.decode import JSON_PROBLEM, YAML_TO_JSON, decode
from timonel.api.errors import BadRequest, UnsupportedMediaType, conflict
from timonel.api.field_errors import go_value
from timonel.api.managed_fields import apply as apply_configuration
from timonel.api.objects import Object, copy_object
from timonel.api.patch.json_patch import apply_json_patch, check_operations, find_unknown_members
from timonel.api.patch.merge import merge_into
from timonel.api.patch.strategic import merge_strategically
from timonel.api.schema import schemas
from timonel.apiserver.registry.bodies import as_warnings, check_patched, find_type_problem
from timonel.apiserver.registry.resource_registry import ResourceRegistry
from timonel.apiserver.registry.sharing import private_parts
from timonel.apiserver.registry.written import Transform

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
_METADATA = frozenset(("metadata",))
PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)


class PatchRequest(NamedTuple):
    """`kind` is one of PATCH_TYPES; `manager`, `force` and `validation` are options of the request."""

    kind: str
    body: bytes
    manager: str
    force: bool = False
    validation: str = "Warn"
    subresource: str = ""


def patch_type(content_type: str) -> str:
    """The media type of a PATCH. Raises UnsupportedMediaType."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in PATCH_TYPES:
        raise UnsupportedMediaType("415: Unsupported Media Type", details={})
    return kind


def patch_transform(registry: ResourceRegistry, name: str, request: PatchRequest, warnings: list[str]) -> Transform:
    """A transform that applies the patch to the live object in its served shape. Parsing errors are raised here."""
    ref, definition, conversion = registry.ref, registry.resource.definition, registry.conversion
    change = patch_change(request, ref.kind, ref.api_version, definition, warnings)
    if conversion is None:
        return change
    return lambda live: conversion.to_stored(copy_object(change(conversion.to_served(live))))


def patch_change(
    request: PatchRequest, kind: str, api_version: str, definition: str, warnings: list[str]
) -> Callable[[Object], Object]:
    """From an object as it is to the patched one, checked. Parsing errors are raised here.

    What the patch does not touch is the object's own in the result: parts at the top but metadata, and managedFields.
    """
    decoded, findings = decode_patch(request)
    touched = touched_fields(request.kind, decoded)
    unused = [decoded]

    def taken() -> Any:
        """The patch, which applying it uses up; who lost a race reads it again."""
        return unused.pop() if unused else decode_patch(request)[0]

    def apply(before: Object) -> Any:
        patch = taken()
        if request.kind == JSON_PATCH:
            return apply_json_patch(before, patch)
        private = None if touched is None else touched | _METADATA
        if private is None:
            parts = copy_object(before)
        else:
            parts = private_parts(before, patch, private, replaces_lists=request.kind == MERGE_PATCH)
        if request.kind == MERGE_PATCH:
            patched = merge_into(parts, patch)
        else:
            patched = merge_strategically(parts, patch, definition)
        if private is None:
            return patched
        whole = {
            name: patched.get(name, value) for name, value in before.items() if name in patched or name not in private
        }
        whole.update(patched)
        return whole

    def change(before: Object) -> Object:
        patched = apply(before)
        if not isinstance(patched, dict):
            raise BadRequest("the patch leaves no object behind")
        if request.kind == STRATEGIC_PATCH:
            patched.update({"kind": kind, "apiVersion": api_version})
        elif why := find_type_problem(patched):
            raise BadRequest(why)
        notes: list[str] = []
        check_patched(
            patched,
            before,
            kind=kind,
            api_version=api_version,
            definition=definition,
            shown=lambda: (
                go_value(decode_patch(request)[0])
                if request.kind == STRATEGIC_PATCH
                else orjson.dumps(patched).decode()
            ),
            duplicates=findings,
            validation=request.validation,
            warnings=notes,
            touched=touched,
        )
        warnings.extend(note for note in notes if note not in warnings)
        return patched

    return change


def touched_fields(kind: str, patch: Any) -> frozenset[str] | None:
    """The fields at the top that a patch may change; None for all, as operations and directives may. The others
    need not be compared with what they were, which a profile of PATCH shows among its first ten."""
    if kind == JSON_PATCH or any(name.startswith("$") for name in patch):
        return None
    return frozenset(("kind", "apiVersion", *patch))


def decode_patch(request: PatchRequest) -> tuple[Any, list[str]]:
    """The patch in the body, and what strict validation finds in it. Raises BadRequest."""
    try:
        decoded = decode(request.body, request.kind)
    except BadRequest as exc:
        where = "" if request.kind == STRATEGIC_PATCH else "error decoding patch: "
        raise BadRequest(f"{where}{exc.message.removeprefix(JSON_PROBLEM)}") from exc
    patch = decoded.obj
    if request.kind == JSON_PATCH:
        if patch is None:
            patch = []
        check_operations(patch)
        findings = [f"json patch {text}" for text in decoded.duplicates] + find_unknown_members(patch)
        return patch, findings
    if patch is None:
        if request.kind == MERGE_PATCH:
            raise BadRequest("Invalid JSON Patch")
        patch = {}
    if not isinstance(patch, dict):
        where = "" if request.kind == STRATEGIC_PATCH else "error decoding patch: "
        wanted = "Go value of type map[string]interface {}"
        raise BadRequest(f"{where}json: cannot unmarshal {_kind_of(patch)} into {wanted}")
    return patch, decoded.duplicates


def parse_apply(registry: ResourceRegistry, request: PatchRequest) -> tuple[Object, list[str]]:
    """The configuration of a server-side apply and its duplicate fields. Raises BadRequest."""
    config, duplicates = decode_configuration(request)
    check_type(config, registry.ref.api_version, registry.ref.kind)
    return config, duplicates


def decode_configuration(request: PatchRequest) -> tuple[Object, list[str]]:
    """The object in the body of an apply, and its duplicate fields. Raises BadRequest."""
    try:
        decoded = decode(request.body, APPLY_PATCH)
    except BadRequest as exc:
        raise BadRequest(f"error decoding YAML: {exc.message}") from exc
    config: object = {} if decoded.obj is None else decoded.obj
    if not isinstance(config, dict):
        raise BadRequest(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal "
            f"{_kind_of(config)} into Go value of type map[string]interface {{}}"
        )
    return config, decoded.duplicates


def report_duplicates(duplicates: list[str], request: PatchRequest, warnings: list[str]) -> None:
    """Called when the configuration has been applied: upstream says what does not fit the schema first."""
    if duplicates and request.validation == "Strict":
        raise BadRequest(f"error strict decoding YAML: {YAML_TO_JSON}{', '.join(duplicates)}")
    if request.validation == "Warn":
        warnings += as_warnings(duplicates)


def check_type(config: Object, api_version: str, kind: str) -> None:
    """Raises BadRequest for a configuration of another kind or version."""
    given_version, given_kind = config.get("apiVersion") or "", config.get("kind") or ""
    if (given_version, given_kind) == (api_version, kind):
        return
    shown = given_version if "/" in str(given_version) else f"/{given_version}"
    raise BadRequest(f"invalid object type: {shown}, Kind={given_kind}")


def apply_transform(
    registry: ResourceRegistry, name: str, request: PatchRequest, now: Callable[[], datetime], warnings: list[str]
) -> Callable[[Object | None], Object]:
    """Server-side apply, which keeps managed fields itself; None makes the object that does not exist yet.

    It happens in the shape that the client speaks, in which its fields are tracked.
    """
    resource, conversion = registry.resource, registry.conversion
    config, duplicates = parse_apply(registry, request)

    def transform(live: Object | None) -> Object:
        if live is None:
            _check_new(registry, config, name)
        applied = apply_configuration(
            live if live is None or conversion is None else copy_object(conversion.to_served(live)),
            copy_object(config),
            resource.definition,
            request.manager,
            request.force,
            now(),
            resource.ref.api_version,
            subresource=request.subresource,
            views=registry.views,
        )
        checked = schemas().check(resource.definition, applied)
        if checked.error is not None:
            raise BadRequest(checked.error)
        report_duplicates(duplicates, request, warnings)
        if live is None:
            applied["metadata"].pop("resourceVersion", None)  # of nothing that there is
        return applied if conversion is None else conversion.to_stored(applied)

    return transform


def _check_new(registry: ResourceRegistry, config: Object, name: str) -> None:
    """Raises BadRequest or Conflict for a configuration that cannot make a new object."""
    metadata = config.get("metadata") or {}
    if not metadata.get("name"):
        raise BadRequest(f"the name of the object ({name} based on URL) was undeterminable: name must be provided")
    if uid := metadata.get("uid"):
        why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        raise conflict(registry.ref, name, why)


def _kind_of(value: object) -> str:
    names: dict[type, str] = {str: "string", list: "array", dict: "object", type(None): "null", bool: "bool"}
    return names.get(type(value), "number")
