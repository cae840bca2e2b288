"""Admission policies: what may be written, or how it is changed, as CEL expressions.

Source: kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy and mutating-admission-policy.
That the writer may read the kind of the parameters is asked by whoever serves these kinds, not here.
"""

from __future__ import annotations

import re

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, duplicate, invalid, not_supported, required
from timonel.api.kinds.admission.expressions import PolicyExpressions, Yields
from timonel.api.kinds.admission.matching import (
    FAILURE_POLICIES,
    REINVOCATION_POLICIES,
    check_match_conditions,
    check_match_resources,
    default_match_resources,
    name_warnings,
)
from timonel.api.kinds.columns import AGE, NAME, UNSET, plain
from timonel.api.kinds.conditions import check_conditions
from timonel.api.kinds.rules import Errors, check_choice, check_option, check_qualified_name
from timonel.api.kinds.subresources import STATUS
from timonel.api.names import validate_dns1035_label, validate_dns1123_subdomain
from timonel.api.objects import Object, get_path
from timonel.api.resource import Column, Resource, Strategy

_SPEC = Path("spec")
_STATUS = Path("status")
_MOST_ANNOTATIONS = 20
_EXPRESSION_LIMIT = 5 * 1024  # of an audit annotation's value, in bytes
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_MUTATING_OPERATIONS = ("*", "CONNECT", "CREATE", "UPDATE")
_PATCHES = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
_identifier_match = re.compile("[_a-zA-Z][_a-zA-Z0-9]*").fullmatch
_RESERVED = frozenset(
    """
    true false null in as break const continue else for function if import let loop package namespace return var void
    while
    """.split()  # noqa: SIM905
)


class _PolicyStrategy(Strategy):
    allow_unconditional_update = False
    _always_composed = False  # expressions can name `variables` though there are none

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("failurePolicy", "Fail")
        default_match_resources(spec.get("matchConstraints"))

    def validate_create(self, obj: Object) -> list[FieldError]:
        return self._findings(obj, None)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return self._findings(new, old)

    def _findings(self, obj: Object, old: Object | None) -> Errors:
        errors: Errors = []
        spec = obj.get("spec") or {}
        params = spec.get("paramKind") is not None
        check_option(errors, _SPEC / "failurePolicy", spec.get("failurePolicy"), FAILURE_POLICIES)
        if spec.get("paramKind") is not None:
            _check_param_kind(errors, _SPEC / "paramKind", spec["paramKind"])
        constraints, here = spec.get("matchConstraints"), _SPEC / "matchConstraints"
        if constraints is None:
            errors.append(required(here))
        else:
            check_match_resources(errors, here, constraints)
            if not constraints.get("resourceRules"):
                errors.append(required(here / "resourceRules"))
        self._check_operations(errors, constraints or {})
        if old is None or _conditions(old["spec"]) != _conditions(spec):
            check_match_conditions(errors, _SPEC / "matchConditions", spec.get("matchConditions") or [], params=params)
        expressions = PolicyExpressions(params=params, composed=self._always_composed or bool(spec.get("variables")))
        for index, variable in enumerate(spec.get("variables") or ()):
            _check_variable(errors, (_SPEC / "variables")[index], variable, expressions)
        self._check_body(errors, obj, spec, expressions)
        return errors

    def _check_operations(self, errors: Errors, constraints: Object) -> None:
        """What the policy cannot act on."""

    def _check_body(self, errors: Errors, obj: Object, spec: Object, expressions: PolicyExpressions) -> None:
        """The expressions that make up the policy."""

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        return name_warnings(obj)


