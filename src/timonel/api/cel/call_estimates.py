"""The most that one call can cost, and how large its result can be.

Source: kubernetes.io/docs/reference/using-api/cel/#resource-constraints
"""

from __future__ import annotations

from timonel.api.cel import costs
from timonel.api.cel.estimates import Estimator
from timonel.api.cel.library_estimates import PATTERN, TRAVERSE, CallOf, Estimate, of_libraries, wrapped
from timonel.api.cel.nodes import Call
from timonel.api.cel.sizes import ONE, UNKNOWN, Range


def estimate_call(estimator: Estimator, node: Call, overload: str, arg_costs: list[Range]) -> Estimate:
    """With the costs of the arguments, without the target's."""
    target = None if node.target is None else estimator.operand(node.target)
    call = CallOf(estimator, node, overload, target, [estimator.operand(arg) for arg in node.args])
    if overload in ("logical_and", "logical_or"):
        left, right = arg_costs
        return Estimate(Range(left.low, (left + right).high))
    if overload == "conditional":
        return _conditional(call, arg_costs)
    found = of_libraries(call) or _of_language(call) or Estimate(ONE)
    return Estimate(sum(arg_costs, found.cost), found.size)


def _conditional(call: CallOf, arg_costs: list[Range]) -> Estimate:
    estimator, (_, then, otherwise) = call.estimator, call.node.args
    entries = (estimator.entry(then), estimator.entry(otherwise))
    if entries[0] is not None and entries[1] is not None:
        estimator.note(call.node, None, entries[0] | entries[1])
    size = estimator.size_or_unknown(then) | estimator.size_or_unknown(otherwise)
    return Estimate(arg_costs[0] + (arg_costs[1] | arg_costs[2]), size)


# The language's own functions


def _of_language(call: CallOf) -> Estimate | None:
    overload, args = call.overload, call.args
    sizes = [arg.size or UNKNOWN for arg in args]
    target = (call.target.size or UNKNOWN) if call.target else UNKNOWN
    if overload == "string_format" and call.target:
        return Estimate(target.scaled(TRAVERSE))
    if overload == "string_to_bytes":
        return Estimate(sizes[0].scaled(TRAVERSE), Range(sizes[0].low, wrapped(sizes[0].high * 4)))
    if overload == "bytes_to_string":
        return Estimate(sizes[0].scaled(TRAVERSE), Range(sizes[0].low // 4, sizes[0].high))
    if overload == "strings_quote":
        return Estimate(sizes[0].scaled(TRAVERSE), Range(sizes[0].low + 2, wrapped(sizes[0].high * 2 + 2)))
    if overload in ("starts_with_string", "ends_with_string"):
        return Estimate(sizes[0].scaled(TRAVERSE))
    if overload == "in_list":
        return Estimate(sizes[1].scaled(1))
    if overload == "matches_string":
        return Estimate((target + ONE).scaled(TRAVERSE) * sizes[0].scaled(PATTERN))
    if overload == "contains_string":
        return Estimate(target.scaled(TRAVERSE) * sizes[0].scaled(TRAVERSE))
    if overload in ("add_string", "add_bytes", "add_list"):
        return _addition(call, sizes)
    if overload in ("equals", "not_equals") or overload in costs.COMPARED:
        high = min(sizes[0].high, sizes[1].high)
        return Estimate(Range(1 if high > 0 else 0, high).scaled(TRAVERSE))
    return None


def _addition(call: CallOf, sizes: list[Range]) -> Estimate:
    size = sizes[0] + sizes[1]
    left, right = (call.estimator.entry(arg) for arg in call.node.args)
    if left is not None and right is not None:
        call.estimator.note(call.node, None, left | right)
    return Estimate(ONE if call.overload == "add_list" else size.scaled(TRAVERSE), size)
