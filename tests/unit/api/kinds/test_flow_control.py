"""FlowSchemas and PriorityLevelConfigurations."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api import refs
from timonel.api.kinds.flowcontrol.mandatory import MANDATORY_FLOW_SCHEMAS, MANDATORY_PRIORITY_LEVELS
from timonel.api.objects import Object

from .samples import ago, cells, changed, created, findings, status_findings

RESOURCES = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["*"]}
USER = {"kind": "User", "user": {"name": "ann"}}
RULE = "spec.rules[0]"


def schema(name: str = "x", **spec: Any) -> Object:
    return {
        "metadata": {"name": name, "creationTimestamp": ago(days=1)},
        "spec": {"priorityLevelConfiguration": {"name": "workload-low"}, **spec},
    }


def ruled(**rule: Any) -> Object:
    return schema(rules=[{"subjects": [USER], "resourceRules": [RESOURCES], **rule}])


def level(name: str = "x", **spec: Any) -> Object:
    return {"metadata": {"name": name, "creationTimestamp": ago(days=1)}, "spec": spec}


def limited(**fields: Any) -> Object:
    return level(type="Limited", limited={"limitResponse": {"type": "Reject"}, **fields})


def queued(**queuing: Any) -> Object:
    return limited(limitResponse={"type": "Queue", "queuing": queuing})


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (schema(), []),
        (ruled(), []),
        (schema(matchingPrecedence=-1), ["spec.matchingPrecedence: Invalid value: -1: must be a positive value"]),
        (schema(matchingPrecedence=10001),
         ["spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000"]),
        (
            schema(matchingPrecedence=1),
            [
                "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence "
                "1"
            ],
        ),
        (
            schema(distinguisherMethod={"type": "ByIP"}, priorityLevelConfiguration={}),
            [
                'spec.distinguisherMethod.type: Unsupported value: {"type":"ByIP"}: supported values: "ByNamespace", '
                '"ByUser"',
                "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
            ],
        ),
        (
            ruled(subjects=[], resourceRules=[]),
            [
                f"{RULE}.subjects: Required value: subjects must contain at least one value",
                f"{RULE}: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
            ],
        ),
        (
            ruled(subjects=[{"kind": "Robot"}, {"kind": "User", "group": {"name": "g"}},
                            {"kind": "ServiceAccount", "serviceAccount": {"name": "*"}}]),
            [
                f'{RULE}.subjects[0].kind: Unsupported value: "Robot": supported values: "Group", "ServiceAccount", '
                '"User"',
                f"{RULE}.subjects[1].user: Required value: user is required when subject kind is 'User'",
                f"{RULE}.subjects[1].group: Forbidden: group is forbidden when subject kind is not 'Group'",
                f"{RULE}.subjects[2].serviceAccount.namespace: Required value: must specify namespace for service "
                "account",
            ],
        ),
        (
            ruled(resourceRules=[{"verbs": ["*", "get"], "apiGroups": [], "resources": ["*", "pods"]}]),
            [
                f'{RULE}.resourceRules[0].verbs: Invalid value: ["*","get"]: if \'*\' is present, must not specify '
                "other verbs",
                f"{RULE}.resourceRules[0].apiGroups: Required value: resource rules must supply at least one api group",
                f'{RULE}.resourceRules[0].resources: Invalid value: ["*","pods"]: if \'*\' is present, must not '
                "specify other resources",
                f"{RULE}.resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must "
                "supply at least one namespace",
            ],
        ),
        (
            ruled(nonResourceRules=[{"verbs": ["fly"], "nonResourceURLs": ["x", "/a b", "/a//b", "/a*", "/a/*", "/"]}]),
            [
                f'{RULE}.nonResourceRules[0].verbs: Unsupported value: ["fly"]: supported values: "create", "delete", '
                '"deletecollection", "get", "list", "patch", "proxy", "update", "watch"',
                f'{RULE}.nonResourceRules[0].nonResourceURLs[0]: Invalid value: "x": must start with slash',
                f'{RULE}.nonResourceRules[0].nonResourceURLs[1]: Invalid value: "/a b": must not contain white-space',
                f'{RULE}.nonResourceRules[0].nonResourceURLs[2]: Invalid value: "/a//b": must not contain double slash',
                f'{RULE}.nonResourceRules[0].nonResourceURLs[3]: Invalid value: "/a*": wildcard can only do suffix '
                "matching",
            ],
        ),
    ],
)  # fmt: skip
def test_schema_rules(obj: Object, expected: list[str]) -> None:
    assert findings(refs.FLOW_SCHEMAS, obj) == expected


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (limited(), []),
        (queued(), []),
        (level(type="Odd"), ['spec.type: Unsupported value: "Odd": supported values: "Exempt", "Limited"']),
        (level(type="Exempt"), [
            'spec.type: Invalid value: "Exempt": must be \'Exempt\' if and only if `name` is \'exempt\'',
        ]),
        (level(type="Limited"), ["spec.limited: Required value: must not be empty when type is Limited"]),
        (
            level(type="Limited", exempt={}, limited={"limitResponse": {"type": "Drop"}}),
            [
                "spec.exempt: Forbidden: must be nil if the type is Limited",
                'spec.limited.limitResponse.type: Unsupported value: "Drop": supported values: "Queue", "Reject"',
            ],
        ),
        (
            limited(nominalConcurrencyShares=-1, lendablePercent=101, borrowingLimitPercent=-1),
            [
                "spec.limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer",
                "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
                "spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer",
            ],
        ),
        (
            queued(queues=4, handSize=5, queueLengthLimit=-1),
            [
                "spec.limited.limitResponse.queuing.queueLengthLimit: Invalid value: -1: must be positive",
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 5: should not be greater than queues (4)",
            ],
        ),
        (
            queued(queues=512, handSize=8),
            [
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: required entropy bits of deckSize 512 "
                "and handSize 8 should not be greater than 60"
            ],
        ),
    ],
)  # fmt: skip
def test_level_rules(obj: Object, expected: list[str]) -> None:
    assert findings(refs.PRIORITY_LEVEL_CONFIGURATIONS, obj) == expected


def test_defaults() -> None:
    assert created(refs.FLOW_SCHEMAS, schema())["spec"]["matchingPrecedence"] == 1000
    assert created(refs.PRIORITY_LEVEL_CONFIGURATIONS, queued())["spec"]["limited"] == {
        "nominalConcurrencyShares": 30, "lendablePercent": 0,
        "limitResponse": {"type": "Queue", "queuing": {"queues": 64, "handSize": 8, "queueLengthLimit": 50}},
    }  # fmt: skip
    exempt = created(refs.PRIORITY_LEVEL_CONFIGURATIONS, level("exempt", type="Exempt", exempt={}))
    assert exempt["spec"]["exempt"] == {"nominalConcurrencyShares": 0, "lendablePercent": 0}


@pytest.mark.parametrize("name", MANDATORY_FLOW_SCHEMAS)
def test_mandatory_schemas_are_as_they_are(name: str) -> None:
    assert findings(refs.FLOW_SCHEMAS, schema(name, **MANDATORY_FLOW_SCHEMAS[name])) == []
    found = findings(refs.FLOW_SCHEMAS, schema(name, **{**MANDATORY_FLOW_SCHEMAS[name], "matchingPrecedence": 9}))
    assert [text.rpartition(": ")[2] for text in found] == [f"spec of '{name}' must equal the fixed value"]


@pytest.mark.parametrize("name", MANDATORY_PRIORITY_LEVELS)
def test_mandatory_levels_are_as_they_are(name: str) -> None:
    assert findings(refs.PRIORITY_LEVEL_CONFIGURATIONS, level(name, **MANDATORY_PRIORITY_LEVELS[name])) == []


def test_the_exempt_level_may_lend() -> None:
    obj = level("exempt", type="Exempt", exempt={"nominalConcurrencyShares": 10, "lendablePercent": 50})
    assert findings(refs.PRIORITY_LEVEL_CONFIGURATIONS, obj) == []
    found = findings(refs.PRIORITY_LEVEL_CONFIGURATIONS, level("catch-all", **limited()["spec"]))
    assert [text.rpartition(": ")[2] for text in found] == ["spec of 'catch-all' must equal the fixed value"]


def test_conditions() -> None:
    change = changed("status", to={"conditions": [{"type": "Dangling"}, {"type": "Dangling"}, {}]})
    for ref, obj in ((refs.FLOW_SCHEMAS, schema()), (refs.PRIORITY_LEVEL_CONFIGURATIONS, limited())):
        assert status_findings(ref, created(ref, obj), change) == [
            'status.conditions[1].type: Duplicate value: "Dangling"',
            "status.conditions[2].type: Required value",
        ]


def test_columns() -> None:
    obj = created(refs.FLOW_SCHEMAS, schema(distinguisherMethod={"type": "ByUser"}))
    assert cells(refs.FLOW_SCHEMAS, obj) == {
        "Name": "x", "PriorityLevel": "workload-low", "MatchingPrecedence": 1000, "DistinguisherMethod": "ByUser",
        "Age": "24h", "MissingPL": "?",
    }  # fmt: skip
    obj["status"] = {"conditions": [{"type": "Dangling", "status": "False"}]}
    assert cells(refs.FLOW_SCHEMAS, obj)["MissingPL"] == "False"
    assert cells(refs.PRIORITY_LEVEL_CONFIGURATIONS, created(refs.PRIORITY_LEVEL_CONFIGURATIONS, queued())) == {
        "Name": "x", "Type": "Limited", "NominalConcurrencyShares": 30, "Queues": 64, "HandSize": 8,
        "QueueLengthLimit": 50, "Age": "24h",
    }  # fmt: skip
    row = cells(refs.PRIORITY_LEVEL_CONFIGURATIONS, level("exempt", type="Exempt", exempt={}))
    assert (row["NominalConcurrencyShares"], row["Queues"]) == ("<none>", "<none>")
