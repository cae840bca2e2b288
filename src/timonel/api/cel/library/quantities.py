"""Resource quantities: comparison and arithmetic.

Source: kubernetes.io/docs/reference/using-api/cel/#kubernetes-quantity-library
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from timonel.api.cel.issues import EvaluationError
from timonel.api.cel.overloads import Overload, declare
from timonel.api.cel.types import Type, struct_of
from timonel.api.cel.values import INT_MAX, INT_MIN, Opaque
from timonel.api.quantity import InvalidQuantity, parse_quantity

QUANTITY = struct_of("kubernetes.Quantity")


@dataclass(frozen=True, slots=True)
class Quantity(Opaque):
    value: Decimal
    cel_type: Type = QUANTITY


def make_quantity(text: str) -> Quantity:
    try:
        return Quantity(parse_quantity(text))
    except InvalidQuantity as exc:
        raise EvaluationError(str(exc)) from exc


def _is_quantity(text: str) -> bool:
    try:
        parse_quantity(text)
    except InvalidQuantity:
        return False
    return True


def _is_integer(quantity: Quantity) -> bool:
    value = quantity.value
    return value == value.to_integral_value() and INT_MIN <= value <= INT_MAX


def _as_integer(quantity: Quantity) -> int:
    if not _is_integer(quantity):
        raise EvaluationError("cannot convert value to integer")
    return int(quantity.value)


def compare(left: Decimal, right: Decimal) -> int:
    return (left > right) - (left < right)


QUANTITIES: tuple[Overload, ...] = (
    declare("string_to_quantity", "quantity", "(string) -> kubernetes.Quantity", make_quantity),
    declare("is_quantity_string", "isQuantity", "(string) -> bool", _is_quantity),
    declare("quantity_sign", "sign", "(kubernetes.Quantity) -> int", lambda q: compare(q.value, Decimal(0))),
    declare(
        "quantity_is_greater_than", "isGreaterThan", "kubernetes.Quantity.(kubernetes.Quantity) -> bool",
        lambda left, right: left.value > right.value,
    ),
    declare(
        "quantity_is_less_than", "isLessThan", "kubernetes.Quantity.(kubernetes.Quantity) -> bool",
        lambda left, right: left.value < right.value,
    ),
    declare(
        "quantity_compare_to", "compareTo", "kubernetes.Quantity.(kubernetes.Quantity) -> int",
        lambda left, right: compare(left.value, right.value),
    ),
    declare(
        "quantity_get_float", "asApproximateFloat", "kubernetes.Quantity.() -> double", lambda q: float(q.value),
    ),
    declare("quantity_get_int", "asInteger", "kubernetes.Quantity.() -> int", _as_integer),
    declare("quantity_is_integer", "isInteger", "kubernetes.Quantity.() -> bool", _is_integer),
    declare(
        "quantity_add", "add", "kubernetes.Quantity.(kubernetes.Quantity) -> kubernetes.Quantity",
        lambda left, right: Quantity(left.value + right.value),
    ),
    declare(
        "quantity_add_int", "add", "kubernetes.Quantity.(int) -> kubernetes.Quantity",
        lambda left, right: Quantity(left.value + right),
    ),
    declare(
        "quantity_sub", "sub", "kubernetes.Quantity.(kubernetes.Quantity) -> kubernetes.Quantity",
        lambda left, right: Quantity(left.value - right.value),
    ),
    declare(
        "quantity_sub_int", "sub", "kubernetes.Quantity.(int) -> kubernetes.Quantity",
        lambda left, right: Quantity(left.value - right),
    ),
)  # fmt: skip
