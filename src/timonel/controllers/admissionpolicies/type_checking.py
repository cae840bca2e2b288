"""Do a policy's expressions fit the schemas of the kinds that it matches? Pure.

A warning is all that comes of it: the policy acts as it would without.
Source: kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/#type-checking
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple

from timonel.api.cel import types
from timonel.api.cel.admission import VARIABLES, admission_environment, variable_type
from timonel.api.cel.environment import Environment, Field, Struct
from timonel.api.cel.issues import CompileError
from timonel.api.cel.program import Unusable, compile_expression
from timonel.api.cel.schemas import Declaration, declare_schema, named, structs_of
from timonel.api.cel.types import Type
from timonel.api.objects import Object, get_path

MOST_TYPES = 10
_REF = "#/components/schemas/"
_INT_OR_STRING = "int-or-string"
_CIRCULAR: Object = {"type": "object"}


class GroupVersionResource(NamedTuple):
    group: str
    version: str
    resource: str


class GroupVersionKind(NamedTuple):
    group: str
    version: str
    kind: str

    def __str__(self) -> str:
        return f"{self.group}/{self.version}, Kind={self.kind}"


def matched_resources(policy: Object) -> Iterator[list[GroupVersionResource]]:
    """What each rule of the policy names in so many words; rules with wildcards of groups or versions name nothing."""
    for rule in get_path(policy, "spec", "matchConstraints", "resourceRules", default=[]):
        groups, versions = rule.get("apiGroups") or [], rule.get("apiVersions") or []
        if any("*" in text for text in (*groups, *versions)):
            continue
        resources = [text for text in rule.get("resources") or () if "*" not in text and "/" not in text]
        yield [GroupVersionResource(*each) for each in product(sorted(groups), sorted(versions), sorted(resources))]


def kinds_to_check(policy: Object, served: Mapping[GroupVersionResource, str]) -> list[GroupVersionKind]:
    """At most ten of a rule, the last one asked; in order of group, version and kind. `served`: resource -> kind."""
    found: set[GroupVersionKind] = set()
    for resources in matched_resources(policy):
        kinds = [GroupVersionKind(*each[:2], served[each]) for each in resources if each in served]
        found.update(kinds[:MOST_TYPES])
        if len(kinds) >= MOST_TYPES:
            break
    return sorted(found)


def param_kind(policy: Object) -> GroupVersionKind | None:
    kind = get_path(policy, "spec", "paramKind")
    if kind is None:
        return None
    group, _, version = (kind.get("apiVersion") or "").rpartition("/")
    return GroupVersionKind(group, version, kind.get("kind") or "")


def declare_kind(document: Object, kind: GroupVersionKind) -> Declaration | None:
    """The type of a kind by the OpenAPI v3 document of its group version; None when it is not there."""
    schemas = get_path(document, "components", "schemas", default={})
    wanted = kind._asdict()
    for name, schema in schemas.items():
        if wanted in (schema.get("x-kubernetes-group-version-kind") or ()):
            declared = declare_schema(_resolved(schemas, schema, (name,)), root=True)
            return named(declared, kind.kind) if declared is not None else None
    return None


def _resolved(schemas: Mapping[str, Any], schema: Object, path: tuple[str, ...]) -> Object:
    """The schema with what it refers to in place; a circle ends in an object of which nothing is known."""
    reference = schema.get("$ref") or next((each["$ref"] for each in schema.get("allOf") or () if "$ref" in each), "")
    if reference:
        name = reference.removeprefix(_REF)
        if name in path or name not in schemas:
            return _CIRCULAR
        return _resolved(schemas, schemas[name], (*path, name))
    made = dict(schema)
    if made.get("format") == _INT_OR_STRING:
        made["x-kubernetes-int-or-string"] = True
    if made.get("properties"):
        made["properties"] = {name: _resolved(schemas, each, path) for name, each in made["properties"].items()}
    for field in ("items", "additionalProperties"):
        if isinstance(made.get(field), Mapping):
            made[field] = _resolved(schemas, made[field], path)
    return made


def check_policy(
    policy: Object, kinds: Mapping[GroupVersionKind, Declaration], params: Declaration | None
) -> list[Object]:
    """status.typeChecking.expressionWarnings. `kinds` in the order in which they are told of."""
    spec = policy["spec"]
    environments = {
        kind: _environment(declared, params, has_params=spec.get("paramKind") is not None)
        for kind, declared in kinds.items()
    }
    variables = spec.get("variables") or ()
    composed = {kind: _with_variables(environment, variables) for kind, environment in environments.items()}
    warnings = []
    for index, validation in enumerate(spec.get("validations") or ()):
        for field in ("expression", "messageExpression"):
            text = validation.get(field)
            if not text:
                continue
            found = [(kind, _problem(text, environment)) for kind, environment in composed.items()]
            told = [f"{kind}: {problem}\n" for kind, problem in found if problem]
            if told:
                warnings.append({"fieldRef": f"spec.validations[{index}].{field}", "warning": "\n".join(told)})
    return warnings


def _environment(declared: Declaration, params: Declaration | None, *, has_params: bool) -> Environment:
    base = admission_environment(params=has_params, authorizer=True)
    variables = {**base.variables, "object": declared.type, "oldObject": declared.type}
    if has_params and params is not None:
        variables["params"] = params.type
    structs = structs_of(*(each for each in (declared, params) if each is not None))

    def find(name: str) -> Struct | None:
        return structs.get(name) or base.find_struct(name)

    return Environment(variables, base.functions, base.macros, find)


def _with_variables(environment: Environment, variables: Any) -> Environment:
    """Each variable is known to those after it, and to the validations; one that does not compile is anything."""
    fields: dict[str, Field] = {}

    def find(name: str) -> Struct | None:
        return Struct(fields) if name == VARIABLES else environment.find_struct(name)

    made = Environment(
        {**environment.variables, "variables": types.struct_of(VARIABLES)}, environment.functions,
        environment.macros, find,
    )  # fmt: skip
    for variable in variables:
        fields[variable["name"]] = Field(variable_type(_result(variable.get("expression") or "", made)))
    return made


def _result(text: str, environment: Environment) -> Type | None:
    try:
        return compile_expression(text, environment, keep=False).result
    except (CompileError, Unusable):
        return None


def _problem(text: str, environment: Environment) -> str:
    try:
        compile_expression(text, environment, keep=False)
    except CompileError as exc:
        return str(exc)
    except Unusable:
        pass  # whether it can be evaluated is asked when the policy is written
    return ""
