"""Values that may be missing, and maps that grow entry by entry.

Source: github.com/google/cel-spec/wiki/proposal-246
"""

from __future__ import annotations

from typing import Any

from timonel.api.cel.issues import EvaluationError
from timonel.api.cel.library.operators import render_key
from timonel.api.cel.overloads import Overload, declare
from timonel.api.cel.values import NOTHING, Duration, Optional


def _of_non_zero(value: Any) -> Optional:
    zero = value.nanos == 0 if isinstance(value, Duration) else not value
    return NOTHING if zero else Optional(value, True)


def _value(optional: Optional) -> Any:
    if not optional.present:
        raise EvaluationError("optional.none() dereference")
    return optional.value


def _unwrap(items: list[Any]) -> list[Any]:
    for item in items:
        if not isinstance(item, Optional):
            raise EvaluationError(f"value {item} is not optional")
    return [item.value for item in items if item.present]


def _first(items: list[Any]) -> Optional:
    return Optional(items[0], True) if items else NOTHING


def _last(items: list[Any]) -> Optional:
    return Optional(items[-1], True) if items else NOTHING


def _insert(entries: dict[Any, Any], key: Any, value: Any) -> dict[Any, Any]:
    if key in entries:
        raise EvaluationError(f"insert failed: key {render_key(key)} already exists")
    return {**entries, key: value}


def _insert_all(entries: dict[Any, Any], more: dict[Any, Any]) -> dict[Any, Any]:
    for key, value in more.items():
        entries = _insert(entries, key, value)
    return entries


OPTIONALS: tuple[Overload, ...] = (
    declare("optional_of", "optional.of", "(V) -> optional(V)", lambda value: Optional(value, True)),
    declare("optional_ofNonZeroValue", "optional.ofNonZeroValue", "(V) -> optional(V)", _of_non_zero),
    declare("optional_none", "optional.none", "() -> optional(V)", lambda: NOTHING),
    declare("optional_value", "value", "optional(V).() -> V", _value),
    declare("optional_hasValue", "hasValue", "optional(V).() -> bool", lambda optional: optional.present),
    declare("optional_or_optional", "or", "optional(V).(optional(V)) -> optional(V)"),
    declare("optional_orValue_value", "orValue", "optional(V).(V) -> V"),
    declare("list_last", "last", "list(V).() -> optional(V)", _last),
    declare("list_first", "first", "list(V).() -> optional(V)", _first),
    declare("optional_unwrap", "optional.unwrap", "(list(optional(V))) -> list(V)", _unwrap),
    declare("optional_unwrapOpt", "unwrapOpt", "list(optional(V)).() -> list(V)", _unwrap),
    declare(
        "cel_@mapInsert_map_key_value", "cel.@mapInsert", "(map(K, V), K, V) -> map(K, V)", _insert,
    ),
    declare("cel_@mapInsert_map_map", "cel.@mapInsert", "(map(K, V), map(K, V)) -> map(K, V)", _insert_all),
)  # fmt: skip
