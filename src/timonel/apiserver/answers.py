"""Objects and lists as the client wants them: stored bytes as they are, or as Table, metadata, YAML, indented.

What is JSON and whole is never decoded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import orjson

from timonel.api.objects import Object
from timonel.apiserver.negotiation import JSON, check_list_form, is_pretty
from timonel.apiserver.registry.listing import Page
from timonel.apiserver.registry.resource_registry import ResourceRegistry
from timonel.apiserver.registry.written import Written
from timonel.apiserver.requests import RequestContext
from timonel.apiserver.responses import Reply, compress, render, warning_headers
from timonel.apiserver.tables import column_definitions, include_option, partial_metadata, row, table

_LIST_HEAD = b'{"kind":"%b","apiVersion":"%b","metadata":%b,"items":['


def pretty(context: RequestContext) -> bool:
    if context.answer.pretty:
        return True
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
        check_list_form(answer, _internal_type(registry), is_list=False)
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


def list_metadata(page: Page) -> Object:
    metadata: Object = {"resourceVersion": str(page.revision)}
    if page.continue_:
        metadata["continue"] = page.continue_
        if page.remaining is not None:
            metadata["remainingItemCount"] = page.remaining
    return metadata


def transformed_list(context: RequestContext, registry: ResourceRegistry, page: Page) -> Object:
    answer, metadata = context.answer, list_metadata(page)
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
        check_list_form(answer, _internal_type(registry), is_list=True)
        return {
            "kind": "PartialObjectMetadataList",
            "apiVersion": f"meta.k8s.io/{answer.version}",
            "metadata": metadata,
            "items": [partial_metadata(item, answer.version) for item in items],
        }
    ref = registry.ref
    return {"kind": f"{ref.kind}List", "apiVersion": ref.api_version, "metadata": metadata, "items": list(items)}


def wire_list(registry: ResourceRegistry, page: Page, items: Iterable[bytes]) -> bytes:
    """A list of wire bytes, joined."""
    ref = registry.ref
    head = _LIST_HEAD % (f"{ref.kind}List".encode(), ref.api_version.encode(), orjson.dumps(list_metadata(page)))
    return b"".join((head, b",".join(items), b"]}\n"))


def _internal_type(registry: ResourceRegistry) -> str:
    """What upstream calls the type in messages: "*core.Pod"."""
    ref = registry.ref
    return f"*{ref.group.partition('.')[0] or 'core'}.{ref.kind}"
