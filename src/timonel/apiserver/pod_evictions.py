"""POST pods/NAME/eviction: a delete that a PodDisruptionBudget may put off.

What to do is decided by pure functions of the pod and its budgets; `evict_pod` carries it out. A budget is told of an
eviction before the pod goes, so that two evictions at once cannot both use the last disruption that it allows.
Source: kubernetes.io/docs/concepts/scheduling-eviction/api-eviction and .../tasks/run-application/configure-pdb
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from aiohttp import web

from timonel.api.clock import format_time
from timonel.api.errors import ApiError, BadRequest, Conflict, TooManyRequests, conflict, forbidden, invalid, not_found
from timonel.api.field_errors import Path
from timonel.api.field_errors import invalid as invalid_field
from timonel.api.labels import InvalidSelector, selector_from_object
from timonel.api.objects import Object, copy_object, find_by, get_path, labels_of
from timonel.api.refs import POD_DISRUPTION_BUDGETS, PODS, ResourceRef
from timonel.apiserver.answers import answer_content
from timonel.apiserver.options import call_of, read_kind
from timonel.apiserver.pod_actions import admit_body
from timonel.apiserver.registry.calls import Call, own_call
from timonel.apiserver.registry.deleting import delete_object
from timonel.apiserver.registry.deletion import check_options
from timonel.apiserver.registry.resource_registry import ResourceRegistry
from timonel.apiserver.requests import RequestContext
from timonel.apiserver.responses import success_status
from timonel.apiserver.subresources import HANDLERS

MAX_DISRUPTED_PODS = 2000
"""Evictions that the disruption controller has not confirmed, for one budget."""
RETRY_SECONDS = 10
_EVICTIONS = ResourceRef("policy", "v1", "evictions", "Eviction")
_BUDGET = replace(POD_DISRUPTION_BUDGETS, plural="poddisruptionbudget")
_POD = ResourceRef("", "v1", "Pod", "Pod")
"""As upstream names both in errors of evictions."""
_TRIES = 20
_VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."
_TOO_MANY = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
_UNREADABLE = "ignoreStoreReadErrorWithClusterBreakingPotential"


class Guard(Enum):
    """What stands between an eviction and the pod."""

    NONE = "none"
    UNCHANGED = "unchanged"
    """The pod may go if it is still as it was seen: not healthy."""
    BUDGET = "budget"
    """The budget must allow one more disruption."""


@dataclass(frozen=True, slots=True)
class EvictionPlan:
    guard: Guard
    budget: Object | None = None


def plan_eviction(pod: Object, budgets: Sequence[Object]) -> EvictionPlan:
    """`budgets` are those of the pod's namespace. Raises ApiError when several guard the pod."""
    phase = get_path(pod, "status", "phase")
    if phase in ("Succeeded", "Failed") or pod["metadata"].get("deletionTimestamp"):
        return EvictionPlan(Guard.NONE)
    if phase == "Pending":
        return EvictionPlan(Guard.UNCHANGED)
    guarding = [budget for budget in budgets if _guards(budget, pod)]
    if not guarding:
        return EvictionPlan(Guard.NONE)
    if len(guarding) > 1:
        raise ApiError(_TOO_MANY, code=500, reason="")
    budget = guarding[0]
    if not _is_ready(pod):
        status = budget.get("status") or {}
        desired = status.get("desiredHealthy") or 0
        enough = 0 < desired <= (status.get("currentHealthy") or 0)
        if enough or get_path(budget, "spec", "unhealthyPodEvictionPolicy") == "AlwaysAllow":
            return EvictionPlan(Guard.UNCHANGED, budget)
    return EvictionPlan(Guard.BUDGET, budget)


