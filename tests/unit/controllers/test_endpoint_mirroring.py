"""Endpoints kept by hand show up as EndpointSlices.

Source: kubernetes.io/docs/concepts/services-networking/service/#endpointslice-mirroring
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.controllers.cluster import Cluster
from timonel.api.objects import Object, labels_of
from timonel.api.refs import ENDPOINT_SLICES, ENDPOINTS, SERVICES
from timonel.controllers.endpoints.mirror_plan import is_mirrored, plan_mirror
from timonel.testing.clock import settle

HTTP = {"name": "http", "port": 80, "protocol": "TCP"}
HTTPS = {"name": "https", "port": 443, "protocol": "TCP", "appProtocol": "kubernetes.io/h2c"}


def subset(*addresses: str, ports: Any = (HTTP,), not_ready: Any = ()) -> Object:
    made: Object = {"addresses": [{"ip": each} for each in addresses], "ports": list(ports)}
    if not_ready:
        made["notReadyAddresses"] = [{"ip": each} for each in not_ready]
    return made


def endpoints(*subsets: Object, name: str = "web", **metadata: Any) -> Object:
    return {
        "kind": "Endpoints",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "default", "uid": "e", **metadata},
        "subsets": list(subsets),
    }


def service(**spec: Any) -> Object:
    metadata = {"name": "web", "namespace": "default", "uid": "s"}
    return {"kind": "Service", "apiVersion": "v1", "metadata": metadata, "spec": {"ports": [{"port": 80}], **spec}}


def addresses(made: Object) -> list[tuple[str, bool]]:
    return [(each["addresses"][0], each["conditions"]["ready"]) for each in made["endpoints"]]


def test_a_slice_says_what_the_endpoints_say() -> None:
    given = endpoints(
        {
            "addresses": [
                {"ip": "10.0.0.1", "hostname": "a", "nodeName": "n", "targetRef": {"kind": "Pod", "name": "p"}}
            ],
            "ports": [HTTPS],
        },
        labels={"team": "a"},
        annotations={
            "note": "x",
            "endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
        },
    )
    assert plan_mirror(given, []).slices.create == (
        {
            "kind": "EndpointSlice",
            "apiVersion": "discovery.k8s.io/v1",
            "metadata": {
                "generateName": "web-",
                "namespace": "default",
                "labels": {
                    "team": "a",
                    "kubernetes.io/service-name": "web",
                    "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
                },
                "annotations": {"note": "x"},
                "ownerReferences": [
                    {
                        "apiVersion": "v1",
                        "kind": "Endpoints",
                        "name": "web",
                        "uid": "e",
                        "controller": True,
                        "blockOwnerDeletion": True,
                    }
                ],
            },
            "addressType": "IPv4",
            "endpoints": [
                {
                    "addresses": ["10.0.0.1"],
                    "conditions": {"ready": True},
                    "targetRef": {"kind": "Pod", "name": "p"},
                    "nodeName": "n",
                    "hostname": "a",
                }
            ],
            "ports": [
                {"name": "https", "port": 443, "protocol": "TCP", "appProtocol": "kubernetes.io/h2c"},
            ],
        },
    )


@pytest.mark.parametrize(
    ("subsets", "slices"),
    [
        ([], []),
        ([subset("10.0.0.2", "10.0.0.1", not_ready=["10.0.0.3"])],
         [("IPv4", ["http"], [("10.0.0.1", True), ("10.0.0.2", True), ("10.0.0.3", False)])]),
        ([subset("10.0.0.1", "fd00::1")],
         [("IPv4", ["http"], [("10.0.0.1", True)]), ("IPv6", ["http"], [("fd00::1", True)])]),
        ([subset("::ffff:10.0.0.1")], [("IPv4", ["http"], [("10.0.0.1", True)])]),
        # Ports that the same addresses serve are one slice, wherever they stand.
        ([subset("10.0.0.1"), subset("10.0.0.1", ports=[HTTPS])],
         [("IPv4", ["http", "https"], [("10.0.0.1", True)])]),
        ([subset("10.0.0.1"), subset("10.0.0.2", ports=[HTTPS])],
         [("IPv4", ["http"], [("10.0.0.1", True)]), ("IPv4", ["https"], [("10.0.0.2", True)])]),
        # Not ready in one place is not ready.
        ([subset("10.0.0.1", not_ready=["10.0.0.1"])], [("IPv4", ["http"], [("10.0.0.1", False)])]),
        ([subset("10.0.0.1", ports=[])], [("IPv4", [], [("10.0.0.1", True)])]),
    ],
)  # fmt: skip
def test_how_addresses_are_spread(subsets: list[Object], slices: list[Any]) -> None:
    made = plan_mirror(endpoints(*subsets), []).slices.create
    found = [(each["addressType"], sorted(port["name"] for port in each["ports"]), addresses(each)) for each in made]
    assert sorted(found, key=str) == sorted(slices, key=str)


def test_too_many_and_no_addresses() -> None:
    plan = plan_mirror(endpoints(subset("nonsense", "10.0.0.1", "10.0.0.2", not_ready=["10.0.0.0"])), [], 2)
    assert addresses(plan.slices.create[0]) == [("10.0.0.1", True), ("10.0.0.2", True)]
    assert (plan.invalid, plan.skipped) == (0, 2)
    plan = plan_mirror(endpoints(subset("nonsense", "10.0.0.1")), [])
    assert (plan.invalid, plan.skipped) == (1, 1)


def present(*subsets: Object) -> list[Object]:
    made = plan_mirror(endpoints(*subsets), []).slices.create
    return [each | {"metadata": {**each["metadata"], "name": f"web-{n}"}} for n, each in enumerate(made)]


def test_what_is_right_is_left_alone() -> None:
    plan = plan_mirror(endpoints(subset("10.0.0.1", "fd00::1")), present(subset("10.0.0.1", "fd00::1"))).slices
    assert (plan.create, plan.update, plan.delete) == ((), (), ())


def test_a_change_is_one_write() -> None:
    plan = plan_mirror(endpoints(subset("10.0.0.2")), present(subset("10.0.0.1"))).slices
    assert (plan.create, plan.delete) == ((), ())
    assert [(each["metadata"]["name"], addresses(each)) for each in plan.update] == [("web-0", [("10.0.0.2", True)])]


def test_other_ports_take_the_slice_over() -> None:
    plan = plan_mirror(endpoints(subset("10.0.0.1", ports=[HTTPS])), present(subset("10.0.0.1"))).slices
    assert (plan.create, plan.delete) == ((), ())
    (updated,) = plan.update
    assert (updated["metadata"]["name"], updated["ports"][0]["port"]) == ("web-0", 443)


def test_nothing_left_is_nothing_mirrored() -> None:
    plan = plan_mirror(endpoints(), present(subset("10.0.0.1"))).slices
    assert len(plan.delete) == 1


@pytest.mark.parametrize(
    ("metadata", "spec", "mirrored"),
    [
        ({}, {}, True),
        ({}, {"selector": {"a": "b"}}, False),
        ({"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}, {}, False),
        ({"labels": {"endpointslice.kubernetes.io/skip-mirror": "false"}}, {}, True),
        ({"annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"}}, {}, False),
    ],
)
def test_which_endpoints_are_mirrored(metadata: Object, spec: Object, mirrored: bool) -> None:
    assert is_mirrored(endpoints(**metadata), service(**spec)) == mirrored
    assert not is_mirrored(endpoints(**metadata), None)


def mirrored(cluster: Cluster) -> list[list[tuple[str, bool]]]:
    return [
        addresses(each)
        for each in cluster.client.objects(ENDPOINT_SLICES)
        if labels_of(each)["endpointslice.kubernetes.io/managed-by"] == "endpointslicemirroring-controller.k8s.io"
    ]


async def test_slices_follow() -> None:
    async with Cluster(service(), endpoints(subset("10.0.0.1"))) as cluster:
        assert mirrored(cluster) == [[("10.0.0.1", True)]]
        cluster.client.change(ENDPOINTS, "web", "default", lambda obj: obj.update(subsets=[subset("10.0.0.9")]))
        await settle(200)
        assert mirrored(cluster) == [[("10.0.0.9", True)]]
        cluster.client.remove(
            ENDPOINT_SLICES, cluster.client.objects(ENDPOINT_SLICES)[0]["metadata"]["name"], "default"
        )
        await settle(200)
        assert mirrored(cluster) == [[("10.0.0.9", True)]]
        cluster.client.change(SERVICES, "web", "default", lambda obj: obj["spec"].update(selector={"a": "b"}))
        await settle(200)
        assert mirrored(cluster) == []


async def test_endpoints_before_their_service() -> None:
    async with Cluster(endpoints(subset("10.0.0.1"))) as cluster:
        assert mirrored(cluster) == []
        cluster.client.add(service())
        await settle(200)
        assert mirrored(cluster) == [[("10.0.0.1", True)]]
        cluster.client.remove(ENDPOINTS, "web", "default")
        await settle(200)
        assert mirrored(cluster) == []


async def test_what_is_left_out_is_told() -> None:
    async with Cluster(service(), endpoints(subset("nonsense", "10.0.0.1"))) as cluster:
        await cluster.run(2)
        assert (
            "Endpoints",
            "InvalidIPAddress",
            "Skipped 1 invalid IP addresses when mirroring to EndpointSlices",
        ) in cluster.events()
