"""What a call costs when it is evaluated, in upstream's units: one is about 50 ns there.

Either a number, or a function of the operands, so that what is too expensive is never begun.
Source: kubernetes.io/docs/reference/using-api/cel/#resource-constraints
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

from timonel.api.cel.library.formats import Format
from timonel.api.cel.values import Opaque, size_of

CallCost = int | Callable[[Sequence[Any]], int]

PER_CALL_LIMIT = 1_000_000
"""Of one expression: about a tenth of a second of upstream's."""
BUDGET = 10_000_000
"""Of all expressions of a policy binding, or of a custom resource."""
MATCH_CONDITIONS_BUDGET = 2_500_000

LIST, MAP, STRUCT = 10, 30, 40
_TRAVERSE = 0.1  # per character
_PATTERN = 0.25  # per character of the pattern
_CHECK = 350_000  # asks the authoriser
_COPIED = 1000  # items of a list per unit
_MADE = 100  # characters of a text per unit
_LONG = 10_000  # characters of a text

NOMINAL = frozenset(
    """
    serviceAccount path group resource subresource namespace name allowed reason error errored masked prefixLength
    family isUnspecified isLoopback isLinkLocalMulticast isLinkLocalUnicast isGlobalUnicast format.named sign asInteger
    isInteger asApproximateFloat isGreaterThan isLessThan compareTo add sub major minor patch getScheme getHostname
    getHost getPort getEscapedPath getQuery
    """.split()  # noqa: SIM905
)
_TRAVERSED = frozenset({"isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"})
_READ_ONCE = frozenset(
    """
    url lowerAscii upperAscii substring trim jsonpatch.escapeKey cidr isIP isCIDR quantity isQuantity semver isSemver
    """.split()  # noqa: SIM905
)
_READ_TWICE = frozenset({"split", "ip.isCanonical"})
COMPARED = frozenset(
    f"{word}_{kind}" for word in ("less", "less_equals", "greater", "greater_equals") for kind in ("string", "bytes")
)


def call_cost(function: str, overload: str) -> CallCost:
    """`overload`: its id, "" where operands decide among several."""
    if function == "check":
        return _CHECK
    if function in NOMINAL:
        return 1
    if function in _TRAVERSED:
        return lambda args: _traversal(args[0])
    if function in _READ_ONCE or (function == "ip" and overload != "cidr_ip"):
        return _reading(1)
    if function in _READ_TWICE:
        return _reading(2)
    return _OF_FUNCTIONS.get(function) or _OF_OVERLOADS.get(overload) or _of_lists(overload)


def _reading(times: int) -> CallCost:
    return lambda args: _reading_cost(args[0], times)


def _reading_cost(value: Any, times: int) -> int:
    return ceil(size_of(value) * times * _TRAVERSE)


def _traversal(value: Any) -> int:
    if isinstance(value, str):
        return int(len(value.encode()) * _TRAVERSE)
    if isinstance(value, bytes):
        return int(len(value) * _TRAVERSE)
    if isinstance(value, list):
        return sum(map(_traversal, value))
    if isinstance(value, dict):
        return sum(_traversal(key) + _traversal(item) for key, item in value.items())
    return 1


def _matching(args: Sequence[Any]) -> int:
    return pattern_cost(size_of(args[0]), size_of(args[1]))


def pattern_cost(length: int, pattern: int) -> int:
    return ceil((1 + length) * _TRAVERSE) * ceil(pattern * _PATTERN)


def _validating(args: Sequence[Any]) -> int:
    format = args[0]
    return pattern_cost(size_of(args[1]), format.pattern_size) if isinstance(format, Format) else 1


def _selecting(args: Sequence[Any]) -> int:
    length = size_of(args[1])
    return LIST + ceil(length * _TRAVERSE) + ceil(ceil(length * 0.5) * (LIST + STRUCT))


def _comparing(args: Sequence[Any]) -> int:
    if isinstance(args[0], Opaque):
        return 1
    return ceil(min(size_of(args[0]), size_of(args[1])) * _TRAVERSE)


