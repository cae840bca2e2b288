"""The write path of one resource: default → managed fields → admission → prepare → validate → commit.

Objects go in as private dicts and come out as `CachedObject`s, whose bytes are what was stored. A write that lost a
race is made again on the newer state, unless the client said which state it means. Source: API conventions
"Concurrency Control and Consistency".
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import orjson

from timonel.api.clock import Clock
from timonel.api.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    FieldError,
    already_exists,
    conflict,
    invalid,
    not_found,
)
from timonel.api.field_errors import Path, quote
from timonel.api.field_errors import invalid as invalid_field
from timonel.api.managed_fields import changes_nothing, update_managed
from timonel.api.managed_fields.views import Views
from timonel.api.nodes import empty_of
from timonel.api.objects import Object
from timonel.api.resource import Occasion, Resource, Strategy
from timonel.api.schema import schemas
from timonel.apiserver.admission.chain import Admission, AdmissionRequest
from timonel.apiserver.registry.calls import Call
from timonel.apiserver.registry.conversion import Conversion
from timonel.apiserver.registry.deletion import is_released
from timonel.apiserver.registry.metadata import (
    dedupe_owners,
    fill_created,
    fill_updated,
    find_deletion_problems,
    generate_name,
    match_namespace,
    metadata_of,
    restore_for_status,
    validate_metadata,
    validate_metadata_update,
)
from timonel.apiserver.registry.sharing import NOT_IN_SPEC, changes_spec, keeps_spec, unshare
from timonel.apiserver.registry.written import Allocation, Reservation, Transform, Written
from timonel.storage.cached_object import CachedObject
from timonel.storage.codec import encode, splice
from timonel.storage.protocol import Change, KeyExists, RevisionMismatch

if TYPE_CHECKING:
    from timonel.storage.cache import WatchCache

log = logging.getLogger(__name__)

_GENERATE_TRIES = 8
_RACE_TRIES = 100

_OWN_RULES = ("binding", "finalize")
"""Subresources whose handler alone knows what may change: a Pod's spec is immutable but to its binding."""


_MAX_OBJECT_BYTES = 1536 * 1024
"""Encoded; what etcd takes in one request."""


