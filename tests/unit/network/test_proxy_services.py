"""Which endpoints may answer for a Service's port on a node.

Expected values follow kubernetes.io/docs/reference/networking/virtual-ips and the discovery/v1 API reference.
"""

from __future__ import annotations

from typing import Any

import pytest

from timonel.network.proxy.services import Endpoint, Position, plan_service


def service(**spec: Any) -> dict[str, Any]:
    base = {"clusterIP": "10.96.0.20", "clusterIPs": ["10.96.0.20"], "ports": [{"port": 80, "protocol": "TCP"}]}
    return {"metadata": {"namespace": "default", "name": "web"}, "spec": {**base, **spec}}


def endpoint(address: str, node: str = "here", **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "nodeName": node, "conditions": conditions}


def endpoint_slice(*endpoints: dict[str, Any], **port: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "default", "name": "web-1"},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP", **port}],
        "endpoints": list(endpoints),
    }


def internal(service_object: dict[str, Any], *slices: dict[str, Any]) -> list[str]:
    return [item.address for item in plan_service(service_object, slices, Position("here"))[0].internal]


def test_ready_endpoints_answer_and_absent_conditions_mean_ready() -> None:
    slices = endpoint_slice(
        endpoint("10.244.0.2", ready=True), endpoint("10.244.0.3", ready=False), endpoint("10.244.0.4")
    )
    assert internal(service(), slices) == ["10.244.0.2", "10.244.0.4"]


def test_terminating_endpoints_serve_only_when_none_is_ready() -> None:
    leaving = endpoint("10.244.0.2", ready=False, serving=True, terminating=True)
    gone = endpoint("10.244.0.3", ready=False, serving=False, terminating=True)
    ready = endpoint("10.244.0.4", ready=True)
    assert internal(service(), endpoint_slice(leaving, gone, ready)) == ["10.244.0.4"]
    assert internal(service(), endpoint_slice(leaving, gone)) == ["10.244.0.2"]


def test_an_endpoint_in_two_slices_counts_once() -> None:
    one = endpoint_slice(endpoint("10.244.0.2"))
    assert internal(service(), one, one) == ["10.244.0.2"]


