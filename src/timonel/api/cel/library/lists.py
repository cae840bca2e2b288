"""Lists: sums, order, parts, and lists as sets.

Source: kubernetes.io/docs/reference/using-api/cel (lists, sets); github.com/google/cel-go/tree/master/ext#lists
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from itertools import pairwise
from typing import Any

from timonel.api.cel.issues import EvaluationError
from timonel.api.cel.library.operators import OPERATORS
from timonel.api.cel.overloads import Overload, declare
from timonel.api.cel.values import Duration, UInt, comparable, contains, equal, type_of

_COMPARABLE = ("int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes")
_LONGEST_RANGE = 1_000_000
_ADD = {overload.id: overload.run for overload in OPERATORS if overload.function == "_+_"}
_ZEROS: dict[str, tuple[Any, str]] = {
    "int": (0, "add_int64"),
    "uint": (UInt(0), "add_uint64"),
    "double": (0.0, "add_double"),
    "duration": (Duration(0), "add_duration_duration"),
}


def _ordered_pairs(items: list[Any]) -> Iterator[tuple[Any, Any]]:
    for left, right in pairwise(items):
        if not comparable(left, right):
            raise EvaluationError("no such overload")
        yield left, right


def _is_sorted(items: list[Any]) -> bool:
    return all(not right < left for left, right in _ordered_pairs(items))


def _sum(kind: str) -> Callable[[list[Any]], Any]:
    zero, id = _ZEROS[kind]
    add = _ADD[id]

    def run(items: list[Any]) -> Any:
        assert add is not None
        return reduce(add, items, zero)

    return run


def _extreme(name: str, choose: Callable[..., Any]) -> Callable[[list[Any]], Any]:
    def run(items: list[Any]) -> Any:
        if not items:
            raise EvaluationError(f"{name} called on empty list")
        for _ in _ordered_pairs(items):
            pass
        return choose(items)

    return run


def _index_of(items: list[Any], value: Any) -> int:
    return next((index for index, item in enumerate(items) if equal(item, value)), -1)


def _last_index_of(items: list[Any], value: Any) -> int:
    return next((index for index in range(len(items) - 1, -1, -1) if equal(items[index], value)), -1)


def _slice(items: list[Any], start: int, end: int) -> list[Any]:
    call = f"cannot slice({start}, {end})"
    if start < 0 or end < 0:
        raise EvaluationError(f"{call}, negative indexes not supported")
    if start > end:
        raise EvaluationError(f"{call}, start index must be less than or equal to end index")
    if end > len(items):
        raise EvaluationError(f"{call}, list is length {len(items)}")
    return items[start:end]


def _flatten(items: list[Any], depth: int = 1) -> list[Any]:
    if depth < 0:
        raise EvaluationError("level must be non-negative")
    found: list[Any] = []
    for item in items:
        if isinstance(item, list) and depth:
            found += _flatten(item, depth - 1)
        else:
            found.append(item)
    return found


def _sort(items: list[Any]) -> list[Any]:
    return _sort_by_keys(items, items)


def _sort_by_keys(items: list[Any], keys: list[Any]) -> list[Any]:
    if len(items) != len(keys):
        why = (
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got "
            f"{len(items)} and {len(keys)} elements respectively"
        )
        raise EvaluationError(why)
    if keys and not comparable(keys[0], keys[0]):
        raise EvaluationError("list elements must be comparable")
    if any(type_of(key) != type_of(keys[0]) for key in keys):
        raise EvaluationError("list elements must have the same type")
    return [items[index] for index in sorted(range(len(items)), key=lambda index: keys[index])]


def _range(count: int) -> list[int]:
    # Its cost is that of its length, but memory would be used up before that is counted.
    if count > _LONGEST_RANGE:
        raise EvaluationError(f"lists.range({count}) is too long")
    return list(range(count))


def _distinct(items: list[Any]) -> list[Any]:
    found: list[Any] = []
    for item in items:
        if not contains(found, item):
            found.append(item)
    return found


def _holds(items: list[Any], others: list[Any]) -> bool:
    return all(contains(items, other) for other in others)


def _meets(items: list[Any], others: list[Any]) -> bool:
    return any(contains(others, item) for item in items)


def _each(function: str, id: str, result: str, run: Callable[[list[Any]], Any]) -> tuple[Overload, ...]:
    """`id` and `result` with the name of the item's type for {}."""
    return tuple(
        declare(id.format(kind, kind), function, f"list({kind}).() -> {result.format(kind)}", run)
        for kind in _COMPARABLE
    )


_SPELLED = {"duration": "google.protobuf.Duration", "timestamp": "google.protobuf.Timestamp"}

LISTS: tuple[Overload, ...] = (
    *_each("isSorted", "list_{}_is_sorted_bool", "bool", _is_sorted),
    *(declare(f"list_{kind}_sum_{kind}", "sum", f"list({kind}).() -> {kind}", _sum(kind)) for kind in _ZEROS),
    *_each("max", "list_{}_max_{}", "{}", _extreme("max", max)),
    *_each("min", "list_{}_min_{}", "{}", _extreme("min", min)),
    declare("list_a_index_of_int", "indexOf", "list(A).(A) -> int", _index_of),
    declare("list_a_last_index_of_int", "lastIndexOf", "list(A).(A) -> int", _last_index_of),
    declare("list_slice", "slice", "list(T).(int, int) -> list(T)", _slice),
    declare("list_flatten", "flatten", "list(list(T)).() -> list(T)", _flatten),
    declare("list_flatten_int", "flatten", "list(dyn).(int) -> list(dyn)", _flatten),
    *(
        overload
        for kind in _COMPARABLE
        for overload in (
            declare(f"list_{_SPELLED.get(kind, kind)}_sort", "sort", f"list({kind}).() -> list({kind})", _sort),
            declare(
                f"list_{_SPELLED.get(kind, kind)}_sortByAssociatedKeys", "@sortByAssociatedKeys",
                f"list(T).(list({kind})) -> list(T)", _sort_by_keys,
            ),
        )
    ),
    declare("lists_range", "lists.range", "(int) -> list(int)", _range),
    declare("list_reverse", "reverse", "list(T).() -> list(T)", lambda items: items[::-1]),
    declare("list_distinct", "distinct", "list(T).() -> list(T)", _distinct),
    declare("list_sets_contains_list", "sets.contains", "(list(T), list(T)) -> bool", _holds),
    declare(
        "list_sets_equivalent_list", "sets.equivalent", "(list(T), list(T)) -> bool",
        lambda items, others: _holds(items, others) and _holds(others, items),
    ),
    declare("list_sets_intersects_list", "sets.intersects", "(list(T), list(T)) -> bool", _meets),
)  # fmt: skip
