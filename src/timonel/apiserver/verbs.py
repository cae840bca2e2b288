"""The verbs of stored resources over HTTP: options in, bytes out. What they do is the registry's.

GET and LIST of JSON hand out stored bytes; only Tables, metadata, YAML and pretty printing decode.
"""

from __future__ import annotations

import orjson
from aiohttp import web

from timonel.api.errors import BadRequest, conflict
from timonel.api.objects import Object
from timonel.apiserver.answers import (
    answer_object,
    answer_written,
    pretty,
    reply,
    reply_maybe_compressed,
    transformed_list,
    wire_list,
)
from timonel.apiserver.negotiation import JSON
from timonel.apiserver.options import call_of, read_delete_options, read_object, read_patch, registry_of
from timonel.apiserver.registry.calls import Call
from timonel.apiserver.registry.deleting import delete_object as delete_one
from timonel.apiserver.registry.deleting import delete_objects
from timonel.apiserver.registry.listing import ListOptions, list_page, parse_revision, too_large
from timonel.apiserver.registry.patching import (
    APPLY_PATCH,
    apply_transform,
    patch_transform,
)
from timonel.apiserver.registry.resource_registry import ResourceRegistry, uid_mismatch
from timonel.apiserver.registry.selection import select
from timonel.apiserver.requests import Handler, RequestContext
from timonel.apiserver.responses import render, success_status
from timonel.apiserver.routing import Route
from timonel.apiserver.watch import serve_watch


async def get_object(context: RequestContext) -> web.StreamResponse:
    registry, route = registry_of(context), context.route
    if route.query and (revision := parse_revision(route.text("resourceVersion"))) > registry.cache.revision:
        raise too_large(revision, registry.cache.revision)
    cached = registry.get(route.namespace, route.name)
    return answer_object(context, registry, registry.wire(cached))


async def list_objects(context: RequestContext) -> web.StreamResponse:
    registry, route = registry_of(context), context.route
    if not route.query:
        selection, options = select(registry.resource, route.namespace, "", ""), ListOptions()
    else:
        selection = select(registry.resource, route.namespace, route.text("labelSelector"), route.text("fieldSelector"))
        options = _list_options(route)
    page = await list_page(registry, selection, options)
    answer = context.answer
    if answer.media_type == JSON and not answer.transform and not pretty(context):
        wire = registry.wire
        items = [cached.value for cached in page.items] if registry.conversion is None else map(wire, page.items)
        return await reply_maybe_compressed(context, wire_list(registry, page, items))
    content = transformed_list(context, registry, page)
    return await reply_maybe_compressed(context, render(content, answer.media_type, pretty=pretty(context)))


def _list_options(route: Route) -> ListOptions:
    """Raises BadRequest for numbers that are none."""
    limit = route.integer("limit") or 0
    if limit < 0:
        raise BadRequest("limit must be greater than or equal to 0")
    route.integer("timeoutSeconds")  # says nothing here, but has to be a number
    return ListOptions(
        limit,
        route.text("continue"),
        route.text("resourceVersion"),
        route.text("resourceVersionMatch"),
        "sendInitialEvents" in route.query,
    )


async def watch_objects(context: RequestContext) -> web.StreamResponse:
    return await serve_watch(context, registry_of(context))


async def create_object(context: RequestContext) -> web.StreamResponse:
    registry, route = registry_of(context), context.route
    call = call_of(context, "CreateOptions")
    obj = await read_object(context, registry, call)
    written = await registry.create(obj, route.namespace, call)
    return answer_written(context, registry, written)


async def update_object(context: RequestContext) -> web.StreamResponse:
    registry, route = registry_of(context), context.route
    call = call_of(context, "UpdateOptions")
    obj = await read_object(context, registry, call)
    metadata = obj["metadata"]
    if not metadata.get("name"):
        why = "was undeterminable: name must be provided"
        raise BadRequest(f"the name of the object ({route.name} based on URL) {why}")
    uid = metadata.get("uid")
    pristine = orjson.dumps(obj)
    unused = [obj]

    def taken() -> Object:
        """What was sent; who lost a race needs it anew."""
        fresh: Object = unused.pop() if unused else orjson.loads(pristine)
        return fresh

    def make() -> Object:
        """The object as new: a uid would mean another one, and its resourceVersion says nothing."""
        if uid:
            key = registry.resource.storage_key(route.namespace, route.name)
            raise conflict(registry.ref, route.name, uid_mismatch(key, uid, ""))
        new: Object = orjson.loads(pristine)
        new["metadata"].pop("resourceVersion", None)
        return new

    subresource = route.subresource
    creates = registry.resource.strategy.create_on_update and not subresource
    written = await registry.update(
        route.namespace,
        route.name,
        lambda live: taken(),
        call,
        subresource=subresource,
        new_if_missing=make if creates else None,
    )
    return answer_written(context, registry, written)


async def patch_object(context: RequestContext) -> web.StreamResponse:
    registry, route = registry_of(context), context.route
    patch, call = await read_patch(context)
    namespace, name = route.namespace, route.name
    if patch.kind == APPLY_PATCH:
        clock = context.server.clock
        apply = await context.decode_body(lambda _: apply_transform(registry, name, patch, clock.now, call.warnings))
        written = await registry.update(
            namespace,
            name,
            apply,
            call,
            subresource=route.subresource,
            new_if_missing=None if route.subresource else lambda: apply(None),
            tracked=False,
            patching=True,
        )
    else:
        transform = await context.decode_body(lambda _: patch_transform(registry, name, patch, call.warnings))
        written = await registry.update(namespace, name, transform, call, subresource=route.subresource, patching=True)
    return answer_written(context, registry, written)


async def delete_object(context: RequestContext) -> web.StreamResponse:
    registry, route = registry_of(context), context.route
    options = await read_delete_options(context)
    call = call_of(context, "DeleteOptions", options)
    _warn_of_delete(registry, options, call)
    written = await delete_one(registry, route.namespace, route.name, options, call)
    if written.deleted and not registry.returns_deleted:
        ref = registry.ref
        details: Object = {"name": route.name, "kind": ref.plural, "uid": written.obj["metadata"].get("uid", "")}
        if ref.group:
            details["group"] = ref.group
        body = render(success_status(details), context.answer.media_type, pretty=pretty(context))
        return reply(context, body)
    status = 202 if not written.deleted and options.get("orphanDependents") is False else 200
    return answer_object(context, registry, written.value, status=status)


async def delete_collection(context: RequestContext) -> web.StreamResponse:
    registry, route = registry_of(context), context.route
    options = await read_delete_options(context)
    call = call_of(context, "DeleteOptions", options)
    selection = select(registry.resource, route.namespace, route.text("labelSelector"), route.text("fieldSelector"))
    page = await list_page(registry, selection, _list_options(route))
    _warn_of_delete(registry, options, call)
    await delete_objects(registry, page.items, options, call)
    return reply(context, wire_list(registry, page, map(registry.wire, page.items)))


def _warn_of_delete(registry: ResourceRegistry, options: Object, call: Call) -> None:
    if options.get("propagationPolicy") is None and options.get("orphanDependents") is None:
        call.warnings.append(registry.resource.strategy.delete_warning)


VERBS: dict[str, Handler] = {
    "get": get_object,
    "list": list_objects,
    "watch": watch_objects,
    "create": create_object,
    "update": update_object,
    "patch": patch_object,
    "delete": delete_object,
    "deletecollection": delete_collection,
}