def test_ports_match_by_name_and_protocol() -> None:
    ports = [{"name": "web", "port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    slices = [
        endpoint_slice(endpoint("10.244.0.2"), name="web", port=8080),
        endpoint_slice(endpoint("10.244.0.2"), name="dns", port=5353, protocol="UDP"),
    ]
    planned = plan_service(service(ports=ports), slices, Position("here"))
    assert [(port.protocol, port.internal) for port in planned] == [
        ("tcp", (Endpoint("10.244.0.2", 8080, True),)),
        ("udp", (Endpoint("10.244.0.2", 5353, True),)),
    ]


@pytest.mark.parametrize(
    "spec",
    [
        {"clusterIP": "None", "clusterIPs": ["None"]},
        {"type": "ExternalName", "externalName": "example.org", "clusterIP": "", "clusterIPs": []},
    ],
)
def test_services_without_an_address_of_their_own_get_no_rules(spec: dict[str, Any]) -> None:
    assert plan_service(service(**spec), [endpoint_slice(endpoint("10.244.0.2"))], Position("here")) == []


def test_services_of_another_proxy_are_left_alone() -> None:
    other = service()
    other["metadata"]["labels"] = {"service.kubernetes.io/service-proxy-name": "other"}
    assert plan_service(other, [endpoint_slice(endpoint("10.244.0.2"))], Position("here")) == []


def test_local_policies_keep_to_this_node() -> None:
    slices = [endpoint_slice(endpoint("10.244.0.2", "here"), endpoint("10.244.1.2", "there"))]
    (port,) = plan_service(
        service(
            type="NodePort",
            externalTrafficPolicy="Local",
            ports=[{"port": 80, "protocol": "TCP", "nodePort": 30080}],
        ),
        slices,
        Position("here"),
    )
    assert [item.address for item in port.internal] == ["10.244.0.2", "10.244.1.2"]
    assert [item.address for item in port.external] == ["10.244.0.2"]
    assert port.keeps_client_address
    (port,) = plan_service(service(internalTrafficPolicy="Local"), slices, Position("there"))
    assert [item.address for item in port.internal] == ["10.244.1.2"]
    (port,) = plan_service(service(internalTrafficPolicy="Local"), slices, Position("nowhere"))
    assert port.internal == ()
    assert [item.address for item in port.everywhere] == ["10.244.0.2", "10.244.1.2"]


def test_affinity_lasts_three_hours_unless_told() -> None:
    (port,) = plan_service(service(sessionAffinity="ClientIP"), [], Position("here"))
    assert port.affinity_seconds == 10800
    told = {"clientIP": {"timeoutSeconds": 60}}
    (port,) = plan_service(service(sessionAffinity="ClientIP", sessionAffinityConfig=told), [], Position("here"))
    assert port.affinity_seconds == 60


def test_external_ips_stand_beside_those_of_load_balancers() -> None:
    (port,) = plan_service(
        {
            **service(type="LoadBalancer", externalIPs=["192.0.2.9", "2001:db8::9"]),
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.8"}, {"hostname": "lb.example"}]}},
        },
        [],
        Position("here"),
    )
    assert port.external_ips == ("192.0.2.9",)
    assert port.balancer_ips == ("192.0.2.8",)


def test_a_load_balancer_that_answers_itself_is_left_to_it() -> None:
    """KEP-1860: with ipMode Proxy, packets have to go through the balancer."""
    ingress = [{"ip": "192.0.2.8", "ipMode": "Proxy"}, {"ip": "192.0.2.9", "ipMode": "VIP"}]
    balancer = {**service(type="LoadBalancer"), "status": {"loadBalancer": {"ingress": ingress}}}
    (port,) = plan_service(balancer, [], Position("here"))
    assert port.balancer_ips == ("192.0.2.9",)


@pytest.mark.parametrize(
    ("told", "ranges"),
    [
        ([], None),
        (["192.0.2.0/25", " 192.0.2.128/25", "198.51.100.7/32"], ("192.0.2.0/24", "198.51.100.7/32")),
        (["0.0.0.0/0", "192.0.2.0/24"], None),
        (["2001:db8::/32"], ()),
    ],
)
def test_source_ranges_of_load_balancers(told: list[str], ranges: tuple[str, ...] | None) -> None:
    (port,) = plan_service(service(type="LoadBalancer", loadBalancerSourceRanges=told), [], Position("here"))
    assert port.source_ranges == ranges


def hinted(address: str, zones: str = "", nodes: str = "", **conditions: bool) -> dict[str, Any]:
    hints = {
        "forZones": [{"name": name} for name in zones.split()],
        "forNodes": [{"name": name} for name in nodes.split()],
    }
    return endpoint(address, "there", **conditions) | {"hints": hints}


@pytest.mark.parametrize(
    ("endpoints", "chosen"),
    [
        ([hinted("10.0.0.1", "a"), hinted("10.0.0.2", "b"), hinted("10.0.0.3", "a b")], "10.0.0.1 10.0.0.3"),
        # Of the node before the zone's, where all have both.
        ([hinted("10.0.0.1", "a", "here"), hinted("10.0.0.2", "a", "there")], "10.0.0.1"),
        ([hinted("10.0.0.1", "a", "elsewhere"), hinted("10.0.0.2", "b", "there")], "10.0.0.1"),
        ([hinted("10.0.0.1", "a", "here"), hinted("10.0.0.2", "b")], "10.0.0.1"),
        # "if an endpoint lacks a hint", and "if no endpoint is hinted for this zone": all of them.
        ([hinted("10.0.0.1", "a"), hinted("10.0.0.2")], "10.0.0.1 10.0.0.2"),
        ([hinted("10.0.0.1", "b"), hinted("10.0.0.2", "c")], "10.0.0.1 10.0.0.2"),
        # Only those count that are ready, and those that terminate stand in for all of them.
        ([hinted("10.0.0.1", "a", ready=False), hinted("10.0.0.2", "b")], "10.0.0.2"),
        (
            [
                hinted("10.0.0.1", "a", ready=False, serving=True, terminating=True),
                hinted("10.0.0.2", "b", ready=False, serving=True, terminating=True),
            ],
            "10.0.0.1 10.0.0.2",
        ),
    ],
)
def test_hints_are_followed_where_they_leave_somebody(endpoints: list[Any], chosen: str) -> None:
    (port,) = plan_service(service(), [endpoint_slice(*endpoints)], Position("here", "a"))
    assert [item.address for item in port.internal] == chosen.split()


def test_without_a_zone_hints_for_zones_say_nothing() -> None:
    slices = [endpoint_slice(hinted("10.0.0.1", "a"), hinted("10.0.0.2", "b"))]
    (port,) = plan_service(service(), slices, Position("here"))
    assert len(port.internal) == 2


def test_the_policy_local_goes_before_hints() -> None:
    slices = [
        endpoint_slice(hinted("10.0.0.1", "a"), endpoint("10.0.0.2", "here") | {"hints": {"forZones": [{"name": "b"}]}})
    ]
    (port,) = plan_service(service(internalTrafficPolicy="Local"), slices, Position("here", "a"))
    assert [item.address for item in port.internal] == ["10.0.0.2"]
