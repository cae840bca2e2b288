"""PATCH: four ways of describing a change, each turned into a transform of the live object.

Source: kubernetes.io/docs/reference/using-api/api-concepts ("Patch and apply updates").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import orjson

from timonel.api.decode import decode
from timonel.api.errors import BadRequest, FieldError, UnsupportedMediaType, invalid
from timonel.api.field_errors import Path, forbidden, required
from timonel.api.managed_fields import apply as apply_configuration
from timonel.api.objects import Object, copy_object
from timonel.api.patch.json_patch import apply_json_patch
from timonel.api.patch.merge import apply_merge_patch
from timonel.api.patch.strategic import apply_strategic_patch
from timonel.api.refs import ResourceRef
from timonel.apiserver.registry.bodies import check_kind, check_patched, go_map
from timonel.apiserver.registry.resource_registry import ResourceRegistry
from timonel.apiserver.registry.written import Transform

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)
_MAX_JSON_PATCH_OPERATIONS = 10_000
_PATCH_OPTIONS = ResourceRef("meta.k8s.io", "", "patchoptions", "PatchOptions")


@dataclass(frozen=True, slots=True)
class PatchRequest:
    """`kind` is one of PATCH_TYPES; `manager`, `force` and `given_manager` are the options as sent."""

    kind: str
    body: bytes
    manager: str
    given_manager: str = ""
    force: bool | None = None
    validation: str = "Warn"
    subresource: str = ""


def patch_type(content_type: str) -> str:
    """The media type of a PATCH. Raises UnsupportedMediaType."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in PATCH_TYPES:
        raise UnsupportedMediaType(
            "the body of the request was in an unknown format - accepted media types include: " + ", ".join(PATCH_TYPES)
        )
    return kind


def check_patch_options(request: PatchRequest) -> None:
    """Raises Invalid when force comes without apply, or apply without a manager."""
    found: list[FieldError] = []
    if request.kind == APPLY_PATCH:
        if not request.given_manager:
            found.append(required(Path("fieldManager"), "is required for apply patch"))
    elif request.force is not None:
        found.append(forbidden(Path("force"), "may not be specified for non-apply patch"))
    if found:
        raise invalid(_PATCH_OPTIONS, "", found)


def patch_transform(registry: ResourceRegistry, name: str, request: PatchRequest, warnings: list[str]) -> Transform:
    """A transform that applies the patch to the live object in its served shape. Parsing errors are raised here."""
    decoded = decode(request.body, request.kind)
    patch = decoded.obj
    ref, definition = registry.ref, registry.resource.definition
    if request.kind == JSON_PATCH:
        if not isinstance(patch, list):
            raise BadRequest(
                f"error decoding patch: json: cannot unmarshal {_kind_of(patch)} into a list of operations"
            )
        if len(patch) > _MAX_JSON_PATCH_OPERATIONS:
            raise BadRequest(
                f"The allowed maximum operations in a JSON patch is {_MAX_JSON_PATCH_OPERATIONS}, got {len(patch)}"
            )
    elif not isinstance(patch, dict):
        raise BadRequest(f"error decoding patch: json: cannot unmarshal {_kind_of(patch)} into an object")
    apply: Callable[[Object], Object]
    if request.kind == JSON_PATCH:
        apply = lambda live: apply_json_patch(live, patch)  # noqa: E731
    elif request.kind == MERGE_PATCH:
        apply = lambda live: apply_merge_patch(live, patch)  # noqa: E731
    else:
        apply = lambda live: apply_strategic_patch(live, patch, definition)  # noqa: E731

    def transform(live: Object) -> Object:
        patched = apply(copy_object(registry.served(live)))
        if not isinstance(patched, dict):
            raise BadRequest("the patch leaves no object behind")
        check_kind(patched, kind=ref.kind, api_version=ref.api_version)
        notes: list[str] = []
        check_patched(
            patched,
            definition=definition,
            shown=lambda: go_map(patch) if request.kind == STRATEGIC_PATCH else orjson.dumps(patched).decode(),
            duplicates=decoded.duplicates,
            validation=request.validation,
            warnings=notes,
        )
        warnings.extend(note for note in notes if note not in warnings)
        return patched if registry.conversion is None else registry.conversion.to_stored(patched)

    return transform


def parse_apply(registry: ResourceRegistry, name: str, namespace: str, request: PatchRequest) -> Object:
    """The configuration of a server-side apply, in the stored shape. Raises BadRequest."""
    try:
        config = decode(request.body, APPLY_PATCH).obj
    except BadRequest as exc:
        raise BadRequest(f"error decoding YAML: {exc.message}") from exc
    if not isinstance(config, dict):
        raise BadRequest("error decoding YAML: the configuration is no object")
    ref = registry.ref
    if config.get("apiVersion") != ref.api_version or config.get("kind") != ref.kind:
        raise BadRequest(
            f"invalid object type: {config.get('apiVersion', '')}, Kind={config.get('kind', '')}, expected "
            f"{ref.api_version}, Kind={ref.kind}"
        )
    metadata = config.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        raise BadRequest("metadata must be an object")
    if metadata.get("managedFields"):
        raise BadRequest("metadata.managedFields must be nil")
    if metadata.setdefault("name", name) != name:
        raise BadRequest(f"name in URL ({name}) does not match name in the object ({metadata['name']})")
    if ref.namespaced and metadata.setdefault("namespace", namespace) != namespace:
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    return config if registry.conversion is None else registry.conversion.to_stored(config)


def apply_transform(
    registry: ResourceRegistry, config: Object, request: PatchRequest, now: Callable[[], datetime]
) -> Callable[[Object | None], Object]:
    """Server-side apply, which keeps managed fields itself; None makes the object that does not exist yet."""
    stored = registry.stored

    def transform(live: Object | None) -> Object:
        return apply_configuration(
            live,
            copy_object(config),
            stored.definition,
            request.manager,
            bool(request.force),
            now(),
            stored.ref.api_version,
            subresource=request.subresource,
        )

    return transform


def _kind_of(value: object) -> str:
    names: dict[type, str] = {str: "string", list: "array", dict: "object", type(None): "null", bool: "bool"}
    return names.get(type(value), "number")
