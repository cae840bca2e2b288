"""The use of a quota counted anew from the objects there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from timonel.api.objects import Object
from timonel.api.quota.amounts import Amounts, add, minus, only, plus, value_of
from timonel.api.quota.evaluator import Evaluator, Surroundings, is_in_scopes


def count_usage(
    quota: Object,
    evaluators: Iterable[Evaluator],
    objects: Callable[[Evaluator], Sequence[Object] | None],
    around: Surroundings,
) -> Amounts:
    """`objects` gives those of the quota's namespace, or None while they are not known: their names are left out."""
    hard = (quota.get("spec") or {}).get("hard") or {}
    used: Amounts = {}
    unknown: set[str] = set()
    for evaluator in evaluators:
        names = evaluator.matching(hard, around)
        if not names:
            continue
        found = objects(evaluator)
        if found is None:
            unknown |= names
            continue
        add(used, dict.fromkeys(names, "0"))
        for obj in found:
            if is_in_scopes(evaluator, quota, obj):
                add(used, only(evaluator.usage(obj, around), names))
    return {name: amount for name, amount in used.items() if name not in unknown}


def settled_usage(counted: Amounts, recorded: Amounts, recorded_before: Amounts) -> Amounts:
    """What is surely used, when `recorded` rose meanwhile for objects that the count may not have seen yet.

    `recorded_before` was the record long enough before counting for its objects to be seen. What was charged since
    is added to the count, which never makes more of it than the record says.
    """
    found: Amounts = {}
    for name, amount in counted.items():
        known = recorded.get(name)
        if known is None or value_of(known) <= value_of(amount):
            found[name] = amount
            continue
        sure = plus(amount, minus(known, recorded_before.get(name, "0")))
        found[name] = sure if value_of(sure) < value_of(known) else known
    return found