class ValidatingPolicyStrategy(_PolicyStrategy):
    status_carries = ()

    def _check_body(self, errors: Errors, obj: Object, spec: Object, expressions: PolicyExpressions) -> None:
        validations, annotations = spec.get("validations") or [], spec.get("auditAnnotations") or []
        if not validations and not annotations:
            why = "validations or auditAnnotations must contain at least one item"
            errors += [required(_SPEC / field, why) for field in ("validations", "auditAnnotations")]
            return
        for index, validation in enumerate(validations):
            _check_validation(errors, (_SPEC / "validations")[index], validation, expressions)
        path = _SPEC / "auditAnnotations"
        if len(annotations) > _MOST_ANNOTATIONS:
            why = f"must not have more than {_MOST_ANNOTATIONS} auditAnnotations"
            errors.append(invalid(path, annotations, why))
        seen: set[str] = set()
        for index, annotation in enumerate(annotations):
            key = annotation.get("key") or ""
            _check_annotation(errors, path[index], annotation, obj["metadata"].get("name") or "", expressions)
            if key in seen:
                errors.append(duplicate(path[index] / "key", key))
            seen.add(key)

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        path = _STATUS / "typeChecking" / "expressionWarnings"
        for index, warning in enumerate(get_path(new, "status", "typeChecking", "expressionWarnings", default=[])):
            for field in ("warning", "fieldRef"):
                if not (warning.get(field) or "").strip():
                    errors.append(required(path[index] / field))
        check_conditions(errors, _STATUS / "conditions", get_path(new, "status", "conditions"))
        return errors


class MutatingPolicyStrategy(_PolicyStrategy):
    _always_composed = True

    def _check_operations(self, errors: Errors, constraints: Object) -> None:
        path = _SPEC / "matchConstraints" / "resourceRules" / "operations"
        for rule in constraints.get("resourceRules") or ():
            for operation in rule.get("operations") or ():
                if operation not in _MUTATING_OPERATIONS:
                    errors.append(not_supported(path, operation, _MUTATING_OPERATIONS))

    def _check_body(self, errors: Errors, obj: Object, spec: Object, expressions: PolicyExpressions) -> None:
        mutations = spec.get("mutations") or []
        if not mutations:
            errors.append(required(_SPEC / "mutations", "mutations must contain at least one item"))
        for index, mutation in enumerate(mutations):
            _check_mutation(errors, (_SPEC / "mutations")[index], mutation, expressions)
        policy = spec.get("reinvocationPolicy")
        check_choice(errors, _SPEC / "reinvocationPolicy", policy, REINVOCATION_POLICIES)


def _check_param_kind(errors: Errors, path: Path, kind: Object) -> None:
    api_version, name = kind.get("apiVersion") or "", kind.get("kind") or ""
    here = path / "apiVersion"
    if not api_version:
        errors.append(required(here))
    elif api_version.count("/") > 1:
        errors.append(invalid(here, api_version, f"unexpected GroupVersion string: {api_version}"))
    else:
        group, _, version = api_version.rpartition("/")
        if group and (found := validate_dns1123_subdomain(group)):
            errors.append(invalid(here, group, ",".join(found)))
        if not version:
            errors.append(invalid(here, api_version, "version must be specified"))
        elif found := validate_dns1035_label(version):
            errors.append(invalid(here, version, ",".join(found)))
    if not name:
        errors.append(required(path / "kind"))
    elif found := validate_dns1035_label(name.lower()):
        why = f"may have mixed case, but should otherwise match: {','.join(found)}"
        errors.append(invalid(path / "kind", name, why))


def _conditions(spec: Object) -> tuple[Object | None, list[Object]]:
    """Match conditions, and what they can name."""
    return spec.get("paramKind"), spec.get("matchConditions") or []


def _check_variable(errors: Errors, path: Path, variable: Object, expressions: PolicyExpressions) -> None:
    name = variable.get("name") or ""
    if not name.strip():
        errors.append(required(path / "name", "name is not specified"))
    elif not _identifier_match(name) or name in _RESERVED:
        errors.append(invalid(path / "name", name, "must be a valid CEL identifier"))
    text = variable.get("expression") or ""
    if text.strip():
        expressions.add_variable(errors, path / "expression", name, text)
    else:
        errors.append(required(path / "expression", "expression is not specified"))


