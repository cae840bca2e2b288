"""Reading a review from a request and answering it: what they all have in common."""

from __future__ import annotations

from aiohttp import web

from timonel.api.managed_fields import update_managed
from timonel.api.objects import Object
from timonel.apiserver.answers import answer_content
from timonel.apiserver.options import call_of
from timonel.apiserver.registry.bodies import decode_object
from timonel.apiserver.requests import RequestContext


async def read_review(
    context: RequestContext, *, definition: str = "", kind: str = "", api_version: str = "", **defaults: object
) -> Object:
    """The checked body, with metadata and spec present and without status. By default of the resource's own kind.

    `defaults` are fields of its spec that have a value when nobody gave one.
    """
    ref = context.resource.ref
    call = call_of(context, "CreateOptions")
    review = decode_object(
        await context.read_body(),
        context.body_type(),
        definition=definition or context.resource.definition,
        kind=kind or ref.kind,
        api_version=api_version or ref.api_version,
        validation=call.field_validation,
        warnings=context.warnings,
    )
    spec = review.setdefault("spec", {})
    for field, value in defaults.items():
        if spec.get(field) is None:
            spec[field] = value
    review.pop("status", None)
    # Not stored, yet tracked as all that is created.
    update_managed(
        None,
        review,
        definition or context.resource.definition,
        call.field_manager,
        context.server.clock.now(),
        api_version or ref.api_version,
        subresource=context.route.subresource,
    )
    return review


def answer_review(context: RequestContext, review: Object) -> web.StreamResponse:
    return answer_content(context, review, status=201)
