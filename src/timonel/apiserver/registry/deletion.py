"""What a delete does to an object: removes it, marks it, or nothing because it is on its way out. Pure.

Source: kubernetes.io/docs/concepts/architecture/garbage-collection, .../overview/working-with-objects/finalizers and
.../workloads/pods/pod-lifecycle#pod-termination.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from timonel.api.clock import format_time, parse_time
from timonel.api.errors import BadRequest, Conflict, FieldError, conflict, invalid
from timonel.api.field_errors import Path, not_supported
from timonel.api.field_errors import invalid as invalid_field
from timonel.api.objects import Object
from timonel.api.refs import ResourceRef
from timonel.api.resource import Resource
from timonel.apiserver.registry.metadata import FOREGROUND, ORPHAN

_POLICIES = ("Foreground", "Background", "Orphan")
_LONGEST_GRACE = (1 << 63) // 10**9
"""Seconds, 292 years: what 64 bits of nanoseconds hold, as upstream counts periods."""
_DELETE_OPTIONS = ResourceRef("meta.k8s.io", "v1", "deleteoptions", "DeleteOptions")


@dataclass(frozen=True, slots=True)
class DeletionPlan:
    """`marked` is the object to store instead; None with `remove` deletes it, without changes nothing."""

    remove: bool
    marked: Object | None = None


def plan_deletion(obj: Object, resource: Resource, options: Object, now: datetime) -> DeletionPlan:
    """`obj` must be a private copy: it becomes `marked`. `options` is a checked DeleteOptions."""
    metadata = obj["metadata"]
    if resource.ref.plural == "namespaces" and not resource.ref.group:
        return _plan_namespace(obj, options, now)
    requested = options.get("gracePeriodSeconds")
    if requested is not None:
        # A negative period is treated as the shortest one, here as in the kinds' strategies.
        requested = 1 if requested < 0 else min(requested, _LONGEST_GRACE)
    changed = False
    grace = 0
    if metadata.get("deletionTimestamp"):
        left = metadata.get("deletionGracePeriodSeconds") or 0
        if left:
            if requested is None or requested >= left:
                return DeletionPlan(remove=False)  # only a shorter period is news
            since = parse_time(metadata["deletionTimestamp"]) - timedelta(seconds=left)
            metadata["deletionTimestamp"] = format_time(since + timedelta(seconds=requested))
            metadata["deletionGracePeriodSeconds"] = grace = requested
            changed = True
    else:
        grace = min(resource.strategy.grace_period_seconds(obj, requested), _LONGEST_GRACE)
        if grace > 0:
            _mark(metadata, now, grace)
            changed = True
    finalizers = finalizers_for(metadata, options, orphans=resource.strategy.orphans_dependents)
    if finalizers != (metadata.get("finalizers") or []):
        _set_finalizers(metadata, finalizers)
        changed = True
    if not finalizers and grace == 0:
        if not resource.strategy.deletes_gracefully:
            return DeletionPlan(remove=True)
        # Gone at once, but marked in what the client gets, as if it had been granted a period of nothing.
        if not metadata.get("deletionTimestamp"):
            _mark(metadata, now, 0)
        return DeletionPlan(remove=True, marked=obj)
    if grace == 0 and not metadata.get("deletionTimestamp"):
        _mark(metadata, now, 0)
        changed = True
    return DeletionPlan(remove=False, marked=obj if changed else None)


def _plan_namespace(obj: Object, options: Object, now: datetime) -> DeletionPlan:
    """A Namespace is only marked; the namespace controller empties it, then finalizes it away."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp"):
        _mark(metadata, now, None)
        _set_finalizers(metadata, finalizers_for(metadata, options))
        obj.setdefault("status", {})["phase"] = "Terminating"
        return DeletionPlan(remove=not holds_on(obj), marked=obj)
    return DeletionPlan(remove=not holds_on(obj))


def holds_on(obj: Object) -> bool:
    """Whether finalizers keep the object: those of metadata, and a Namespace's own in its spec."""
    if obj["metadata"].get("finalizers"):
        return True
    return obj["kind"] == "Namespace" and bool((obj.get("spec") or {}).get("finalizers"))


