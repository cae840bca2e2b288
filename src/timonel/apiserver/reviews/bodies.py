"""Reading a review from a request and answering it: what they all have in common."""

from __future__ import annotations

from aiohttp import web

from timonel.api.objects import Object
from timonel.apiserver.answers import answer_content
from timonel.apiserver.options import call_of
from timonel.apiserver.registry.bodies import decode_object
from timonel.apiserver.requests import RequestContext


async def read_review(
    context: RequestContext, *, definition: str = "", kind: str = "", api_version: str = ""
) -> Object:
    """The checked body, with metadata and spec present and without status. By default of the resource's own kind."""
    ref = context.resource.ref
    review = decode_object(
        await context.read_body(),
        context.body_type(),
        definition=definition or context.resource.definition,
        kind=kind or ref.kind,
        api_version=api_version or ref.api_version,
        validation=call_of(context, "CreateOptions").field_validation,
        warnings=context.warnings,
    )
    review.setdefault("spec", {})
    review.pop("status", None)
    return review


def answer_review(context: RequestContext, review: Object) -> web.StreamResponse:
    return answer_content(context, review, status=201)
