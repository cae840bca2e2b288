"""Selectors of devices. Source: kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation"""

from __future__ import annotations

import pytest

from timonel.api.cel.devices import MOST_COST, compile_selector, matches, selector_cost
from timonel.api.cel.issues import EvaluationError
from timonel.api.cel.program import WrongResult

_DEVICE = {
    "attributes": {
        "model": {"string": "A100"}, "dra.example.com/slots": {"int": 4}, "other.com/free": {"bool": True},
        "driverVersion": {"version": "1.10.0"},
    },
    "capacity": {"memory": {"value": "40Gi"}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("device.driver == 'gpu.example.com'", True),
        ("device.attributes['gpu.example.com'].model == 'A100'", True),
        ("device.attributes['dra.example.com'].slots > 4", False),
        ("device.attributes['other.com'].free", True),
        ("device.attributes['gpu.example.com'].driverVersion.isGreaterThan(semver('1.9.0'))", True),
        ("device.capacity['gpu.example.com'].memory.compareTo(quantity('40Gi')) >= 0", True),
        ("has(device.attributes['nobody.com'].x)", False),
        ("cel.bind(own, device.attributes['gpu.example.com'], own.model == 'A100' && !has(own.x))", True),
        ("device.allowMultipleAllocations", False),
    ],
)
def test_selector(selector: str, expected: bool) -> None:
    assert matches(compile_selector(selector), "gpu.example.com", _DEVICE) is expected


def test_a_missing_attribute_is_an_error():
    with pytest.raises(EvaluationError, match="no such key: x"):
        matches(compile_selector("device.attributes['gpu.example.com'].x == 1"), "gpu.example.com", _DEVICE)


def test_an_attribute_that_is_no_bool_selects_nothing():
    with pytest.raises(EvaluationError):
        matches(compile_selector("device.attributes['gpu.example.com'].model"), "gpu.example.com", _DEVICE)


def test_the_result_has_to_be_able_to_be_a_bool():
    with pytest.raises(WrongResult, match="must evaluate to bool or the unknown type, not string"):
        compile_selector("device.driver")


def test_what_a_selector_may_cost():
    each = "device.attributes.all(a, {})"
    assert selector_cost(compile_selector(each.format("a == 'x'"))) < MOST_COST
    nested = (
        "device.attributes.all(a, device.attributes.all(b, device.attributes.all(c, device.attributes.all(d, a == b))))"
    )
    assert selector_cost(compile_selector(nested)) > MOST_COST
