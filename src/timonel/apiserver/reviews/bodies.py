"""Reading a review from a request and answering it: what they all have in common."""

from __future__ import annotations

from aiohttp import web

from timonel.api.managed_fields import update_managed
from timonel.api.objects import Object
from timonel.api.refs import ResourceRef
from timonel.apiserver.answers import answer_content
from timonel.apiserver.options import call_of, read_kind
from timonel.apiserver.requests import RequestContext


async def read_review(
    context: RequestContext, *, ref: ResourceRef | None = None, definition: str = "", **defaults: object
) -> Object:
    """The checked body, with metadata and spec present and without status. By default of the resource's own kind.

    `defaults` are fields of its spec that have a value when nobody gave one.
    """
    ref, definition = ref or context.resource.ref, definition or context.resource.definition
    call = call_of(context, "CreateOptions")
    review = await read_kind(context, call, ref, definition)
    spec = review.setdefault("spec", {})
    for field, value in defaults.items():
        if spec.get(field) is None:
            spec[field] = value
    review.pop("status", None)
    # Not stored, yet tracked as all that is created.
    update_managed(
        None,
        review,
        definition,
        call.field_manager,
        context.server.clock.now(),
        ref.api_version,
        subresource=context.route.subresource,
    )
    return review


def answer_review(context: RequestContext, review: Object) -> web.StreamResponse:
    return answer_content(context, review, status=201)