def disrupted(budget: Object, pod_name: str, now: str) -> Object:
    """The budget after one more disruption; `now` as objects write it. Raises TooManyRequests or Forbidden."""
    metadata, status = budget["metadata"], budget.get("status") or {}
    name, allowed = metadata["name"], status.get("disruptionsAllowed") or 0
    if (status.get("observedGeneration") or 0) < (metadata.get("generation") or 0):
        raise _not_processed(name)
    if allowed < 0:
        raise forbidden(_BUDGET, name, "pdb disruptions allowed is negative")
    if len(status.get("disruptedPods") or ()) > MAX_DISRUPTED_PODS:
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise forbidden(_BUDGET, name, why)
    if not allowed:
        raise _too_many_requests(_why_not(name, status), 0)
    changed = copy_object(budget)
    status = changed["status"]
    status["disruptionsAllowed"] = allowed - 1
    status["disruptedPods"] = {**(status.get("disruptedPods") or {}), pod_name: now}
    if allowed == 1:
        _allow_no_more(status, now)
    return changed


def _guards(budget: Object, pod: Object) -> bool:
    try:
        return selector_from_object(get_path(budget, "spec", "selector")).matches(labels_of(pod))
    except InvalidSelector:
        return False  # written by an older server; it guards nothing


def _is_ready(pod: Object) -> bool:
    condition = find_by(get_path(pod, "status", "conditions"), "type", "Ready")
    return condition is not None and condition.get("status") == "True"


def _why_not(name: str, status: Object) -> str:
    condition = find_by(status.get("conditions"), "type", "DisruptionAllowed") or {}
    reason, message = condition.get("reason") or "", condition.get("message") or ""
    says_no = condition.get("status") == "False" and bool(message)
    healthy, desired = status.get("currentHealthy") or 0, status.get("desiredHealthy") or 0
    not_now = f"The disruption budget {name} does not allow evicting pods currently"
    if says_no and reason == "SyncFailed":
        return f"{not_now} because it failed sync: {message}"
    if healthy <= desired:
        return f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
    return f"{not_now} ({reason}): {message}" if says_no else not_now


def _allow_no_more(status: Object, now: str) -> None:
    condition = {"type": "DisruptionAllowed", "status": "False", "observedGeneration": status["observedGeneration"],
                 "lastTransitionTime": now, "reason": "InsufficientPods", "message": ""}  # fmt: skip
    conditions = status.get("conditions") or []
    present = find_by(conditions, "type", "DisruptionAllowed")
    if present is None:
        status["conditions"] = [*conditions, condition]
        return
    if present.get("status") == "False":
        condition["lastTransitionTime"] = present.get("lastTransitionTime") or now
    present.update(condition)


def _too_many_requests(why: str, retry_seconds: int) -> TooManyRequests:
    details: Object = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    if retry_seconds:
        details["retryAfterSeconds"] = retry_seconds
    return TooManyRequests(_VIOLATES, details=details)


def _not_processed(name: str) -> TooManyRequests:
    return _too_many_requests(f"The disruption budget {name} is still being processed by the server.", RETRY_SECONDS)


async def evict_pod(context: RequestContext) -> web.StreamResponse:
    call = call_of(context, "CreateOptions")
    # policy/v1beta1 is what kubectl sends before 1.22.
    eviction = await read_kind(context, call, _EVICTIONS, "io.k8s.api.policy.v1.Eviction", alike=("policy/v1beta1",))
    options = _options_of(eviction, context.name)
    call.dry_run = call.dry_run or bool(options.get("dryRun"))
    await admit_body(context, call, eviction)
    registry = context.server.registry.of(PODS)
    await _Eviction(context, registry, call, options).run()
    status = success_status({})
    del status["details"]
    return answer_content(context, status | {"code": 201}, status=201)


def _options_of(eviction: Object, pod_name: str) -> Object:
    if eviction["metadata"].get("name") != pod_name:
        raise BadRequest("name in URL does not match name in Eviction object")
    options = dict(eviction.get("deleteOptions") or {})
    if options.get(_UNREADABLE):
        why = "can not be set for pod eviction, try after removing the option"
        raise invalid(_EVICTIONS, pod_name, [invalid_field(Path("deleteOptions") / _UNREADABLE, True, why)])
    check_options(options)
    return options


