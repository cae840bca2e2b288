"""Conditions of both kinds: each type once, and none without."""

from __future__ import annotations

from timonel.api.field_errors import Path, duplicate, required
from timonel.api.kinds.rules import Errors
from timonel.api.objects import Object, get_path


def check_conditions(errors: Errors, obj: Object) -> None:
    seen: set[str] = set()
    for index, condition in enumerate(get_path(obj, "status", "conditions", default=[])):
        path, kind = (Path("status") / "conditions")[index] / "type", condition.get("type") or ""
        if kind in seen:
            errors.append(duplicate(path, kind))
        seen.add(kind)
        if not kind:
            errors.append(required(path))
