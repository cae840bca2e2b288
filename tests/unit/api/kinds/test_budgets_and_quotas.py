"""PodDisruptionBudgets, LimitRanges, ResourceQuotas and ComponentStatuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from timonel.api import refs
from timonel.api.kinds.componentstatus import component_status
from timonel.api.objects import Object
from timonel.api.refs import ResourceRef

from .samples import changed, created, findings, status_findings, strategy, update_findings

PERCENT = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for "
    "validation is '[0-9]+%')"
)
LIMIT = "spec.limits[0]"


def named(**fields: Any) -> Object:
    return {"metadata": {"name": "x", "namespace": "default", "uid": "u-1"}, **fields}


def spec(**fields: Any) -> Object:
    return named(spec=fields)


def limits(kind: str = "Container", **fields: Any) -> Object:
    return spec(limits=[{"type": kind, **fields}])


def quota(*names: str, **fields: Any) -> Object:
    return spec(hard=dict.fromkeys(names, "1"), **fields)


def selected(*names: str, scope: str, operator: str, **fields: Any) -> Object:
    return quota(*names, scopeSelector={"matchExpressions": [{"scopeName": scope, "operator": operator, **fields}]})


SCOPES = "spec.scopeSelector.matchExpressions"
MUST_EXIST = (
    "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
    "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)
CASES: list[tuple[ResourceRef, Object, list[str]]] = [
    (refs.POD_DISRUPTION_BUDGETS, spec(minAvailable=1, selector={}), []),
    (refs.POD_DISRUPTION_BUDGETS, spec(maxUnavailable="30%"), []),
    (
        refs.POD_DISRUPTION_BUDGETS,
        spec(minAvailable=1, maxUnavailable=1),
        ['spec: Invalid value: {"MinAvailable":1,"Selector":null,"MaxUnavailable":1,'
         '"UnhealthyPodEvictionPolicy":null}: '
         "minAvailable and maxUnavailable cannot be both set"],
    ),
    (
        refs.POD_DISRUPTION_BUDGETS,
        spec(minAvailable=-1),
        ["spec.minAvailable: Invalid value: -1: must be greater than or equal to 0"],
    ),
    (
        refs.POD_DISRUPTION_BUDGETS,
        spec(maxUnavailable="101%"),
        ['spec.maxUnavailable: Invalid value: "101%": must not be greater than 100%'],
    ),
    (refs.POD_DISRUPTION_BUDGETS, spec(maxUnavailable="1"), [f'spec.maxUnavailable: Invalid value: "1": {PERCENT}']),
    (
        refs.POD_DISRUPTION_BUDGETS,
        spec(unhealthyPodEvictionPolicy="Never"),
        ['spec.unhealthyPodEvictionPolicy: Unsupported value: "Never": supported values: "AlwaysAllow", '
         '"IfHealthyBudget"'],
    ),
    (
        refs.POD_DISRUPTION_BUDGETS,
        spec(selector={"matchLabels": {"a b": "c"}}),
        ["spec.selector.matchLabels: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', "
         "'_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
         "'123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"],
    ),
    # LimitRange.
    (
        refs.LIMIT_RANGES,
        limits(
            max={"cpu": "2"}, min={"cpu": "100m"}, default={"cpu": "1"}, defaultRequest={"cpu": "200m"},
            maxLimitRequestRatio={"cpu": "20"},
        ),
        [],
    ),
    (refs.LIMIT_RANGES, limits("example.com/Thing", max={"storage": "1"}), []),
    (
        refs.LIMIT_RANGES,
        limits("Node"),
        [f'{LIMIT}.type: Invalid value: "Node": must be a standard limit type or fully qualified'],
    ),
    (
        refs.LIMIT_RANGES,
        spec(limits=[{"type": "Pod"}, {"type": "Pod"}]),
        ['spec.limits[1].type: Duplicate value: "Pod"'],
    ),
    (
        refs.LIMIT_RANGES,
        limits("Pod", default={"cpu": "1"}, defaultRequest={"cpu": "1"}),
        [f"{LIMIT}.default: Forbidden: may not be specified when `type` is 'Pod'",
         f"{LIMIT}.defaultRequest: Forbidden: may not be specified when `type` is 'Pod'"],
    ),
    (
        refs.LIMIT_RANGES,
        limits("PersistentVolumeClaim"),
        [f"{LIMIT}.limits: Required value: either minimum or maximum storage value is required, but neither was "
         "provided"],
    ),
    (
        refs.LIMIT_RANGES,
        limits("Pod", max={"storage": "1"}),
        [f'{LIMIT}.max[storage]: Invalid value: "storage": must be a standard resource for containers'],
    ),
    (
        refs.LIMIT_RANGES,
        limits("Pod", min={"cpu": "2"}, max={"cpu": "1"}),
        [f'{LIMIT}.min[cpu]: Invalid value: "2": min value 2 is greater than max value 1'],
    ),
    (
        refs.LIMIT_RANGES,
        limits(min={"cpu": "2"}, max={"cpu": "5"}, defaultRequest={"cpu": "1"}, default={"cpu": "3"}),
        [f'{LIMIT}.defaultRequest[cpu]: Invalid value: "1": min value 2 is greater than default request value 1'],
    ),
    (
        refs.LIMIT_RANGES,
        limits(max={"cpu": "1"}, default={"cpu": "2"}, defaultRequest={"cpu": "1"}),
        [f'{LIMIT}.default[cpu]: Invalid value: "1": default value 2 is greater than max value 1'],
    ),
    (
        refs.LIMIT_RANGES,
        limits(default={"cpu": "1"}, defaultRequest={"cpu": "2"}),
        [f'{LIMIT}.defaultRequest[cpu]: Invalid value: "2": default request value 2 is greater than default limit '
         "value 1"],
    ),
    (
        refs.LIMIT_RANGES,
        limits("Pod", maxLimitRequestRatio={"cpu": "500m"}),
        [f'{LIMIT}.maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1'],
    ),
    (
        refs.LIMIT_RANGES,
        limits("Pod", min={"cpu": "100m"}, max={"cpu": "250m"}, maxLimitRequestRatio={"cpu": "3"}),
        [f'{LIMIT}.maxLimitRequestRatio[cpu]: Invalid value: "3": ratio 3 is greater than max/min = 2.500000'],
    ),
    (
        refs.LIMIT_RANGES,
        limits(default={"hugepages-2Mi": "4Mi"}, defaultRequest={"hugepages-2Mi": "2Mi"}),
        [f'{LIMIT}.defaultRequest[hugepages-2Mi]: Invalid value: "2Mi": default value 4Mi must equal to defaultRequest '
         "value 2Mi in hugepages-2Mi"],
    ),
    # ResourceQuota.
    (
        refs.RESOURCE_QUOTAS,
        quota("cpu", "limits.memory", "pods", "count/jobs.batch", "requests.nvidia.com/gpu", "hugepages-2Mi",
              "requests.hugepages-2Mi", "gold.storageclass.storage.k8s.io/requests.storage"),
        [],
    ),
    (
        refs.RESOURCE_QUOTAS,
        quota("storage"),
        ['spec.hard[storage]: Invalid value: "storage": must be a standard resource for quota'],
    ),
    (
        refs.RESOURCE_QUOTAS,
        quota("apples"),
        ['spec.hard[apples]: Invalid value: "apples": must be a standard resource type or fully qualified',
         'spec.hard[apples]: Invalid value: "apples": must be a standard resource for quota'],
    ),
    (
        refs.RESOURCE_QUOTAS,
        spec(hard={"cpu": "-1", "pods": "1500m"}),
        ['spec.hard[cpu]: Invalid value: "-1": must be greater than or equal to 0',
         'spec.hard[pods]: Invalid value: "1500m": must be an integer'],
    ),
    (refs.RESOURCE_QUOTAS, quota("pods", scopes=["BestEffort", "NotTerminating"]), []),
    (
        refs.RESOURCE_QUOTAS,
        quota("pods", scopes=["BestEffort", "NotBestEffort"]),
        ['spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes'],
    ),
    (
        refs.RESOURCE_QUOTAS,
        quota("cpu", scopes=["BestEffort"]),
        ['spec.scopes: Invalid value: ["BestEffort"]: unsupported scope applied to resource'],
    ),
    (
        refs.RESOURCE_QUOTAS,
        quota("services", "pods", scopes=["Terminating"]),
        ['spec.scopes: Invalid value: ["Terminating"]: unsupported scope applied to resource'],
    ),
    (refs.RESOURCE_QUOTAS, quota(scopes=["Big"]), ['spec.scopes: Invalid value: ["Big"]: unsupported scope']),
    (refs.RESOURCE_QUOTAS, selected("pods", scope="PriorityClass", operator="In", values=["high"]), []),
    (
        refs.RESOURCE_QUOTAS,
        selected("requests.storage", scope="VolumeAttributesClass", operator="In", values=["gold"]),
        [],
    ),
    (
        refs.RESOURCE_QUOTAS,
        selected(scope="PriorityClass", operator="In"),
        [f"{SCOPES}.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope "
         "selector"],
    ),
    (
        refs.RESOURCE_QUOTAS,
        selected(scope="PriorityClass", operator="Exists", values=["a"]),
        [f"{SCOPES}.values: Invalid value: [\"a\"]: must be no value when `operator` is 'Exist' or 'DoesNotExist' for "
         "scope selector"],
    ),
    (
        refs.RESOURCE_QUOTAS,
        selected(scope="BestEffort", operator="DoesNotExist"),
        [f'{SCOPES}.operator: Invalid value: "DoesNotExist": {MUST_EXIST}'],
    ),
    (
        refs.RESOURCE_QUOTAS,
        selected(scope="Big", operator="Near"),
        [f'{SCOPES}.scopeName: Invalid value: "Big": unsupported scope',
         f'{SCOPES}.operator: Invalid value: "Near": not a valid selector operator'],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("ref", "obj", "expected"), CASES, ids=lambda value: str(value)[-60:])
def test_rules(ref: ResourceRef, obj: Object, expected: list[str]) -> None:
    assert findings(ref, obj) == expected


def test_container_limits_fill_one_another() -> None:
    made = created(refs.LIMIT_RANGES, limits(max={"cpu": "2000m", "memory": "1Gi"}, min={"disk": "1"}))
    assert made["spec"]["limits"][0] == {
        "type": "Container",
        "max": {"cpu": "2", "memory": "1Gi"},
        "min": {"disk": "1"},
        "default": {"cpu": "2", "memory": "1Gi"},
        "defaultRequest": {"cpu": "2", "memory": "1Gi", "disk": "1"},
    }
    given = limits(max={"cpu": "2"}, default={"cpu": "1"}, min={"cpu": "100m"})
    assert created(refs.LIMIT_RANGES, given)["spec"]["limits"][0]["defaultRequest"] == {"cpu": "1"}
    # Of pods only bounds are kept.
    assert created(refs.LIMIT_RANGES, limits("Pod", max={"cpu": "2"}))["spec"]["limits"] == [
        {"type": "Pod", "max": {"cpu": "2"}}
    ]


def test_limit_ranges_may_go_without_a_name() -> None:
    assert created(refs.LIMIT_RANGES, {"metadata": {"uid": "u-1"}, "spec": {}})["metadata"]["name"] == "u-1"
    assert strategy(refs.LIMIT_RANGES).create_on_update


def test_scopes_are_immutable() -> None:
    old = quota("pods", scopes=["BestEffort", "NotTerminating"])
    assert update_findings(refs.RESOURCE_QUOTAS, old, changed("spec", "hard", to={"pods": "2"})) == []
    turned = changed("spec", "scopes", to=["NotTerminating", "BestEffort"])
    assert update_findings(refs.RESOURCE_QUOTAS, old, turned) == []
    assert update_findings(refs.RESOURCE_QUOTAS, old, changed("spec", "scopes", to=["BestEffort"])) == [
        'spec.scopes: Invalid value: ["BestEffort"]: field is immutable'
    ]


def test_quota_status_is_for_those_who_saw_the_last_one() -> None:
    old = created(refs.RESOURCE_QUOTAS, quota("pods"))
    change = changed("status", to={"hard": {"pods": "1"}, "used": {"pods": "-1", "apples": "1"}})
    expected = [
        'status.used[pods]: Invalid value: "-1": must be greater than or equal to 0',
        'status.used[apples]: Invalid value: "apples": must be a standard resource type or fully qualified',
        'status.used[apples]: Invalid value: "apples": must be a standard resource for quota',
    ]
    assert status_findings(refs.RESOURCE_QUOTAS, old, change) == ["resourceVersion: Required value", *expected]
    old["metadata"]["resourceVersion"] = "5"
    assert status_findings(refs.RESOURCE_QUOTAS, old, change) == expected


def test_quota_warnings() -> None:
    obj = spec(hard={"cpu": "2", "limits.cpu": "1", "requests.memory": "1Gi", "limits.memory": "2Gi"})
    assert strategy(refs.RESOURCE_QUOTAS).warnings(obj, None) == [
        "ResourceQuota cpu (2) should be less than limits.cpu (1)"
    ]
    assert strategy(refs.RESOURCE_QUOTAS).warnings(obj, obj) == []


def condition(**fields: Any) -> Object:
    return {"type": "DisruptionAllowed", "status": "True", "reason": "SufficientPods", "message": "",
            "lastTransitionTime": "2026-03-01T12:00:00Z", **fields}  # fmt: skip


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([condition()], []),
        ([condition(), condition()], ['status.conditions[1].type: Duplicate value: "DisruptionAllowed"']),
        (
            [condition(status="Maybe", observedGeneration=-1, lastTransitionTime=None, reason="")],
            [
                'status.conditions[0].status: Unsupported value: "Maybe": supported values: "False", "True", "Unknown"',
                "status.conditions[0].observedGeneration: Invalid value: -1: must be greater than or equal to zero",
                "status.conditions[0].lastTransitionTime: Required value",
                "status.conditions[0].reason: Required value",
            ],
        ),
        (
            [condition(reason="too few")],
            [
                'status.conditions[0].reason: Invalid value: "too few": a condition reason must start with alphabetic '
                "character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an "
                "alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  "
                "or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')"
            ],
        ),
        (
            [condition(reason="R" * 1025, message="m" * 32769)],
            [
                "status.conditions[0].reason: Too long: may not be more than 1024 bytes",
                "status.conditions[0].message: Too long: may not be more than 32768 bytes",
            ],
        ),
    ],
)
def test_budget_conditions(conditions: list[Object], expected: list[str]) -> None:
    old = created(refs.POD_DISRUPTION_BUDGETS, spec(minAvailable=1))
    change = changed("status", "conditions", to=conditions)
    assert status_findings(refs.POD_DISRUPTION_BUDGETS, old, change) == expected


@pytest.mark.parametrize("field", ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"])
def test_budget_counts(field: str) -> None:
    old = created(refs.POD_DISRUPTION_BUDGETS, spec(minAvailable=1))
    assert old["status"][field] == 0
    change: Callable[[Object], None] = changed("status", field, to=-1)
    assert status_findings(refs.POD_DISRUPTION_BUDGETS, old, change) == [
        f"status.{field}: Invalid value: -1: must be greater than or equal to 0"
    ]


def test_budgets_are_updated_by_those_who_saw_them() -> None:
    assert not strategy(refs.POD_DISRUPTION_BUDGETS).allow_unconditional_update
    # Their names were never checked for more than that a path can hold them.
    assert strategy(refs.POD_DISRUPTION_BUDGETS).validate_name("My Budget") == []
    assert strategy(refs.POD_DISRUPTION_BUDGETS).validate_name("a/b") == ["may not contain '/'"]


def test_component_statuses() -> None:
    assert component_status("scheduler", True, "ok") == {
        "kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": "scheduler"},
        "conditions": [{"type": "Healthy", "status": "True", "message": "ok"}],
    }  # fmt: skip
    assert component_status("etcd-0", None, error="no route")["conditions"] == [
        {"type": "Healthy", "status": "Unknown", "error": "no route"}
    ]