def _check_validation(errors: Errors, path: Path, validation: Object, expressions: PolicyExpressions) -> None:
    text = validation.get("expression") or ""
    if text.strip():
        expressions.check(errors, path / "expression", text, "bool")
    else:
        errors.append(required(path / "expression", "expression is not specified"))
    for field in ("messageExpression", "message"):
        text = validation.get(field) or ""
        if text and not text.strip():
            errors.append(invalid(path / field, text, "must be non-empty if specified"))
        elif text and field == "messageExpression":
            expressions.check(errors, path / field, text, "string", authorizer=False)
    message = validation.get("message") or ""
    if "\n" in message.strip() or "\r" in message.strip():
        errors.append(invalid(path / "message", message, "must not contain line breaks"))
    check_option(errors, path / "reason", validation.get("reason"), _REASONS)


def _check_annotation(
    errors: Errors, path: Path, annotation: Object, policy: str, expressions: PolicyExpressions
) -> None:
    key, expression = annotation.get("key") or "", (annotation.get("valueExpression") or "").strip()
    if policy:
        check_qualified_name(errors, path / "key", f"{policy}/{key}")
    else:
        errors.append(invalid(path / "key", key, "requires metadata.name be non-empty"))
    if not expression:
        errors.append(required(path / "valueExpression", "valueExpression is not specified"))
    elif len(expression.encode()) > _EXPRESSION_LIMIT:
        why = f"must not exceed {_EXPRESSION_LIMIT} bytes in length"
        errors.append(required(path / "valueExpression", why))
    else:
        expressions.check(errors, path / "valueExpression", expression, "string or null")


def _check_mutation(errors: Errors, path: Path, mutation: Object, expressions: PolicyExpressions) -> None:
    kind = mutation.get("patchType")
    check_choice(errors, path / "patchType", kind, _PATCHES)
    if kind not in _PATCHES:
        return
    for other, field in _PATCHES.items():
        patch = mutation.get(field)
        if other != kind and patch is not None:
            why = f"must not be specified when patchType is {kind}"
            errors.append(invalid(path / field, f"{{{field}}}", why))
        elif other == kind and patch is None:
            errors.append(required(path / field, f"must be specified when patchType is {kind}"))
        elif other == kind:
            text = ((patch or {}).get("expression") or "").strip()
            if text:
                yields: Yields = "object" if field == "applyConfiguration" else "patches"
                expressions.check(errors, path / field / "expression", text, yields, patches=True)
            else:
                errors.append(required(path / field / "expression"))


def _param_kind(policy: Object) -> str:
    kind = get_path(policy, "spec", "paramKind")
    return UNSET if kind is None else f"{kind.get('apiVersion') or ''}/{kind.get('kind') or ''}"


def _columns(counted: str, field: str) -> tuple[Column, ...]:
    def count(policy: Object) -> int:
        return len(get_path(policy, "spec", field, default=()))

    return (
        NAME,
        Column(counted, plain(count), type="integer", description="Number of its rules."),
        Column("ParamKind", plain(_param_kind), description="Kind of its parameters."),
        AGE,
    )


VALIDATING_ADMISSION_POLICIES = Resource(
    ref=refs.VALIDATING_ADMISSION_POLICIES,
    definition="io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy",
    singular="validatingadmissionpolicy",
    categories=("api-extensions",),
    subresources=(STATUS,),
    strategy=ValidatingPolicyStrategy(),
    columns=_columns("Validations", "validations"),
    storage_prefix="/registry/validatingadmissionpolicies/",
    has_status=True,
)

MUTATING_ADMISSION_POLICIES = Resource(
    ref=refs.MUTATING_ADMISSION_POLICIES,
    definition="io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicy",
    singular="mutatingadmissionpolicy",
    categories=("api-extensions",),
    strategy=MutatingPolicyStrategy(),
    columns=_columns("Mutations", "mutations"),
    storage_prefix="/registry/mutatingadmissionpolicies/",
)
