"""HorizontalPodAutoscalers: defaults, rules, and the two shapes over one storage."""

from __future__ import annotations

import json
from typing import Any

import pytest

from timonel.api import refs
from timonel.api.kinds.autoscaler import to_v1, to_v2
from timonel.api.objects import Object, copy_object
from timonel.api.schema import schemas

from .samples import changed, created, findings, status_findings, strategy, update_findings

TARGET = {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
PREFIX = "autoscaling.alpha.kubernetes.io/"
BOTH = pytest.mark.parametrize("ref", [refs.HORIZONTAL_POD_AUTOSCALERS, refs.HORIZONTAL_POD_AUTOSCALERS_V1])


def autoscaler(**spec: Any) -> Object:
    return {
        "kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v2",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"scaleTargetRef": TARGET, "maxReplicas": 10, **spec},
    }  # fmt: skip


def said(**spec: Any) -> list[str]:
    return findings(refs.HORIZONTAL_POD_AUTOSCALERS, autoscaler(**spec))


def test_defaults() -> None:
    obj = created(refs.HORIZONTAL_POD_AUTOSCALERS, autoscaler())
    assert obj["spec"] == {"scaleTargetRef": TARGET, "minReplicas": 1, "maxReplicas": 10, "metrics": [CPU]}
    assert obj["status"] == {"desiredReplicas": 0, "currentMetrics": None}


def test_behavior_is_completed_once_there_is_any() -> None:
    spec = created(refs.HORIZONTAL_POD_AUTOSCALERS, autoscaler(behavior={"scaleDown": {"selectPolicy": "Min"}}))["spec"]
    assert spec["behavior"] == {
        "scaleUp": {
            "stabilizationWindowSeconds": 0, "selectPolicy": "Max",
            "policies": [
                {"type": "Pods", "value": 4, "periodSeconds": 15},
                {"type": "Percent", "value": 100, "periodSeconds": 15},
            ],
        },
        "scaleDown": {
            "selectPolicy": "Min", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, []),
        ({"minReplicas": 0}, [
            "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
            "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero "
            "replicas",
        ]),
        ({"maxReplicas": 0}, [
            "spec.maxReplicas: Required value: must be set and greater than 0",
            "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
        ]),
        ({"maxReplicas": -1, "minReplicas": 1}, [
            "spec.maxReplicas: Invalid value: -1: must be greater than or equal to 1",
            "spec.maxReplicas: Invalid value: -1: must be greater than or equal to `minReplicas`",
        ]),
        ({"minReplicas": 11}, ["spec.maxReplicas: Invalid value: 10: must be greater than or equal to `minReplicas`"]),
        ({"scaleTargetRef": {}}, [
            "spec.scaleTargetRef.kind: Required value",
            "spec.scaleTargetRef.name: Required value",
            'spec.scaleTargetRef.apiVersion: Invalid value: "": apiVersion must specify API group',
        ]),
        ({"scaleTargetRef": {"kind": "a/b", "name": ".."}}, [
            "spec.scaleTargetRef.kind: Invalid value: \"a/b\": may not contain '/'",
            "spec.scaleTargetRef.name: Invalid value: \"..\": may not be '..'",
            'spec.scaleTargetRef.apiVersion: Invalid value: "": apiVersion must specify API group',
        ]),
        ({"scaleTargetRef": {"kind": "ReplicationController", "name": "web"}}, []),
        ({"scaleTargetRef": {**TARGET, "apiVersion": "a/b/c"}}, [
            'spec.scaleTargetRef.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c',
        ]),
    ],
)  # fmt: skip
def test_bounds_and_target(spec: Object, expected: list[str]) -> None:
    assert said(**spec) == expected


AT = "spec.metrics[0]"
TYPES = 'supported values: "ContainerResource", "External", "Object", "Pods", "Resource"'


