"""Arithmetic, comparison, membership, size, indexing. What decides which operand is evaluated is the planner's.

Numbers have 64 bits: what does not fit is an error. Division truncates towards zero.
Source: github.com/google/cel-spec/blob/master/doc/langdef.md#list-of-standard-definitions
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from timonel.api.cel.issues import EvaluationError
from timonel.api.cel.overloads import Overload, declare
from timonel.api.cel.values import (
    INT_MAX,
    INT_MIN,
    NOTHING,
    UINT_MAX,
    Duration,
    KeyedList,
    Optional,
    Timestamp,
    UInt,
    contains,
    duration,
    equal,
    timestamp,
    type_of,
)

Run = Callable[..., Any]


def _ints(compute: Run) -> Run:
    def run(left: int, right: int) -> int:
        result: int = compute(left, right)
        if not INT_MIN <= result <= INT_MAX:
            raise EvaluationError("integer overflow")
        return result

    return run


def _uints(compute: Run) -> Run:
    def run(left: int, right: int) -> UInt:
        result = compute(int(left), int(right))
        if not 0 <= result <= UINT_MAX:
            raise EvaluationError("unsigned integer overflow")
        return UInt(result)

    return run


def _divide(left: int, right: int) -> int:
    if right == 0:
        raise EvaluationError("division by zero")
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _modulo(left: int, right: int) -> int:
    if right == 0:
        raise EvaluationError("modulus by zero")
    rest = abs(left) % abs(right)
    return -rest if left < 0 else rest


def _divide_doubles(left: float, right: float) -> float:
    if right == 0.0:
        return (
            math.nan if left == 0.0 or math.isnan(left) else math.copysign(math.inf, left) * math.copysign(1.0, right)
        )
    return float(left) / float(right)


def _multiply_doubles(left: float, right: float) -> float:
    return float(left) * float(right)


def _negate(value: int) -> int:
    if value == INT_MIN:
        raise EvaluationError("integer overflow")
    return -value


def index_list(items: Any, index: Any) -> Any:
    if type(index) is float and index.is_integer():
        index = int(index)
    if not isinstance(index, int) or isinstance(index, bool):
        raise EvaluationError(f"unsupported index type '{type_of(index)}' in list")
    if not 0 <= index < len(items):
        raise EvaluationError(f"index out of bounds: {index}")
    return items[index]


def index_map(items: Any, key: Any) -> Any:
    try:
        return items[key]
    except KeyError:
        raise EvaluationError(f"no such key: {render_key(key)}") from None
    except TypeError:
        raise EvaluationError("unsupported key type") from None


def render_key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def index_any(container: Any, key: Any) -> Any:
    """Of a container whose type only its value tells."""
    if isinstance(container, list):
        return index_list(container, key)
    if isinstance(container, dict):
        return index_map(container, key)
    if isinstance(container, Optional):
        return find_any(container.value, key) if container.present else NOTHING
    raise EvaluationError("no such overload")


def find_any(container: Any, key: Any) -> Optional:
    if isinstance(container, list):
        return find_in_list(container, key)
    if isinstance(container, dict):
        return find_in_map(container, key)
    if isinstance(container, Optional):
        return find_any(container.value, key) if container.present else NOTHING
    raise EvaluationError("no such overload")


def in_map(key: Any, items: Any) -> bool:
    try:
        return key in items
    except TypeError:
        return False


def find_in_list(items: Any, index: Any) -> Optional:
    inside = isinstance(index, int) and not isinstance(index, bool) and 0 <= index < len(items)
    return Optional(items[index], True) if inside else NOTHING


def find_in_map(items: Any, key: Any) -> Optional:
    return Optional(items[key], True) if in_map(key, items) else NOTHING


def _through(find: Run) -> Run:
    """The same of an optional container."""

    def run(container: Optional, key: Any) -> Optional:
        found: Optional = find(container.value, key) if container.present else NOTHING
        return found

    return run


def _ordering() -> tuple[Overload, ...]:
    named = (
        ("less", "_<_", operator.lt),
        ("less_equals", "_<=_", operator.le),
        ("greater", "_>_", operator.gt),
        ("greater_equals", "_>=_", operator.ge),
    )
    numbers = (("int64", "int"), ("uint64", "uint"), ("double", "double"))
    alike = (*numbers, *((kind, kind) for kind in ("bool", "string", "bytes", "timestamp", "duration")))
    found = []
    for word, function, compare in named:
        found += [declare(f"{word}_{id}", function, f"({name}, {name}) -> bool", compare) for id, name in alike]
        found += [
            declare(f"{word}_{id}_{other}", function, f"({name}, {other_name}) -> bool", compare)
            for id, name in numbers
            for other, other_name in numbers
            if id != other
        ]
    return tuple(found)


def _add_times(left: Any, right: Any) -> Timestamp:
    zone = left if isinstance(left, Timestamp) else right
    return timestamp(left.nanos + right.nanos, zone.offset)


def _join(left: list[Any], right: list[Any]) -> list[Any]:
    return left.joined(right) if isinstance(left, KeyedList) else [*left, *right]


def _add_durations(left: Duration, right: Duration) -> Duration:
    return duration(left.nanos + right.nanos)


def _subtract_durations(left: Any, right: Any) -> Duration:
    return duration(left.nanos - right.nanos)


OPERATORS: tuple[Overload, ...] = (
    declare("conditional", "_?_:_", "(bool, A, A) -> A"),
    declare("logical_and", "_&&_", "(bool, bool) -> bool"),
    declare("logical_or", "_||_", "(bool, bool) -> bool"),
    declare("logical_not", "!_", "(bool) -> bool", operator.not_),
    declare("not_strictly_false", "@not_strictly_false", "(bool) -> bool"),
    declare("equals", "_==_", "(A, A) -> bool", equal),
    declare("not_equals", "_!=_", "(A, A) -> bool", lambda left, right: not equal(left, right)),
    declare("add_bytes", "_+_", "(bytes, bytes) -> bytes", operator.add),
    declare("add_double", "_+_", "(double, double) -> double", operator.add),
    declare("add_duration_duration", "_+_", "(duration, duration) -> duration", _add_durations),
    declare("add_duration_timestamp", "_+_", "(duration, timestamp) -> timestamp", _add_times),
    declare("add_timestamp_duration", "_+_", "(timestamp, duration) -> timestamp", _add_times),
    declare("add_int64", "_+_", "(int, int) -> int", _ints(operator.add)),
    declare("add_list", "_+_", "(list(A), list(A)) -> list(A)", _join),
    declare("add_string", "_+_", "(string, string) -> string", operator.add),
    declare("add_uint64", "_+_", "(uint, uint) -> uint", _uints(operator.add)),
    declare("divide_double", "_/_", "(double, double) -> double", _divide_doubles),
    declare("divide_int64", "_/_", "(int, int) -> int", _ints(_divide)),
    declare("divide_uint64", "_/_", "(uint, uint) -> uint", _uints(_divide)),
    declare("modulo_int64", "_%_", "(int, int) -> int", _modulo),
    declare("modulo_uint64", "_%_", "(uint, uint) -> uint", _uints(_modulo)),
    declare("multiply_double", "_*_", "(double, double) -> double", _multiply_doubles),
    declare("multiply_int64", "_*_", "(int, int) -> int", _ints(operator.mul)),
    declare("multiply_uint64", "_*_", "(uint, uint) -> uint", _uints(operator.mul)),
    declare("negate_double", "-_", "(double) -> double", operator.neg),
    declare("negate_int64", "-_", "(int) -> int", _negate),
    declare("subtract_double", "_-_", "(double, double) -> double", operator.sub),
    declare("subtract_duration_duration", "_-_", "(duration, duration) -> duration", _subtract_durations),
    declare("subtract_int64", "_-_", "(int, int) -> int", _ints(operator.sub)),
    declare(
        "subtract_timestamp_duration", "_-_", "(timestamp, duration) -> timestamp",
        lambda left, right: timestamp(left.nanos - right.nanos, left.offset),
    ),
    declare("subtract_timestamp_timestamp", "_-_", "(timestamp, timestamp) -> duration", _subtract_durations),
    declare("subtract_uint64", "_-_", "(uint, uint) -> uint", _uints(operator.sub)),
    *_ordering(),
    declare("index_list", "_[_]", "(list(A), int) -> A", index_list),
    declare("index_map", "_[_]", "(map(A, B), A) -> B", index_map),
    declare("optional_list_index_int", "_[_]", "(optional(list(V)), int) -> optional(V)", _through(find_in_list)),
    declare("optional_map_index_value", "_[_]", "(optional(map(K, V)), K) -> optional(V)", _through(find_in_map)),
    declare("list_optindex_optional_int", "_[?_]", "(list(V), int) -> optional(V)", find_in_list),
    declare(
        "optional_list_optindex_optional_int", "_[?_]", "(optional(list(V)), int) -> optional(V)",
        _through(find_in_list),
    ),
    declare("map_optindex_optional_value", "_[?_]", "(map(K, V), K) -> optional(V)", find_in_map),
    declare(
        "optional_map_optindex_optional_value", "_[?_]", "(optional(map(K, V)), K) -> optional(V)",
        _through(find_in_map),
    ),
    declare("in_list", "@in", "(A, list(A)) -> bool", lambda value, items: contains(items, value)),
    declare("in_map", "@in", "(A, map(A, B)) -> bool", in_map),
    *(
        overload
        for id, name in (("bytes", "bytes"), ("list", "list(A)"), ("map", "map(A, B)"), ("string", "string"))
        for overload in (
            declare(f"size_{id}", "size", f"({name}) -> int", len),
            declare(f"{id}_size", "size", f"{name}.() -> int", len),
        )
    ),
)  # fmt: skip
