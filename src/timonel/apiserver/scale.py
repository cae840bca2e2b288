"""The scale subresource: autoscaling/v1 Scale as a view of spec.replicas. `kubectl scale` and autoscalers use it.

Source: kubernetes.io/docs/reference/kubernetes-api/common-definitions (Scale), autoscaling/v1.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson
from aiohttp import web

from timonel.api.errors import BadRequest, conflict, invalid
from timonel.api.field_errors import Path
from timonel.api.field_errors import invalid as invalid_field
from timonel.api.kinds.columns import AGE, NAME, cell_at
from timonel.api.labels import Selector, selector_from_map, selector_from_object
from timonel.api.managed_fields import apply as apply_configuration
from timonel.api.managed_fields.scale import REPLICAS, managed_of_scale, managed_of_workload
from timonel.api.objects import Object, copy_object, get_path
from timonel.api.refs import ResourceRef
from timonel.api.resource import Column, Resource
from timonel.apiserver.answers import answer_content
from timonel.apiserver.options import call_of, read_kind, read_patch, registry_of
from timonel.apiserver.registry.calls import Call
from timonel.apiserver.registry.patching import (
    APPLY_PATCH,
    PatchRequest,
    check_type,
    decode_configuration,
    patch_change,
    report_duplicates,
)
from timonel.apiserver.registry.resource_registry import uid_mismatch
from timonel.apiserver.requests import RequestContext
from timonel.apiserver.responses import Reply
from timonel.apiserver.subresources import HANDLERS
from timonel.apiserver.tables import column_definitions, include_option, row, table

API_VERSION = "autoscaling/v1"
_DEFINITION = "io.k8s.api.autoscaling.v1.Scale"
_AS_ROW = Resource(
    ref=ResourceRef("autoscaling", "v1", "scales", "Scale"),
    definition=_DEFINITION,
    singular="scale",
    columns=(
        NAME,
        Column("Desired", cell_at("spec", "replicas", default=0), "integer", description="Replicas asked for."),
        Column("Available", cell_at("status", "replicas", default=0), "integer", description="Replicas there are."),
        AGE,
    ),
)
"""A Scale is never stored; this only says how it is printed."""


def scale_of(obj: Object) -> Object:
    """The Scale of a workload. `status.selector` is the text form that autoscalers list pods with."""
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    spec: Object = {}
    if replicas := get_path(obj, "spec", "replicas", default=0):
        spec["replicas"] = replicas
    status: Object = {"replicas": get_path(obj, "status", "replicas", default=0)}
    if selector := str(_selector_of(obj)):
        status["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": API_VERSION,
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": spec,
        "status": status,
    }


def _selector_of(obj: Object) -> Selector:
    """ReplicationControllers select by a plain map of labels."""
    selector = get_path(obj, "spec", "selector")
    return selector_from_map(selector) if obj["kind"] == "ReplicationController" else selector_from_object(selector)


async def serve_scale(context: RequestContext) -> web.StreamResponse:
    registry, route = registry_of(context), context.route
    if route.verb == "get":
        return answer_scale(context, registry.get(route.namespace, route.name).obj)
    change = await (_update if route.verb == "update" else _patch)(context)
    write = _Write(context, *change)
    written = await registry.update(
        route.namespace, route.name, write.transform, write.call, subresource="scale", tracked=False, patching=True
    )
    return answer_scale(context, orjson.loads(written.value))


_Change = Callable[[Object], Object]
"""From the Scale as it is, with its managedFields, to the Scale as it shall be, private to the callee."""


async def _update(context: RequestContext) -> tuple[Call, bool, _Change]:
    call = call_of(context, "UpdateOptions")
    wanted = await read_kind(context, call, _AS_ROW.ref, _DEFINITION)
    return call, False, lambda scale: copy_object(wanted)


async def _patch(context: RequestContext) -> tuple[Call, bool, _Change]:
    patch, call = await read_patch(context)
    if patch.kind == APPLY_PATCH:
        return call, True, await context.decode_body(lambda _: _apply_change(context, patch, call))
    change = await context.decode_body(lambda _: patch_change(patch, "Scale", API_VERSION, _DEFINITION, call.warnings))
    return call, False, change


def _apply_change(context: RequestContext, patch: PatchRequest, call: Call) -> _Change:
    config, duplicates = decode_configuration(patch)
    check_type(config, API_VERSION, "Scale")

    def change(scale: Object) -> Object:
        now = context.server.clock.now()
        applied = apply_configuration(
            scale, copy_object(config), _DEFINITION, patch.manager, patch.force, now, API_VERSION, "scale", ignored=()
        )
        report_duplicates(duplicates, patch, call.warnings)
        return applied

    return change


class _Write:
    """One write of a Scale, as a change of its workload."""

    def __init__(self, context: RequestContext, call: Call, applies: bool, change: _Change) -> None:
        self.call = call
        self._ref = context.resource.ref
        self._name = context.route.name
        self._key = context.resource.storage_key(context.route.namespace, context.route.name)
        self._applies = applies
        """Server-side apply, which says itself who owns what."""
        self._change = change

    def transform(self, live: Object) -> Object:
        scale = scale_of(live)
        managed = live["metadata"].get("managedFields")
        if shown := managed_of_scale(managed):
            scale["metadata"]["managedFields"] = shown
        wanted = self._change(scale)
        replicas = self._checked_replicas(live, wanted)
        changed = copy_object(live)
        before = get_path(live, "spec", "replicas", default=0)
        changed["spec"]["replicas"] = replicas
        if self._applies:
            owners = wanted["metadata"].get("managedFields")
        elif managed and replicas != before:
            owners = [_updater(self.call.field_manager)] if replicas else []
        else:
            return changed
        fields = managed_of_workload(managed, owners, self._ref.api_version)
        if fields:
            changed["metadata"]["managedFields"] = fields
        else:
            changed["metadata"].pop("managedFields", None)
        return changed

    def _checked_replicas(self, live: Object, scale: Object) -> int:
        """Raises Invalid for what a Scale cannot be, Conflict for one of another revision or object."""
        metadata = scale.get("metadata") or {}
        given = metadata.get("name")
        if not given:
            why = "was undeterminable: name must be provided"
            raise BadRequest(f"the name of the object ({self._name} based on URL) {why}")
        if given != self._name:
            raise BadRequest(f"the name of the object ({given}) does not match the name on the URL ({self._name})")
        uid, present = metadata.get("uid") or "", live["metadata"].get("uid") or ""
        if uid and uid != present:
            raise conflict(self._ref, self._name, uid_mismatch(self._key, uid, present))
        revision = metadata.get("resourceVersion") or ""
        if revision not in ("", "0", live["metadata"]["resourceVersion"]):
            raise conflict(self._ref, self._name)
        replicas: int = get_path(scale, "spec", "replicas", default=0) or 0
        if replicas < 0:
            why = "must be greater than or equal to 0"
            raise invalid(_AS_ROW.ref, self._name, [invalid_field(Path("spec") / "replicas", replicas, why)])
        return replicas


def _updater(manager: str) -> Object:
    return {
        "manager": manager, "operation": "Update", "apiVersion": API_VERSION, "fieldsType": "FieldsV1",
        "fieldsV1": REPLICAS, "subresource": "scale",
    }  # fmt: skip


def answer_scale(context: RequestContext, obj: Object) -> Reply:
    scale, answer = scale_of(obj), context.answer
    if answer.transform == "Table":
        include, now = include_option(context.route.text("includeObject")), context.server.clock.now()
        made = row(_AS_ROW, scale, scale, now, include=include, version=answer.version)
        metadata = {"resourceVersion": scale["metadata"].get("resourceVersion", "")}
        columns = column_definitions(_AS_ROW)
        scale = table([made], version=answer.version, columns=columns, list_metadata=metadata)
    return answer_content(context, scale)


HANDLERS["*", "*", "scale"] = serve_scale
