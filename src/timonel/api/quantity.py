"""Resource quantities: exact decimal values with SI ("500m", "2G"), binary ("1Gi") or exponent ("12e6") suffixes.

Source: kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity. Two rules are from upstream's behaviour
rather than that page: what is finer than 1n is rounded away from zero, and an integer with a binary suffix is capped at
2^63-1. Results are cached, since a cluster uses few distinct quantities; a repeated one costs about 0.1 µs.
"""

from __future__ import annotations

import re
from decimal import ROUND_UP, Context, Decimal
from enum import Enum
from functools import lru_cache
from typing import Final

MAX_INT64: Final = 2**63 - 1

_NOT_A_QUANTITY = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_BAD_SUFFIX = "unable to parse quantity's suffix"
_BAD_NUMBER = "unable to parse numeric part of quantity"

_parts = re.compile(r"([+-]?)0*([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII).fullmatch
_DECIMAL_SUFFIXES = {
    "n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18,
}  # fmt: skip
_BINARY_SUFFIXES = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_NAMES = {power: name for name, power in _DECIMAL_SUFFIXES.items()}
_BINARY_NAMES = {power: name for name, power in _BINARY_SUFFIXES.items()}
_NANO = Decimal("1e-9")
_LONGEST_NUMBER = 500
"""Digits; more is no quantity anybody means, and big integers are slow."""
_LARGEST_EXPONENT = 400
_EXACT = Context(prec=1600, Emax=10_000, Emin=-10_000)


class InvalidQuantity(ValueError):
    """The message is upstream's."""


class _Format(Enum):
    DECIMAL_SI = 1
    BINARY_SI = 2
    DECIMAL_EXPONENT = 3


def parse_quantity(text: str) -> Decimal:
    """Exact value in base units: "500m" cpu -> 0.5, "1Ki" memory -> 1024.

    Raises InvalidQuantity for an unknown suffix or empty text.
    """
    return _parse(text)[0]


def canonical_quantity(text: str) -> str:
    """The spelling a server returns: largest suffix without fractions, "0.5" -> "500m", "1024Mi" -> "1Gi".

    As upstream, a number that already looks canonical stays as written ("1.500" does, "1.5" becomes "1500m").
    """
    return _parse(text)[2]


def format_quantity(value: Decimal | int, like: str = "") -> str:
    """Spells a computed value with the kind of suffix `like` has: (Decimal(2048), like="1Ki") -> "2Ki"."""
    return _spell(Decimal(value), _parse(like)[1] if like else _Format.DECIMAL_SI)


@lru_cache(maxsize=4096)
def int_value(text: str) -> int:
    """Base units, fractions rounded up, limited to 64 bits: "1.5" -> 2."""
    return _rounded_up(_parse(text)[0])


@lru_cache(maxsize=4096)
def milli_value(text: str) -> int:
    """Thousandths, rounded up, limited to 64 bits: "0.1" -> 100, "100u" -> 1."""
    return _rounded_up(_EXACT.scaleb(_parse(text)[0], 3))


@lru_cache(maxsize=4096)
def _parse(text: str) -> tuple[Decimal, _Format, str]:
    """Value, format and canonical spelling."""
    match = _parts(text) if text else None
    if match is None:
        raise InvalidQuantity(_NOT_A_QUANTITY)
    sign, whole, fraction, suffix = match.groups()
    whole, fraction = whole or "0", fraction or ""
    form, base, exponent = _interpret_suffix(suffix)
    if len(whole) + len(fraction) > _LONGEST_NUMBER or abs(exponent) > _LARGEST_EXPONENT:
        raise InvalidQuantity(_BAD_NUMBER)

    digits = int(whole + fraction)
    value = _EXACT.scaleb(Decimal(digits * 2**exponent if base == 2 else digits), -len(fraction))
    if base == 10:
        value = _EXACT.scaleb(value, exponent)
    rounded = value.quantize(_NANO, rounding=ROUND_UP, context=_EXACT)
    if rounded != value:
        value = rounded
    if form is _Format.BINARY_SI and value > MAX_INT64:
        value = Decimal(MAX_INT64)
    if sign == "-":
        value = -value
    if _stays_as_written(form, whole, fraction, exponent, digits):
        return value, form, text
    return value, form, _spell(value, form)


def _interpret_suffix(suffix: str) -> tuple[_Format, int, int]:
    power = _DECIMAL_SUFFIXES.get(suffix)
    if power is not None:
        return _Format.DECIMAL_SI, 10, power
    power = _BINARY_SUFFIXES.get(suffix)
    if power is not None:
        return _Format.BINARY_SI, 2, power
    if suffix[0] in "eE":
        try:
            return _Format.DECIMAL_EXPONENT, 10, int(suffix[1:10])
        except ValueError:
            pass
    raise InvalidQuantity(_BAD_SUFFIX)


def _stays_as_written(form: _Format, whole: str, fraction: str, exponent: int, digits: int) -> bool:
    """Whether upstream keeps the text it read: short numbers that its quick test takes for canonical."""
    if form is _Format.BINARY_SI:
        short = not fraction and 15 - len(whole) - int(exponent * 3 / 10) - 1 >= 0
        return short and digits & 7 != 0
    scale = exponent - len(fraction)
    shown = whole + fraction
    return (
        len(shown) <= 18 and scale >= -9 and scale % 3 == 0 and not shown.endswith("000") and not shown.startswith("0")
    )


def _spell(value: Decimal, form: _Format) -> str:
    if not value:
        return "0"
    if form is _Format.BINARY_SI and abs(value) >= 1024 and value == value.to_integral_value(context=_EXACT):
        mantissa, power = int(value), 0
        while mantissa % 1024 == 0 and power < 60:
            mantissa //= 1024
            power += 10
        return f"{mantissa}{_BINARY_NAMES.get(power, '')}"
    value = value.quantize(_NANO, rounding=ROUND_UP, context=_EXACT).normalize(_EXACT)
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    power = exponent - exponent % 3
    if form is not _Format.DECIMAL_EXPONENT:
        power = min(power, 18)
    number = "".join(map(str, digits)) + "0" * (exponent - power)
    suffix = _DECIMAL_NAMES.get(power, "") if form is not _Format.DECIMAL_EXPONENT else f"e{power}" if power else ""
    return f"{'-' if sign else ''}{number}{suffix}"


def _rounded_up(value: Decimal) -> int:
    whole = int(value.to_integral_value(rounding=ROUND_UP, context=_EXACT))
    return max(-MAX_INT64 - 1, min(MAX_INT64, whole))
