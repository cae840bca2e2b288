"""Expressions of policies as KEP-3488 and the documentation have them, evaluated."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api.cel import types
from timonel.api.cel.admission import (
    JSON_PATCHES,
    OBJECT,
    PolicyVariables,
    admission_environment,
    policy_environment,
    variable_type,
)
from timonel.api.cel.issues import CostExceeded, EvaluationError
from timonel.api.cel.library.authorization import Authorizer, Decision, Question, resource_check
from timonel.api.cel.program import compile_expression

_DEPLOYMENT: dict[str, Any] = {
    "metadata": {"name": "web", "namespace": "shop", "labels": {"env": "prod"}},
    "spec": {
        "replicas": 5,
        "template": {"spec": {"containers": [{"name": "a", "image": "good.io/a"}, {"name": "b", "image": "bad.io/b"}]}},
    },
}
_REQUEST = {"operation": "UPDATE", "userInfo": {"username": "alice", "groups": ["dev"]}, "namespace": "shop"}


def evaluate(text: str, **more: Any) -> Any:
    environment = admission_environment(params="params" in more, authorizer=True, patches="patches" in more)
    variables = {"object": _DEPLOYMENT, "oldObject": None, "request": _REQUEST, **more}
    return compile_expression(text, environment).evaluate(variables)[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("object.spec.replicas <= 5", True),
        ("object.spec.replicas <= params.maxReplicas", False),
        ("!has(object.metadata.annotations) || size(object.metadata.annotations) < 3", True),
        ("object.metadata.labels.exists(key, key == 'env' && object.metadata.labels[key] == 'prod')", True),
        ("object.spec.template.spec.containers.all(c, c.image.startsWith('good.io/'))", False),
        ("object.spec.template.spec.containers.map(c, c.name).join(',')", "a,b"),
        ("'dev' in request.userInfo.groups && request.operation == 'UPDATE'", True),
        ("oldObject == null ? 'new' : 'changed'", "new"),
        ("has(object.spec.paused) && object.spec.paused", False),
        ("object.?spec.?paused.orValue(false)", False),
        ("'object has ' + string(object.spec.replicas) + ' replicas'", "object has 5 replicas"),
        ("request.userInfo.username.matches('^[a-z]+$')", True),
    ],
)
def test_expression(text: str, expected: object) -> None:
    assert evaluate(text, params={"maxReplicas": 3}) == expected


def test_the_authoriser_is_asked_what_was_put_together():
    asked: list[Question] = []

    def ask(question: Question) -> Decision:
        asked.append(question)
        return Decision(question.verb == "get", reason="because")

    text = "authorizer.group('apps').resource('deployments').subresource('scale').namespace('a').name('b').check('get')"
    assert evaluate(f"{text}.allowed()", authorizer=Authorizer(ask)) is True
    assert evaluate(f"{text}.reason()", authorizer=Authorizer(ask)) == "because"
    expected = Question("get", group="apps", resource="deployments", subresource="scale", namespace="a", name="b")
    assert asked == [expected, expected]
    assert (
        evaluate("authorizer.serviceAccount('a', 'b').path('/x').check('put').allowed()", authorizer=Authorizer(ask))
        is False
    )
    assert asked[-1] == Question("put", service_account=("a", "b"), path="/x")


def test_the_resource_of_the_request():
    whole = {
        "authorizer.requestResource": resource_check(
            lambda q: Decision(q.name == "web"), "apps", "deployments", name="web"
        )
    }
    program = compile_expression(
        "authorizer.requestResource.check('custom').allowed()", admission_environment(params=False, authorizer=True)
    )
    assert program.evaluate(whole)[0] is True


def test_two_checks_of_the_authoriser_are_affordable_and_three_are_not():
    variables = {"authorizer": Authorizer(lambda question: Decision(True))}
    environment = admission_environment(params=False, authorizer=True)
    check = "authorizer.path('/x').check('get').allowed()"
    assert compile_expression(f"{check} && {check}", environment).evaluate(variables)[0] is True
    with pytest.raises(CostExceeded):
        compile_expression(f"{check} && {check} && {check}", environment).evaluate(variables)


def _policy(**expressions: str) -> PolicyVariables:
    known: dict[str, types.Type] = {}
    programs = {}
    for name, text in expressions.items():
        environment = policy_environment(known, params=False, authorizer=False)
        programs[name] = compile_expression(text, environment, keep=False)
        known[name] = variable_type(programs[name].result)
    return PolicyVariables(programs, {"object": _DEPLOYMENT})


def test_variables_are_computed_when_they_are_read():
    variables = _policy(one="1", two="variables.one + 1", broken="1 / 0")
    assert variables["two"] == 2
    assert set(variables.keys()) == {"one", "two"}
    assert variables.cost > 0
    with pytest.raises(EvaluationError, match='composited variable "broken" fails to evaluate: division by zero'):
        variables["broken"]


def test_a_variable_is_computed_once():
    variables = _policy(many="object.spec.template.spec.containers.map(c, c.name)")
    assert variables["many"] == ["a", "b"]
    cost = variables.cost
    assert variables["many"] == ["a", "b"]
    assert variables.cost == cost


def test_what_mutations_make_is_plain_json():
    environment = admission_environment(params=False, authorizer=True, patches=True)
    text = "Object{spec: Object.spec{replicas: object.spec.replicas + 1}}"
    value, _ = compile_expression(text, environment, (OBJECT,)).evaluate({"object": _DEPLOYMENT})
    assert value == {"spec": {"replicas": 6}}
    text = "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b~c'), value: 'x'}]"
    value, _ = compile_expression(text, environment, (JSON_PATCHES,)).evaluate({"object": _DEPLOYMENT})
    assert value == [{"op": "add", "path": "/metadata/labels/a~1b~0c", "value": "x"}]
