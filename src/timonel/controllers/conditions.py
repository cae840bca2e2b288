"""Lists of status conditions, changed as upstream's helpers change them. Pure: lists in, lists out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from timonel.api.clock import format_time
from timonel.api.errors import ApiError
from timonel.api.objects import Object, find_by


def condition(
    type: str, status: str, reason: str, message: str, now: datetime, *, with_update_time: bool = False
) -> Object:
    made: Object = {"type": type, "status": status}
    if with_update_time:
        made["lastUpdateTime"] = format_time(now)
    return made | {"lastTransitionTime": format_time(now), "reason": reason, "message": message}


def set_condition(conditions: Sequence[Object], new: Object) -> list[Object]:
    """Adds or replaces by type; one with the same status and reason stays as it is.

    The time of transition moves only when the status does.
    """
    old = find_by(conditions, "type", new["type"])
    if old is not None and old.get("status") == new["status"]:
        if old.get("reason") == new["reason"]:
            return list(conditions)
        new = new | {"lastTransitionTime": old.get("lastTransitionTime")}
    return [*remove_condition(conditions, new["type"]), new]


def remove_condition(conditions: Sequence[Object], type: str) -> list[Object]:
    return [item for item in conditions if item.get("type") != type]


def has_cause(error: ApiError, reason: str) -> bool:
    """Whether a refusal names this cause, such as "NamespaceTerminating"."""
    return find_by(error.details.get("causes"), "reason", reason) is not None
