"""Whether the expressions of webhooks and policies compile, each with what it can name and what it has to yield.

The compiler is imported when the first expression is met: most clusters have none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from timonel.api.field_errors import Path, internal, invalid
from timonel.api.kinds.rules import Errors

if TYPE_CHECKING:
    from timonel.api.cel.environment import Environment
    from timonel.api.cel.types import Type

Yields = Literal["bool", "string", "string or null", "object", "patches", "anything"]


class PolicyExpressions:
    """Of one policy, in order: a variable is known to the expressions after it.

    `composed`: the policy may name `variables`. `params`: it has parameters.
    """

    def __init__(self, *, params: bool, composed: bool) -> None:
        self._params = params
        self._variables: dict[str, Type] | None = {} if composed else None

    def check(
        self, errors: Errors, path: Path, text: str, yields: Yields, *, authorizer: bool = True, patches: bool = False
    ) -> None:
        self._compile(errors, path, text, yields, authorizer=authorizer, patches=patches)

    def add_variable(self, errors: Errors, path: Path, name: str, text: str) -> None:
        found = self._compile(errors, path, text, "anything", authorizer=True, patches=False)
        if self._variables is not None:
            from timonel.api.cel.admission import variable_type

            self._variables[name] = variable_type(found)

    def _environment(self, *, authorizer: bool, patches: bool) -> Environment:
        from timonel.api.cel.admission import admission_environment, policy_environment

        if self._variables is None:
            return admission_environment(params=self._params, authorizer=authorizer, patches=patches)
        return policy_environment(self._variables, params=self._params, authorizer=authorizer, patches=patches)

    def _compile(
        self, errors: Errors, path: Path, text: str, yields: Yields, *, authorizer: bool, patches: bool
    ) -> Type | None:
        from timonel.api.cel.issues import CompileError
        from timonel.api.cel.program import Unusable, WrongResult, compile_expression

        environment = self._environment(authorizer=authorizer, patches=patches)
        try:
            return compile_expression(text, environment, _types(yields), keep=self._variables is None).result
        except CompileError as exc:
            errors.append(invalid(path, text, f"compilation failed: {exc}"))
        except WrongResult as exc:
            errors.append(invalid(path, text, str(exc)))
        except Unusable as exc:
            errors.append(internal(path, str(exc)))
        return None


def _types(yields: Yields) -> tuple[Type, ...]:
    from timonel.api.cel import types
    from timonel.api.cel.admission import JSON_PATCHES, OBJECT

    return {
        "bool": (types.BOOL,),
        "string": (types.STRING,),
        "string or null": (types.STRING, types.NULL),
        "object": (OBJECT,),
        "patches": (JSON_PATCHES,),
        "anything": (),
    }[yields]