def is_released(obj: Object) -> bool:
    """Whether this update was the last thing a deleted object waited for."""
    metadata = obj["metadata"]
    return bool(
        metadata.get("deletionTimestamp") and not metadata.get("deletionGracePeriodSeconds") and not holds_on(obj)
    )


def finalizers_for(metadata: Object, options: Object, *, orphans: bool = False) -> list[str]:
    """The finalizers after the propagation policy has added or removed the garbage collector's two.

    `orphans`: dependents of this kind are left alone when nobody says otherwise.
    """
    finalizers: list[str] = list(metadata.get("finalizers") or ())
    policy = options.get("propagationPolicy")
    orphan = options.get("orphanDependents")
    if policy is None and orphan is None:
        decided = ORPHAN in finalizers or FOREGROUND in finalizers
        return [*finalizers, ORPHAN] if orphans and not decided else finalizers
    wanted = ""
    if policy == "Orphan" or orphan:
        wanted = ORPHAN
    elif policy == "Foreground":
        wanted = FOREGROUND
    kept = [name for name in finalizers if name not in (ORPHAN, FOREGROUND)]
    if wanted:
        return finalizers if wanted in finalizers and len(kept) + 1 == len(finalizers) else [*kept, wanted]
    return kept


def check_options(options: Object) -> None:
    """Raises Invalid for options that contradict themselves, as upstream's DeleteOptions validation does."""
    found: list[FieldError] = []
    policy = options.get("propagationPolicy")
    if policy is not None and options.get("orphanDependents") is not None:
        found.append(
            invalid_field(
                Path("propagationPolicy"), policy, "orphanDependents and deletionPropagation cannot be both set"
            )
        )
    if policy is not None and policy not in _POLICIES:
        found.append(not_supported(Path("propagationPolicy"), policy, (*_POLICIES, "nil")))
    found += check_dry_run(options.get("dryRun") or [])
    grace = options.get("gracePeriodSeconds")
    if grace is not None and (isinstance(grace, bool) or not isinstance(grace, int)):
        raise BadRequest("gracePeriodSeconds must be an integer")
    if found:
        raise invalid(_DELETE_OPTIONS, "", found)


def check_dry_run(given: list[str]) -> list[FieldError]:
    """Findings about the dryRun option, which may be said more than once."""
    return [not_supported(Path("dryRun"), given, ("All",))] if set(given) - {"All"} else []


def check_preconditions(obj: Object, ref: ResourceRef, options: Object) -> None:
    """Raises Conflict when the object is not the one the client means to delete."""
    wanted = options.get("preconditions") or {}
    metadata = obj["metadata"]
    uid, revision = wanted.get("uid"), wanted.get("resourceVersion")
    if uid is not None and uid != metadata.get("uid"):
        raise _failed(
            obj,
            ref,
            f"the UID in the precondition ({uid}) does not match the UID in record ({metadata.get('uid', '')}). "
            "The object might have been deleted and then recreated",
        )
    if revision is not None and revision != metadata.get("resourceVersion"):
        raise _failed(
            obj,
            ref,
            f"the ResourceVersion in the precondition ({revision}) does not match the ResourceVersion in record "
            f"({metadata.get('resourceVersion', '')}). The object might have been modified",
        )


def _failed(obj: Object, ref: ResourceRef, why: str) -> Conflict:
    # Upstream names the kind here, not the resource.
    named = ResourceRef(ref.group, ref.version, ref.kind, ref.kind, ref.namespaced)
    return conflict(named, obj["metadata"]["name"], why)


def _mark(metadata: Object, now: datetime, grace: int | None) -> None:
    metadata["deletionTimestamp"] = format_time(now + timedelta(seconds=grace or 0))
    if grace is not None:
        metadata["deletionGracePeriodSeconds"] = grace
    if metadata.get("generation"):
        metadata["generation"] += 1


def _set_finalizers(metadata: Object, finalizers: list[str]) -> None:
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)
