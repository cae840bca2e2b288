"""The most that a call of a library's function can cost, and how large its result can be.

Source: kubernetes.io/docs/reference/using-api/cel/#resource-constraints
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from timonel.api.cel import costs
from timonel.api.cel.estimates import Estimator, Operand
from timonel.api.cel.nodes import Call, Literal
from timonel.api.cel.sizes import MOST, NONE, ONE, UNKNOWN, Range, exactly

TRAVERSE, PATTERN = 0.1, 0.25
_NAME_PATTERN = 128
_ADDRESS = Range(4, 16)  # bytes
_COMPARED_STRUCTS = frozenset(
    {
        "kubernetes.Quantity", "kubernetes.Semver", "kubernetes.authorization.Authorizer",
        "kubernetes.authorization.PathCheck", "kubernetes.authorization.GroupCheck",
        "kubernetes.authorization.ResourceCheck", "kubernetes.authorization.Decision",
    }
)  # fmt: skip
_LONGEST_FORMAT = 64


@dataclass(frozen=True, slots=True)
class Estimate:
    cost: Range
    size: Range | None = None  # of the result


@dataclass(frozen=True, slots=True)
class CallOf:
    """The call in question."""

    estimator: Estimator
    node: Call
    overload: str
    target: Operand | None
    args: list[Operand]

    def size(self, operand: Operand) -> Range:
        if operand.size is not None:
            return operand.size
        return self.estimator.size_of(operand.path, operand.type) or UNKNOWN

    def item(self) -> Operand | None:
        """Any item of the list that the target is."""
        assert self.target is not None
        if not self.target.type.params:
            return None
        path = (*self.target.path, "@items") if self.target.path else ()
        return Operand(path, self.target.type.params[0], None, None)


def wrapped(value: int) -> int:
    """As 64 bits hold it."""
    return value & MOST


def of_libraries(call: CallOf) -> Estimate | None:
    of_lists = _of_lists(call)
    if of_lists is not None:
        return of_lists
    function = call.node.function
    if function == "check":
        return Estimate(exactly(350_000))
    if function in costs.NOMINAL:
        return Estimate(ONE)
    find = _FUNCTIONS.get(function)
    return find(call) if find else None


def _read(times: int, *, keeps_size: bool = False) -> Callable[[CallOf], Estimate | None]:
    """Of functions that read their operand."""

    def estimate(call: CallOf) -> Estimate | None:
        if call.overload == "cidr_ip":
            return Estimate(ONE)
        operand = call.args[0] if call.target is None else call.target
        size = call.size(operand)
        return Estimate(size.scaled(times * TRAVERSE), size if keeps_size else None)

    return estimate


def _traversed(call: CallOf) -> Estimate | None:
    if call.target is None:
        return None
    size, item = call.size(call.target), call.item()
    if item is None:
        return Estimate(size.scaled(TRAVERSE))
    each = ONE
    if item.type.kind in ("string", "bytes"):
        each += call.size(item).scaled(TRAVERSE)
    return Estimate(size * each)


def _selector(call: CallOf) -> Estimate | None:
    size = call.size(call.args[0])
    requirements = size.scaled(0.5).scaled(costs.LIST + costs.STRUCT)
    return Estimate(exactly(costs.LIST) + size.scaled(TRAVERSE) + requirements)


def _replace(call: CallOf) -> Estimate | None:
    if call.target is None:
        return None
    size, old, new = call.size(call.target), call.size(call.args[0]), call.size(call.args[1])
    most, kept_most = 0, 0
    if old.low == 0:
        most, kept_most = min(size.high + 1, MOST), size.high
    elif new.high <= old.low:
        kept_most = size.high
    else:
        most = ceil(size.high / old.low)
    least, kept_least = 0, 0
    if old.high == 0:
        least, kept_least = min(size.low + 1, MOST), size.low
    elif old.high <= new.low:
        kept_least = size.low
    else:
        least = ceil(size.low / old.high)
    result = Range(least, most) * new + Range(kept_least, kept_most)
    return Estimate(size.scaled(2 * TRAVERSE), result)


def _split(call: CallOf) -> Estimate | None:
    if call.target is None:
        return None
    size = call.size(call.target)
    most = size.high
    if len(call.args) > 1 and isinstance(count := call.args[1].node, Literal) and isinstance(count.value, int):
        most = wrapped(count.value)
    return Estimate(size.scaled(2 * TRAVERSE), Range(0, most))


def _join(call: CallOf) -> Estimate | None:
    if call.target is None:
        return None
    count, item, size = call.size(call.target), call.item(), NONE
    if item is not None:
        size = count * call.size(item)
    if call.args:
        separators = Range(max(count.low - 1, 0), max(count.high - 1, 0))
        size += call.size(call.args[0]) * separators
    return Estimate(size.scaled(TRAVERSE), size)


def _find(call: CallOf) -> Estimate | None:
    if call.target is None:
        return None
    size = call.size(call.target)
    pattern = call.size(call.args[0]).scaled(PATTERN)
    return Estimate((size + ONE).scaled(TRAVERSE) * pattern, Range(0, size.high))


def _contains_ip(call: CallOf) -> Estimate | None:
    cost = (_ADDRESS + _ADDRESS).scaled(TRAVERSE)
    if call.overload.endswith("_string"):
        cost += call.size(call.args[0]).scaled(TRAVERSE)
    return Estimate(cost)


def _contains_cidr(call: CallOf) -> Estimate | None:
    inner = _contains_ip(call)
    assert inner is not None
    return Estimate(inner.cost + _ADDRESS.scaled(TRAVERSE) + ONE)


def _validate(call: CallOf) -> Estimate | None:
    return Estimate(call.size(call.args[0]).scaled(TRAVERSE).scaled(_NAME_PATTERN * PATTERN))


def _equality(call: CallOf) -> Estimate | None:
    left, right = call.args
    if left.type != right.type:
        return None
    name = left.type.name
    if name in ("net.IP", "net.CIDR") or name in _COMPARED_STRUCTS:
        return Estimate(ONE)
    if name == "kubernetes.NamedFormat":
        return Estimate(Range(1, _LONGEST_FORMAT).scaled(TRAVERSE))
    if name == "kubernetes.URL":
        return Estimate(Range(1, right.size.high if right.size else 1).scaled(TRAVERSE))
    return None


_READ = _read(1)
_FUNCTIONS: dict[str, Callable[[CallOf], Estimate | None]] = {
    **dict.fromkeys(("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"), _traversed),
    **dict.fromkeys(
        ("url", "jsonpatch.escapeKey", "lowerAscii", "upperAscii", "substring", "trim"), _read(1, keeps_size=True)
    ),
    **dict.fromkeys(("cidr", "isIP", "isCIDR", "ip", "quantity", "isQuantity", "semver", "isSemver"), _READ),
    "ip.isCanonical": _read(2),
    **dict.fromkeys(("fieldSelector", "labelSelector"), _selector),
    "replace": _replace,
    "split": _split,
    "join": _join,
    **dict.fromkeys(("find", "findAll"), _find),
    "containsIP": _contains_ip,
    "containsCIDR": _contains_cidr,
    "validate": _validate,
    "_==_": _equality,
}


# Lists


def _of_lists(call: CallOf) -> Estimate | None:
    overload = call.overload
    if overload.startswith("list_sets_"):
        times = 2 if "equivalent" in overload else 1
        left, right = (call.size(arg) for arg in call.args)
        return Estimate((left * right).scaled(times) + ONE)
    if overload == "list_slice" and call.target:
        start, end = _number(call.args[0], 0), _number(call.args[1], call.size(call.target).high)
        return _allocating(1, exactly(wrapped(end - start)))
    if overload == "lists_range":
        return _allocating(1, exactly(_number(call.args[0], MOST)))
    if call.target is None:
        return None
    size = call.size(call.target)
    if overload == "list_reverse":
        return _allocating(1, size)
    if overload in ("list_flatten", "list_flatten_int"):
        return _allocating(float(_number(call.args[0], MOST)) if call.args else 1, size)
    if overload == "list_distinct":
        return _allocating(2, size * size)
    if overload.endswith("_sort"):
        return _sorting(overload, size)
    return _sorting(overload, call.size(call.args[0])) if overload.endswith("_sortByAssociatedKeys") else None


def _sorting(overload: str, size: Range) -> Estimate:
    factor = 2.0 + (TRAVERSE if overload.startswith(("list_string", "list_bytes")) else 0)
    return _allocating(factor, size * size)


def _allocating(factor: float, size: Range) -> Estimate:
    return Estimate(size.scaled(factor) + ONE + exactly(costs.LIST), size)


def _number(operand: Operand, otherwise: int) -> int:
    node = operand.node
    if not isinstance(node, Literal) or type(node.value) is not int:
        return otherwise
    return max(node.value, 0)
