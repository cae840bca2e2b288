"""When a Job counts as failed or succeeded before all its pods have ended, and when failed pods are replaced.

Source: kubernetes.io/docs/concepts/workloads/controllers/job "Pod failure policy" and "Success policy".
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from timonel.api.field_errors import (
    OMITTED,
    Path,
    duplicate,
    invalid,
    not_supported,
    quote,
    required,
    too_long,
    too_many,
)
from timonel.api.kinds.job.indexes import InvalidIndexes, count_indexes
from timonel.api.kinds.rules import Errors, check_not_negative, check_qualified_name
from timonel.api.objects import Object

MAX_RULES = 20
MAX_PATTERNS = 20
MAX_EXIT_CODES = 255
MAX_INDEXES_BYTES = 64 * 1024
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_OPERATORS = ("In", "NotIn")
_STATUSES = ("False", "True", "Unknown")
_REPLACEMENTS = ("Failed", "TerminatingOrFailed")


def default_failure_policy(policy: Object | None) -> None:
    for rule in (policy or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            if not pattern.get("status"):
                pattern["status"] = "True"


def check_failure_policy(errors: Errors, path: Path, spec: Object) -> None:
    rules = spec["podFailurePolicy"].get("rules") or []
    path = path / "rules"
    if len(rules) > MAX_RULES:
        errors.append(too_many(path, len(rules), MAX_RULES))
    pod_spec = (spec.get("template") or {}).get("spec") or {}
    names = {
        container.get("name")
        for kind in ("containers", "initContainers")
        for container in pod_spec.get(kind) or ()
    }  # fmt: skip
    for index, rule in enumerate(rules):
        here, action = path[index], rule.get("action") or ""
        if not action:
            errors.append(required(here / "action", _valid_values(_ACTIONS)))
        elif action == "FailIndex":
            if spec.get("backoffLimitPerIndex") is None:
                errors.append(invalid(here / "action", action, "requires the backoffLimitPerIndex to be set"))
        elif action not in _ACTIONS:
            errors.append(not_supported(here / "action", action, _ACTIONS))
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or []
        if codes is not None:
            _check_exit_codes(errors, here / "onExitCodes", codes, names)
        if conditions:
            _check_conditions(errors, here / "onPodConditions", conditions)
        if codes is not None and conditions:
            why = "specifying both OnExitCodes and OnPodConditions is not supported"
            errors.append(invalid(here, OMITTED, why))
        if codes is None and not conditions:
            why = "specifying one of OnExitCodes and OnPodConditions is required"
            errors.append(invalid(here, OMITTED, why))


def _check_exit_codes(errors: Errors, path: Path, codes: Object, containers: set[str | None]) -> None:
    operator, values, name = codes.get("operator") or "", codes.get("values") or [], codes.get("containerName")
    if not operator:
        errors.append(required(path / "operator", _valid_values(_OPERATORS)))
    elif operator not in _OPERATORS:
        errors.append(not_supported(path / "operator", operator, _OPERATORS))
    if name is not None and name not in containers:
        why = "must be one of the container or initContainer names in the pod template"
        errors.append(invalid(path / "containerName", name, why))
    here = path / "values"
    if not values:
        errors.append(invalid(here, codes.get("values"), "at least one value is required"))
    elif len(values) > MAX_EXIT_CODES:
        errors.append(too_many(here, len(values), MAX_EXIT_CODES))
    seen: set[int] = set()
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            errors.append(invalid(here[index], value, "must not be 0 for the In operator"))
        if value in seen:
            errors.append(duplicate(here[index], value))
        seen.add(value)
    if any(earlier > later for earlier, later in pairwise(values)):
        errors.append(invalid(here, values, "must be ordered"))


def _check_conditions(errors: Errors, path: Path, patterns: list[Object]) -> None:
    if len(patterns) > MAX_PATTERNS:
        errors.append(too_many(path, len(patterns), MAX_PATTERNS))
    for index, pattern in enumerate(patterns):
        here, status = path[index], pattern.get("status") or ""
        check_qualified_name(errors, here / "type", pattern.get("type") or "")
        if not status:
            errors.append(required(here / "status", _valid_values(_STATUSES)))
        elif status not in _STATUSES:
            errors.append(not_supported(here / "status", status, _STATUSES))


def check_success_policy(errors: Errors, path: Path, spec: Object) -> None:
    """For Indexed Jobs; one without completions has been found already."""
    rules = spec["successPolicy"].get("rules") or []
    path = path / "rules"
    if not rules:
        why = "at least one rules must be specified when the successPolicy is specified"
        errors.append(required(path, why))
    if len(rules) > MAX_RULES:
        errors.append(too_many(path, len(rules), MAX_RULES))
    for index, rule in enumerate(rules):
        _check_success_rule(errors, path[index], rule, spec.get("completions") or 0)


def _check_success_rule(errors: Errors, path: Path, rule: Object, completions: int) -> None:
    count, indexes = rule.get("succeededCount"), rule.get("succeededIndexes")
    if count is None and indexes is None:
        why = "at least one of succeededCount or succeededIndexes must be specified"
        errors.append(required(path, why))
    named = 0
    if indexes is not None:
        here = path / "succeededIndexes"
        if len(indexes.encode()) > MAX_INDEXES_BYTES:
            errors.append(too_long(here, MAX_INDEXES_BYTES))
        try:
            named = count_indexes(indexes, completions)
        except InvalidIndexes as exc:
            errors.append(invalid(here, indexes, f"error parsing succeededIndexes: {exc}"))
    if count is None:
        return
    here = path / "succeededCount"
    check_not_negative(errors, here, count)
    if count > completions:
        why = f"must be less than or equal to {completions} (the number of specified completions)"
        errors.append(invalid(here, count, why))
    if indexes is not None and count > named:
        why = f"must be less than or equal to {named} (the number of indexes in the specified succeededIndexes field)"
        errors.append(invalid(here, count, why))


def check_replacement_policy(errors: Errors, path: Path, spec: Object) -> None:
    """Whether a pod on its way out is replaced at once, or when it has ended."""
    policy = spec.get("podReplacementPolicy")
    if policy is None:
        return
    choices = ("Failed",) if spec.get("podFailurePolicy") is not None else _REPLACEMENTS
    if policy not in choices:
        errors.append(not_supported(path, policy, choices))


def _valid_values(values: Iterable[str]) -> str:
    return f"valid values: [{' '.join(quote(value) for value in values)}]"
