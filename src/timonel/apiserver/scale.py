"""The scale subresource: autoscaling/v1 Scale as a view of spec.replicas. `kubectl scale` and autoscalers use it.

Source: kubernetes.io/docs/reference/kubernetes-api/common-definitions (Scale), autoscaling/v1.
"""

from __future__ import annotations

import orjson
from aiohttp import web

from timonel.api.decode import decode
from timonel.api.errors import BadRequest, UnsupportedMediaType, conflict, invalid
from timonel.api.field_errors import Path
from timonel.api.field_errors import invalid as invalid_field
from timonel.api.kinds.columns import AGE, NAME, cell_at
from timonel.api.labels import Selector, selector_from_map, selector_from_object
from timonel.api.objects import Object, copy_object, get_path
from timonel.api.patch.json_patch import apply_json_patch
from timonel.api.patch.merge import apply_merge_patch
from timonel.api.refs import ResourceRef
from timonel.api.resource import Column, Resource
from timonel.apiserver.answers import answer_content
from timonel.apiserver.options import call_of, registry_of
from timonel.apiserver.registry.bodies import check_kind, decode_object, find_type_problem
from timonel.apiserver.registry.patching import APPLY_PATCH, JSON_PATCH, PATCH_TYPES, patch_type
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
    kind = "" if route.verb == "update" else patch_type(context.request.headers.get("Content-Type", ""))
    call = call_of(context, "PatchOptions" if kind else "UpdateOptions", patch=kind)
    body = await context.read_body()
    if route.verb == "update":
        wanted = decode_object(
            body,
            context.body_type(),
            definition=_DEFINITION,
            kind="Scale",
            api_version=API_VERSION,
            validation=call.field_validation,
            warnings=call.warnings,
        )
        given = wanted["metadata"].get("name")
        if given and given != route.name:
            raise BadRequest(f"the name of the object ({given}) does not match the name on the URL ({route.name})")

        def change(live: Object) -> Object:
            return with_replicas(context, live, wanted)

    else:
        if kind == APPLY_PATCH:
            accepted = ", ".join(each for each in PATCH_TYPES if each != APPLY_PATCH)
            raise UnsupportedMediaType(
                f"server-side apply is not built for the scale subresource - accepted media types include: {accepted}"
            )
        patch = decode(body, kind).obj

        def change(live: Object) -> Object:
            scale = copy_object(scale_of(live))
            patched = apply_json_patch(scale, patch) if kind == JSON_PATCH else apply_merge_patch(scale, patch)
            if not isinstance(patched, dict):
                raise BadRequest("the patch leaves no object behind")
            if why := find_type_problem(patched):
                raise BadRequest(why)
            check_kind(patched, kind="Scale", api_version=API_VERSION)
            return with_replicas(context, live, patched)

    written = await registry.update(route.namespace, route.name, change, call, subresource="scale", patching=True)
    return answer_scale(context, orjson.loads(written.value))


def answer_scale(context: RequestContext, obj: Object) -> Reply:
    scale, answer = scale_of(obj), context.answer
    if answer.transform == "Table":
        include, now = include_option(context.route.text("includeObject")), context.server.clock.now()
        made = row(_AS_ROW, scale, scale, now, include=include, version=answer.version)
        metadata = {"resourceVersion": scale["metadata"].get("resourceVersion", "")}
        columns = column_definitions(_AS_ROW)
        scale = table([made], version=answer.version, columns=columns, list_metadata=metadata)
    return answer_content(context, scale)


def with_replicas(context: RequestContext, live: Object, scale: Object) -> Object:
    """The workload with the Scale's replicas. Raises Invalid, and Conflict for a Scale of another revision."""
    ref = context.resource.ref
    replicas = get_path(scale, "spec", "replicas", default=0)
    name = live["metadata"]["name"]
    if isinstance(replicas, bool) or not isinstance(replicas, int) or replicas < 0:
        why = "must be greater than or equal to 0"
        raise invalid(ref, name, [invalid_field(Path("spec") / "replicas", replicas, why)])
    revision = get_path(scale, "metadata", "resourceVersion", default="")
    uid = get_path(scale, "metadata", "uid", default="")
    if revision and revision != live["metadata"]["resourceVersion"]:
        raise conflict(ref, name)
    if uid and uid != live["metadata"].get("uid"):
        raise conflict(ref, name, f"Precondition failed: UID in precondition: {uid}, UID in object meta: "
                       f"{live['metadata'].get('uid', '')}")  # fmt: skip
    changed = copy_object(live)
    changed["spec"]["replicas"] = replicas
    return changed


HANDLERS["*", "*", "scale"] = serve_scale
