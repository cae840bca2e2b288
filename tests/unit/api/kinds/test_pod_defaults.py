"""Documented defaults of pods and templates."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api import refs
from timonel.api.kinds import BUILTIN
from timonel.api.kinds.pod.defaults import default_pod_template
from timonel.api.objects import Object, copy_object

from .samples import created, deployment, pod, pod_with, service, strategy

PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}


def test_least_pod() -> None:
    spec = created(refs.PODS, pod())["spec"]
    assert spec == {
        "containers": [
            {
                "name": "app", "image": "nginx", "imagePullPolicy": "Always", "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }
        ],
        "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
        "securityContext": {}, "terminationGracePeriodSeconds": 30, "enableServiceLinks": True,
    }  # fmt: skip


def test_status_is_the_servers() -> None:
    obj = pod()
    obj["status"] = {"phase": "Running", "podIP": "10.0.0.1"}
    assert created(refs.PODS, obj)["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"), ("nginx:latest", "Always"), ("nginx:1.25", "IfNotPresent"),
        ("registry:5000/nginx", "Always"), ("registry:5000/a/nginx:1", "IfNotPresent"),
        ("nginx@sha256:" + "a" * 64, "IfNotPresent"), ("nginx:latest@sha256:" + "a" * 64, "Always"),
        ("", "IfNotPresent"), ("Not A Reference", "IfNotPresent"),
    ],
)  # fmt: skip
def test_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert created(refs.PODS, pod_with(image=image))["spec"]["containers"][0]["imagePullPolicy"] == policy


@pytest.mark.parametrize(
    ("given", "defaulted"),
    [
        ({"httpGet": {"port": 80}}, {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, **PROBE}),
        ({"grpc": {"port": 5000}}, {"grpc": {"port": 5000, "service": ""}, **PROBE}),
        ({"tcpSocket": {"port": 5}, "periodSeconds": 3}, {"tcpSocket": {"port": 5}, **PROBE, "periodSeconds": 3}),
        ({"exec": {"command": ["a"]}, "timeoutSeconds": 0}, {"exec": {"command": ["a"]}, **PROBE}),
    ],
)
def test_probes(given: Object, defaulted: Object) -> None:
    assert created(refs.PODS, pod_with(livenessProbe=given))["spec"]["containers"][0]["livenessProbe"] == defaulted


def test_requests_follow_limits_in_pods_only() -> None:
    resources = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m"}}
    container = created(refs.PODS, pod_with(resources=resources))["spec"]["containers"][0]
    assert container["resources"]["requests"] == {"cpu": "100m", "memory": "1Gi"}
    template = {"spec": pod_with(resources=resources)["spec"]}
    default_pod_template(template)
    assert template["spec"]["containers"][0]["resources"] == resources
    assert "enableServiceLinks" not in template["spec"]


def test_quantities_are_spelled_canonically() -> None:
    resources = {"limits": {"cpu": "0.5", "memory": "1024Mi"}, "requests": {"cpu": "0.0001"}}
    container = created(refs.PODS, pod_with(resources=resources))["spec"]["containers"][0]
    # Amounts below a thousandth are rounded up.
    assert container["resources"] == {
        "limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "1m", "memory": "1Gi"},
    }  # fmt: skip


def test_ports_on_the_hosts_network() -> None:
    obj = pod_with(ports=[{"containerPort": 80}])
    obj["spec"]["hostNetwork"] = True
    ports = created(refs.PODS, obj)["spec"]["containers"][0]["ports"]
    assert ports == [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]


def test_service_account_has_two_names() -> None:
    spec = created(refs.PODS, pod(serviceAccount="old"))["spec"]
    assert spec["serviceAccountName"] == spec["serviceAccount"] == "old"
    spec = created(refs.PODS, pod(serviceAccount="old", serviceAccountName="new"))["spec"]
    assert spec["serviceAccountName"] == spec["serviceAccount"] == "new"


@pytest.mark.parametrize(
    ("given", "defaulted"),
    [
        ({}, {"emptyDir": {}}),
        ({"secret": {"secretName": "s"}}, {"secret": {"secretName": "s", "defaultMode": 0o644}}),
        ({"configMap": {"name": "c", "defaultMode": 0}}, {"configMap": {"name": "c", "defaultMode": 0}}),
        ({"hostPath": {"path": "/a"}}, {"hostPath": {"path": "/a", "type": ""}}),
        ({"emptyDir": {"sizeLimit": "1024Mi"}}, {"emptyDir": {"sizeLimit": "1Gi"}}),
        (
            {"downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {"downwardAPI": {
                "items": [{"path": "a", "fieldRef": {"fieldPath": "metadata.name", "apiVersion": "v1"}}],
                "defaultMode": 0o644,
            }},
        ),
        (
            {"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            {"projected": {
                "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}], "defaultMode": 0o644,
            }},
        ),
        ({"image": {"reference": "a:1"}}, {"image": {"reference": "a:1", "pullPolicy": "IfNotPresent"}}),
        ({"iscsi": {"iqn": "i"}}, {"iscsi": {"iqn": "i", "iscsiInterface": "default"}}),
        (
            {"ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
            {"ephemeral": {"volumeClaimTemplate": {"spec": {"volumeMode": "Filesystem"}}}},
        ),
    ],
)  # fmt: skip
def test_volumes(given: Object, defaulted: Object) -> None:
    spec = created(refs.PODS, pod(volumes=[{"name": "v", **given}]))["spec"]
    assert spec["volumes"] == [{"name": "v", **defaulted}]


def test_environment() -> None:
    env = [
        {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "B", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
    ]
    container = created(refs.PODS, pod_with(env=env))["spec"]["containers"][0]
    assert container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"
    assert container["env"][1]["valueFrom"]["resourceFieldRef"]["divisor"] == "0"


@pytest.mark.parametrize(
    ("containers", "limits", "requests"),
    [
        # From the limits, where containers ask for nothing.
        ([{}], {"cpu": "2"}, {"cpu": "2"}),
        # From the containers, where they ask.
        ([{"requests": {"cpu": "100m"}}, {"requests": {"cpu": "200m"}}], {"cpu": "2"}, {"cpu": "300m"}),
    ],
)
def test_resources_of_the_whole_pod(containers: list[Object], limits: Object, requests: Object) -> None:
    listed = [{"name": f"c{n}", "image": "x", "resources": r} for n, r in enumerate(containers)]
    spec = created(refs.PODS, pod(containers=listed, resources={"limits": limits}))["spec"]
    assert spec["resources"] == {"limits": limits, "requests": requests}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ([{}], "BestEffort"),
        ([{"requests": {"cpu": "0"}}], "BestEffort"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}, {}], "Burstable"),
        ([{"limits": {"cpu": "1000m", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1024Mi"}}], "Guaranteed"),
    ],
)
def test_quality_of_service(resources: list[Object], expected: str) -> None:
    containers = [{"name": f"c{n}", "image": "x", "resources": r} for n, r in enumerate(resources)]
    assert created(refs.PODS, pod(containers=containers))["status"]["qosClass"] == expected


def test_gated_pod_says_so() -> None:
    status = created(refs.PODS, pod(schedulingGates=[{"name": "a/b"}]))["status"]
    assert status["conditions"][0]["reason"] == "SchedulingGated"


def test_label_keys_are_merged_into_selectors() -> None:
    obj = pod(
        topologySpreadConstraints=[
            {"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}, "matchLabelKeys": ["hash", "none"]}
        ]
    )
    obj["metadata"]["labels"] = {"hash": "7"}
    (constraint,) = created(refs.PODS, obj)["spec"]["topologySpreadConstraints"]
    assert constraint["labelSelector"]["matchExpressions"] == [{"key": "hash", "operator": "In", "values": ["7"]}]


@pytest.mark.parametrize("row", [row for row in BUILTIN.rows if row.storage_prefix], ids=lambda row: row.definition)
def test_defaults_are_idempotent(row: Any) -> None:
    samples = {"Pod": pod, "Deployment": deployment, "ReplicaSet": deployment, "Service": service}
    make = samples.get(row.ref.kind, lambda: {"metadata": {"name": "x"}})
    once = make()
    row.strategy.default(once)
    twice = copy_object(once)
    row.strategy.default(twice)
    assert twice == once


@pytest.mark.parametrize(
    ("requested", "spec", "status", "period"),
    [
        (None, {"nodeName": "n", "terminationGracePeriodSeconds": 30}, {"phase": "Running"}, 30),
        (5, {"nodeName": "n", "terminationGracePeriodSeconds": 30}, {"phase": "Running"}, 5),
        (0, {"nodeName": "n", "terminationGracePeriodSeconds": 30}, {"phase": "Running"}, 0),
        (None, {"terminationGracePeriodSeconds": 30}, {"phase": "Pending"}, 0),
        (9, {"nodeName": "n", "terminationGracePeriodSeconds": 30}, {"phase": "Succeeded"}, 0),
        (9, {"nodeName": "n", "terminationGracePeriodSeconds": 30}, {"phase": "Failed"}, 0),
        (-1, {"nodeName": "n", "terminationGracePeriodSeconds": 30}, {"phase": "Running"}, 1),
        (None, {"nodeName": "n", "terminationGracePeriodSeconds": -7}, {"phase": "Running"}, 1),
    ],
)
def test_grace_period(requested: int | None, spec: Object, status: Object, period: int) -> None:
    assert strategy(refs.PODS).grace_period_seconds({"spec": spec, "status": status}, requested) == period
