"""Questions to the authoriser, built up step by step: authorizer.group('apps').resource('deployments').check('get').

Who evaluates an expression gives the authoriser as a variable, with the function that answers.
Source: kubernetes.io/docs/reference/using-api/cel/#kubernetes-authorizer-library
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from timonel.api.cel.issues import EvaluationError
from timonel.api.cel.overloads import Overload, declare
from timonel.api.cel.types import Type, struct_of
from timonel.api.cel.values import Opaque

AUTHORIZER = struct_of("kubernetes.authorization.Authorizer")
PATH_CHECK = struct_of("kubernetes.authorization.PathCheck")
GROUP_CHECK = struct_of("kubernetes.authorization.GroupCheck")
RESOURCE_CHECK = struct_of("kubernetes.authorization.ResourceCheck")
DECISION = struct_of("kubernetes.authorization.Decision")


@dataclass(frozen=True, slots=True)
class Decision(Opaque):
    allowed: bool
    reason: str = ""
    error: str = ""
    cel_type: Type = DECISION


@dataclass(frozen=True, slots=True)
class Question:
    """Of a path, or else of a resource."""

    verb: str
    service_account: tuple[str, str] = ("", "")  # namespace and name of who is asked about; "" of the request's user
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""


Ask = Callable[[Question], Decision]


@dataclass(frozen=True, slots=True)
class Authorizer(Opaque):
    ask: Ask
    question: Question = Question("")
    cel_type: Type = AUTHORIZER


def resource_check(
    ask: Ask, group: str, resource: str, subresource: str = "", namespace: str = "", name: str = ""
) -> Authorizer:
    """The variable authorizer.requestResource."""
    question = Question("", group=group, resource=resource, subresource=subresource, namespace=namespace, name=name)
    return Authorizer(ask, question, RESOURCE_CHECK)


def _step(cel_type: Type, *fields: str) -> Callable[..., Authorizer]:
    """Of a question one part more."""

    def run(authorizer: Authorizer, *values: str) -> Authorizer:
        parts: dict[str, Any] = dict(zip(fields, values, strict=True))
        question = replace(authorizer.question, **parts)
        return Authorizer(authorizer.ask, question, cel_type)

    return run


def _path(authorizer: Authorizer, path: str) -> Authorizer:
    if not path:
        raise EvaluationError("path must not be empty")
    return Authorizer(authorizer.ask, replace(authorizer.question, path=path), PATH_CHECK)


def _service_account(authorizer: Authorizer, namespace: str, name: str) -> Authorizer:
    return Authorizer(authorizer.ask, replace(authorizer.question, service_account=(namespace, name)), AUTHORIZER)


def _check(authorizer: Authorizer, verb: str) -> Decision:
    return authorizer.ask(replace(authorizer.question, verb=verb))


_A = "kubernetes.authorization.Authorizer"
_P = "kubernetes.authorization.PathCheck"
_G = "kubernetes.authorization.GroupCheck"
_R = "kubernetes.authorization.ResourceCheck"
_D = "kubernetes.authorization.Decision"

AUTHORIZATION: tuple[Overload, ...] = (
    declare("authorizer_path", "path", f"{_A}.(string) -> {_P}", _path),
    declare("authorizer_group", "group", f"{_A}.(string) -> {_G}", _step(GROUP_CHECK, "group")),
    declare("authorizer_serviceaccount", "serviceAccount", f"{_A}.(string, string) -> {_A}", _service_account),
    declare("groupcheck_resource", "resource", f"{_G}.(string) -> {_R}", _step(RESOURCE_CHECK, "resource")),
    declare("resourcecheck_subresource", "subresource", f"{_R}.(string) -> {_R}", _step(RESOURCE_CHECK, "subresource")),
    declare("resourcecheck_namespace", "namespace", f"{_R}.(string) -> {_R}", _step(RESOURCE_CHECK, "namespace")),
    declare("resourcecheck_name", "name", f"{_R}.(string) -> {_R}", _step(RESOURCE_CHECK, "name")),
    declare("pathcheck_check", "check", f"{_P}.(string) -> {_D}", _check),
    declare("resourcecheck_check", "check", f"{_R}.(string) -> {_D}", _check),
    declare("decision_errored", "errored", f"{_D}.() -> bool", lambda decision: bool(decision.error)),
    declare("decision_error", "error", f"{_D}.() -> string", lambda decision: decision.error),
    declare("decision_allowed", "allowed", f"{_D}.() -> bool", lambda decision: decision.allowed),
    declare("decision_reason", "reason", f"{_D}.() -> string", lambda decision: decision.reason),
    declare(
        "authorizer_fieldselector", "fieldSelector", f"{_R}.(string) -> {_R}", _step(RESOURCE_CHECK, "field_selector")
    ),
    declare(
        "authorizer_labelselector", "labelSelector", f"{_R}.(string) -> {_R}", _step(RESOURCE_CHECK, "label_selector")
    ),
)  # fmt: skip