def resource(name: str = "cpu", **target: Any) -> Object:
    return {"type": "Resource", "resource": {"name": name, "target": {"type": "Utilization", **target}}}


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (resource(averageUtilization=50), []),
        (resource(averageUtilization=0), [
            f"{AT}.resource.target.averageUtilization: Invalid value: 0: must be greater than 0",
        ]),
        (resource("", averageValue="1", averageUtilization=50), [
            f"{AT}.resource.name: Required value: must specify a resource name",
            f"{AT}.resource.target.averageValue: Forbidden: may not set both a target raw value and a target "
            "utilization",
        ]),
        (resource(), [
            f"{AT}.resource.target.averageUtilization: Required value: must set either a target raw value or a target "
            "utilization",
        ]),
        ({"type": "Magic"}, [f'{AT}.type: Unsupported value: "Magic": {TYPES}'] * 2),
        ({"type": ""}, [
            f"{AT}.type: Required value: must specify a metric source type",
            *([f'{AT}.type: Unsupported value: "": {TYPES}'] * 2),
        ]),
        ({"type": "Pods"}, [f"{AT}.pods: Required value: must populate information for the given metric source"]),
        ({**resource(averageUtilization=50), "pods": {}}, [
            f"{AT}.pods.metric.name: Required value: must specify a metric name",
            f"{AT}.pods.target.type: Required value: must specify a metric target type",
            f'{AT}.pods.target.type: Invalid value: "": must be either Utilization, Value, or AverageValue',
            f"{AT}.pods.target.averageValue: Required value: must specify a positive target averageValue",
            f"{AT}.pods: Forbidden: must populate the given metric source only",
        ]),
        ({"type": "Pods", "pods": {"metric": {"name": "a/b"},
                                   "target": {"type": "AverageValue", "averageValue": "0"}}}, [
            f"{AT}.pods.metric.name: Invalid value: \"a/b\": may not contain '/'",
            f'{AT}.pods.target.averageValue: Invalid value: "0": must be positive',
        ]),
        ({"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "web"},
                                       "metric": {"name": "hits"}, "target": {"type": "Value", "value": "5"}}}, []),
        ({"type": "Object", "object": {"describedObject": {"kind": "Service"}, "metric": {"name": "hits"},
                                       "target": {"type": "Value"}}}, [
            f"{AT}.object.describedObject.name: Required value",
            f"{AT}.object.target.averageValue: Required value: must set either a target value or averageValue",
        ]),
        ({"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value"}}}, [
            f"{AT}.external.target.averageValue: Required value: must set either a target value for metric or a "
            "per-pod target",
        ]),
        ({"type": "External", "external": {"metric": {"name": "queue"},
                                           "target": {"type": "Value", "value": "1", "averageValue": "1"}}}, [
            f"{AT}.external.target.value: Forbidden: may not set both a target value for metric and a per-pod target",
        ]),
        ({"type": "ContainerResource", "containerResource": {"name": "gpu", "target": {"type": "Utilization",
                                                                                    "averageUtilization": 1}}}, [
            f'{AT}.containerResource.name: Invalid value: "gpu": must be a standard resource type or fully qualified',
            f'{AT}.containerResource.name: Invalid value: "gpu": must be a standard resource for containers',
            f"{AT}.containerResource.container: Required value: must specify a container",
        ]),
    ],
)  # fmt: skip
def test_metrics(metric: Object, expected: list[str]) -> None:
    assert said(metrics=[metric]) == expected


UP = "spec.behavior.scaleUp"


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"stabilizationWindowSeconds": 3600, "tolerance": "50m"}, []),
        ({"stabilizationWindowSeconds": -1}, [
            f"{UP}.stabilizationWindowSeconds: Invalid value: -1: must be greater than or equal to zero",
        ]),
        ({"stabilizationWindowSeconds": 3601}, [
            f"{UP}.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
        ]),
        ({"selectPolicy": "Mean"}, [
            f'{UP}.selectPolicy: Unsupported value: "Mean": supported values: "Disabled", "Max", "Min"',
        ]),
        ({"policies": []}, [f"{UP}.policies: Required value: must specify at least one Policy"]),
        ({"policies": [{"type": "Nodes", "value": 0, "periodSeconds": 1801}]}, [
            f'{UP}.policies[0].type: Unsupported value: "Nodes": supported values: "Percent", "Pods"',
            f"{UP}.policies[0].value: Invalid value: 0: must be greater than zero",
            f"{UP}.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
        ]),
        ({"policies": [{"type": "Pods", "value": 1, "periodSeconds": 0}]}, [
            f"{UP}.policies[0].periodSeconds: Invalid value: 0: must be greater than zero",
        ]),
        ({"tolerance": "-0.1"}, [f'{UP}.tolerance: Invalid value: "-100m": must be greater than or equal to 0']),
    ],
)  # fmt: skip
def test_behavior(rules: Object, expected: list[str]) -> None:
    assert said(behavior={"scaleUp": rules}) == expected


def test_no_policies_is_not_left_out_by_the_schema() -> None:
    obj = autoscaler(behavior={"scaleUp": {"policies": []}})
    schemas().check("io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler", obj)
    assert obj["spec"]["behavior"]["scaleUp"] == {"policies": []}


