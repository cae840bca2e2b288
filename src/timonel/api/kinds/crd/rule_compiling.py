"""Whether the rules of a schema compile, and what they may cost. The compiler is imported when a rule is met."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from timonel.api.field_errors import Path, forbidden, internal, invalid
from timonel.api.kinds.crd.rule_costs import RULE_LIMIT, Occurrence, exceeds
from timonel.api.kinds.crd.walking import Schema
from timonel.api.kinds.rules import Errors

if TYPE_CHECKING:
    from timonel.api.cel.environment import Environment
    from timonel.api.cel.program import Program
    from timonel.api.cel.schemas import Declaration

_VALIDATIONS = "x-kubernetes-validations"
_ZERO = {
    "rule": "", "message": "", "messageExpression": "", "reason": None, "fieldPath": "", "optionalOldSelf": None,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where a schema with rules is: `root` of a resource; `uncorrelated`: the part whose old values have no match."""

    path: Path
    root: bool
    occurrence: Occurrence
    uncorrelated: Path | None


def compile_rules(errors: Errors, place: Place, schema: Schema) -> None:
    from timonel.api.cel.schemas import declare_schema

    path = place.path / _VALIDATIONS
    declared = declare_schema(schema, root=place.root)
    if declared is None:
        why = (
            "internal error: failed to construct type information for x-kubernetes-validations rules: unable to "
            "convert structural schema to CEL declarations"
        )
        errors.append(internal(path, why))
        return
    environments = _environments(declared)
    for index, rule in enumerate(schema[_VALIDATIONS]):
        environment = environments[bool(rule.get("optionalOldSelf"))]
        _check_rule(errors, path[index], place, rule, declared, environment)


def _environments(declared: Declaration) -> tuple[Environment, Environment]:
    """Of rules, and of those to which the old value may be missing."""
    from timonel.api.cel.schemas import environment_of, named
    from timonel.api.cel.types import optional_of

    # Another name for each schema, so that nobody comes to rely on it.
    self = named(declared, f"selfType{zlib.crc32(repr(declared).encode())}")
    environment = environment_of(self=self)
    return environment.with_variables(oldSelf=self.type), environment.with_variables(oldSelf=optional_of(self.type))


def _check_rule(
    errors: Errors, path: Path, place: Place, rule: dict[str, Any], declared: Declaration, environment: Environment
) -> None:
    of_rule: Errors = []
    program = _program(of_rule, path / "rule", rule, "rule", environment)
    cost = _cost(program, declared)
    whole = place.occurrence.cost(cost, declared.least_bytes) if program else 0
    if place.occurrence.limited and whole > RULE_LIMIT:
        errors.append(forbidden(path / "rule", exceeds("estimated rule cost", whole, RULE_LIMIT)))
    place.occurrence.total.add(path / "rule", whole)
    errors += of_rule
    if program is not None and rule.get("messageExpression"):
        _check_message(errors, path / "messageExpression", place, rule, declared, environment)
    if program is not None and "oldSelf" in program.names:
        if place.uncorrelated is not None:
            why = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {place.uncorrelated}"
            errors.append(invalid(path / "rule", rule["rule"], why))
    elif rule.get("optionalOldSelf") is not None:
        why = "may not be set if oldSelf is not used in rule"
        errors.append(invalid(path / "optionalOldSelf", rule["optionalOldSelf"], why))


def _check_message(
    errors: Errors, path: Path, place: Place, rule: dict[str, Any], declared: Declaration, environment: Environment
) -> None:
    program = _program(errors, path, rule, "messageExpression", environment)
    if program is None:
        return
    cost = _cost(program, declared)
    if place.occurrence.limited and cost > RULE_LIMIT:
        errors.append(forbidden(path, exceeds("estimated messageExpression cost", cost, RULE_LIMIT)))
    place.occurrence.total.add(path, cost)


def _program(errors: Errors, path: Path, rule: dict[str, Any], field: str, environment: Environment) -> Program | None:
    from timonel.api.cel.issues import CompileError
    from timonel.api.cel.program import Unusable, WrongResult, compile_expression
    from timonel.api.cel.types import BOOL, STRING

    is_message = field == "messageExpression"
    prefix, shown = "messageExpression " if is_message else "", _shown(rule)
    wanted, called = (STRING, "messageExpression must evaluate to a string") if is_message else (
        BOOL, "cel expression must evaluate to a bool",
    )  # fmt: skip
    try:
        return compile_expression(rule[field], environment, (wanted,), keep=False)
    except CompileError as exc:
        errors.append(invalid(path, shown, f"{prefix}compilation failed: {exc}"))
    except WrongResult:
        errors.append(invalid(path, shown, called))
    except Unusable as exc:
        why = str(exc).replace("program ", prefix or "program ")
        errors.append(invalid(path, shown, why))
    return None


def _shown(rule: dict[str, Any]) -> dict[str, Any]:
    """The whole rule, as upstream's messages have it."""
    return {name[:1].upper() + name[1:]: rule.get(name, zero) for name, zero in _ZERO.items()}


def _cost(program: Program | None, declared: Declaration) -> int:
    """The most that one evaluation can cost."""
    if program is None:
        return 0
    from timonel.api.cel.estimates import estimate_cost
    from timonel.api.cel.schemas import declared_size

    return estimate_cost(program.root, lambda path, type_: declared_size(declared, path)).high