@dataclass(frozen=True, slots=True)
class _Eviction:
    """One eviction being carried out. `options`: checked DeleteOptions."""

    context: RequestContext
    registry: ResourceRegistry
    call: Call
    options: Object

    async def run(self) -> None:
        namespace, name = self.context.namespace, self.context.name
        pinned = bool(get_path(self.options, "preconditions", "resourceVersion"))
        for tries_left in reversed(range(_TRIES)):
            cached = self.registry.find(namespace, name)
            if cached is None:
                raise not_found(PODS, name)
            budgets = self.context.server.registry.reader(POD_DISRUPTION_BUDGETS).list(namespace)
            plan = plan_eviction(cached.obj, budgets)
            if plan.guard is Guard.BUDGET and plan.budget is not None:
                await self._use_budget(plan.budget["metadata"]["name"])
            seen = str(cached.revision) if plan.guard is Guard.UNCHANGED and not pinned else ""
            try:
                await self._delete(seen)
                return
            except Conflict:
                if not seen or not tries_left:
                    raise
                if plan.budget is not None:
                    raise _not_processed(plan.budget["metadata"]["name"]) from None
                # A pod that had not started was written meanwhile: look at it anew.

    async def _use_budget(self, budget_name: str) -> None:
        namespace, name = self.context.namespace, self.context.name
        registry = self.context.server.registry.of(POD_DISRUPTION_BUDGETS)
        now = format_time(self.context.server.clock.now())
        if self.call.dry_run:
            disrupted(registry.get(namespace, budget_name).obj, name, now)
            return
        await registry.update(
            namespace,
            budget_name,
            lambda live: disrupted(live, name, now),
            own_call(registry.resource, "update", namespace, budget_name, subresource="status"),
            subresource="status",
            patching=True,
        )

    async def _delete(self, seen: str) -> None:
        """`seen`: the resourceVersion that the pod must still have; "" is any."""
        namespace, name = self.context.namespace, self.context.name
        options = dict(self.options)
        if seen:
            options["preconditions"] = {**(options.get("preconditions") or {}), "resourceVersion": seen}
        if not self.call.dry_run:
            written = await self.registry.update(
                namespace,
                name,
                lambda live: self._marked(live, options.get("preconditions") or {}),
                own_call(self.registry.resource, "update", namespace, name, subresource="status"),
                subresource="status",
                tracked=False,
                patching=True,
            )
            if get_path(options, "preconditions", "resourceVersion"):
                revision = written.obj["metadata"]["resourceVersion"]
                options["preconditions"] = {**options["preconditions"], "resourceVersion": revision}
        await delete_object(self.registry, namespace, name, options, self.call)

    def _marked(self, pod: Object, preconditions: Object) -> Object:
        """The pod with the condition that says why it goes. Raises Conflict when it is not the one that is meant."""
        metadata = pod["metadata"]
        for part, called, since in (
            ("uid", "UID", "deleted and then recreated"),
            ("resourceVersion", "ResourceVersion", "modified"),
        ):
            wanted, found = preconditions.get(part), metadata.get(part)
            if wanted and wanted != found:
                why = f"the {called} in the precondition ({wanted}) does not match the {called} in record ({found})."
                raise conflict(_POD, metadata["name"], f"{why} The object might have been {since}")
        marked = copy_object(pod)
        now = format_time(self.context.server.clock.now())
        conditions = marked.setdefault("status", {}).setdefault("conditions", [])
        condition = {"type": "DisruptionTarget", "status": "True", "lastProbeTime": None, "lastTransitionTime": now,
                     "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}  # fmt: skip
        present = find_by(conditions, "type", "DisruptionTarget")
        if present is None:
            conditions.append(condition)
        else:
            if present.get("status") == "True":
                condition["lastTransitionTime"] = present.get("lastTransitionTime") or now
            present.update(condition)
        return marked


HANDLERS["", "pods", "eviction"] = evict_pod
