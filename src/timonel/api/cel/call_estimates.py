"""The most that one call can cost, and how large its result can be.

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

_TRAVERSE, _PATTERN = 0.1, 0.25
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
class _Of:
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


def estimate_call(estimator: Estimator, node: Call, overload: str, arg_costs: list[Range]) -> Estimate:
    """With the costs of the arguments, without the target's."""
    target = None if node.target is None else estimator.operand(node.target)
    call = _Of(estimator, node, overload, target, [estimator.operand(arg) for arg in node.args])
    if overload in ("logical_and", "logical_or"):
        left, right = arg_costs
        return Estimate(Range(left.low, (left + right).high))
    if overload == "conditional":
        return _conditional(call, arg_costs)
    found = _of_libraries(call) or _of_language(call) or Estimate(ONE)
    return Estimate(sum(arg_costs, found.cost), found.size)


def _conditional(call: _Of, arg_costs: list[Range]) -> Estimate:
    estimator, (_, then, otherwise) = call.estimator, call.node.args
    entries = (estimator.entry(then), estimator.entry(otherwise))
    if entries[0] is not None and entries[1] is not None:
        estimator.note(call.node, None, entries[0] | entries[1])
    size = estimator.size_or_unknown(then) | estimator.size_or_unknown(otherwise)
    return Estimate(arg_costs[0] + (arg_costs[1] | arg_costs[2]), size)


# The language's own functions


