"""What a server makes of a store that was written before: by an older one, or with another configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.objects import service
from timonel.api.clock import SystemClock
from timonel.api.refs import IP_ADDRESSES
from timonel.apiserver import server as servers
from timonel.storage.sqlite import open_sqlite
from timonel.testing.server import RunningServer, start_api_server

SERVICES = "/api/v1/namespaces/default/services"


async def make(server: RunningServer, name: str) -> str:
    status, made = await server.request("POST", SERVICES, service(name))
    assert status == 201, made
    address: str = made["spec"]["clusterIP"]
    return address


async def test_addresses_of_before_are_taken_before_anybody_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "store.db")
    server = await start_api_server(tmp_path, store_path=path)
    given = [await make(server, f"web-{number}") for number in range(3)]
    await server.stop()
    store = await open_sqlite(path, clock=SystemClock())  # servers of before kept no IPAddresses
    for prefix in ("/registry/ipaddresses/", "/registry/servicecidrs/", "/registry/ranges/"):
        for entry in (await store.range(prefix)).entries:
            await store.delete(entry.key, entry.mod_revision)
    await store.close()
    listen, known = servers.listen, []

    async def listening(listener, config):
        registry = listener.request_handler.__self__.registry
        known.extend(each["metadata"]["name"] for each in registry.reader(IP_ADDRESSES).list())
        return await listen(listener, config)

    monkeypatch.setattr(servers, "listen", listening)
    server = await start_api_server(tmp_path, store_path=path)
    assert set(given) <= set(known)
    status, answer = await server.request("POST", SERVICES, service("late", clusterIP=given[0]))
    assert (status, "provided IP is already allocated" in answer["message"]) == (422, True)
    await server.stop()


@pytest.mark.parametrize("network", ["10.97.0.0/16", "fd00:10::/112"])
async def test_another_service_network(tmp_path: Path, network: str) -> None:
    """The configuration is for new clusters: what there is stays, and the server serves, saying so in its log."""
    path = str(tmp_path / "store.db")
    server = await start_api_server(tmp_path, store_path=path, service_cidr="10.96.0.0/16")
    given = await make(server, "web")
    await server.stop()
    server = await start_api_server(tmp_path, store_path=path, service_cidr=network)
    found = {}
    for name in ("kubernetes", "web"):
        _, found[name] = await server.request("GET", f"{SERVICES}/{name}")
    assert found["kubernetes"]["spec"]["clusterIP"] == "10.96.0.1"
    if network.startswith("10."):  # of the other family, nothing about the Service can be written
        assert found["kubernetes"]["spec"]["ports"][0]["targetPort"] == server.api.port
    assert found["web"]["spec"]["clusterIP"] == given
    status, _ = await server.request("DELETE", f"{SERVICES}/kubernetes")
    assert status == 200
    await server.stop()
    server = await start_api_server(tmp_path, store_path=path, service_cidr=network)  # though it cannot be made anew
    assert (await server.request("GET", f"{SERVICES}/web"))[0] == 200
    await server.stop()
