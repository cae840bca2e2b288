"""Deployments and ReplicaSets: defaults, rules, status, warnings."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api import refs
from timonel.api.objects import Object, copy_object
from timonel.api.refs import ResourceRef

from .samples import created, deployment, findings, strategy, update_findings

BOTH = pytest.mark.parametrize("ref", [refs.DEPLOYMENTS, refs.REPLICA_SETS], ids=lambda ref: ref.kind)


def test_deployment_defaults() -> None:
    spec = created(refs.DEPLOYMENTS, deployment())["spec"]
    assert {key: spec[key] for key in ("replicas", "revisionHistoryLimit", "progressDeadlineSeconds", "strategy")} == {
        "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
    }  # fmt: skip
    assert spec["template"]["spec"]["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert spec["template"]["spec"]["restartPolicy"] == "Always"


def test_recreate_has_no_rolling_update() -> None:
    assert created(refs.DEPLOYMENTS, deployment(strategy={"type": "Recreate"}))["spec"]["strategy"] == {
        "type": "Recreate"
    }


@BOTH
def test_status_starts_empty(ref: ResourceRef) -> None:
    obj = deployment()
    obj["status"] = {"replicas": 7, "readyReplicas": 7}
    assert created(ref, obj)["status"] in ({}, {"replicas": 0})


@BOTH
def test_sound_ones_pass(ref: ResourceRef) -> None:
    assert findings(ref, deployment(replicas=0)) == []


@BOTH
@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"replicas": -1}, ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
        (
            {"selector": {}},
            ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
        ),
        (
            {"selector": {"matchLabels": {"app": "other"}}},
            [
                'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template '
                "`labels`"
            ],
        ),
        (
            {"selector": {"matchExpressions": [{"key": "app", "operator": "In"}]}},
            [
                "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' "
                "or 'NotIn'",
                'spec.selector: Invalid value: {"matchExpressions":[{"key":"app","operator":"In"}]}: invalid label '
                "selector",
            ],
        ),
    ],
)
def test_selectors(ref: ResourceRef, spec: Object, expected: list[str]) -> None:
    assert findings(ref, deployment(**spec)) == expected


@BOTH
def test_template_runs_for_ever(ref: ResourceRef) -> None:
    obj = deployment()
    obj["spec"]["template"]["spec"].update(restartPolicy="Never", activeDeadlineSeconds=5)
    assert findings(ref, obj) == [
        'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
        "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
    ]


@BOTH
def test_template_is_checked_like_a_pod(ref: ResourceRef) -> None:
    obj = deployment()
    obj["spec"]["template"]["spec"]["containers"][0].update(name="", ports=[{"containerPort": 0}])
    assert findings(ref, obj) == [
        "spec.template.spec.containers[0].name: Required value",
        "spec.template.spec.containers[0].ports[0].containerPort: Required value",
    ]


@BOTH
def test_selector_is_immutable(ref: ResourceRef) -> None:
    def change(obj: Object) -> None:
        obj["spec"]["selector"]["matchLabels"]["tier"] = "front"
        obj["spec"]["template"]["metadata"]["labels"]["tier"] = "front"

    assert update_findings(ref, deployment(), change) == [
        'spec.selector: Invalid value: {"matchLabels":{"app":"web","tier":"front"}}: field is immutable'
    ]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"strategy": {"type": "Sideways"}},
            ['spec.strategy: Unsupported value: {"Type":"Sideways","RollingUpdate":null}: supported values: '
             '"Recreate", "RollingUpdate"'],
        ),
        (
            {"strategy": {"type": "Recreate", "rollingUpdate": {}}},
            ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
        ),
        (
            {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
            [
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"
            ],
        ),
        (
            {"strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}},
            ['spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%'],
        ),
        (
            {"strategy": {"rollingUpdate": {"maxSurge": "many"}}},
            [
                'spec.strategy.rollingUpdate.maxSurge: Invalid value: "many": a valid percent string must be a numeric '
                "string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
            ],
        ),
        (
            {"minReadySeconds": 600},
            [
                "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"
            ],
        ),
    ],
)  # fmt: skip
def test_deployment_strategies(spec: Object, expected: list[str]) -> None:
    assert findings(refs.DEPLOYMENTS, deployment(**spec)) == expected


def status_findings(ref: ResourceRef, status: Object, **old: Any) -> list[str]:
    before = created(ref, deployment())
    before["status"] = old
    after = copy_object(before)
    after["status"] = status
    return [str(error) for error in strategy(ref).validate_status_update(after, before)]


def test_status_counts() -> None:
    assert status_findings(refs.DEPLOYMENTS, {"replicas": 2, "readyReplicas": 2, "availableReplicas": 1}) == []
    assert status_findings(refs.DEPLOYMENTS, {"replicas": 1, "readyReplicas": 2}) == [
        "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"
    ]
    assert status_findings(refs.REPLICA_SETS, {"replicas": 3, "readyReplicas": 1, "availableReplicas": 2}) == [
        "status.availableReplicas: Invalid value: 2: cannot be greater than readyReplicas"
    ]
    assert status_findings(refs.REPLICA_SETS, {"replicas": -1, "readyReplicas": -1}) == [
        "status.replicas: Invalid value: -1: must be greater than or equal to 0",
        "status.readyReplicas: Invalid value: -1: must be greater than or equal to 0",
        "status.fullyLabeledReplicas: Invalid value: 0: cannot be greater than status.replicas",
        "status.availableReplicas: Invalid value: 0: cannot be greater than status.replicas",
        "status.availableReplicas: Invalid value: 0: cannot be greater than readyReplicas",
    ]
    assert status_findings(refs.DEPLOYMENTS, {"collisionCount": 1}, collisionCount=2) == [
        "status.collisionCount: Invalid value: 1: cannot be decremented"
    ]


def test_warnings_name_the_template() -> None:
    obj = deployment()
    obj["metadata"]["name"] = "a.b"
    env = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    obj["spec"]["template"]["spec"]["containers"][0]["env"] = env
    assert strategy(refs.DEPLOYMENTS).warnings(obj, None) == [
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label "
        "is recommended: [must not contain dots]",
        'spec.template.spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using '
        "apply",
    ]
    assert strategy(refs.DEPLOYMENTS).warnings(obj, obj) == []


def test_annotations_raise_the_generation_of_deployments() -> None:
    assert strategy(refs.DEPLOYMENTS).generation_follows == ("annotations",)
    assert strategy(refs.REPLICA_SETS).generation_follows == ()
