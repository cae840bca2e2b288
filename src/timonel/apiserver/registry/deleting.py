"""DELETE of one object or of many: reads, asks admission, and carries out what `deletion` decided."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

import orjson

from timonel.api.errors import NotFound, conflict, not_found
from timonel.api.objects import Object
from timonel.apiserver.admission.chain import AdmissionRequest
from timonel.apiserver.registry.calls import Call
from timonel.apiserver.registry.deletion import check_preconditions, plan_deletion
from timonel.apiserver.registry.resource_registry import ResourceRegistry
from timonel.apiserver.registry.written import Written
from timonel.storage.cached_object import CachedObject
from timonel.storage.codec import encode, splice
from timonel.storage.protocol import RevisionMismatch

log = logging.getLogger(__name__)

_RACE_TRIES = 100
_WORKERS = 16


async def delete_object(registry: ResourceRegistry, namespace: str, name: str, options: Object, call: Call) -> Written:
    """`options` is a checked DeleteOptions. `deleted` of the result says whether the object is gone."""
    key = registry.resource.storage_key(namespace, name)
    admitted: CachedObject | None = None
    for _ in range(_RACE_TRIES):
        live = registry.cache.get(key)
        if live is None:
            raise not_found(registry.ref, name)
        check_preconditions(live.obj, registry.ref, options)
        if admitted is None:
            await _admit(registry, live, call)
            admitted = live
        copy = orjson.loads(live.value)
        plan = plan_deletion(copy, registry.resource, options, registry.clock.now())
        try:
            return await _carry_out(registry, live, plan.marked, remove=plan.remove, dry_run=call.dry_run)
        except RevisionMismatch as exc:
            if exc.current is None:
                raise not_found(registry.ref, name) from exc
    raise conflict(registry.ref, name)


async def delete_objects(
    registry: ResourceRegistry, objects: Sequence[CachedObject], options: Object, call: Call
) -> None:
    """Deletes those of `objects` that are still there. The first error is raised.

    Deleting many at once lets their commits share transactions.
    """
    limit = asyncio.Semaphore(_WORKERS)

    async def one(cached: CachedObject) -> None:
        attributes = replace(call.attributes, name=cached.name, namespace=cached.namespace)
        async with limit:
            try:
                await delete_object(
                    registry, cached.namespace, cached.name, options, replace(call, attributes=attributes)
                )
            except NotFound:
                log.debug("found an object of a collection deleted already key=%s", cached.key)

    results = await asyncio.gather(*map(one, objects), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def _admit(registry: ResourceRegistry, live: CachedObject, call: Call) -> None:
    request = AdmissionRequest(
        call.attributes, registry.resource, "DELETE", None, live.obj, call.options, call.dry_run, call.warnings,
        audit=call.audit,
    )  # fmt: skip
    await registry.admission.admit(request)


async def _carry_out(
    registry: ResourceRegistry, live: CachedObject, marked: Object | None, *, remove: bool, dry_run: bool
) -> Written:
    last = marked if marked is not None else live.obj
    if remove:
        if dry_run:
            return Written(registry.as_served(splice(encode(last), live.revision)), deleted=True)
        if marked is not None and registry.resource.strategy.deletes_gracefully and not _is_marked(live.obj, marked):
            # First it is seen to go, then to be gone: whoever watches learns from the first that nothing is waited for.
            live = await registry.cache.update(live.key, encode(marked), live.revision)
            last = orjson.loads(live.value)
        return await registry.remove(live, last, pinned=False)
    if marked is None:
        return Written(registry.wire(live))
    if dry_run:
        return Written(registry.as_served(splice(encode(marked), live.revision)))
    cached = await registry.cache.update(live.key, encode(marked), live.revision, ttl_seconds=registry.ttl_seconds)
    return Written(registry.wire(cached))


def _is_marked(live: Object, marked: Object) -> bool:
    fields = ("deletionTimestamp", "deletionGracePeriodSeconds")
    return all(live["metadata"].get(field) == marked["metadata"].get(field) for field in fields)
