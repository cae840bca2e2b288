"""Conditions of a status in the shape that newer kinds share, meta/v1 Condition.

Source: kubernetes.io/docs/reference/kubernetes-api/common-definitions and the API conventions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from timonel.api.field_errors import Path, duplicate, invalid, not_supported, required, too_long
from timonel.api.kinds.rules import Errors, check_qualified_name, check_text
from timonel.api.names import validate_condition_reason

CONDITION_STATUSES = ("False", "True", "Unknown")
REASON_LIMIT, MESSAGE_LIMIT = 1024, 32 * 1024  # bytes


def check_conditions(errors: Errors, path: Path, conditions: Iterable[Mapping[str, Any]] | None) -> None:
    """meta/v1 Condition, each type once."""
    seen: set[str] = set()
    for index, condition in enumerate(conditions or ()):
        here, kind = path[index], condition.get("type") or ""
        if kind in seen:
            errors.append(duplicate(here / "type", kind))
        seen.add(kind)
        check_qualified_name(errors, here / "type", kind)
        if condition.get("status") not in CONDITION_STATUSES:
            errors.append(not_supported(here / "status", condition.get("status") or "", CONDITION_STATUSES))
        if (condition.get("observedGeneration") or 0) < 0:
            why = "must be greater than or equal to zero"
            errors.append(invalid(here / "observedGeneration", condition["observedGeneration"], why))
        if not condition.get("lastTransitionTime"):
            errors.append(required(here / "lastTransitionTime"))
        reason = condition.get("reason") or ""
        if not reason:
            errors.append(required(here / "reason"))
        else:
            check_text(errors, here / "reason", reason, validate_condition_reason)
            if len(reason.encode()) > REASON_LIMIT:
                errors.append(too_long(here / "reason", REASON_LIMIT))
        if len((condition.get("message") or "").encode()) > MESSAGE_LIMIT:
            errors.append(too_long(here / "message", MESSAGE_LIMIT))