def _of_language(call: _Of) -> Estimate | None:
    overload, args = call.overload, call.args
    sizes = [arg.size or UNKNOWN for arg in args]
    target = (call.target.size or UNKNOWN) if call.target else UNKNOWN
    if overload == "string_format" and call.target:
        return Estimate(target.scaled(_TRAVERSE))
    if overload == "string_to_bytes":
        return Estimate(sizes[0].scaled(_TRAVERSE), Range(sizes[0].low, _wrapped(sizes[0].high * 4)))
    if overload == "bytes_to_string":
        return Estimate(sizes[0].scaled(_TRAVERSE), Range(sizes[0].low // 4, sizes[0].high))
    if overload == "strings_quote":
        return Estimate(sizes[0].scaled(_TRAVERSE), Range(sizes[0].low + 2, _wrapped(sizes[0].high * 2 + 2)))
    if overload in ("starts_with_string", "ends_with_string"):
        return Estimate(sizes[0].scaled(_TRAVERSE))
    if overload == "in_list":
        return Estimate(sizes[1].scaled(1))
    if overload == "matches_string":
        return Estimate((target + ONE).scaled(_TRAVERSE) * sizes[0].scaled(_PATTERN))
    if overload == "contains_string":
        return Estimate(target.scaled(_TRAVERSE) * sizes[0].scaled(_TRAVERSE))
    if overload in ("add_string", "add_bytes", "add_list"):
        return _addition(call, sizes)
    if overload in ("equals", "not_equals") or overload in costs.COMPARED:
        high = min(sizes[0].high, sizes[1].high)
        return Estimate(Range(1 if high > 0 else 0, high).scaled(_TRAVERSE))
    return None


def _wrapped(value: int) -> int:
    """As 64 bits hold it."""
    return value & MOST


def _addition(call: _Of, sizes: list[Range]) -> Estimate:
    size = sizes[0] + sizes[1]
    left, right = (call.estimator.entry(arg) for arg in call.node.args)
    if left is not None and right is not None:
        call.estimator.note(call.node, None, left | right)
    return Estimate(ONE if call.overload == "add_list" else size.scaled(_TRAVERSE), size)


# Libraries


def _of_libraries(call: _Of) -> Estimate | None:
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


def _read(times: int, *, keeps_size: bool = False) -> Callable[[_Of], Estimate | None]:
    """Of functions that read their operand."""

    def estimate(call: _Of) -> Estimate | None:
        if call.overload == "cidr_ip":
            return Estimate(ONE)
        operand = call.args[0] if call.target is None else call.target
        size = call.size(operand)
        return Estimate(size.scaled(times * _TRAVERSE), size if keeps_size else None)

    return estimate


def _traversed(call: _Of) -> Estimate | None:
    if call.target is None:
        return None
    size, item = call.size(call.target), call.item()
    if item is None:
        return Estimate(size.scaled(_TRAVERSE))
    each = ONE
    if item.type.kind in ("string", "bytes"):
        each += call.size(item).scaled(_TRAVERSE)
    return Estimate(size * each)


def _selector(call: _Of) -> Estimate | None:
    size = call.size(call.args[0])
    requirements = size.scaled(0.5).scaled(costs.LIST + costs.STRUCT)
    return Estimate(exactly(costs.LIST) + size.scaled(_TRAVERSE) + requirements)


def _replace(call: _Of) -> Estimate | None:
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
    return Estimate(size.scaled(2 * _TRAVERSE), result)


def _split(call: _Of) -> Estimate | None:
    if call.target is None:
        return None
    size = call.size(call.target)
    most = size.high
    if len(call.args) > 1 and isinstance(count := call.args[1].node, Literal) and isinstance(count.value, int):
        most = _wrapped(count.value)
    return Estimate(size.scaled(2 * _TRAVERSE), Range(0, most))


def _join(call: _Of) -> Estimate | None:
    if call.target is None:
        return None
    count, item, size = call.size(call.target), call.item(), NONE
    if item is not None:
        size = count * call.size(item)
    if call.args:
        separators = Range(max(count.low - 1, 0), max(count.high - 1, 0))
        size += call.size(call.args[0]) * separators
    return Estimate(size.scaled(_TRAVERSE), size)


def _find(call: _Of) -> Estimate | None:
    if call.target is None:
        return None
    size = call.size(call.target)
    pattern = call.size(call.args[0]).scaled(_PATTERN)
    return Estimate((size + ONE).scaled(_TRAVERSE) * pattern, Range(0, size.high))


def _contains_ip(call: _Of) -> Estimate | None:
    cost = (_ADDRESS + _ADDRESS).scaled(_TRAVERSE)
    if call.overload.endswith("_string"):
        cost += call.size(call.args[0]).scaled(_TRAVERSE)
    return Estimate(cost)


def _contains_cidr(call: _Of) -> Estimate | None:
    inner = _contains_ip(call)
    assert inner is not None
    return Estimate(inner.cost + _ADDRESS.scaled(_TRAVERSE) + ONE)


def _validate(call: _Of) -> Estimate | None:
    return Estimate(call.size(call.args[0]).scaled(_TRAVERSE).scaled(_NAME_PATTERN * _PATTERN))


def _equality(call: _Of) -> Estimate | None:
    left, right = call.args
    if left.type != right.type:
        return None
    name = left.type.name
    if name in ("net.IP", "net.CIDR") or name in _COMPARED_STRUCTS:
        return Estimate(ONE)
    if name == "kubernetes.NamedFormat":
        return Estimate(Range(1, _LONGEST_FORMAT).scaled(_TRAVERSE))
    if name == "kubernetes.URL":
        return Estimate(Range(1, right.size.high if right.size else 1).scaled(_TRAVERSE))
    return None


_READ = _read(1)
_FUNCTIONS: dict[str, Callable[[_Of], Estimate | None]] = {
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


def _of_lists(call: _Of) -> Estimate | None:
    overload = call.overload
    if overload.startswith("list_sets_"):
        times = 2 if "equivalent" in overload else 1
        left, right = (call.size(arg) for arg in call.args)
        return Estimate((left * right).scaled(times) + ONE)
    if overload == "list_slice" and call.target:
        start, end = _number(call.args[0], 0), _number(call.args[1], call.size(call.target).high)
        return _allocating(1, exactly(_wrapped(end - start)))
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
    factor = 2.0 + (_TRAVERSE if overload.startswith(("list_string", "list_bytes")) else 0)
    return _allocating(factor, size * size)


def _allocating(factor: float, size: Range) -> Estimate:
    return Estimate(size.scaled(factor) + ONE + exactly(costs.LIST), size)


def _number(operand: Operand, otherwise: int) -> int:
    node = operand.node
    if not isinstance(node, Literal) or type(node.value) is not int:
        return otherwise
    return max(node.value, 0)
