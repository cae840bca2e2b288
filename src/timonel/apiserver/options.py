"""What a request says beside its object: options of writes, bodies, DeleteOptions in body or query."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from timonel.api.errors import FieldError, MethodNotAllowed, NotFound, invalid
from timonel.api.field_errors import Path, forbidden, required
from timonel.api.objects import Object
from timonel.api.refs import ResourceRef
from timonel.apiserver.authz.attributes import denied
from timonel.apiserver.registry.bodies import check_validation, decode_object, decode_options
from timonel.apiserver.registry.calls import Call
from timonel.apiserver.registry.deletion import check_dry_run, check_options
from timonel.apiserver.registry.metadata import find_manager_problems
from timonel.apiserver.registry.patching import APPLY_PATCH, PatchRequest, patch_type
from timonel.apiserver.registry.resource_registry import ResourceRegistry
from timonel.apiserver.requests import RequestContext

_DELETE_OPTIONS = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"


def registry_of(context: RequestContext) -> ResourceRegistry:
    return context.server.registry.of(context.resource.ref)


def call_of(context: RequestContext, options_kind: str, options: Object | None = None, *, patch: str = "") -> Call:
    """The options of a write; `patch` is the media type of a PATCH. Raises Invalid."""
    route = context.route
    dry_run = route.query.get("dryRun") or (options or {}).get("dryRun") or []
    manager = route.text("fieldManager")
    found: list[FieldError] = []
    if patch == APPLY_PATCH and not manager:
        found.append(required(Path("fieldManager"), "is required for apply patch"))
    elif patch and patch != APPLY_PATCH and "force" in route.query:
        found.append(forbidden(Path("force"), "may not be specified for non-apply patch"))
    found += find_manager_problems(manager, Path("fieldManager"))
    found += check_dry_run(dry_run)
    validation = route.text("fieldValidation")
    found += check_validation(validation)
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
        validation or "Warn",
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
    obj = await read_kind(context, call, registry.ref, registry.resource.definition)
    return obj if registry.conversion is None else registry.conversion.to_stored(obj)


async def read_kind(
    context: RequestContext, call: Call, ref: ResourceRef, definition: str, *, alike: Collection[str] = ()
) -> Object:
    """The object of the kind that `ref` names in the body, checked. Raises BadRequest, UnsupportedMediaType.

    `alike`: see `decode_object`.
    """
    return await context.decode_body(
        lambda body: decode_object(
            body,
            context.body_type(),
            definition=definition,
            kind=ref.kind,
            api_version=ref.api_version,
            validation=call.field_validation,
            warnings=call.warnings,
            alike=alike,
        )
    )


async def read_patch(context: RequestContext) -> tuple[PatchRequest, Call]:
    """The body of a PATCH, not yet looked into. Raises UnsupportedMediaType, Invalid."""
    kind = patch_type(context.request.headers.get("Content-Type", ""))
    call = call_of(context, "PatchOptions", patch=kind)
    route, body = context.route, await context.read_body()
    patch = PatchRequest(kind, body, call.field_manager, route.flag("force"), call.field_validation, route.subresource)
    return patch, call


async def read_delete_options(context: RequestContext) -> Object:
    """DeleteOptions of the body, or else of the query; both are legal, the body wins. Raises Invalid."""
    route = context.route
    options: Object = {}
    if context.request.can_read_body:
        options = await context.decode_body(
            lambda body: (
                decode_options(body, context.body_type(), kind="DeleteOptions", definition=_DELETE_OPTIONS)
                if body.strip()
                else {}
            )
        )
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


def not_allowed() -> MethodNotAllowed:
    return MethodNotAllowed("the server does not allow this method on the requested resource", details={})


def nothing_served() -> NotFound:
    """For paths under a group that is served; under any other, upstream answers with plain text."""
    return NotFound("the server could not find the requested resource", details={})
