"""Sums over maps of resource names to quantities; quantities stay text, spelled as a server spells them.

A sum keeps the kind of suffix of its first part that is not zero: "0" + "252Mi" + "4Mi" is "256Mi".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from decimal import ROUND_CEILING, Context, Decimal
from functools import lru_cache

from timonel.api.quantity import InvalidQuantity, format_quantity, parse_quantity

Amounts = dict[str, str]

_ZERO = Decimal(0)
_EXACT = Context(prec=100)


@lru_cache(maxsize=4096)
def value_of(text: str) -> Decimal:
    """Exact; 0 for what is no quantity, which validation has refused or will."""
    try:
        return parse_quantity(text)
    except InvalidQuantity:
        return _ZERO


@lru_cache(maxsize=4096)
def plus(one: str, other: str) -> str:
    value = value_of(one)
    if not value:
        return other
    return format_quantity(_EXACT.add(value, value_of(other)), like=one)


@lru_cache(maxsize=4096)
def minus(one: str, other: str) -> str:
    """The difference, but never less than nothing."""
    value, taken = value_of(one), value_of(other)
    if value <= taken:
        return "0"
    return format_quantity(_EXACT.subtract(value, taken), like=one) if taken else one


@lru_cache(maxsize=1024)
def rounded_up(text: str) -> str:
    """To whole units: storage is counted in bytes."""
    value = value_of(text)
    whole = value.to_integral_value(rounding=ROUND_CEILING, context=_EXACT)
    return text if whole == value else format_quantity(whole, like=text)


def add(total: Amounts, amounts: Amounts) -> None:
    """Adds to `total` in place."""
    for name, amount in amounts.items():
        known = total.get(name)
        total[name] = amount if known is None else plus(known, amount)


def raise_to(total: Amounts, amounts: Amounts) -> None:
    """Raises `total` in place to what is larger in `amounts`."""
    for name, amount in amounts.items():
        known = total.get(name)
        if known is None or value_of(amount) > value_of(known):
            total[name] = amount


def rest(amounts: Amounts, taken: Amounts) -> Amounts:
    """What `amounts` are more than `taken`, name by name; what is less counts as nothing."""
    return {name: minus(amount, taken.get(name, "0")) for name, amount in amounts.items()}


def positive(amounts: Amounts) -> Amounts:
    return {name: amount for name, amount in amounts.items() if value_of(amount)}


def only(amounts: Amounts, names: Collection[str]) -> Amounts:
    return {name: amount for name, amount in amounts.items() if name in names}


def are_same(one: Amounts, other: Amounts) -> bool:
    return one.keys() == other.keys() and all(value_of(amount) == value_of(other[name]) for name, amount in one.items())


def spell(amounts: Amounts) -> str:
    """As messages show them: `cpu=1,memory=1Gi`."""
    return ",".join(f"{name}={amounts[name]}" for name in sorted(amounts))


def spell_names(names: Iterable[str]) -> str:
    return ",".join(sorted(names))