class ResourceRegistry:
    def __init__(
        self,
        *,
        resource: Resource,
        stored: Resource | None = None,
        cache: WatchCache,
        clock: Clock,
        admission: Admission,
        ttl_seconds: int = 0,
        conversion: Conversion | None = None,
        views: Views | None = None,
        returns_deleted: bool = False,
    ) -> None:
        self.resource = resource
        self.ref = resource.ref
        self.stored = stored or resource
        """The row of the shape that is stored, where `conversion` makes it another."""
        self.cache = cache
        self.conversion = conversion
        self.views = views or {}
        """The other shapes that it is served in."""
        self._strategy = resource.strategy
        kind = type(resource.strategy)
        self._shares_parts = conversion is None and (
            kind.shares_parts or (kind.prepare_update is Strategy.prepare_update and kind.stamp is Strategy.stamp)
        )
        self.clock = clock
        self.admission = admission
        self.ttl_seconds = ttl_seconds
        self.allocation: Allocation | None = None
        """Set once there is a registry of everything that it looks at."""
        self.returns_deleted = returns_deleted
        """A delete answers with the object, not with a Status."""

    # Reading

    def find(self, namespace: str, name: str) -> CachedObject | None:
        return self.cache.get(self.resource.storage_key(namespace, name))

    def get(self, namespace: str, name: str) -> CachedObject:
        cached = self.cache.get(self.resource.storage_key(namespace, name))
        if cached is None:
            raise not_found(self.ref, name)
        return cached

    def wire(self, cached: CachedObject) -> bytes:
        """The bytes this resource is served as."""
        return cached.value if self.conversion is None else self.conversion.serve(cached)

    def served(self, obj: Object) -> Object:
        return obj if self.conversion is None else self.conversion.to_served(obj)

    # Create

    async def create(self, obj: Object, namespace: str, call: Call, *, name: str = "", tracked: bool = True) -> Written:
        """`obj` is checked against the schema and private. Raises AlreadyExists, Invalid, Forbidden, …"""
        metadata = metadata_of(obj)
        if self.ref.namespaced:
            match_namespace(metadata, namespace)
        else:
            metadata.pop("namespace", None)
        revision = metadata.pop("resourceVersion", None)
        if name and metadata.setdefault("name", name) != name:
            raise BadRequest(f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})")
        now = self.clock.now()
        dedupe_owners(metadata, call.warnings)
        fill_created(metadata, now, tracks_generation=self._strategy.tracks_generation)
        if self.resource.has_status and not self._strategy.status_on_create:
            obj.pop("status", None)
        self._strategy.default(obj)
        if tracked:
            self._track(None, obj, call, now)
        request = AdmissionRequest(
            call.attributes, self.resource, "CREATE", obj, None, call.options, call.dry_run, call.warnings,
            audit=call.audit,
        )  # fmt: skip
        await self.admission.mutate(request)
        prefix = metadata.get("generateName") or ""
        generated = bool(prefix) and not metadata.get("name")
        if generated:
            metadata["name"] = generate_name(prefix)
        reservation = self.allocation.reserve(obj, None) if self.allocation else None
        try:
            self._strategy.prepare_create(obj)
            if self.resource.has_status and not self._strategy.status_on_create and "status" not in obj:
                obj["status"] = _empty_status(self.stored.definition)
            self._strategy.stamp(obj, None, _occasion(call, now))
            found = validate_metadata(metadata, self.ref, self._strategy.validate_name)
            found += self._strategy.validate_create(obj)
            if found:
                raise invalid(self.stored.ref, metadata.get("name") or "", found)
            call.warnings += self._strategy.warnings(obj, None)
            await self.admission.validate(request)
            if revision not in (None, "", "0"):
                raise ApiError("resourceVersion should not be set on objects to be created", code=500, reason="")
            for tries in range(_GENERATE_TRIES):
                try:
                    written = await self._store_new(obj, reservation, dry_run=call.dry_run)
                    break
                except AlreadyExists:
                    if not generated or tries == _GENERATE_TRIES - 1:
                        raise
                    metadata["name"] = generate_name(prefix)
        finally:
            if reservation:
                reservation.end()
        return written

    async def _store_new(self, obj: Object, reservation: Reservation | None, *, dry_run: bool) -> Written:
        metadata = obj["metadata"]
        key = self.resource.storage_key(metadata.get("namespace") or "", metadata["name"])
        existing = self.cache.get(key)
        if existing is not None:
            going = existing.obj["metadata"].get("deletionTimestamp") is not None
            raise already_exists(self.ref, metadata["name"], going=going)
        if dry_run:
            return Written(self.as_served(encode(obj)), created=True)

        def write(along: Sequence[Change] = ()) -> Awaitable[CachedObject]:
            return self.cache.create(key, _checked(encode(obj)), ttl_seconds=self.ttl_seconds, along=along, obj=obj)

        try:
            cached = await (reservation.commit(write) if reservation else write())
        except KeyExists as exc:
            raise already_exists(self.ref, metadata["name"]) from exc
        return Written(self.wire(cached), created=True)

    # Update

    async def update(
        self,
        namespace: str,
        name: str,
        transform: Transform,
        call: Call,
        *,
        subresource: str = "",
        new_if_missing: Callable[[], Object] | None = None,
        tracked: bool = True,
        patching: bool = False,
    ) -> Written:
        """Replaces the object by what `transform` makes of it, or creates it of `new_if_missing` when there is none.

        `tracked` False: the transform has done managed fields itself, as server-side apply does. `patching`: the
        resourceVersion in the transform's result is the live object's own, so that a lost race is no conflict.
        """
        key = self.resource.storage_key(namespace, name)
        warned = len(call.warnings)
        for _ in range(_RACE_TRIES):
            live = self.cache.get(key)
            if live is None:
                if new_if_missing is None:
                    raise not_found(self.ref, name)
                if call.may_create is not None:
                    await call.may_create()
                try:
                    return await self.create(new_if_missing(), namespace, call, name=name, tracked=tracked)
                except AlreadyExists:
                    if self.cache.get(key) is None:
                        raise
                    continue
            try:
                return await self._update_live(live, transform, call, subresource, tracked=tracked, patching=patching)
            except RevisionMismatch:
                log.debug("lost a race for an object key=%s revision=%d", key, live.revision)
                del call.warnings[warned:]  # the next try warns of the same again
        raise conflict(self.ref, name)

    async def _update_live(
        self,
        live: CachedObject,
        transform: Transform,
        call: Call,
        subresource: str,
        *,
        tracked: bool,
        patching: bool,
    ) -> Written:
        """One try. Raises RevisionMismatch when another write came first and the client did not pin a revision."""
        old = live.obj
        new = transform(old)
        metadata = metadata_of(new)
        if self.ref.namespaced:
            match_namespace(metadata, live.namespace)
        else:
            metadata.pop("namespace", None)
        if not metadata.get("name"):
            raise BadRequest(
                f"the name of the object ({live.name} based on URL) was undeterminable: name must be provided"
            )
        if metadata["name"] != live.name:
            raise BadRequest(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({live.name})"
            )
        self._check_uid(live, metadata, patching=patching)
        pinned = self._check_revision(live, metadata) and not patching
        now = self.clock.now()
        dedupe_owners(metadata, call.warnings, patching=patching)
        if subresource == "status":
            status = new.get("status")
            new = {"kind": old["kind"], "apiVersion": old["apiVersion"], "metadata": metadata,
                   **{part: value for part, value in old.items() if part not in NOT_IN_SPEC}}  # fmt: skip
            if status is not None:
                new["status"] = status
            self._strategy.default_status(new)
            restore_for_status(metadata, old["metadata"], self._strategy.status_carries)
        elif subresource != "binding":  # which sets no field that anything depends on, and shares what it leaves alone
            shares = not subresource and self._shares_parts and self.allocation is None
            if not (shares and keeps_spec(new, old, has_status=self.resource.has_status)):
                unshare(new, old)
                self._strategy.default(new)
            if self.resource.has_status and not subresource:
                new.pop("status", None)
                if "status" in old:
                    new["status"] = old["status"]
        if tracked:
            self._track(old, new, call, now, subresource)
        request = AdmissionRequest(
            call.attributes, self.resource, "UPDATE", new, old, call.options, call.dry_run, call.warnings,
            subresource, call.audit,
        )  # fmt: skip
        await self.admission.mutate(request)
        metadata = new["metadata"]
        deleting = find_deletion_problems(metadata, old["metadata"])
        fill_updated(metadata, old["metadata"])
        reservation = self.allocation.reserve(new, old) if self.allocation and not subresource else None
        try:
            found = deleting + self._prepare_and_validate(new, old, _occasion(call, now, subresource))
            if found:
                raise invalid(self.stored.ref, live.name, found)
            if subresource in ("", "scale"):
                call.warnings += self._strategy.warnings(new, old)
            elif subresource == "status":
                call.warnings += self._strategy.status_warnings(new, old)
            await self.admission.validate(request)
            written = await self._store_changed(live, new, call, reservation, pinned=pinned)
        finally:
            if reservation:
                reservation.end()
        return written

    def _prepare_and_validate(self, new: Object, old: Object, occasion: Occasion) -> list[FieldError]:
        strategy, metadata, before = self._strategy, new["metadata"], old["metadata"]
        subresource = occasion.subresource
        through = self.resource.subresource(subresource) if subresource else None
        if through is not None and through.strategy is not None:
            strategy = through.strategy
        if subresource == "status":
            strategy.prepare_status_update(new, old)
            strategy.stamp(new, old, occasion)
            found = strategy.validate_status_update(new, old)
        elif subresource in _OWN_RULES:
            found = []
        else:
            strategy.prepare_update(new, old)
            strategy.stamp(new, old, occasion)
            spec_changes = changes_spec(new, old)
            # What was valid and did not change stays valid, even if the rules have become stricter since; a pod's
            # validation is a third of what labelling it costs. Some rules are about annotations.
            found = []
            if subresource or spec_changes or metadata.get("annotations") != before.get("annotations"):
                found = strategy.validate_update(new, old)
            if (
                strategy.tracks_generation
                and strategy.generation_rises
                and (
                    spec_changes
                    or any(metadata.get(field) != before.get(field) for field in strategy.generation_follows)
                )
            ):
                metadata["generation"] = (before.get("generation") or 0) + 1
        return validate_metadata_update(metadata, before, self.ref) + found

    async def _store_changed(
        self, live: CachedObject, new: Object, call: Call, reservation: Reservation | None, *, pinned: bool
    ) -> Written:
        metadata = new["metadata"]
        metadata["resourceVersion"] = str(live.revision)
        if is_released(new):
            if call.dry_run:
                return Written(self.as_served(splice(encode(new), live.revision)), deleted=True)
            return await self.remove(live, new, pinned=pinned)
        if changes_nothing(new, live.obj):
            return Written(self.wire(live))  # nothing changes: no write, no event, the same resourceVersion
        if call.dry_run:
            return Written(self.as_served(splice(encode(new), live.revision)))

        def write(along: Sequence[Change] = ()) -> Awaitable[CachedObject]:
            return self.cache.update(
                live.key, _checked(encode(new)), live.revision, ttl_seconds=self.ttl_seconds, along=along, obj=new
            )

        try:
            cached = await (reservation.commit(write) if reservation else write())
        except RevisionMismatch as exc:
            if exc.current is None:
                raise not_found(self.ref, live.name) from exc
            if pinned:
                raise conflict(self.ref, live.name) from exc
            raise
        return Written(self.wire(cached))

    def _track(self, old: Object | None, new: Object, call: Call, now: datetime, subresource: str = "") -> None:
        """Fields are tracked in the shape that the client wrote."""
        row, served = self.resource, new
        if self.conversion is not None:
            old = None if old is None else self.conversion.to_served(old)
            served = self.conversion.to_served(new)
            served["metadata"] = dict(served["metadata"])
        update_managed(
            old, served, row.definition, call.field_manager, now, row.ref.api_version, subresource=subresource,
            views=self.views, repeats=self._strategy.repeats,
        )  # fmt: skip
        if served is not new:
            new["metadata"].pop("managedFields", None)
            if "managedFields" in served["metadata"]:
                new["metadata"]["managedFields"] = served["metadata"]["managedFields"]

    def _check_revision(self, live: CachedObject, metadata: Object) -> bool:
        """Whether the client pinned the state it means. Raises Conflict if that is not the present one."""
        given = metadata.get("resourceVersion") or ""
        if not given or given == "0":
            if not self._strategy.allow_unconditional_update:
                path = Path("metadata") / "resourceVersion"
                # Upstream names the resource here, not its kind.
                ref = replace(self.ref, kind=self.ref.plural)
                raise invalid(ref, live.name, [invalid_field(path, 0, "must be specified for an update")])
            return False
        if not (given.isascii() and given.isdigit()):
            raise BadRequest(f"strconv.ParseUint: parsing {quote(given)}: invalid syntax")
        if given != str(live.revision):
            raise conflict(self.ref, live.name)
        return True

    def _check_uid(self, live: CachedObject, metadata: Object, *, patching: bool) -> None:
        uid = metadata.get("uid") or ""
        present = live.obj["metadata"].get("uid") or ""
        if not uid or uid == present:
            return
        if patching:
            # Whoever patches an object has read none that the uid could be a precondition of.
            found = invalid_field(Path("metadata") / "uid", uid, "field is immutable")
            raise invalid(self.ref, live.name, [found, found])
        raise conflict(self.ref, live.name, uid_mismatch(live.key, uid, present))

    # Delete: what is kept and what goes is decided in `deleting`

    async def remove(self, live: CachedObject, last: Object, *, pinned: bool) -> Written:
        async def write(along: Sequence[Change] = ()) -> int:
            return await self.cache.delete(live.key, live.revision, along=along)

        try:
            revision = await (self.allocation.release(live.obj).commit(write) if self.allocation else write())
        except RevisionMismatch as exc:
            if pinned and exc.current is not None:
                raise conflict(self.ref, live.name) from exc
            raise
        return Written(self.as_served(splice(encode(last), revision)), deleted=True)

    # Answers

    def as_served(self, wire: bytes) -> bytes:
        return wire if self.conversion is None else orjson.dumps(self.conversion.to_served(orjson.loads(wire)))


def _occasion(call: Call, now: datetime, subresource: str = "") -> Occasion:
    user = call.user
    return Occasion(now, subresource, user.name, user.uid, user.groups, user.extra)


def _empty_status(definition: str) -> Object:
    """What readers see before anybody wrote a status: {}, and in it the fields that are always shown."""
    status = schemas().struct(definition).node("status")
    found: Object = {} if status is None else empty_of(status)
    return found


def uid_mismatch(key: str, wanted: str, present: str) -> str:
    """Upstream's storage speaking; `key` is where the object lies."""
    return (
        f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
        f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {present}"
    )


def _checked(value: bytes) -> bytes:
    """Raises ApiError, in etcd's words, for an object larger than it takes: the limit is the same on every store."""
    if len(value) > _MAX_OBJECT_BYTES:
        raise ApiError("etcdserver: request is too large", code=500)
    return value
