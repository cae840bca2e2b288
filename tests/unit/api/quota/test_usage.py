"""What objects use of quotas: kubernetes.io/docs/concepts/policy/resource-quotas."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from timonel.api.objects import Object
from timonel.api.quota.evaluator import Evaluator, Surroundings, is_in_scopes
from timonel.api.quota.registry import evaluator_for

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AROUND = Surroundings(now=NOW)


def pod(*containers: Object, status: Object | None = None, metadata: Object | None = None, **spec: Any) -> Object:
    named = [{"name": f"c{index}", **container} for index, container in enumerate(containers)]
    return {
        "metadata": {"name": "p", **(metadata or {})},
        "spec": {"containers": named, **spec},
        "status": status or {},
    }


def asks(requests: Object | None = None, limits: Object | None = None, **fields: Any) -> Object:
    return {"resources": {"requests": requests or {}, "limits": limits or {}}, **fields}


def used(kind: str, obj: Object, around: Surroundings = AROUND) -> Object:
    return evaluator_for(kind).usage(obj, around)


def test_every_kind_is_counted_and_some_under_their_old_name_too() -> None:
    assert used("deployments.apps", {}) == {"count/deployments.apps": "1"}
    assert used("things.example.com", {}) == {"count/things.example.com": "1"}
    for old in ("configmaps", "secrets", "replicationcontrollers", "resourcequotas"):
        assert used(old, {}) == {f"count/{old}": "1", old: "1"}
    assert type(evaluator_for("deployments.apps")) is Evaluator


def test_a_pod_uses_what_its_containers_ask_for_together() -> None:
    one = asks({"cpu": "100m", "memory": "1Gi", "ephemeral-storage": "1G"}, {"cpu": "1", "memory": "1Gi"})
    two = asks({"cpu": "0.4", "hugepages-2Mi": "4Mi", "example.com/gpu": "2"}, {"hugepages-2Mi": "4Mi"})
    assert used("pods", pod(one, two)) == {
        "count/pods": "1", "pods": "1", "cpu": "500m", "requests.cpu": "500m", "memory": "1Gi",
        "requests.memory": "1Gi", "ephemeral-storage": "1G", "requests.ephemeral-storage": "1G", "limits.cpu": "1",
        "limits.memory": "1Gi", "hugepages-2Mi": "4Mi", "requests.hugepages-2Mi": "4Mi",
        "requests.example.com/gpu": "2",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("made", "cpu"),
    [
        (pod(asks({"cpu": "1"}), initContainers=[asks({"cpu": "3"})]), "3"),
        (pod(asks({"cpu": "1"}), initContainers=[asks({"cpu": "1"}, restartPolicy="Always")]), "2"),
        (pod(asks({"cpu": "1"}), initContainers=[asks({"cpu": "1"}, restartPolicy="Always"), asks({"cpu": "3"})]), "4"),
        (pod(asks({"cpu": "1"}), overhead={"cpu": "250m"}), "1250m"),
        (pod(asks({"cpu": "1"}), resources={"requests": {"cpu": "2"}}), "2"),
        # In-place resizing: the larger of what is asked, allocated and had; what cannot be had does not count.
        (pod(asks({"cpu": "1"}), status={"containerStatuses": [
            {"name": "c0", "resources": {"requests": {"cpu": "3"}}, "allocatedResources": {"cpu": "2"}}]}), "3"),
        (pod(asks({"cpu": "9"}), status={
            "containerStatuses": [{"name": "c0", "resources": {"requests": {"cpu": "1"}},
                                   "allocatedResources": {"cpu": "2"}}],
            "conditions": [{"type": "PodResizePending", "reason": "Infeasible"}]}), "2"),
    ],
)  # fmt: skip
def test_the_most_demanding_moment_of_a_pod_counts(made: Object, cpu: str) -> None:
    assert used("pods", made)["requests.cpu"] == cpu


def test_a_pod_that_ended_is_only_counted() -> None:
    for phase in ("Succeeded", "Failed"):
        assert used("pods", pod(asks({"cpu": "1"}), status={"phase": phase})) == {"count/pods": "1"}
    going = pod(asks(), metadata={"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30})
    assert used("pods", going)["pods"] == "1"
    assert "pods" not in used("pods", going, Surroundings(now=NOW + timedelta(seconds=31)))


def test_what_pods_must_say_once_cpu_or_memory_are_limited() -> None:
    evaluator = evaluator_for("pods")
    some = pod(asks({"cpu": "1"}), asks({"memory": "1Gi"}), initContainers=[{"name": "i"}])
    assert evaluator.missing(["requests.cpu", "pods"], some) == "must specify requests.cpu for: c1,i"
    assert evaluator.missing(["limits.cpu", "memory"], some) == "must specify limits.cpu for: c0,c1,i; memory for: c0,i"
    assert evaluator.missing(["ephemeral-storage", "pods"], some) == ""
    assert evaluator.missing(["cpu"], pod(asks(), resources={"requests": {"cpu": "1"}})) == ""


def test_names_a_pod_uses() -> None:
    names = [
        "pods", "count/pods", "hugepages-2Mi", "requests.hugepages-1Gi", "requests.example.com/gpu", "services",
        "example.com/gpu", "requests.storage", "requests.deviceclass.resource.kubernetes.io/gpu",
    ]  # fmt: skip
    found = evaluator_for("pods").matching(names, AROUND)
    assert found == set(names) - {"services", "example.com/gpu", "requests.storage"}


AFFINITY = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
    {"weight": 1, "podAffinityTerm": {"topologyKey": "zone", "namespaceSelector": {}}}]}}  # fmt: skip


@pytest.mark.parametrize(
    ("scope", "inside", "outside"),
    [
        ({"scopeName": "Terminating"}, pod(activeDeadlineSeconds=0), pod()),
        ({"scopeName": "NotTerminating"}, pod(), pod(activeDeadlineSeconds=5)),
        ({"scopeName": "BestEffort"}, pod(asks({"example.com/gpu": "1"})), pod(asks({"cpu": "1"}))),
        ({"scopeName": "NotBestEffort"}, pod(asks({}, {"memory": "1"})), pod(asks({"cpu": "0"}))),
        ({"scopeName": "CrossNamespacePodAffinity"}, pod(affinity=AFFINITY), pod(affinity={"podAffinity": {}})),
        ({"scopeName": "PriorityClass", "operator": "Exists"}, pod(priorityClassName="a"), pod()),
        ({"scopeName": "PriorityClass", "operator": "DoesNotExist"}, pod(), pod(priorityClassName="a")),
        ({"scopeName": "PriorityClass", "operator": "In", "values": ["a", "b"]}, pod(priorityClassName="b"), pod()),
        ({"scopeName": "PriorityClass", "operator": "NotIn", "values": ["a"]}, pod(), pod(priorityClassName="a")),
    ],
)
def test_scopes_of_pods(scope: Object, inside: Object, outside: Object) -> None:
    quota = {"spec": {"scopeSelector": {"matchExpressions": [scope]}}}
    assert is_in_scopes(evaluator_for("pods"), quota, inside)
    assert not is_in_scopes(evaluator_for("pods"), quota, outside)
    assert not is_in_scopes(evaluator_for("configmaps"), quota, {})


def test_all_scopes_of_both_forms_must_fit() -> None:
    both = {"spec": {"scopes": ["NotTerminating"], "scopeSelector": {"matchExpressions": [
        {"scopeName": "PriorityClass", "operator": "Exists"}]}}}  # fmt: skip
    assert is_in_scopes(evaluator_for("pods"), both, pod(priorityClassName="a"))
    assert not is_in_scopes(evaluator_for("pods"), both, pod(priorityClassName="a", activeDeadlineSeconds=1))


@pytest.mark.parametrize(
    ("spec", "node_ports", "balancers"),
    [
        ({"type": "ClusterIP", "ports": [{}, {}]}, "0", "0"),
        ({"type": "NodePort", "ports": [{}, {}]}, "2", "0"),
        ({"type": "LoadBalancer", "ports": [{}, {}]}, "2", "1"),
        (
            {"type": "LoadBalancer", "ports": [{"nodePort": 30000}, {}], "allocateLoadBalancerNodePorts": False},
            "1",
            "1",
        ),
    ],
)
def test_services_use_ports_and_balancers(spec: Object, node_ports: str, balancers: str) -> None:
    assert used("services", {"spec": spec}) == {
        "count/services": "1", "services": "1", "services.nodeports": node_ports, "services.loadbalancers": balancers,
    }  # fmt: skip


def claim(size: str, allocated: str = "", status: Object | None = None, **spec: Any) -> Object:
    found = dict(status or {})
    if allocated:
        found["allocatedResources"] = {"storage": allocated}
    return {"metadata": {}, "spec": {"resources": {"requests": {"storage": size}}, **spec}, "status": found}


def test_volume_claims_use_storage_of_their_class() -> None:
    assert used("persistentvolumeclaims", claim("1Gi")) == {
        "persistentvolumeclaims": "1", "count/persistentvolumeclaims": "1", "requests.storage": "1Gi",
    }  # fmt: skip
    assert used("persistentvolumeclaims", claim("1Gi", storageClassName="gold")) == {
        "persistentvolumeclaims": "1", "count/persistentvolumeclaims": "1", "requests.storage": "1Gi",
        "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
        "gold.storageclass.storage.k8s.io/requests.storage": "1Gi",
    }  # fmt: skip
    assert used("persistentvolumeclaims", claim("1Gi", "2Gi"))["requests.storage"] == "2Gi"
    assert used("persistentvolumeclaims", claim("3Gi", "2Gi"))["requests.storage"] == "3Gi"
    assert used("persistentvolumeclaims", claim("1500m"))["requests.storage"] == "2"
    names = ["requests.storage", "gold.storageclass.storage.k8s.io/requests.storage", "requests.cpu"]
    assert evaluator_for("persistentvolumeclaims").matching(names, AROUND) == set(names[:2])


def test_volume_claims_count_for_every_attributes_class_they_are_between() -> None:
    changing = claim("1Gi", volumeAttributesClassName="new", status={"currentVolumeAttributesClassName": "old"})
    for name, expected in (("new", True), ("old", True), ("other", False)):
        scope = {"scopeName": "VolumeAttributesClass", "operator": "In", "values": [name]}
        quota = {"spec": {"scopeSelector": {"matchExpressions": [scope]}}}
        assert is_in_scopes(evaluator_for("persistentvolumeclaims"), quota, changing) is expected


DEVICES = "gpu.deviceclass.resource.k8s.io/devices"


@pytest.mark.parametrize(
    ("request_", "devices"),
    [
        ({"exactly": {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 3}}, "3"),
        ({"exactly": {"deviceClassName": "gpu", "allocationMode": "All"}}, "32"),
        ({"firstAvailable": [{"deviceClassName": "gpu", "count": 1}, {"deviceClassName": "gpu", "count": 4}]}, "4"),
    ],
)
def test_device_claims_use_the_most_they_can_get(request_: Object, devices: str) -> None:
    made = {"metadata": {}, "spec": {"devices": {"requests": [request_, request_]}}}
    found = used("resourceclaims.resource.k8s.io", made)
    assert found["count/resourceclaims.resource.k8s.io"] == "1"
    assert int(found[DEVICES]) == 2 * int(devices)
    assert found["requests.deviceclass.resource.kubernetes.io/gpu"] == found[DEVICES]


def test_devices_count_as_the_extended_resource_of_their_class_but_once() -> None:
    gpu = {"metadata": {"name": "gpu"}, "spec": {"extendedResourceName": "example.com/gpu"}}
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": True}
    made = {
        "metadata": {"name": "c", "namespace": "d", "ownerReferences": [owner],
                     "annotations": {"resource.kubernetes.io/extended-resource-claim": "true"}},
        "spec": {"devices": {"requests": [{"exactly": {"deviceClassName": "gpu", "count": 3}}]}},
    }  # fmt: skip
    asking = pod(asks({"example.com/gpu": "2"}), metadata={"uid": "u"})
    alone = Surroundings(now=NOW, device_classes=lambda: [gpu])
    assert used("resourceclaims.resource.k8s.io", made, alone)["requests.example.com/gpu"] == "3"
    beside = Surroundings(now=NOW, device_classes=lambda: [gpu], pod=lambda namespace, name: asking)
    assert used("resourceclaims.resource.k8s.io", made, beside)["requests.example.com/gpu"] == "1"
    names = ["requests.example.com/gpu", "requests.example.com/other", DEVICES]
    evaluator = evaluator_for("resourceclaims.resource.k8s.io")
    assert evaluator.matching(names, alone) == {"requests.example.com/gpu", DEVICES}
    assert evaluator.matching(names, AROUND) == {DEVICES}


def test_which_writes_are_held_against_quotas() -> None:
    plain, ending = pod(), pod(activeDeadlineSeconds=1)
    pods = evaluator_for("pods")
    assert pods.handles("CREATE", "", plain, None)
    assert not pods.handles("UPDATE", "", plain, plain)
    assert pods.handles("UPDATE", "", ending, plain)
    assert pods.handles("UPDATE", "resize", plain, plain)
    assert not pods.handles("UPDATE", "ephemeralcontainers", ending, plain)
    assert not pods.handles("CREATE", "binding", plain, None)
    assert evaluator_for("services").handles("UPDATE", "", {}, {})
    assert not evaluator_for("services").handles("UPDATE", "status", {}, {})
    claims = evaluator_for("persistentvolumeclaims")
    assert claims.handles("UPDATE", "status", claim("1Gi", "2Gi"), claim("1Gi"))
    assert not claims.handles("UPDATE", "status", claim("1Gi", "2Gi"), claim("1Gi", "2Gi"))
    assert not evaluator_for("configmaps").handles("UPDATE", "", {}, {})