def test_what_was_accepted_once_may_stay() -> None:
    old = autoscaler(scaleTargetRef={"kind": "Deployment", "name": "web"})
    ref = refs.HORIZONTAL_POD_AUTOSCALERS
    assert update_findings(ref, old, changed("spec", "maxReplicas", to=5)) == []
    external = {"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": "1"}}}
    assert (
        update_findings(ref, autoscaler(minReplicas=0, metrics=[external]), changed("spec", "maxReplicas", to=5)) == []
    )
    assert update_findings(ref, autoscaler(), changed("spec", "scaleTargetRef", "apiVersion", to="v1")) == [
        'spec.scaleTargetRef.apiVersion: Invalid value: "v1": apiVersion must specify API group'
    ]


def test_status() -> None:
    obj = created(refs.HORIZONTAL_POD_AUTOSCALERS, autoscaler())
    change = changed("status", to={"currentReplicas": -1, "desiredReplicas": -2})
    assert status_findings(refs.HORIZONTAL_POD_AUTOSCALERS, obj, change) == [
        "status.currentReplicas: Invalid value: -1: must be greater than or equal to 0",
        "status.desiredReplicas: Invalid value: -2: must be greater than or equal to 0",
    ]


EXTERNAL = {
    "type": "External",
    "external": {
        "metric": {"name": "queue", "selector": {"matchLabels": {"q": "a<b"}}},
        "target": {"type": "AverageValue", "averageValue": "30"},
    },
}
OBJECT = {
    "type": "Object",
    "object": {
        "describedObject": {"kind": "Service", "name": "web", "apiVersion": "v1"},
        "target": {"type": "Value", "value": "2k"},
        "metric": {"name": "hits"},
    },
}
PODS = {"type": "Pods", "pods": {"metric": {"name": "lag"}, "target": {"type": "AverageValue", "averageValue": "1"}}}
SIDECAR = {
    "type": "ContainerResource",
    "containerResource": {
        "name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}, "container": "app",
    },
}  # fmt: skip
FULL = {
    **autoscaler(
        minReplicas=2,
        metrics=[EXTERNAL, OBJECT, PODS, SIDECAR, CPU],
        behavior={
            "scaleUp": {
                "stabilizationWindowSeconds": 0, "selectPolicy": "Max", "tolerance": "50m",
                "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}],
            },
            "scaleDown": {
                "selectPolicy": "Disabled", "policies": [{"type": "Percent", "value": 1, "periodSeconds": 9}],
            },
        },
    ),
    "status": {
        "currentReplicas": 3, "desiredReplicas": 4, "lastScaleTime": "2026-03-01T12:00:00Z",
        "currentMetrics": [
            {"type": "Resource",
             "resource": {"name": "cpu", "current": {"averageValue": "200m", "averageUtilization": 40}}},
            {"type": "Object", "object": {"metric": {"name": "hits"}, "current": {"value": "7"},
                                          "describedObject": {"kind": "Service", "name": "web", "apiVersion": "v1"}}},
            {"type": "Pods", "pods": {"metric": {"name": "lag"}, "current": {"averageValue": "2"}}},
            {"type": "External", "external": {"metric": {"name": "queue"}, "current": {"value": "0",
                                                                                      "averageValue": "5"}}},
        ],
        "conditions": [{"type": "AbleToScale", "status": "True", "lastTransitionTime": "2026-03-01T12:00:00Z",
                        "reason": "SucceededRescale", "message": "fine"}],
    },
}  # fmt: skip


