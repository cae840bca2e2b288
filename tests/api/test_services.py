"""Addresses and ports of Services, and the Service of the server itself."""

from __future__ import annotations

import ipaddress

import pytest

from tests.api.objects import service
from timonel.testing.server import start_api_server

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_address_is_allocated_outside_the_static_band(server, namespace):
    """10.96.0.0/12 leaves its first 256 addresses to those who ask for one (cluster-ip-allocation)."""
    _, made = await server.request("POST", f"/api/v1/namespaces/{namespace}/services", service("a"))
    address = ipaddress.ip_address(made["spec"]["clusterIP"])
    assert address in ipaddress.ip_network("10.96.0.0/12")
    assert int(address) > int(ipaddress.ip_address("10.96.1.0"))
    assert made["spec"]["clusterIPs"] == [str(address)]
    assert (made["spec"]["ipFamilies"], made["spec"]["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")


async def test_an_address_can_be_asked_for_once(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/services"
    _, made = await server.request("POST", path, service("a", clusterIP="10.96.0.77"))
    assert made["spec"]["clusterIPs"] == ["10.96.0.77"]
    status, answer = await server.request("POST", path, service("b", clusterIP="10.96.0.77"))
    assert status == 422
    assert answer["message"] == (
        'Service "b" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.77"]: failed to allocate IP 10.96.0.77: '
        "provided IP is already allocated"
    )
    assert (await server.request("POST", f"{path}?dryRun=All", service("c", clusterIP="10.96.0.78")))[0] == 201
    assert (await server.request("POST", path, service("d", clusterIP="10.96.0.78")))[0] == 201
    await server.request("DELETE", f"{path}/a")
    assert (await server.request("POST", path, service("b", clusterIP="10.96.0.77")))[0] == 201


async def test_an_address_outside_the_network(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/services"
    status, answer = await server.request("POST", path, service("a", clusterIP="192.0.2.1"))
    assert status == 422
    assert answer["message"] == (
        'Service "a" is invalid: spec.clusterIPs: Invalid value: ["192.0.2.1"]: failed to allocate IP 192.0.2.1: '
        "the provided network does not match the current range"
    )
    for reserved in ("10.96.0.0", "10.111.255.255"):  # of the network itself, and of its broadcasts
        assert (await server.request("POST", path, service("a", clusterIP=reserved)))[0] == 422


async def test_headless_and_external_names_take_no_address(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/services"
    _, made = await server.request("POST", path, service("a", clusterIP="None"))
    assert (made["spec"]["clusterIP"], made["spec"]["clusterIPs"]) == ("None", ["None"])
    _, made = await server.request("POST", path, service("b", type="ExternalName", externalName="example.com"))
    assert not made["spec"].get("clusterIP")


async def test_node_ports(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/services"
    _, made = await server.request("POST", path, service("a", type="NodePort"))
    port = made["spec"]["ports"][0]["nodePort"]
    assert 30086 <= port <= 32767  # the band kept for requests is 86 ports wide
    taken = service("b", type="NodePort", ports=[{"port": 80, "nodePort": port}])
    status, answer = await server.request("POST", path, taken)
    assert status == 422
    assert answer["message"] == (
        f'Service "b" is invalid: spec.ports[0].nodePort: Invalid value: {port}: provided port is already allocated'
    )
    outside = service("b", type="NodePort", ports=[{"port": 80, "nodePort": 80}])
    status, answer = await server.request("POST", path, outside)
    assert (
        "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports "
        "is 30000-32767"
    ) in answer["message"]
    made["spec"]["type"] = "ClusterIP"
    status, made = await server.request("PUT", f"{path}/a", made)
    assert status == 200
    assert "nodePort" not in made["spec"]["ports"][0]
    assert (await server.request("POST", path, taken))[0] == 201


async def test_one_node_port_serves_two_protocols(server, namespace):
    ports = [{"name": "t", "port": 53, "protocol": "TCP"}, {"name": "u", "port": 53, "protocol": "UDP"}]
    path = f"/api/v1/namespaces/{namespace}/services"
    _, made = await server.request("POST", path, service("dns", type="NodePort", ports=ports))
    assert len({port["nodePort"] for port in made["spec"]["ports"]}) == 1


async def test_an_update_keeps_what_it_does_not_mention(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/services"
    _, made = await server.request("POST", path, service("a", type="NodePort"))
    _, after = await server.request("PUT", f"{path}/a", service("a", type="NodePort", selector={"app": "x"}))
    assert after["spec"]["clusterIP"] == made["spec"]["clusterIP"]
    assert after["spec"]["ports"][0]["nodePort"] == made["spec"]["ports"][0]["nodePort"]


async def test_the_server_keeps_its_own_service(server):
    _, own = await server.request("GET", "/api/v1/namespaces/default/services/kubernetes")
    assert own["spec"]["clusterIP"] == "10.96.0.1"
    assert own["spec"]["ports"][0]["targetPort"] == server.api.port
    await server.request("DELETE", "/api/v1/namespaces/default/services/kubernetes")
    events = await server.watch(
        "/api/v1/namespaces/default/services?watch=true&fieldSelector=metadata.name%3Dkubernetes", 1
    )
    assert events[0]["object"]["metadata"]["uid"] != own["metadata"]["uid"]


async def test_allocations_survive_a_restart(tmp_path):
    store = str(tmp_path / "store.db")
    first = await start_api_server(tmp_path, store_path=store)
    await first.request(
        "POST", "/api/v1/namespaces/default/services", service("a", clusterIP="10.96.0.50", type="NodePort")
    )
    _, made = await first.request("GET", "/api/v1/namespaces/default/services/a")
    await first.stop()
    second = await start_api_server(tmp_path, store_path=store)
    assert await second.request("GET", "/api/v1/namespaces/default/services/a") == (200, made)
    status, _ = await second.request(
        "POST", "/api/v1/namespaces/default/services", service("b", clusterIP="10.96.0.50")
    )
    assert status == 422
    port = made["spec"]["ports"][0]["nodePort"]
    taken = service("b", type="NodePort", ports=[{"port": 80, "nodePort": port}])
    assert (await second.request("POST", "/api/v1/namespaces/default/services", taken))[0] == 422
    await second.stop()
