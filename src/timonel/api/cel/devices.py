"""What selectors of devices can name: the device, with its attributes and capacity by domain.

Source: kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation; KEP-4381
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from timonel.api.cel import macros, types
from timonel.api.cel.environment import Environment
from timonel.api.cel.estimates import Path, estimate_cost
from timonel.api.cel.issues import EvaluationError
from timonel.api.cel.library.quantities import QUANTITY, make_quantity
from timonel.api.cel.library.semvers import parse_semver
from timonel.api.cel.program import Program, WrongResult, compile_expression
from timonel.api.cel.schemas import (
    BOOL,
    STRING,
    Declaration,
    declared_size,
    map_declaration,
    struct_declaration,
    structs_of,
)
from timonel.api.cel.sizes import Range
from timonel.api.cel.types import Type

MOST_COST = 1_000_000
_MOST_ATTRIBUTES = 32
_LONGEST_VALUE = 64
_DOMAIN = replace(STRING, most=63)
_ID = replace(STRING, most=32)
_ATTRIBUTE = Declaration(types.ANY, _LONGEST_VALUE, 1)
_CAPACITY = Declaration(QUANTITY, 0, 8)
DEVICE = struct_declaration(
    "kubernetes.DRADevice",
    driver=replace(STRING, most=63),
    attributes=map_declaration(_DOMAIN, map_declaration(_ID, _ATTRIBUTE, _MOST_ATTRIBUTES), _MOST_ATTRIBUTES),
    capacity=map_declaration(_DOMAIN, map_declaration(_ID, _CAPACITY, _MOST_ATTRIBUTES), _MOST_ATTRIBUTES),
    allowMultipleAllocations=replace(BOOL, most=1),
)


@cache
def device_environment() -> Environment:
    structs = structs_of(DEVICE)
    return Environment({"device": DEVICE.type}, macros={**macros.STANDARD, **macros.BINDINGS}, find_struct=structs.get)


def compile_selector(text: str) -> Program:
    """Raises CompileError, or WrongResult where the result is neither a bool nor of an attribute's unknown type."""
    program = compile_expression(text, device_environment())
    if program.result not in (types.BOOL, types.ANY):
        got = program.result.declared()
        raise WrongResult(f"must evaluate to bool or the unknown type, not {got}")
    return program


def selector_cost(program: Program) -> int:
    """The most that an evaluation can cost."""
    return estimate_cost(program.root, _device_size).high


def _device_size(path: Path, type_: Type) -> Range | None:
    return declared_size(DEVICE, path, _ATTRIBUTE) if path and path[0] == "device" else None


class _WithDefault(dict[str, Any]):
    """Domains that a device does not have are empty."""

    def __missing__(self, key: str) -> dict[str, Any]:
        return {}

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str)


def device_value(driver: str, device: Mapping[str, Any]) -> dict[str, Any]:
    """The variable for a device of a ResourceSlice. Names without domain are in the driver's.

    Raises EvaluationError for a value that is none.
    """
    attributes: dict[str, dict[str, Any]] = {}
    capacity: dict[str, dict[str, Any]] = {}
    for name, attribute in (device.get("attributes") or {}).items():
        domain, own = _split(name, driver)
        attributes.setdefault(domain, {})[own] = _attribute_value(name, attribute)
    for name, amount in (device.get("capacity") or {}).items():
        domain, own = _split(name, driver)
        capacity.setdefault(domain, {})[own] = make_quantity(str(amount.get("value")))
    return {
        "driver": driver,
        "allowMultipleAllocations": bool(device.get("allowMultipleAllocations")),
        "attributes": _WithDefault(attributes),
        "capacity": _WithDefault(capacity),
    }


def _split(name: str, driver: str) -> tuple[str, str]:
    domain, slash, own = name.partition("/")
    return (domain, own) if slash else (driver, name)


def _attribute_value(name: str, attribute: Mapping[str, Any]) -> Any:
    for kind in ("int", "bool", "string"):
        if kind in attribute:
            return attribute[kind]
    if "version" in attribute:
        return parse_semver(attribute["version"])
    raise EvaluationError(f"attribute {name}: unsupported attribute value")


def matches(program: Program, driver: str, device: Mapping[str, Any]) -> bool:
    """Whether the device is one the selector picks. Raises EvaluationError, also where the result is no bool."""
    value, _ = program.evaluate({"device": device_value(driver, device)}, MOST_COST)
    if not isinstance(value, bool):
        raise EvaluationError("CEL result could not be converted to bool")
    return value