def test_version_1_has_the_rest_in_annotations() -> None:
    shaped = to_v1(FULL)
    assert shaped["apiVersion"] == "autoscaling/v1"
    assert shaped["spec"] == {
        "scaleTargetRef": TARGET, "minReplicas": 2, "maxReplicas": 10, "targetCPUUtilizationPercentage": 80,
    }  # fmt: skip
    assert shaped["status"] == {
        "currentReplicas": 3, "desiredReplicas": 4, "lastScaleTime": "2026-03-01T12:00:00Z",
        "currentCPUUtilizationPercentage": 40,
    }  # fmt: skip
    annotations = shaped["metadata"]["annotations"]
    assert json.loads(annotations[f"{PREFIX}metrics"])[1:] == [
        {"type": "Object", "object": {"target": {"kind": "Service", "name": "web", "apiVersion": "v1"},
                                      "metricName": "hits", "targetValue": "2k"}},
        {"type": "Pods", "pods": {"metricName": "lag", "targetAverageValue": "1"}},
        {"type": "ContainerResource", "containerResource": {"name": "memory", "targetAverageValue": "1Gi",
                                                            "container": "app"}},
    ]  # fmt: skip
    assert annotations[f"{PREFIX}metrics"].startswith(
        '[{"type":"External","external":{"metricName":"queue","metricSelector":{"matchLabels":{"q":"a\\u003cb"}},'
        '"targetAverageValue":"30"}},'
    )
    assert annotations[f"{PREFIX}behavior"] == (
        '{"ScaleUp":{"StabilizationWindowSeconds":0,"SelectPolicy":"Max","Policies":[{"Type":"Pods","Value":4,'
        '"PeriodSeconds":15}],"Tolerance":"50m"},"ScaleDown":{"StabilizationWindowSeconds":null,"SelectPolicy":'
        '"Disabled","Policies":[{"Type":"Percent","Value":1,"PeriodSeconds":9}],"Tolerance":null}}'
    )
    assert annotations[f"{PREFIX}conditions"] == (
        '[{"type":"AbleToScale","status":"True","lastTransitionTime":"2026-03-01T12:00:00Z","reason":'
        '"SucceededRescale","message":"fine"}]'
    )
    assert json.loads(annotations[f"{PREFIX}current-metrics"])[0] == {
        "type": "Resource",
        "resource": {"name": "cpu", "currentAverageUtilization": 40, "currentAverageValue": "200m"},
    }


def test_nothing_is_lost_on_the_way_and_back() -> None:
    given = copy_object(FULL)
    back = to_v2(to_v1(given))
    assert given == FULL
    assert "annotations" not in back["metadata"]
    assert back == FULL


@pytest.mark.parametrize("metrics", [[CPU], [EXTERNAL], [PODS, OBJECT]])
def test_each_metric_comes_back(metrics: list[Object]) -> None:
    obj = {**autoscaler(metrics=metrics), "status": {"currentReplicas": 0, "desiredReplicas": 0}}
    assert to_v2(to_v1(obj)) == obj


def test_plain_version_1() -> None:
    obj = {**autoscaler(targetCPUUtilizationPercentage=50), "apiVersion": "autoscaling/v1"}
    obj["metadata"]["annotations"] = {"mine": "kept"}
    shaped = to_v2(obj)
    assert shaped["spec"]["metrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
    ]
    assert shaped["metadata"]["annotations"] == {"mine": "kept"}
    assert to_v1(shaped)["spec"] == obj["spec"]


def test_version_1_without_any_metric_means_80_percent_of_cpu() -> None:
    assert to_v2({**autoscaler(), "apiVersion": "autoscaling/v1"})["spec"]["metrics"] == [CPU]


@pytest.mark.parametrize("text", ["{", "[]", "7", "[1]", '[{"type":5}]', '[{"type":5,"pods":7}]', "null"])
def test_annotations_that_say_nothing_are_dropped(text: str) -> None:
    obj = {**autoscaler(), "apiVersion": "autoscaling/v1"}
    kinds = ("metrics", "current-metrics", "conditions", "behavior")
    obj["metadata"]["annotations"] = {f"{PREFIX}{kind}": text for kind in kinds}
    shaped = to_v2(obj)
    assert shaped["spec"] == {"scaleTargetRef": TARGET, "maxReplicas": 10, "metrics": [CPU]}
    assert shaped["status"] == {}
    assert "annotations" not in shaped["metadata"]


def test_annotations_of_version_1_mean_nothing_in_version_2() -> None:
    obj = autoscaler()
    obj["metadata"]["annotations"] = {f"{PREFIX}behavior": '{"ScaleUp":{}}', "mine": "kept"}
    metadata = obj["metadata"]
    strategy(refs.HORIZONTAL_POD_AUTOSCALERS).default(obj)
    assert obj["metadata"] is metadata
    assert metadata["annotations"] == {"mine": "kept"}
    assert "behavior" not in obj["spec"]


def test_converted_already() -> None:
    assert to_v2(FULL) == FULL
    shaped = to_v1(FULL)
    assert to_v1(shaped) == shaped


def test_both_shapes_are_in_their_schema() -> None:
    for obj, version in ((to_v1(FULL), "v1"), (copy_object(FULL), "v2")):
        checked = schemas().check(f"io.k8s.api.autoscaling.{version}.HorizontalPodAutoscaler", obj)
        assert (checked.unknown, checked.error) == ([], None)
