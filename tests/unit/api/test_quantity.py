from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timonel.api.quantity import (
    InvalidQuantity,
    canonical_quantity,
    format_quantity,
    int_value,
    milli_value,
    parse_quantity,
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", "0"), ("500m", "0.5"), ("1Ki", "1024"), ("1.5Gi", "1610612736"), ("12e6", "12000000"), ("1E", "1e18"),
        ("-5", "-5"), ("+5", "5"), ("100u", "0.0001"), ("3n", "3e-9"), ("1e-3", "0.001"), ("2k", "2000"), (".5", "0.5"),
        ("1Ei", str(2**60)),
    ],
)  # fmt: skip
def test_value_is_exact(text: str, value: str) -> None:
    assert parse_quantity(text) == Decimal(value)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0.5", "500m"), ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("1000", "1k"), ("1000m", "1"), ("100m", "100m"),
        ("0Gi", "0"), ("1.1Ki", "1126400m"), ("1000k", "1M"), ("1e3", "1e3"), ("1Ei", "1Ei"), ("8Gi", "8Gi"),
        ("512", "512"), ("-1024Ki", "-1Mi"), ("0.5Ki", "512"),
    ],
)  # fmt: skip
def test_canonical_form_has_the_largest_suffix_without_a_fraction(text: str, canonical: str) -> None:
    assert canonical_quantity(text) == canonical


def test_finer_than_nano_is_rounded_away_from_zero() -> None:
    assert canonical_quantity("0.1n") == "1n"
    assert canonical_quantity("-0.1n") == "-1n"


def test_binary_quantities_are_capped_at_64_bits() -> None:
    assert parse_quantity("16Ei") == 2**63 - 1


@pytest.mark.parametrize("text", ["", "aoeu", "1.1.M", " 1", "1 ", "1,5", "١"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuantity, match="quantities must match the regular expression"):
        parse_quantity(text)


@pytest.mark.parametrize("text", ["1i", "0.1mi", "-3.01e-", "1Kii", "5mm"])
def test_unknown_suffix_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuantity, match=r"^unable to parse quantity's suffix$"):
        parse_quantity(text)


@pytest.mark.parametrize("text", ["1e1000000000", "9" * 100_000])
def test_absurd_numbers_cost_nothing(text: str) -> None:
    with pytest.raises(InvalidQuantity, match="unable to parse numeric part"):
        parse_quantity(text)


def test_integers_round_up() -> None:
    assert (int_value("1.5"), int_value("1500m"), int_value("2")) == (2, 2, 2)
    assert (milli_value("0.1"), milli_value("100u"), milli_value("2")) == (100, 1, 2000)
    assert milli_value("1E") == 2**63 - 1


def test_computed_values_keep_the_kind_of_suffix() -> None:
    assert format_quantity(Decimal(2048), like="1Ki") == "2Ki"
    assert format_quantity(Decimal("0.25"), like="1") == "250m"
    assert format_quantity(3000) == "3k"


@given(st.integers(-(10**12), 10**12), st.sampled_from(["", "n", "u", "m", "k", "M", "Ki", "Mi", "e3", "e-3"]))
def test_canonical_form_keeps_the_value_and_is_stable(number: int, suffix: str) -> None:
    text = f"{number}{suffix}"
    canonical = canonical_quantity(text)
    assert parse_quantity(canonical) == parse_quantity(text)
    assert canonical_quantity(canonical) == canonical
