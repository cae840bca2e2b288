"""Webhook configurations, admission policies and their bindings, API services."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api import refs
from timonel.api.objects import Object, copy_object
from timonel.api.refs import ResourceRef
from timonel.api.resource import Occasion

from .samples import NOW, ago, cells, changed, created, findings, status_findings, strategy, warned

RULE = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
SERVICE = {"service": {"namespace": "ns", "name": "hook"}}
HOOK = "webhooks[0]"
SPEC = "spec.matchConstraints"


def named(name: str = "x", **fields: Any) -> Object:
    return {"metadata": {"name": name, "creationTimestamp": ago(minutes=7)}, **fields}


def hooked(**fields: Any) -> Object:
    hook = {
        "name": "a.b.example", "clientConfig": SERVICE, "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "rules": [RULE], **fields,
    }  # fmt: skip
    return named(webhooks=[hook])


def ruled(**fields: Any) -> Object:
    return hooked(rules=[{**RULE, **fields}])


def policy(**spec: Any) -> Object:
    return named(
        spec={
            "matchConstraints": {"resourceRules": [RULE]}, "validations": [{"expression": "true"}], **spec,
        }
    )  # fmt: skip


def mutating(**spec: Any) -> Object:
    mutation = {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'remove', path: '/spec'}]"}}
    return named(
        spec={
            "matchConstraints": {"resourceRules": [RULE]}, "mutations": [mutation], "reinvocationPolicy": "Never",
            **spec,
        }
    )  # fmt: skip


def binding(**spec: Any) -> Object:
    return named(spec={"policyName": "p", "validationActions": ["Deny"], **spec})


def url(text: str) -> Object:
    return hooked(clientConfig={"url": text})


FORM = "; desired format: https://host[/path]"


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (hooked(), []),
        (hooked(name=""), [f"{HOOK}.name: Required value"]),
        (
            hooked(name="a.b"),
            [f'{HOOK}.name: Invalid value: "a.b": should be a domain with at least three segments separated by dots'],
        ),
        (
            hooked(sideEffects=None, admissionReviewVersions=[]),
            [
                f"{HOOK}.sideEffects: Required value: must specify one of None, NoneOnDryRun",
                f"{HOOK}.admissionReviewVersions: Required value: must specify one of v1, v1beta1",
            ],
        ),
        (
            hooked(sideEffects="Some", admissionReviewVersions=["v9", "v9"]),
            [
                f'{HOOK}.sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"',
                f'{HOOK}.admissionReviewVersions[1]: Invalid value: "v9": duplicate version',
                f'{HOOK}.admissionReviewVersions: Invalid value: ["v9","v9"]: must include at least one of v1, v1beta1',
            ],
        ),
        (
            hooked(failurePolicy="Retry", matchPolicy="Near", timeoutSeconds=31),
            [
                f'{HOOK}.failurePolicy: Unsupported value: "Retry": supported values: "Fail", "Ignore"',
                f'{HOOK}.matchPolicy: Unsupported value: "Near": supported values: "Equivalent", "Exact"',
                f"{HOOK}.timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
            ],
        ),
        (hooked(clientConfig={}),
         [f"{HOOK}.clientConfig: Required value: exactly one of url or service is required"]),
        (url("https://hook.example/path"), []),
        (
            url("http://ann@hook.example/?a=b#c"),
            [
                f"{HOOK}.clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme{FORM}",
                f'{HOOK}.clientConfig.url: Invalid value: "ann": user information is not permitted in the URL',
                f'{HOOK}.clientConfig.url: Invalid value: "c": fragments are not permitted in the URL',
                f'{HOOK}.clientConfig.url: Invalid value: "a=b": query parameters are not permitted in the URL',
            ],
        ),
        (url("https:///path"), [f'{HOOK}.clientConfig.url: Invalid value: "": host must be specified{FORM}']),
        (
            hooked(clientConfig={"service": {"namespace": "ns", "name": "hook", "port": 0, "path": "a//b"}}),
            [
                f"{HOOK}.clientConfig.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, "
                "inclusive",
                f"{HOOK}.clientConfig.service.path: Invalid value: \"a//b\": must start with a '/'",
                f'{HOOK}.clientConfig.service.path: Invalid value: "a//b": segment[0] may not be empty',
                f'{HOOK}.clientConfig.service.path: Invalid value: "a//b": segment[1] may not be empty',
            ],
        ),
        (
            ruled(operations=["*", "READ"], apiGroups=[], apiVersions=["*", ""], scope="Galaxy"),
            [
                f'{HOOK}.rules[0].operations: Invalid value: ["*","READ"]: if \'*\' is present, must not specify '
                "other operations",
                f'{HOOK}.rules[0].operations[1]: Unsupported value: "READ": supported values: "*", "CONNECT", '
                '"CREATE", "DELETE", "UPDATE"',
                f"{HOOK}.rules[0].apiGroups: Required value",
                f'{HOOK}.rules[0].apiVersions: Invalid value: ["*",""]: if \'*\' is present, must not specify '
                "other API versions",
                f"{HOOK}.rules[0].apiVersions[1]: Required value",
                f'{HOOK}.rules[0].scope: Unsupported value: "Galaxy": supported values: "*", "Cluster", "Namespaced"',
            ],
        ),
        (ruled(resources=["*", "pods/log"]), []),
        (
            ruled(resources=["*", "pods"]),
            [
                f'{HOOK}.rules[0].resources: Invalid value: ["*","pods"]: if \'*\' is present, must not specify other '
                "resources without subresources"
            ],
        ),
        (
            ruled(resources=["pods/*", "pods/log"]),
            [
                f"{HOOK}.rules[0].resources[1]: Invalid value: \"pods/log\": if 'pods/*' is present, must not specify "
                "pods/log"
            ],
        ),
        (
            hooked(matchConditions=[{"name": "a", "expression": "true"}, {"name": "a"}, {"expression": "true"}]),
            [
                f"{HOOK}.matchConditions[1].expression: Required value",
                f'{HOOK}.matchConditions[1].name: Duplicate value: "a"',
                f"{HOOK}.matchConditions[2].name: Required value",
            ],
        ),
        (
            hooked(matchConditions=[{"name": f"n{number}", "expression": "true"} for number in range(65)]),
            [f"{HOOK}.matchConditions: Too many: 65: must have at most 64 items"],
        ),
    ],
)  # fmt: skip
def test_webhook_rules(obj: Object, expected: list[str]) -> None:
    obj["webhooks"][0] = {field: value for field, value in obj["webhooks"][0].items() if value is not None}
    assert findings(refs.VALIDATING_WEBHOOK_CONFIGURATIONS, obj) == expected
    assert findings(refs.MUTATING_WEBHOOK_CONFIGURATIONS, obj) == expected


def test_webhook_names_are_unique() -> None:
    obj = hooked()
    obj["webhooks"] *= 2
    assert findings(refs.MUTATING_WEBHOOK_CONFIGURATIONS, obj) == ['webhooks[1].name: Duplicate value: "a.b.example"']


def test_webhook_defaults() -> None:
    hook = created(refs.MUTATING_WEBHOOK_CONFIGURATIONS, hooked())["webhooks"][0]
    assert hook["clientConfig"]["service"]["port"] == 443
    assert hook["rules"][0]["scope"] == "*"
    filled = {field: hook[field] for field in ("failurePolicy", "matchPolicy", "timeoutSeconds", "reinvocationPolicy")}
    assert filled == {
        "failurePolicy": "Fail", "matchPolicy": "Equivalent", "timeoutSeconds": 10, "reinvocationPolicy": "Never",
    }  # fmt: skip
    assert (hook["namespaceSelector"], hook["objectSelector"]) == ({}, {})
    hook = created(refs.VALIDATING_WEBHOOK_CONFIGURATIONS, hooked())["webhooks"][0]
    assert "reinvocationPolicy" not in hook


NO_ITEMS = "Required value: validations or auditAnnotations must contain at least one item"


@pytest.mark.parametrize(
    ("ref", "obj", "expected"),
    [
        (refs.VALIDATING_ADMISSION_POLICIES, policy(), []),
        (
            refs.VALIDATING_ADMISSION_POLICIES,
            policy(matchConstraints={}, failurePolicy="Maybe"),
            [
                'spec.failurePolicy: Unsupported value: "Maybe": supported values: "Fail", "Ignore"',
                "spec.matchConstraints.resourceRules: Required value",
            ],
        ),
        (refs.VALIDATING_ADMISSION_POLICIES, named(spec={"validations": [{"expression": "true"}]}),
         ["spec.matchConstraints: Required value"]),
        (refs.VALIDATING_ADMISSION_POLICIES, policy(validations=[]),
         [f"spec.validations: {NO_ITEMS}", f"spec.auditAnnotations: {NO_ITEMS}"]),
        (
            refs.VALIDATING_ADMISSION_POLICIES,
            policy(
                validations=[{"expression": " ", "message": "a\nb", "messageExpression": " ", "reason": "Odd"}],
                variables=[{"name": "in", "expression": "1"}, {"expression": ""}],
            ),
            [
                'spec.variables[0].name: Invalid value: "in": must be a valid CEL identifier',
                "spec.variables[1].name: Required value: name is not specified",
                "spec.variables[1].expression: Required value: expression is not specified",
                "spec.validations[0].expression: Required value: expression is not specified",
                'spec.validations[0].messageExpression: Invalid value: " ": must be non-empty if specified',
                'spec.validations[0].message: Invalid value: "a\\nb": must not contain line breaks',
                'spec.validations[0].reason: Unsupported value: "Odd": supported values: "Forbidden", "Invalid", '
                '"RequestEntityTooLarge"',
            ],
        ),
        (
            refs.VALIDATING_ADMISSION_POLICIES,
            policy(auditAnnotations=[
                {"key": "a", "valueExpression": "'x'"}, {"key": "a", "valueExpression": "x" * 5121},
            ]),
            [
                "spec.auditAnnotations[1].valueExpression: Required value: must not exceed 5120 bytes in length",
                'spec.auditAnnotations[1].key: Duplicate value: "a"',
            ],
        ),
        (
            refs.VALIDATING_ADMISSION_POLICIES,
            policy(paramKind={"apiVersion": "a/b/c"}),
            [
                'spec.paramKind.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c',
                "spec.paramKind.kind: Required value",
            ],
        ),
        (refs.MUTATING_ADMISSION_POLICIES, mutating(), []),
        (
            refs.MUTATING_ADMISSION_POLICIES,
            mutating(
                matchConstraints={"resourceRules": [{**RULE, "operations": ["DELETE"]}]}, mutations=[],
                reinvocationPolicy="",
            ),
            [
                'spec.matchConstraints.resourceRules.operations: Unsupported value: "DELETE": supported values: "*", '
                '"CONNECT", "CREATE", "UPDATE"',
                "spec.mutations: Required value: mutations must contain at least one item",
                "spec.reinvocationPolicy: Required value",
            ],
        ),
        (
            refs.MUTATING_ADMISSION_POLICIES,
            mutating(mutations=[{"patchType": "JSONPatch", "applyConfiguration": {"expression": "x"}}, {}]),
            [
                'spec.mutations[0].applyConfiguration: Invalid value: "{applyConfiguration}": must not be specified '
                "when patchType is JSONPatch",
                "spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch",
                "spec.mutations[1].patchType: Required value",
            ],
        ),
        (refs.VALIDATING_ADMISSION_POLICY_BINDINGS, binding(), []),
        (
            refs.VALIDATING_ADMISSION_POLICY_BINDINGS,
            binding(policyName="", validationActions=["Deny", "Warn", "Deny"], paramRef={}),
            [
                "spec.policyName: Required value",
                "spec.paramRef: Required value: one of name or selector must be specified",
                "spec.paramRef.parameterNotFoundAction: Required value",
                'spec.validationActions[2]: Duplicate value: "Deny"',
                'spec.validationActions: Invalid value: ["Deny","Warn","Deny"]: must not contain both Deny and Warn '
                "(repeating the same validation failure information in the API response and headers serves no purpose)",
            ],
        ),
        (
            refs.VALIDATING_ADMISSION_POLICY_BINDINGS,
            binding(validationActions=[]),
            ["spec.validationActions: Required value: at least one validation action is required"],
        ),
        (
            refs.MUTATING_ADMISSION_POLICY_BINDINGS,
            named(spec={"policyName": "p", "paramRef": {
                "name": "a", "selector": {}, "parameterNotFoundAction": "Shrug",
            }}),
            [
                "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
                "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
                'spec.paramRef.parameterNotFoundAction: Unsupported value: "Shrug": supported values: "Deny", "Allow"',
            ],
        ),
    ],
    ids=lambda value: value.kind if isinstance(value, ResourceRef) else "",
)  # fmt: skip
def test_policy_rules(ref: ResourceRef, obj: Object, expected: list[str]) -> None:
    assert findings(ref, obj) == expected


def test_policy_status() -> None:
    change = changed(
        "status",
        to={
            "typeChecking": {"expressionWarnings": [{"fieldRef": "spec.validations[0]"}]},
            "conditions": [{"type": "A"}],
        },
    )
    old = created(refs.VALIDATING_ADMISSION_POLICIES, policy())
    assert status_findings(refs.VALIDATING_ADMISSION_POLICIES, old, change) == [
        "status.typeChecking.expressionWarnings[0].warning: Required value",
        'status.conditions[0].status: Unsupported value: "": supported values: "False", "True", "Unknown"',
        "status.conditions[0].lastTransitionTime: Required value",
        "status.conditions[0].reason: Required value",
    ]


def test_names_kept_for_files() -> None:
    text = (
        'metadata.name: names ending with ".static.k8s.io" are reserved for static manifest-based configurations and '
        "cannot be managed via the API"
    )
    for ref, obj in (
        (refs.VALIDATING_WEBHOOK_CONFIGURATIONS, hooked()),
        (refs.VALIDATING_ADMISSION_POLICIES, policy()),
        (refs.MUTATING_ADMISSION_POLICY_BINDINGS, binding()),
    ):
        assert warned(ref, obj) == []
        obj["metadata"]["name"] = "a.static.k8s.io"
        assert warned(ref, obj) == [text]


def test_columns() -> None:
    assert cells(refs.MUTATING_WEBHOOK_CONFIGURATIONS, hooked()) == {"Name": "x", "Webhooks": 1, "Age": "7m"}
    obj = policy(paramKind={"apiVersion": "a.io/v1", "kind": "Limit"})
    assert cells(refs.VALIDATING_ADMISSION_POLICIES, obj) == {
        "Name": "x", "Validations": 1, "ParamKind": "a.io/v1/Limit", "Age": "7m",
    }  # fmt: skip
    assert cells(refs.MUTATING_ADMISSION_POLICIES, mutating()) == {
        "Name": "x", "Mutations": 1, "ParamKind": "<unset>", "Age": "7m",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (None, "<unset>"),
        ({"name": "a"}, "*/a"),
        ({"name": "a", "namespace": "ns"}, "ns/a"),
        (
            {"selector": {"matchLabels": {"b": "c", "a": "b"}}},
            "&LabelSelector{MatchLabels:map[string]string{a: b,b: c,},MatchExpressions:[]LabelSelectorRequirement{},}",
        ),
    ],
)
def test_parameters_of_bindings(params: Object | None, expected: str) -> None:
    obj = binding(**({} if params is None else {"paramRef": params}))
    assert cells(refs.VALIDATING_ADMISSION_POLICY_BINDINGS, obj) == {
        "Name": "x", "PolicyName": "p", "ParamRef": expected, "Age": "7m",
    }  # fmt: skip


def api(name: str = "v1.a.example", **spec: Any) -> Object:
    group = {"group": "a.example", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10}
    return named(name, spec={**group, **spec})


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (api(), []),
        (api(service={"namespace": "ns", "name": "server"}), []),
        (api("v1.", group=""), []),
        (
            api("other"),
            [
                'metadata.name: Invalid value: "other": must be `spec.version+"."+spec.group`: "v1.a.example"'
            ],
        ),
        (
            api("v2.", group="", version="v2"),
            ["spec.group: Required value: only v1 may have an empty group and it better be legacy kube"],
        ),
        (
            api(groupPriorityMinimum=20001, versionPriority=0),
            [
                "spec.groupPriorityMinimum: Invalid value: 20001: must be positive and less than 20000",
                "spec.versionPriority: Invalid value: 0: must be positive and less than 1000",
            ],
        ),
        (
            api(caBundle="YWJj", insecureSkipTLSVerify=True),
            [
                'spec.caBundle: Invalid value: "3 bytes": local APIServices may not have a caBundle',
                "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have "
                "insecureSkipTLSVerify",
            ],
        ),
        (
            api(service={"port": 70000}, caBundle="YWJj", insecureSkipTLSVerify=True),
            [
                "spec.service.namespace: Required value", "spec.service.name: Required value",
                "spec.service.port: Invalid value: 70000: port is not valid: must be between 1 and 65535, inclusive",
                "spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present",
            ],
        ),
    ],
)  # fmt: skip
def test_api_services(obj: Object, expected: list[str]) -> None:
    assert findings(refs.API_SERVICES, obj) == expected


def test_what_this_server_serves_is_available_at_once() -> None:
    rules = strategy(refs.API_SERVICES)
    local = created(refs.API_SERVICES, api())
    rules.stamp(local, None, Occasion(NOW))
    assert local["status"]["conditions"] == [
        {
            "type": "Available", "status": "True", "lastTransitionTime": ago(), "reason": "Local",
            "message": "Local APIServices are always available",
        }
    ]  # fmt: skip
    assert cells(refs.API_SERVICES, local) == {
        "Name": "v1.a.example", "Service": "Local", "Available": "True", "Age": "7m",
    }  # fmt: skip
    remote = created(refs.API_SERVICES, api(service={"namespace": "ns", "name": "server"}))
    rules.stamp(remote, None, Occasion(NOW))
    row = cells(refs.API_SERVICES, remote)
    assert (row["Service"], row["Available"]) == ("ns/server", "Unknown")
    remote["status"] = {"conditions": [{"type": "Available", "status": "False", "reason": "MissingEndpoints"}]}
    assert cells(refs.API_SERVICES, remote)["Available"] == "False (MissingEndpoints)"


def test_api_service_status() -> None:
    old = created(refs.API_SERVICES, api())
    new = copy_object(old)
    new["metadata"]["labels"] = {"a": "b"}
    strategy(refs.API_SERVICES).prepare_status_update(new, old)
    assert new["metadata"] == old["metadata"]
    change = changed("status", to={"conditions": [{"type": "Available", "status": "Maybe"}]})
    assert status_findings(refs.API_SERVICES, old, change) == [
        'status.conditions[0].status: Unsupported value: "Maybe": supported values: "True", "False", "Unknown"'
    ]
