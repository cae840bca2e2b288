"""The verbs of stored resources over HTTP: options in, bytes out. What they do is the registry's.

GET and LIST of JSON hand out stored bytes; only Tables, metadata, YAML and pretty printing decode.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import orjson
from aiohttp import web

from timonel.api.errors import BadRequest, FieldError, MethodNotAllowed, invalid
from timonel.api.field_errors import Path, not_supported, too_long
from timonel.api.field_errors import invalid as invalid_field
from timonel.api.objects import Object
from timonel.api.refs import ResourceRef
from timonel.apiserver.authz.attributes import denied
from timonel.apiserver.negotiation import JSON, is_pretty
from timonel.apiserver.registry.bodies import decode_object, decode_options, parse_validation
from timonel.apiserver.registry.calls import Call
from timonel.apiserver.registry.deleting import delete_object as delete_one
from timonel.apiserver.registry.deleting import delete_objects
from timonel.apiserver.registry.deletion import check_options
from timonel.apiserver.registry.listing import ListOptions, Page, list_page
from timonel.apiserver.registry.patching import (
    APPLY_PATCH,
    PatchRequest,
    apply_transform,
    check_patch_options,
    parse_apply,
    patch_transform,
    patch_type,
)
from timonel.apiserver.registry.resource_registry import ResourceRegistry
from timonel.apiserver.registry.selection import select
from timonel.apiserver.registry.written import Written
from timonel.apiserver.requests import Handler, RequestContext
from timonel.apiserver.responses import Reply, compress, render, success_status, warning_headers
from timonel.apiserver.tables import column_definitions, include_option, partial_metadata, row, table
from timonel.apiserver.watch import serve_watch

_MAX_MANAGER_BYTES = 128
_DELETE_OPTIONS = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
_LIST_HEAD = b'{"kind":"%b","apiVersion":"%b","metadata":%b,"items":['


async def get_object(context: RequestContext) -> web.StreamResponse:
    registry = registry_of(context)
    cached = registry.get(context.route.namespace, context.route.name)
    return answer_object(context, registry, registry.wire(cached))


async def list_objects(context: RequestContext) -> web.StreamResponse:
    registry, route = registry_of(context), context.route
    if not route.query:
        selection, options = select(registry.resource, route.namespace, "", ""), ListOptions()
    else:
        selection = select(registry.resource, route.namespace, route.text("labelSelector"), route.text("fieldSelector"))
        limit = route.integer("limit") or 0
        if limit < 0:
            raise BadRequest("limit must be greater than or equal to 0")
        options = ListOptions(
            limit, route.text("continue"), route.text("resourceVersion"), route.text("resourceVersionMatch")
        )
    page = await list_page(registry, selection, options)
    answer = context.answer
    if answer.media_type == JSON and not answer.transform and not pretty(context):
        wire = registry.wire
        items = [cached.value for cached in page.items] if registry.conversion is None else map(wire, page.items)
        ref = registry.ref
        head = _LIST_HEAD % (f"{ref.kind}List".encode(), ref.api_version.encode(), orjson.dumps(_list_metadata(page)))
        return await reply_maybe_compressed(context, b"".join((head, b",".join(items), b"]}\n")))
    content = _transformed_list(context, registry, page)
    return await reply_maybe_compressed(context, render(content, answer.media_type, pretty=pretty(context)))


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
        raise BadRequest("name must be provided")
    pristine = orjson.dumps(obj)
    subresource = route.subresource
    creates = registry.resource.strategy.create_on_update and not subresource
    written = await registry.update(
        route.namespace,
        route.name,
        lambda live: orjson.loads(pristine),
        call,
        subresource=subresource,
        new_if_missing=(lambda: orjson.loads(pristine)) if creates else None,
    )
    return answer_written(context, registry, written)


async def patch_object(context: RequestContext) -> web.StreamResponse:
    registry, route = registry_of(context), context.route
    call = call_of(context, "PatchOptions")
    kind = patch_type(context.request.headers.get("Content-Type", ""))
    given_manager = route.text("fieldManager")
    patch = PatchRequest(
        kind,
        await context.read_body(),
        call.field_manager,
        given_manager,
        route.flag("force") if "force" in route.query else None,
        call.field_validation,
        route.subresource,
    )
    check_patch_options(patch)
    namespace, name = route.namespace, route.name
    if kind == APPLY_PATCH:
        config = parse_apply(registry, name, namespace, patch)
        apply = apply_transform(registry, config, patch, context.server.clock.now)
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
        transform = patch_transform(registry, name, patch, call.warnings)
        written = await registry.update(namespace, name, transform, call, subresource=route.subresource, patching=True)
    return answer_written(context, registry, written)


async def delete_object(context: RequestContext) -> web.StreamResponse:
    registry, route = registry_of(context), context.route
    options = await read_delete_options(context)
    call = call_of(context, "DeleteOptions", options)
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
    page = await list_page(registry, selection, ListOptions(route.integer("limit") or 0, route.text("continue")))
    deleted = await delete_objects(registry, page.items, options, call)
    ref = registry.ref
    head = _LIST_HEAD % (f"{ref.kind}List".encode(), ref.api_version.encode(), orjson.dumps(_list_metadata(page)))
    body = b"".join((head, b",".join(deleted), b"]}\n"))
    return reply(context, body)


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


# What handlers of subresources use too


def registry_of(context: RequestContext) -> ResourceRegistry:
    return context.server.registry.of(context.resource.ref)


def call_of(context: RequestContext, options_kind: str, options: Object | None = None) -> Call:
    """The options of a write. Raises Invalid."""
    route = context.route
    dry_run = route.query.get("dryRun") or (options or {}).get("dryRun") or []
    manager = route.text("fieldManager")
    found: list[FieldError] = []
    if dry_run and dry_run != ["All"]:
        found.append(not_supported(Path("dryRun"), dry_run, ("All",)))
    if len(manager.encode()) > _MAX_MANAGER_BYTES:
        found.append(too_long(Path("fieldManager"), _MAX_MANAGER_BYTES))
    if not manager.isprintable():
        found.append(invalid_field(Path("fieldManager"), manager, "should only contain printable characters"))
    if found:
        raise invalid(ResourceRef("meta.k8s.io", "", options_kind.lower(), options_kind), "", found)
    given: Object = dict(options or {})
    given.update({"kind": options_kind, "apiVersion": "meta.k8s.io/v1"})
    if dry_run:
        given["dryRun"] = dry_run
    if manager:
        given["fieldManager"] = manager
    return Call(
        context.attributes,
        bool(dry_run),
        manager or context.field_manager,
        parse_validation(route.text("fieldValidation")),
        given,
        context.warnings,
        context.audit,
        lambda: _check_may_create(context),
    )


async def _check_may_create(context: RequestContext) -> None:
    """Who may update or patch may not therefore create. Raises Forbidden."""
    creating = replace(context.attributes, verb="create")
    decision = await context.server.authorizer.authorize(creating)
    if not decision.allowed:
        raise denied(creating, decision.reason)


async def read_object(context: RequestContext, registry: ResourceRegistry, call: Call) -> Object:
    """The object in the body, checked, in the stored shape."""
    ref = registry.ref
    obj = decode_object(
        await context.read_body(),
        context.body_type(),
        definition=registry.resource.definition,
        kind=ref.kind,
        api_version=ref.api_version,
        validation=call.field_validation,
        warnings=call.warnings,
    )
    return obj if registry.conversion is None else registry.conversion.to_stored(obj)


async def read_delete_options(context: RequestContext) -> Object:
    """DeleteOptions of the body, or else of the query; both are legal, the body wins. Raises Invalid."""
    route = context.route
    options: Object = {}
    if context.request.can_read_body:
        body = await context.read_body()
        if body.strip():
            options = decode_options(body, context.body_type(), kind="DeleteOptions", definition=_DELETE_OPTIONS)
    if not options and route.query:
        grace = route.integer("gracePeriodSeconds")
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if policy := route.text("propagationPolicy"):
            options["propagationPolicy"] = policy
        if "orphanDependents" in route.query:
            options["orphanDependents"] = route.flag("orphanDependents")
    if route.query.get("dryRun") and not options.get("dryRun"):
        options["dryRun"] = route.query["dryRun"]
    check_options(options)
    return options


def pretty(context: RequestContext) -> bool:
    return is_pretty(context.route.query.get("pretty"), context.request.headers.get("User-Agent", ""))


def answer_written(context: RequestContext, registry: ResourceRegistry, written: Written) -> Reply:
    return answer_object(context, registry, written.value, status=201 if written.created else 200)


def answer_object(context: RequestContext, registry: ResourceRegistry, wire: bytes, *, status: int = 200) -> Reply:
    """One object as the client wants it; `wire` are its JSON bytes in the served shape."""
    answer = context.answer
    if answer.media_type == JSON and not answer.transform and not pretty(context):
        return reply(context, wire, status=status)
    obj: Object = orjson.loads(wire)
    content = obj
    if answer.transform == "Table":
        include = include_option(context.route.text("includeObject"))
        stored = obj if registry.conversion is None else registry.conversion.to_stored(obj)
        now = context.server.clock.now()
        made = row(registry.resource, stored, obj, now, include=include, version=answer.version)
        metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        content = table(
            [made], version=answer.version, columns=column_definitions(registry.resource), list_metadata=metadata
        )
    elif answer.transform:
        content = partial_metadata(obj, answer.version)
    return reply(context, render(content, answer.media_type, pretty=pretty(context)), status=status)


def answer_content(context: RequestContext, content: Object, *, status: int = 200) -> Reply:
    """An object that is not stored: a review, a Scale."""
    return reply(context, render(content, context.answer.media_type, pretty=pretty(context)), status=status)


def reply(context: RequestContext, body: bytes, *, status: int = 200) -> Reply:
    extra = warning_headers(context.warnings) if context.warnings else ()
    return Reply(body, status=status, content_type=context.answer.media_type, audit_id=context.audit_id, extra=extra)


async def reply_maybe_compressed(context: RequestContext, body: bytes) -> Reply:
    """Large answers are compressed for clients that take gzip, off the event loop."""
    if len(body) < context.server.config.gzip_min_bytes or "gzip" not in context.request.headers.get(
        "Accept-Encoding", ""
    ):
        return reply(context, body)
    packed = await asyncio.get_running_loop().run_in_executor(None, compress, body)
    extra = [*warning_headers(context.warnings), ("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
    return Reply(packed, content_type=context.answer.media_type, audit_id=context.audit_id, extra=extra)


def _list_metadata(page: Page) -> Object:
    metadata: Object = {"resourceVersion": str(page.revision)}
    if page.continue_:
        metadata["continue"] = page.continue_
        if page.remaining is not None:
            metadata["remainingItemCount"] = page.remaining
    return metadata


def _transformed_list(context: RequestContext, registry: ResourceRegistry, page: Page) -> Object:
    answer, metadata = context.answer, _list_metadata(page)
    if answer.transform == "Table":
        include = include_option(context.route.text("includeObject"))
        now = context.server.clock.now()
        rows = [
            row(
                registry.resource, cached.obj, registry.served(cached.obj), now, include=include, version=answer.version
            )
            for cached in page.items
        ]
        columns = column_definitions(registry.resource)
        return table(rows, version=answer.version, columns=columns, list_metadata=metadata)
    items: Sequence[Object] = [registry.served(cached.obj) for cached in page.items]
    if answer.transform:
        return {
            "kind": "PartialObjectMetadataList",
            "apiVersion": f"meta.k8s.io/{answer.version}",
            "metadata": metadata,
            "items": [partial_metadata(item, answer.version) for item in items],
        }
    ref = registry.ref
    return {"kind": f"{ref.kind}List", "apiVersion": ref.api_version, "metadata": metadata, "items": list(items)}


def not_allowed() -> MethodNotAllowed:
    return MethodNotAllowed("the server does not allow this method on the requested resource")