def _containing_ip(args: Sequence[Any]) -> int:
    cost = ceil(2 * size_of(args[0]) * _TRAVERSE)
    return cost + (ceil(size_of(args[1]) * _TRAVERSE) if isinstance(args[1], str) else 0)


def _containing_cidr(args: Sequence[Any]) -> int:
    return _containing_ip(args) + ceil(size_of(args[0]) * _TRAVERSE) + 1


def _searching(args: Sequence[Any]) -> int:
    return ceil(size_of(args[0]) * _TRAVERSE) * ceil(size_of(args[1]) * _TRAVERSE)


def _making(length: int) -> int:
    """For the memory of a long text that costs little to ask for, which upstream does not count."""
    return length // _MADE if length > _LONG else 0


def _replacing(args: Sequence[Any]) -> int:
    text, old, new = args[:3]
    most = args[3] if len(args) > 3 and args[3] >= 0 else len(text) + 1
    found = min(text.count(old), most) if len(new) > len(old) else 0
    return _reading_cost(text, 2) + _making(found * len(new))


def _formatting(args: Sequence[Any]) -> int:
    return _reading_cost(args[0], 1) + _making(_text_size(args[1]))


def _text_size(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(_text_size, value))
    if isinstance(value, dict):
        return sum(_text_size(key) + _text_size(item) for key, item in value.items())
    return len(value) if isinstance(value, (str, bytes)) else 1


def _joined_size(args: Sequence[Any]) -> int:
    separator = size_of(args[1]) if len(args) > 1 else 0
    return sum(map(size_of, args[0])) + separator * max(len(args[0]) - 1, 0)


def _adding(args: Sequence[Any]) -> int:
    return ceil((size_of(args[0]) + size_of(args[1])) * _TRAVERSE)


_OF_FUNCTIONS: dict[str, CallCost] = {
    "replace": _replacing,
    "format": _formatting,
    "join": lambda args: ceil(_joined_size(args) * 2 * _TRAVERSE),
    "find": _matching,
    "findAll": _matching,
    "fieldSelector": _selecting,
    "labelSelector": _selecting,
    "ip": 1,
    "containsIP": _containing_ip,
    "containsCIDR": _containing_cidr,
    "validate": _validating,
}
_OF_OVERLOADS: dict[str, CallCost] = {
    **dict.fromkeys(
        (
            "starts_with_string",
            "ends_with_string",
            "string_to_bytes",
            "bytes_to_string",
            "strings_quote",
        ),
        _reading(1),
    ),
    **dict.fromkeys((*COMPARED, "equals", "not_equals"), _comparing),
    **dict.fromkeys(("add_string", "add_bytes"), _adding),
    "in_list": lambda args: size_of(args[1]),
    "matches_string": _matching,
    "contains_string": _searching,
}


def _pairs(index: int) -> CallCost:
    """Every item of a list with every other."""

    def cost(args: Sequence[Any]) -> int:
        items = args[index]
        factor = 2.0 + (_TRAVERSE if items and isinstance(items[0], (str, bytes)) else 0)
        return int(len(items) ** 2 * factor) + 1 + LIST

    return cost


def _of_lists(overload: str) -> CallCost:
    if overload == "list_slice":
        return lambda args: max(min(args[2], size_of(args[0])) - max(args[1], 0), 0) + 1 + LIST
    if overload == "lists_range":
        return lambda args: max(args[0], 0) + 1 + LIST
    if overload == "list_reverse":
        return lambda args: size_of(args[0]) + 1 + LIST
    if overload == "add_list":
        # One, and for long lists what copying them costs, which upstream does not do.
        return lambda args: 1 + (size_of(args[0]) + size_of(args[1])) // _COPIED
    if overload in ("list_flatten", "list_flatten_int"):
        return lambda args: int(size_of(args[0]) * (args[1] if len(args) == 2 else 1)) + 1 + LIST
    if overload == "list_distinct" or overload.endswith("_sort"):
        return _pairs(0)
    if overload.endswith("_sortByAssociatedKeys"):
        return _pairs(1)
    if overload.startswith("list_sets_"):
        times = 2 if "equivalent" in overload else 1
        return lambda args: 1 + size_of(args[0]) * size_of(args[1]) * times
    return 1
