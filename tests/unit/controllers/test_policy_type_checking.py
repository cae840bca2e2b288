"""Expressions of policies against the schemas of what they match.

Source: kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/#type-checking
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from tests.unit.controllers.loops import running
from timonel.api.objects import Object
from timonel.api.refs import VALIDATING_ADMISSION_POLICIES
from timonel.client.informer import Informers
from timonel.controllers.admissionpolicies import PolicyStatusController
from timonel.controllers.admissionpolicies.type_checking import (
    GroupVersionKind,
    GroupVersionResource,
    check_policy,
    declare_kind,
    kinds_to_check,
    param_kind,
)
from timonel.testing.clock import VirtualClock, settle
from timonel.testing.fake_client import FakeClient

DEPLOYMENT = GroupVersionKind("apps", "v1", "Deployment")
JOB = GroupVersionKind("apps", "v1", "Other")


def referred(name: str) -> Object:
    return {"allOf": [{"$ref": f"#/components/schemas/{name}"}], "default": {}, "description": "d"}


def of_kind(kind: str) -> list[Object]:
    return [{"group": "apps", "version": "v1", "kind": kind}]


DOCUMENT: Object = {
    "components": {
        "schemas": {
            "Deployment": {
                "type": "object",
                "x-kubernetes-group-version-kind": of_kind("Deployment"),
                "properties": {
                    "kind": {"type": "string"},
                    "apiVersion": {"type": "string"},
                    "metadata": referred("Meta"),
                    "spec": referred("Spec"),
                },
            },
            "Meta": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "generateName": {"type": "string"},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            },
            "Spec": {
                "type": "object",
                "properties": {
                    "replicas": {"type": "integer"},
                    "port": {"$ref": "#/components/schemas/IntOrString"},
                    "children": {"type": "array", "items": {"$ref": "#/components/schemas/Spec"}},
                },
            },
            "IntOrString": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
            "Other": {
                "type": "object",
                "x-kubernetes-group-version-kind": of_kind("Other"),
                "properties": {"spec": {"type": "object", "properties": {"size": {"type": "string"}}}},
            },
        }
    }
}


def rule(groups: Any = ("apps",), versions: Any = ("v1",), resources: Any = ("deployments",)) -> Object:
    return {"apiGroups": list(groups), "apiVersions": list(versions), "resources": list(resources)}


def policy(*expressions: str, rules: Any = (rule(),), **spec: Any) -> Object:
    return {
        "kind": "ValidatingAdmissionPolicy",
        "apiVersion": "admissionregistration.k8s.io/v1",
        "metadata": {"name": "p", "generation": 1},
        "spec": {
            "matchConstraints": {"resourceRules": list(rules)},
            "validations": [{"expression": text} for text in expressions],
            **spec,
        },
    }


def warnings(given: Object, *kinds: GroupVersionKind) -> list[str]:
    declared = {kind: found for kind in kinds or (DEPLOYMENT,) if (found := declare_kind(DOCUMENT, kind)) is not None}
    params = param_kind(given)
    return [
        each["warning"] for each in check_policy(given, declared, declare_kind(DOCUMENT, params) if params else None)
    ]


def test_the_example_of_the_documentation() -> None:
    declared = declare_kind(DOCUMENT, DEPLOYMENT)
    assert declared is not None
    assert check_policy(policy("object.replicas > 1"), {DEPLOYMENT: declared}, None) == [
        {
            "fieldRef": "spec.validations[0].expression",
            "warning": "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'\n"
            " | object.replicas > 1\n"
            " | ......^\n",
        }
    ]


@pytest.mark.parametrize(
    "expression",
    [
        "object.spec.replicas > 1",
        "object.spec.replicas > 1 && oldObject.spec.replicas > 1",
        "object.metadata.labels['a'] == 'b'",
        "object.metadata.name.startsWith('x')",
        "type(object.spec.port) == int ? object.spec.port > 1 : true",
        "request.operation == 'CREATE'",
        "namespaceObject.metadata.name == 'x'",
        "authorizer.group('').resource('pods').check('get').allowed()",
        "variables.few > 1",
    ],
)
def test_what_fits(expression: str) -> None:
    given = policy(expression, variables=[{"name": "few", "expression": "object.spec.replicas"}])
    assert warnings(given) == []


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("object.spec.replicas == 'a'", "found no matching overload for '_==_' applied to '(int, string)'"),
        # Of what stands in a circle of a schema nothing is known.
        ("object.spec.children.all(c, c.replicas > 1)", "undefined field 'replicas'"),
        ("object.status.x", "undefined field 'status'"),
        ("oldObject.spec.nothing == 1", "undefined field 'nothing'"),
        ("params.spec.size > 1", "found no matching overload for '_>_' applied to '(string, int)'"),
        ("params.spec.nothing", "undefined field 'nothing'"),
        ("variables.few.startsWith('a')", "found no matching overload for 'startsWith' applied to 'int.(string)'"),
        ("variables.none", "undefined field 'none'"),
    ],
)
def test_what_does_not(expression: str, problem: str) -> None:
    given = policy(
        expression,
        variables=[
            {"name": "few", "expression": "object.spec.replicas"},
            {"name": "broken", "expression": "object.none"},
        ],
        paramKind={"apiVersion": "apps/v1", "kind": "Other"},
    )
    (found,) = warnings(given)
    assert problem in found


def test_a_variable_that_does_not_compile_is_anything() -> None:
    assert warnings(policy("variables.broken > 1", variables=[{"name": "broken", "expression": "object.none"}])) == []


def test_params_without_a_schema_are_anything() -> None:
    assert warnings(policy("params.a.b > 1", paramKind={"apiVersion": "x.io/v1", "kind": "Gone"})) == []


def test_messages_are_checked_too_and_each_kind_is_told() -> None:
    given = policy()
    given["spec"]["validations"] = [{"expression": "true", "messageExpression": "object.spec.none"}]
    declared = {kind: declare_kind(DOCUMENT, kind) for kind in (DEPLOYMENT, JOB)}
    (found,) = check_policy(given, {kind: each for kind, each in declared.items() if each is not None}, None)
    assert found["fieldRef"] == "spec.validations[0].messageExpression"
    first, second = found["warning"].split("\n\n")
    assert first.startswith("apps/v1, Kind=Deployment: ERROR")
    assert second.startswith("apps/v1, Kind=Other: ERROR")


SERVED = {
    GroupVersionResource("apps", "v1", "deployments"): "Deployment",
    GroupVersionResource("apps", "v1", "replicasets"): "ReplicaSet",
    GroupVersionResource("", "v1", "pods"): "Pod",
}


@pytest.mark.parametrize(
    ("rules", "kinds"),
    [
        ([rule()], ["apps/v1, Kind=Deployment"]),
        ([rule(resources=["replicasets", "deployments"]), rule([""], resources=["pods"])],
         ["/v1, Kind=Pod", "apps/v1, Kind=Deployment", "apps/v1, Kind=ReplicaSet"]),
        ([rule(["*"]), rule(versions=["*"]), rule(resources=["*", "deployments/scale", "*/*"])], []),
        ([rule(["x.io"])], []),
    ],
)  # fmt: skip
def test_which_kinds_are_checked(rules: list[Object], kinds: list[str]) -> None:
    assert [str(kind) for kind in kinds_to_check(policy(rules=rules), SERVED)] == kinds


def test_ten_kinds_are_enough() -> None:
    names = [f"r{number:02}" for number in range(20)]
    served = {GroupVersionResource("apps", "v1", name): name.upper() for name in names}
    assert len(kinds_to_check(policy(rules=[rule(resources=names), rule(resources=names)]), served)) == 10


class Server(FakeClient):
    async def raw(self, method: str, path: str, **options: Any) -> Any:
        documents = {
            "/apis/apps/v1": {"resources": [{"name": "deployments", "kind": "Deployment"}]},
            "/openapi/v3/apis/apps/v1": DOCUMENT,
        }
        return (200, {}, orjson.dumps(documents[path])) if path in documents else (404, {}, b"")


async def status_after(given: Object) -> tuple[Any, int]:
    clock = VirtualClock()
    client = Server(given, clock=clock)
    async with running(PolicyStatusController(client=client, informers=Informers(client, clock=clock), clock=clock)):
        for _ in range(200):
            if client.writes:
                break
            await asyncio.to_thread(int)  # behind the check, which is in a thread as well
            await settle()
        await clock.advance(60)
    return client.objects(VALIDATING_ADMISSION_POLICIES)[0].get("status"), len(client.writes)


async def test_the_status_says_which_generation_was_checked() -> None:
    status, writes = await status_after(policy("object.spec.replicas > 1"))
    assert (status, writes) == ({"observedGeneration": 1, "typeChecking": {}}, 1)


async def test_warnings_are_in_the_status() -> None:
    status, _ = await status_after(policy("object.replicas > 1"))
    (warning,) = status["typeChecking"]["expressionWarnings"]
    assert "undefined field 'replicas'" in warning["warning"]


async def test_what_is_not_served_is_not_checked() -> None:
    status, _ = await status_after(policy("object.replicas > 1", rules=[rule(["x.io"])]))
    assert status == {"observedGeneration": 1, "typeChecking": {}}
