"""Endpoints follow pods: who is in, in which state, in which slice, with how few writes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.controllers.cluster import Cluster, deployment, node
from timonel.api.objects import labels_of, name_of
from timonel.api.refs import ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES
from timonel.controllers.endpoints.addresses import find_port
from timonel.controllers.endpoints.legacy import render_endpoints
from timonel.controllers.endpoints.slice_plan import plan_slices


def service(name="web", **spec):
    return {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "default", "uid": "s1", "labels": {"team": "a"}},
        "spec": {
            "selector": {"app": "web"},
            "clusterIP": "10.96.0.5",
            "ipFamilies": ["IPv4"],
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
            **spec,
        },
    }


def pod(number, ready=True, *, deleting=False, phase="Running", node_name="n1", ip=True, ports=(), **spec):
    metadata = {"name": f"p{number}", "namespace": "default", "uid": f"u{number}", "labels": {"app": "web"}}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    address = f"10.244.{number // 250}.{number % 250 + 1}"
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": metadata,
        "spec": {"nodeName": node_name, "containers": [{"name": "c", "ports": list(ports)}], **spec},
        "status": {
            "phase": phase,
            **({"podIP": address, "podIPs": [{"ip": address}]} if ip else {}),
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


def conditions(pods, **spec):
    plan = plan_slices(service(**spec), pods, {"n1": "zone-a"}, [])
    return [
        tuple(endpoint["conditions"][field] for field in ("ready", "serving", "terminating"))
        for endpoint in plan.create[0]["endpoints"]
    ]


@pytest.mark.parametrize(
    ("subject", "spec", "expected"),
    [
        (pod(1), {}, [(True, True, False)]),
        (pod(1, ready=False), {}, [(False, False, False)]),
        (pod(1, deleting=True), {}, [(False, True, True)]),
        (pod(1, ready=False, deleting=True), {}, [(False, False, True)]),
        (pod(1, ready=False), {"publishNotReadyAddresses": True}, [(True, False, False)]),
        (pod(1, phase="Succeeded"), {}, []),
        (pod(1, ip=False), {}, []),
        (pod(1, node_name="gone"), {}, []),
    ],
)
def test_conditions_of_an_endpoint(subject, spec, expected):
    assert conditions([subject], **spec) == expected


def test_slice_has_the_documented_shape():
    subject = pod(1, hostname="db-0", subdomain="web")
    [made] = plan_slices(service(clusterIP="None"), [subject], {"n1": "zone-a"}, []).create
    assert labels_of(made) == {
        "team": "a",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "service.kubernetes.io/headless": "",
    }
    assert made["addressType"] == "IPv4"
    assert made["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    [endpoint] = made["endpoints"]
    assert endpoint["addresses"] == ["10.244.0.2"]
    assert endpoint["targetRef"] == {"kind": "Pod", "namespace": "default", "name": "p1", "uid": "u1"}
    assert (endpoint["nodeName"], endpoint["zone"], endpoint["hostname"]) == ("n1", "zone-a", "db-0")


def test_service_without_pods_keeps_one_empty_slice():
    [made] = plan_slices(service(), [], {}, []).create
    assert (made["endpoints"], made["ports"]) == ([], [])
    existing = made | {"metadata": made["metadata"] | {"name": "web-a"}}
    plan = plan_slices(service(), [], {}, [existing])
    assert (plan.create, plan.update, plan.delete) == ((), (), ())


@pytest.mark.parametrize(
    ("target", "expected"),
    [(8080, 8080), ("http", 80), ("side", 9090), ("none", None), (None, 443)],
)
def test_target_ports(target, expected):
    subject = pod(1, ports=[{"name": "http", "containerPort": 80}])
    subject["spec"]["initContainers"] = [
        {"name": "s", "restartPolicy": "Always", "ports": [{"name": "side", "containerPort": 9090}]},
        {"name": "i", "ports": [{"name": "none", "containerPort": 1}]},
    ]
    assert find_port(subject, {"port": 443, "targetPort": target, "protocol": "TCP"}) == expected


def test_pods_with_different_named_ports_are_in_different_slices():
    named = service(ports=[{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}])
    pods = [
        pod(1, ports=[{"name": "http", "containerPort": 80}]),
        pod(2, ports=[{"name": "http", "containerPort": 81}]),
    ]
    made = plan_slices(named, pods, {"n1": ""}, []).create
    assert sorted(item["ports"][0]["port"] for item in made) == [80, 81]


class Store:
    def __init__(self):
        self.slices = {}
        self.counter = 0

    def apply(self, plan):
        for item in plan.create:
            self.counter += 1
            name = f"web-{self.counter}"
            self.slices[name] = item | {"metadata": item["metadata"] | {"name": name}}
        for item in plan.update:
            self.slices[name_of(item)] = item
        for item in plan.delete:
            del self.slices[name_of(item)]
        return len(plan.create) + len(plan.update) + len(plan.delete)

    def uids(self):
        return sorted(e["targetRef"]["uid"] for item in self.slices.values() for e in item["endpoints"])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sets(st.integers(0, 30)), min_size=1, max_size=8))
def test_every_pod_is_in_one_slice_and_nothing_is_written_twice(history):
    store = Store()
    for numbers in history:
        pods = [pod(number) for number in sorted(numbers)]
        before = store.uids()
        writes = store.apply(plan_slices(service(), pods, {"n1": ""}, list(store.slices.values()), 5))
        assert store.uids() == sorted(f"u{number}" for number in numbers)
        assert all(len(item["endpoints"]) <= 5 for item in store.slices.values())
        again = plan_slices(service(), pods, {"n1": ""}, list(store.slices.values()), 5)
        assert (again.create, again.update, again.delete) == ((), (), ())
        changed = len(set(before) ^ set(store.uids()))
        assert writes <= max(1, changed) + 1


def test_one_change_among_many_writes_one_slice():
    store = Store()
    pods = [pod(number) for number in range(250)]
    store.apply(plan_slices(service(), pods, {"n1": ""}, []))
    assert sorted(len(item["endpoints"]) for item in store.slices.values()) == [50, 100, 100]
    pods[120] = pod(120, ready=False)
    plan = plan_slices(service(), pods, {"n1": ""}, list(store.slices.values()))
    assert (len(plan.create), len(plan.update), len(plan.delete)) == (0, 1, 0)


def test_legacy_endpoints_split_ready_from_not_ready():
    made = render_endpoints(service(), [pod(2), pod(1, ready=False), pod(3, deleting=True), pod(10)], None)
    [subset] = made["subsets"]
    assert [address["ip"] for address in subset["addresses"]] == ["10.244.0.11", "10.244.0.3"]  # by their text
    assert [address["ip"] for address in subset["notReadyAddresses"]] == ["10.244.0.2"]
    assert subset["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert labels_of(made) == {"team": "a", "endpoints.kubernetes.io/managed-by": "endpoint-controller"}


def test_legacy_endpoints_are_cut_at_a_thousand_ready_first():
    pods = [pod(number, ready=number >= 400) for number in range(1200)]
    made = render_endpoints(service(), pods, None)
    [subset] = made["subsets"]
    assert (len(subset["addresses"]), len(subset["notReadyAddresses"])) == (800, 200)
    assert made["metadata"]["annotations"]["endpoints.kubernetes.io/over-capacity"] == "truncated"


def states(cluster):
    return sorted(
        (endpoint["conditions"]["ready"], endpoint["conditions"]["terminating"])
        for item in cluster.client.objects(ENDPOINT_SLICES)
        for endpoint in item["endpoints"]
    )


async def test_endpoints_follow_a_deployment():
    subject = service()
    del subject["metadata"]["uid"]
    async with Cluster(subject, deployment(), node("node-1"), grace=5) as cluster:
        await cluster.run(5)
        assert states(cluster) == [(True, False)] * 3
        [slice_] = cluster.client.objects(ENDPOINT_SLICES)
        assert slice_["metadata"]["ownerReferences"][0]["kind"] == "Service"
        [endpoints] = cluster.client.objects(ENDPOINTS)
        assert len(endpoints["subsets"][0]["addresses"]) == 3
        await cluster.client.delete(PODS, name_of(cluster.pods[0]), "default")
        await cluster.clock.advance(0)
        # At once, before any kubelet acts: the pod still serves, and is no longer ready.
        assert (False, True) in states(cluster)
        assert len(cluster.client.objects(ENDPOINTS)[0]["subsets"][0]["addresses"]) == 2
        await cluster.run(10)
        assert states(cluster) == [(True, False)] * 3
        await cluster.client.delete(SERVICES, "web", "default")
        await cluster.run(2)
        assert cluster.client.objects(ENDPOINTS) == []
        assert cluster.client.objects(ENDPOINT_SLICES) == []


async def test_services_without_selector_and_aliases_are_left_alone():
    async with Cluster(
        service("plain", selector=None), service("alias", type="ExternalName"), deployment(), node("node-1")
    ) as cluster:
        await cluster.run(3)
        assert cluster.client.objects(ENDPOINT_SLICES) == []
        assert cluster.client.objects(ENDPOINTS) == []
