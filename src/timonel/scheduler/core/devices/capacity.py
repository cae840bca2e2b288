"""How much of a device's capacity a request takes.

Source: kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#consumable-capacity; KEP-5075
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

from timonel.api.objects import Object
from timonel.api.quantity import format_quantity, parse_quantity

Requests = Mapping[str, str]
"""Capacity asked for, as quantities."""


def consumed_capacity(capacity: Mapping[str, Object], requests: Requests) -> dict[str, str] | None:
    """What a request takes of each capacity; None when the device does not have, or not offer, so much of something.

    Of what is not asked for, the device's default is taken, which is all of it if it does not say.
    """
    if any(name not in capacity for name in requests):
        return None
    taken = {}
    for name, each in capacity.items():
        amount = _taken(each, requests.get(name))
        if _is_forbidden(amount, each.get("requestPolicy") or {}) or parse_quantity(amount) > _value(each):
            return None
        taken[name] = amount
    return taken


def fits(capacity: Mapping[str, Object], taken: Mapping[str, str], in_use: Mapping[str, Decimal]) -> bool:
    """Whether there is as much left."""
    return all(
        in_use.get(name, Decimal(0)) + parse_quantity(amount) <= _value(capacity[name])
        for name, amount in taken.items()
    )


def _value(each: Object) -> Decimal:
    return parse_quantity(str(each.get("value")))


def _taken(each: Object, asked: str | None) -> str:
    policy = each.get("requestPolicy") or {}
    if asked is None:
        return str(policy.get("default") or each.get("value"))
    amount = parse_quantity(asked)
    valid = policy.get("validRange")
    if valid and valid.get("min") is not None:
        least = parse_quantity(str(valid["min"]))
        if amount < least:
            return str(valid["min"])
        if valid.get("step") is None:
            return asked
        start, step = math.ceil(least), math.ceil(parse_quantity(str(valid["step"])))
        return format_quantity(start + step * math.ceil(Decimal(math.ceil(amount) - start) / step), "1Ki")
    for value in policy.get("validValues") or ():
        if amount <= parse_quantity(str(value)):
            return str(value)
    return asked


def _is_forbidden(taken: str, policy: Object) -> bool:
    amount = parse_quantity(taken)
    if policy.get("default") is not None and amount == parse_quantity(str(policy["default"])):
        return False
    valid = policy.get("validRange")
    if valid:
        if valid.get("max") is not None and amount > parse_quantity(str(valid["max"])):
            return True
        if valid.get("step") is not None:
            start = math.ceil(parse_quantity(str(valid.get("min", "0"))))
            return (math.ceil(amount) - start) % math.ceil(parse_quantity(str(valid["step"]))) != 0
        return False
    values = policy.get("validValues") or ()
    return bool(values) and all(amount != parse_quantity(str(value)) for value in values)
