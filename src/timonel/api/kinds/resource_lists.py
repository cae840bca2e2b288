"""Maps of resource names to quantities, as in requests, limits and capacities."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import lru_cache
from typing import Any

from timonel.api.objects import Object
from timonel.api.quantity import InvalidQuantity, canonical_quantity, format_quantity, parse_quantity

_MILLI = Decimal("0.001")
ZERO = Decimal(0)


def canonical_resource_list(amounts: dict[str, Any]) -> None:
    """Spells every amount as a server returns it; amounts finer than a thousandth are rounded up.

    What is no quantity is left for validation to refuse.
    """
    for name, amount in amounts.items():
        spelled = _canonical_amount(str(amount))
        if spelled != amount:
            amounts[name] = spelled


def canonical_quantity_field(obj: Object, field: str, missing: str | None = None) -> None:
    """Spells one field canonically; sets it to `missing` (if given) when it is not there."""
    amount = obj.get(field)
    if amount is None or amount == "":
        if missing is not None:
            obj[field] = missing
        return
    try:
        obj[field] = canonical_quantity(str(amount))
    except InvalidQuantity:
        pass


@lru_cache(maxsize=4096)
def quantity_of(amount: Any) -> Decimal | None:
    """Exact value, or None for what is no quantity; cached since few amounts make up most requests."""
    try:
        return parse_quantity(str(amount))
    except InvalidQuantity:
        return None


def amount_of(amounts: Object | None, name: str) -> Decimal:
    """The value of one entry, 0 when missing or malformed."""
    amount = (amounts or {}).get(name)
    return ZERO if amount is None else quantity_of(amount) or ZERO


@lru_cache(maxsize=4096)
def _canonical_amount(text: str) -> str:
    try:
        value = parse_quantity(text)
        milli = value.quantize(_MILLI, rounding=ROUND_CEILING if value >= 0 else ROUND_FLOOR) if value else value
        return canonical_quantity(text) if milli == value else format_quantity(milli, like=text)
    except (InvalidQuantity, ArithmeticError):
        return text
