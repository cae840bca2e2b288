"""What expressions of admission can name: the object, the request and its namespace, parameters, the authoriser, and
variables that a policy composes of other expressions.

Source: kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy; …/mutating-admission-policy
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from timonel.api.cel import types
from timonel.api.cel.costs import PER_CALL_LIMIT
from timonel.api.cel.environment import Environment, Field, FindStruct, Struct, extended, standard_functions
from timonel.api.cel.issues import EvaluationError
from timonel.api.cel.library.authorization import AUTHORIZER, RESOURCE_CHECK
from timonel.api.cel.library.patches import PATCHES, patch_struct
from timonel.api.cel.overloads import Table
from timonel.api.cel.program import Program
from timonel.api.cel.schemas import (
    BOOL,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    list_declaration,
    map_declaration,
    struct_declaration,
    structs_of,
)
from timonel.api.cel.types import Type

_SIMPLE = frozenset(["any", "bool", "bytes", "double", "duration", "int", "null", "string", "timestamp", "uint"])

VARIABLES = "kubernetes.variables"
"""Type of `variables`."""

OBJECT = types.struct_of("Object")
JSON_PATCHES = types.list_of(types.struct_of("JSONPatch"))
"""What applyConfiguration and jsonPatch expressions make."""

_STRINGS = list_declaration(STRING, -1)
_LABELS = map_declaration(STRING, STRING, -1)
_KIND = struct_declaration("kubernetes.GroupVersionKind", group=STRING, version=STRING, kind=STRING)
_RESOURCE = struct_declaration("kubernetes.GroupVersionResource", group=STRING, version=STRING, resource=STRING)
_USER = struct_declaration(
    "kubernetes.UserInfo", username=STRING, uid=STRING, groups=_STRINGS, extra=map_declaration(STRING, _STRINGS, -1)
)
_REQUEST = struct_declaration(
    "kubernetes.AdmissionRequest", kind=_KIND, resource=_RESOURCE, subResource=STRING, requestKind=_KIND,
    requestResource=_RESOURCE, requestSubResource=STRING, name=STRING, namespace=STRING, operation=STRING,
    userInfo=_USER, dryRun=BOOL, options=DYN,
)  # fmt: skip
_CONDITION = struct_declaration(
    "kubernetes.NamespaceCondition", status=STRING, type=STRING, lastTransitionTime=TIMESTAMP, message=STRING,
    reason=STRING,
)  # fmt: skip
NAMESPACE = struct_declaration(
    "kubernetes.Namespace",
    metadata=struct_declaration(
        "kubernetes.NamespaceMetadata", name=STRING, generateName=STRING, namespace=STRING, labels=_LABELS,
        annotations=_LABELS, UID=STRING, creationTimestamp=TIMESTAMP, deletionGracePeriodSeconds=INT,
        deletionTimestamp=TIMESTAMP, generation=INT, resourceVersion=STRING, finalizers=_STRINGS,
    ),
    spec=struct_declaration("kubernetes.NamespaceSpec", finalizers=_STRINGS),
    status=struct_declaration(
        "kubernetes.NamespaceStatus", conditions=list_declaration(_CONDITION, -1), phase=STRING
    ),
)  # fmt: skip


@cache
def _structs() -> dict[str, Struct]:
    return structs_of(NAMESPACE, _REQUEST)


@cache
def _patch_functions() -> Table:
    return extended(standard_functions(), *PATCHES)


@cache
def admission_environment(*, params: bool, authorizer: bool, patches: bool = False) -> Environment:
    """Of match conditions, and of policies without variables. `patches`: the expression makes one."""
    variables: dict[str, Type] = {
        "object": types.DYN,
        "oldObject": types.DYN,
        "namespaceObject": NAMESPACE.type,
        "request": _REQUEST.type,
    }
    if params:
        variables["params"] = types.DYN
    if authorizer:
        variables |= {"authorizer": AUTHORIZER, "authorizer.requestResource": RESOURCE_CHECK}
    functions = _patch_functions() if patches else standard_functions()
    return Environment(variables, functions, find_struct=_finder({}, patches=patches))


def variable_type(result: Type | None) -> Type:
    """What a policy's variable is for expressions after it: structs and the like are not followed, nor what failed."""
    if result is None:
        return types.DYN
    if result.kind in ("list", "map"):
        return Type(result.kind, params=tuple(map(variable_type, result.params)))
    return result if result.kind in _SIMPLE else types.DYN


def policy_environment(
    variables: Mapping[str, Type], *, params: bool, authorizer: bool, patches: bool = False
) -> Environment:
    """Of a policy whose variables so far have these types, each from `variable_type`."""
    base = admission_environment(params=params, authorizer=authorizer, patches=patches)
    fields = {name: Field(type_) for name, type_ in variables.items()}
    return Environment(
        {**base.variables, "variables": types.struct_of(VARIABLES)}, base.functions,
        find_struct=_finder({VARIABLES: Struct(fields)}, patches=patches),
    )  # fmt: skip


class PolicyVariables(dict[str, Any]):
    """The value of `variables`: each is computed when an expression first reads it, and kept.

    `cost` sums up what they cost, which counts towards the budget of who evaluates; none may cost more than `limit`.
    """

    def __init__(self, programs: Mapping[str, Program], others: Mapping[str, Any], limit: int = PER_CALL_LIMIT) -> None:
        """`others`: what expressions can name besides, as for `Program.evaluate`."""
        super().__init__()
        self._programs = programs
        self._others = {**others, "variables": self}
        self._limit = limit
        self.cost = 0

    def __missing__(self, name: str) -> Any:
        program = self._programs.get(name)
        if program is None:
            raise EvaluationError(f"no such key: {name}")
        try:
            self[name], cost = program.evaluate(self._others, self._limit)
        except EvaluationError as exc:
            self.cost += exc.cost
            raise EvaluationError(f'composited variable "{name}" fails to evaluate: {exc}') from exc
        self.cost += cost
        return self[name]

    def __contains__(self, name: object) -> bool:
        return name in self._programs


def _finder(more: Mapping[str, Struct], *, patches: bool) -> FindStruct:
    def find(name: str) -> Struct | None:
        return more.get(name) or _structs().get(name) or (patch_struct(name) if patches else None)

    return find
