"""Compiling an expression, and evaluating what came out.

    program = compile_expression("object.spec.replicas <= 5", environment, expect=(types.BOOL,))
    value, cost = program.evaluate({"object": deployment})

Programs hold no state between evaluations and may be shared. `compile_expression` keeps the last few hundred.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from timonel.api.cel.checker import check
from timonel.api.cel.costs import PER_CALL_LIMIT
from timonel.api.cel.environment import Environment
from timonel.api.cel.issues import CelError, CompileError, CostExceeded, EvaluationError
from timonel.api.cel.literal_checks import check_literals, plan_problem
from timonel.api.cel.nodes import Name, Node, walk
from timonel.api.cel.parser import parse, too_deep
from timonel.api.cel.planner import Planner
from timonel.api.cel.steps import COST, FIRST_SLOT, MISSING
from timonel.api.cel.types import Type

_MOST_KEPT = 512
_LONGEST_KEPT = 2000  # characters


class WrongResult(CelError):
    """The expression is one, but not of an expected type; the message says of which."""


class Unusable(CelError):
    """The expression is one, but a literal in it makes it impossible to evaluate."""


class Program:
    """`root`: the checked tree, for estimates of its cost."""

    def __init__(self, text: str, root: Node) -> None:
        self.text = text
        self.root = root
        self.problem = plan_problem(root)
        self._planner: Planner | None = None
        self._run: Any = None

    @property
    def result(self) -> Type:
        return self.root.type

    @property
    def names(self) -> frozenset[str]:
        """Variables of the environment that the expression reads."""
        return frozenset(node.name for node in walk(self.root) if isinstance(node, Name) and node.declared)

    def evaluate(self, variables: Mapping[str, Any], limit: int = PER_CALL_LIMIT) -> tuple[Any, int]:
        """The value and what it cost.

        Raises EvaluationError, of which CostExceeded is one, and nothing else, whatever the variables are.
        """
        if self._planner is None:
            planner = Planner()
            self._run, self._planner = planner.plan(self.root), planner
        frame = [0, limit, *[MISSING] * (self._planner.size - FIRST_SLOT)]
        for name, slot in self._planner.slots.items():
            frame[slot] = variables.get(name, MISSING)
        try:
            value = self._run(frame)
        except EvaluationError as exc:
            exc.cost = min(frame[COST], limit)
            raise
        except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError, AttributeError) as exc:
            raise EvaluationError(str(exc) or type(exc).__name__) from exc
        if frame[COST] > limit:
            raise CostExceeded
        return value, frame[COST]


@lru_cache(maxsize=_MOST_KEPT)
def _compile(text: str, environment: Environment) -> Program | CompileError:
    try:
        root = check(text, parse(text, environment.macros), environment)
        check_literals(text, root)
    except CompileError as exc:
        return exc
    except RecursionError:
        return too_deep(text)
    return Program(text, root)


def compile_expression(
    text: str, environment: Environment, expect: Sequence[Type] = (), *, keep: bool = True
) -> Program:
    """Raises CompileError, WrongResult where the result's type is none of those expected, or Unusable.

    `keep`: remember the program, for environments that last.
    """
    keep = keep and len(text) <= _LONGEST_KEPT
    found = _compile(text, environment) if keep else _compile.__wrapped__(text, environment)
    if isinstance(found, CompileError):
        raise found
    if expect and found.result not in expect:
        got = found.result.declared()
        if len(expect) == 1:
            raise WrongResult(f"must evaluate to {expect[0].declared()} but got {got}")
        wanted = " ".join(type_.declared() for type_ in expect)
        raise WrongResult(f"must evaluate to one of [{wanted}] but got {got}")
    if found.problem:
        raise Unusable(f"program instantiation failed: {found.problem}")
    return found
