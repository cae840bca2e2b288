"""The FlowSchemas and PriorityLevelConfigurations that every cluster begins with, as data.

Source: kubernetes.io/docs/concepts/cluster-administration/flow-control ("Suggested configuration objects").
"""

from __future__ import annotations

from typing import Any

from timonel.api.kinds.flowcontrol.mandatory import MANDATORY_FLOW_SCHEMAS, MANDATORY_PRIORITY_LEVELS
from timonel.api.objects import Object
from timonel.apiserver.authn.user import (
    AUTHENTICATED_GROUP,
    NODES_GROUP,
    SERVICE_ACCOUNTS_GROUP,
    UNAUTHENTICATED_GROUP,
)

AUTO_UPDATE = "apf.kubernetes.io/autoupdate-spec"

_MANAGER, _SCHEDULER = "system:kube-controller-manager", "system:kube-scheduler"
_LEASES = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "namespaces": ["*"]}
_NODES = {"apiGroups": [""], "resources": ["nodes", "nodes/status"], "namespaces": ["*"], "clusterScope": True}
_ALL_RESOURCES = {"apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}


def _level(shares: int, lendable_percent: int, queues: int, hand_size: int) -> Object:
    return {
        "type": "Limited",
        "limited": {
            "nominalConcurrencyShares": shares,
            "lendablePercent": lendable_percent,
            "limitResponse": {
                "type": "Queue",
                "queuing": {"queues": queues, "handSize": hand_size, "queueLengthLimit": 50},
            },
        },
    }


def _users(*names: str) -> list[Object]:
    return [{"kind": "User", "user": {"name": name}} for name in names]


def _groups(*names: str) -> list[Object]:
    return [{"kind": "Group", "group": {"name": name}} for name in names]


def _kube_system_accounts() -> list[Object]:
    return [{"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": "*"}}]


def _schema(precedence: int, level: str, method: str, subjects: list[Object], **rules: list[Object]) -> Object:
    spec: Object = {
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "rules": [{"subjects": subjects, **rules}],
    }
    if method:
        spec["distinguisherMethod"] = {"type": method}
    return spec


def _everything(precedence: int, level: str, method: str, subjects: list[Object]) -> Object:
    return _schema(
        precedence,
        level,
        method,
        subjects,
        resourceRules=[{"verbs": ["*"], **_ALL_RESOURCES}],
        nonResourceRules=[{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    )


SUGGESTED_PRIORITY_LEVELS: dict[str, Object] = {
    "system": _level(30, 33, 64, 6),
    "node-high": _level(40, 25, 64, 6),
    "leader-election": _level(10, 0, 16, 4),
    "workload-high": _level(40, 50, 128, 6),
    "workload-low": _level(100, 90, 128, 6),
    "global-default": _level(20, 50, 128, 6),
}

SUGGESTED_FLOW_SCHEMAS: dict[str, Object] = {
    "system-nodes": _everything(500, "system", "ByUser", _groups(NODES_GROUP)),
    "system-node-high": _schema(
        400,
        "node-high",
        "ByUser",
        _groups(NODES_GROUP),
        resourceRules=[{"verbs": ["*"], **_NODES}, {"verbs": ["*"], **_LEASES}],
    ),
    "probes": _schema(
        2,
        "exempt",
        "",
        _groups(UNAUTHENTICATED_GROUP, AUTHENTICATED_GROUP),
        nonResourceRules=[{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}],
    ),
    "system-leader-election": _schema(
        100,
        "leader-election",
        "ByUser",
        [*_users(_MANAGER, _SCHEDULER), *_kube_system_accounts()],
        resourceRules=[{"verbs": ["get", "create", "update"], **_LEASES}],
    ),
    "kube-controller-manager": _everything(800, "workload-high", "ByNamespace", _users(_MANAGER)),
    "kube-scheduler": _everything(800, "workload-high", "ByNamespace", _users(_SCHEDULER)),
    "kube-system-service-accounts": _everything(900, "workload-high", "ByNamespace", _kube_system_accounts()),
    "service-accounts": _everything(9000, "workload-low", "ByUser", _groups(SERVICE_ACCOUNTS_GROUP)),
    "global-default": _everything(
        9900, "global-default", "ByUser", _groups(UNAUTHENTICATED_GROUP, AUTHENTICATED_GROUP)
    ),
}


def bootstrap_object(name: str, spec: Any) -> Object:
    return {"metadata": {"name": name, "annotations": {AUTO_UPDATE: "true"}}, "spec": spec}


FLOW_SCHEMA_NAMES = frozenset(SUGGESTED_FLOW_SCHEMAS) | frozenset(MANDATORY_FLOW_SCHEMAS)
PRIORITY_LEVEL_NAMES = frozenset(SUGGESTED_PRIORITY_LEVELS) | frozenset(MANDATORY_PRIORITY_LEVELS)
