"""Rules of the kinds whose whole rules fit in one module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from timonel.api import refs
from timonel.api.kinds.namespace import validate_finalize
from timonel.api.kinds.reviews import validate_binding
from timonel.api.objects import Object, copy_object
from timonel.api.refs import ResourceRef

from .samples import created, findings, strategy, update_findings

CONFIG_KEY = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
FROZEN = "field is immutable when `immutable` is set"


def named(name: str = "x", **fields: Any) -> Object:
    return {"metadata": {"name": name, "namespace": "default"}, **fields}


def annotated(key: str, value: str, **fields: Any) -> Object:
    return {"metadata": {"name": "x", "annotations": {key: value}}, **fields}


def role(**rule: Any) -> Object:
    return named(rules=[rule])


def binding(*subjects: Object, **ref: Any) -> Object:
    return named(roleRef={"kind": "ClusterRole", "name": "view", **ref}, subjects=list(subjects))


CASES: list[tuple[ResourceRef, Object, list[str]]] = [
    (refs.CONFIGMAPS, named(data={"a.b_c-D": "x"}), []),
    (refs.CONFIGMAPS, named(data={"a b": ""}), [f'data[a b]: Invalid value: "a b": {CONFIG_KEY}']),
    (
        refs.CONFIGMAPS,
        named(data={"a": ""}, binaryData={"a": ""}),
        ['data[a]: Invalid value: "a": duplicate of key present in binaryData'],
    ),
    (
        refs.CONFIGMAPS,
        named(data={"a": "x" * (1024 * 1024 + 1)}),
        ["Too long: may not be more than 1048576 bytes"],
    ),
    (refs.CONFIGMAPS, named(data={"a": "x" * 1024 * 1024}), []),
    (refs.SECRETS, named(stringData={"a": "x"}), []),
    (
        refs.SECRETS,
        named(type="kubernetes.io/tls", data={"tls.crt": ""}),
        ["data[tls.key]: Required value"],
    ),
    (
        refs.SECRETS,
        named(type="kubernetes.io/service-account-token"),
        ["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
    ),
    (
        refs.SECRETS,
        annotated("kubernetes.io/service-account.name", "app", type="kubernetes.io/service-account-token"),
        [],
    ),
    (
        refs.SECRETS,
        named(type="kubernetes.io/dockerconfigjson", stringData={".dockerconfigjson": "{"}),
        ['data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": unexpected end of JSON input'],
    ),
    (
        refs.SECRETS,
        named(type="kubernetes.io/basic-auth"),
        ["data[username]: Required value", "data[password]: Required value"],
    ),
    (refs.NAMESPACES, named(), []),
    (
        refs.NAMESPACES,
        named(spec={"finalizers": ["mine"]}),
        [
            'spec.finalizers: Invalid value: "mine": name is neither a standard finalizer name nor is it fully '
            "qualified"
        ],
    ),
    (refs.NODES, named(spec={"taints": [{"key": "a", "effect": "NoSchedule"}]}), []),
    (
        refs.NODES,
        named(spec={"taints": [{"key": "a", "effect": "NoSchedule"}] * 2}),
        [
            'metadata.taints[1]: Duplicate value: {"Key":"a","Value":"","Effect":"NoSchedule","TimeAdded":null}: '
            "taints must be unique by key and effect pair"
        ],
    ),
    (
        refs.NODES,
        named(status={"capacity": {"cpu": "-1"}}),
        [
            f'status.{field}.cpu: Invalid value: "-1": must be greater than or equal to 0'
            for field in ("capacity", "allocatable")
        ],
    ),
    (
        refs.NODES,
        named(spec={"podCIDRs": ["10.0.0.0/24", "10.0.1.0/24"]}),
        [
            'spec.podCIDRs: Invalid value: ["10.0.0.0/24","10.0.1.0/24"]: may specify no more than one CIDR for each '
            "IP family"
        ],
    ),
    (refs.LEASES, named(spec={"leaseDurationSeconds": 15}), []),
    (
        refs.LEASES,
        named(spec={"leaseDurationSeconds": 0, "leaseTransitions": -1}),
        [
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
            "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
        ],
    ),
    (refs.PRIORITY_CLASSES, named(value=1_000_000_000), []),
    (
        refs.PRIORITY_CLASSES,
        named(value=1_000_000_001),
        ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
    ),
    (refs.PRIORITY_CLASSES, named("system-node-critical", value=2_000_001_000), []),
    (
        refs.PRIORITY_CLASSES,
        named("system-mine", value=1),
        [
            "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. "
            "error: system-mine is not a known system priority class"
        ],
    ),
    (refs.ROLES, role(verbs=["get"], apiGroups=[""], resources=["pods"]), []),
    (
        refs.ROLES,
        role(),
        [
            "rules[0].verbs: Required value: verbs must contain at least one value",
            "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
            "rules[0].resources: Required value: resource rules must supply at least one resource",
        ],
    ),
    (
        refs.ROLES,
        role(verbs=["get"], nonResourceURLs=["/x"]),
        [
            'rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs'
        ],
    ),
    (refs.CLUSTER_ROLES, role(verbs=["get"], nonResourceURLs=["/x"]), []),
    (
        refs.CLUSTER_ROLES,
        named(aggregationRule={}),
        [
            "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if "
            "aggregationRule is non-nil"
        ],
    ),
    (refs.ROLE_BINDINGS, binding({"kind": "User", "name": "ann"}), []),
    (
        refs.CLUSTER_ROLE_BINDINGS,
        binding({"kind": "ServiceAccount", "name": "app"}, kind="Role"),
        [
            'roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"',
            "subjects[0].namespace: Required value",
        ],
    ),
    (
        refs.ROLE_BINDINGS,
        binding({"kind": "Robot", "name": "r"}, name=""),
        [
            "roleRef.name: Required value",
            'subjects[0].kind: Unsupported value: "Robot": supported values: "ServiceAccount", "User", "Group"',
        ],
    ),
    (
        refs.ENDPOINTS,
        named(subsets=[{}]),
        ["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"],
    ),
    (
        refs.ENDPOINTS,
        named(subsets=[{"addresses": [{"ip": "169.254.1.1"}], "ports": [{"port": 1}, {"name": "b", "port": 2}]}]),
        [
            'subsets[0].addresses[0].ip: Invalid value: "169.254.1.1": may not be in the link-local range '
            "(169.254.0.0/16, fe80::/10)",
            "subsets[0].ports[0].name: Required value",
        ],
    ),
    (
        refs.ENDPOINT_SLICES,
        named(addressType="IPv4", endpoints=[{"addresses": ["10.0.0.1"]}], ports=[{"port": 80}]),
        [],
    ),
    (refs.ENDPOINT_SLICES, named(), ["addressType: Required value"]),
    (
        refs.ENDPOINT_SLICES,
        named(addressType="IPv4", endpoints=[{"addresses": ["fd00::1"]}, {"addresses": []}], ports=[{}, {}]),
        [
            'ports[1].name: Duplicate value: ""',
            'endpoints[0].addresses: Invalid value: "fd00::1": must be an IPv4 address',
            "endpoints[1].addresses: Required value: must contain at least 1 address",
        ],
    ),
    (
        refs.ENDPOINT_SLICES,
        named(addressType="IPv6", endpoints=[{"addresses": ["fd00:0::1"]}]),
        [
            'endpoints[0].addresses[0]: Invalid value: "fd00:0::1": must be in canonical form ("fd00::1")'
        ],
    ),
    (
        refs.ENDPOINT_SLICES,
        named(addressType="IPv4", endpoints=[{"addresses": ["10.0.0.1"]}] * 1001),
        ["endpoints: Too many: 1001: must have at most 1000 items"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("ref", "obj", "expected"), CASES, ids=lambda value: str(value)[:50])
def test_rules(ref: ResourceRef, obj: Object, expected: list[str]) -> None:
    assert findings(ref, obj) == expected


def put(*path: Any, value: Any) -> Callable[[Object], None]:
    def change(obj: Object) -> None:
        for step in path[:-1]:
            obj = obj[step]
        obj[path[-1]] = value

    return change


UPDATES: list[tuple[ResourceRef, Object, Callable[[Object], Any], list[str]]] = [
    (refs.CONFIGMAPS, named(data={"a": "1"}), put("data", "a", value="2"), []),
    (
        refs.CONFIGMAPS,
        named(data={"a": "1"}, immutable=True),
        put("data", "a", value="2"),
        [f"data: Forbidden: {FROZEN}"],
    ),
    (
        refs.CONFIGMAPS,
        named(data={"a": "1"}, immutable=True),
        put("immutable", value=False),
        [f"immutable: Forbidden: {FROZEN}"],
    ),
    (
        refs.SECRETS,
        named(immutable=True),
        put("stringData", value={"a": "x"}),
        [f"data: Forbidden: {FROZEN}"],
    ),
    (
        refs.SECRETS,
        named(),
        put("type", value="mine"),
        ['type: Invalid value: "mine": field is immutable'],
    ),
    (refs.NODES, named(spec={}), put("spec", "podCIDRs", value=["10.0.0.0/24"]), []),
    (
        refs.NODES,
        named(spec={"podCIDR": "10.0.0.0/24"}),
        put("spec", "podCIDRs", value=["10.0.0.0/24", "fd00::/64"]),
        ['spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid'],
    ),
    (
        refs.PRIORITY_CLASSES,
        named(value=1),
        put("value", value=2),
        ["value: Forbidden: may not be changed in an update."],
    ),
    (
        refs.PRIORITY_CLASSES,
        named(value=1),
        put("preemptionPolicy", value="Never"),
        ['preemptionPolicy: Invalid value: "Never": field is immutable'],
    ),
    (
        refs.ROLE_BINDINGS,
        binding(),
        put("roleRef", "name", value="edit"),
        [
            'roleRef: Invalid value: {"kind":"ClusterRole","name":"edit","apiGroup":"rbac.authorization.k8s.io"}: '
            "cannot change roleRef"
        ],
    ),
    (
        refs.ENDPOINT_SLICES,
        named(addressType="IPv4"),
        put("addressType", value="IPv6"),
        ['addressType: Invalid value: "IPv6": field is immutable'],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("ref", "old", "change", "expected"), UPDATES, ids=lambda value: str(value)[:50])
def test_updates(ref: ResourceRef, old: Object, change: Callable[[Object], Any], expected: list[str]) -> None:
    assert update_findings(ref, old, change) == expected


def test_secret_texts_become_data() -> None:
    secret = created(refs.SECRETS, named(data={"a": "b2xk", "b": "Yg=="}, stringData={"a": "new"}))
    assert secret["data"] == {"a": "bmV3", "b": "Yg=="}
    assert "stringData" not in secret
    assert secret["type"] == "Opaque"


def test_namespace_is_born_with_its_finalizer_and_name() -> None:
    namespace = created(refs.NAMESPACES, named("team"))
    assert namespace["spec"]["finalizers"] == ["kubernetes"]
    assert namespace["status"] == {"phase": "Active"}
    assert namespace["metadata"]["labels"] == {"kubernetes.io/metadata.name": "team"}


def test_only_finalize_changes_finalizers() -> None:
    old = created(refs.NAMESPACES, named("team"))
    new = copy_object(old)
    new["spec"]["finalizers"] = []
    strategy(refs.NAMESPACES).prepare_update(new, old)
    assert new["spec"]["finalizers"] == ["kubernetes"]
    assert validate_finalize({"spec": {}}) == []
    assert [str(error) for error in validate_finalize({"spec": {"finalizers": ["x"]}})] == [
        'spec.finalizers[0]: Invalid value: "x": name is neither a standard finalizer name nor is it fully qualified'
    ]


def test_namespace_phase_follows_deletion() -> None:
    old = created(refs.NAMESPACES, named("team"))
    new = copy_object(old)
    new["status"]["phase"] = "Terminating"
    assert [str(error) for error in strategy(refs.NAMESPACES).validate_status_update(new, old)] == [
        "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"
    ]
    new["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    assert strategy(refs.NAMESPACES).validate_status_update(new, old) == []


def test_node_keeps_the_status_it_is_born_with() -> None:
    node = created(refs.NODES, named(spec={"podCIDR": "10.0.0.0/24"}, status={"capacity": {"cpu": "2000m"}}))
    assert strategy(refs.NODES).status_on_create
    assert node["status"]["capacity"] == node["status"]["allocatable"] == {"cpu": "2"}
    assert node["spec"]["podCIDRs"] == ["10.0.0.0/24"]


def test_bindings_are_to_nodes() -> None:
    assert validate_binding({"target": {"kind": "Node", "name": "n1"}}) == []
    assert [str(error) for error in validate_binding({"target": {"kind": "Minion"}})] == [
        'target.kind: Unsupported value: "Minion": supported values: "Node", "<empty>"',
        "target.name: Required value",
    ]


@pytest.mark.parametrize(
    ("ref", "spec", "expected"),
    [
        (
            refs.SUBJECT_ACCESS_REVIEWS,
            {"resourceAttributes": {}},
            ['spec.user: Invalid value: "": at least one of user or group must be specified'],
        ),
        (refs.SELF_SUBJECT_ACCESS_REVIEWS, {"resourceAttributes": {}}, []),
        (
            refs.SELF_SUBJECT_ACCESS_REVIEWS,
            {"resourceAttributes": {}, "nonResourceAttributes": {}},
            [
                "spec.nonResourceAttributes: Invalid value: {}: cannot be specified in combination with "
                "resourceAttributes"
            ],
        ),
        (
            refs.SELF_SUBJECT_ACCESS_REVIEWS,
            {},
            [
                "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or "
                "resourceAttributes must be specified"
            ],
        ),
        (
            refs.LOCAL_SUBJECT_ACCESS_REVIEWS,
            {"user": "ann", "resourceAttributes": {"namespace": "other"}},
            ['spec.resourceAttributes.namespace: Invalid value: "other": must match metadata.namespace'],
        ),
    ],
)
def test_access_reviews(ref: ResourceRef, spec: Object, expected: list[str]) -> None:
    assert findings(ref, named(spec=spec)) == expected


@pytest.mark.parametrize("status", [{}, {"daemonEndpoints": {}}, {"daemonEndpoints": {"kubeletEndpoint": {}}}])
def test_a_node_always_shows_a_port_of_its_kubelet(status):
    """`Port` is required in DaemonEndpoint: clients with typed models cannot read a node without it."""
    node = created(refs.NODES, named(spec={}, status=status))
    assert node["status"]["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 0}}
