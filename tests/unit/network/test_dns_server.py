"""The DNS server's sockets on uvloop, as the agent runs it, against an upstream resolver of the test's own."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import dnslib
import uvloop

from timonel.api.clock import SystemClock
from timonel.api.refs import SERVICES
from timonel.client.informer import Informers
from timonel.network.dns.server import DnsConfig, DnsServer
from timonel.testing.fake_client import FakeClient

WEB = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"namespace": "default", "name": "web"},
    "spec": {"clusterIP": "10.96.0.20", "clusterIPs": ["10.96.0.20"], "ports": [{"port": 80}]},
}


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def ask_udp(port: int, name: str, type: str = "A") -> dnslib.DNSRecord:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, dnslib.DNSRecord.question(name, type).pack())
        return dnslib.DNSRecord.parse(await asyncio.wait_for(loop.sock_recv(client, 4096), 5))


async def ask_tcp(port: int, name: str) -> dnslib.DNSRecord:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    packet = dnslib.DNSRecord.question(name).pack()
    writer.write(len(packet).to_bytes(2, "big") + packet)
    size = int.from_bytes(await reader.readexactly(2), "big")
    reply = dnslib.DNSRecord.parse(await reader.readexactly(size))
    writer.close()
    return reply


def addresses(reply: dnslib.DNSRecord) -> list[str]:
    return [str(item.rdata) for item in reply.rr]


def test_names_are_answered_over_udp_and_tcp_and_follow_the_services(tmp_path: Path) -> None:
    async def scenario() -> None:
        client: Any = FakeClient(clock=SystemClock())
        await client.create(SERVICES, WEB, "default")
        resolv = tmp_path / "resolv.conf"
        resolv.write_text("search example.org\n")
        port = free_port()
        informers = Informers(client)
        server = DnsServer(
            config=DnsConfig(
                address="127.0.0.1", domain="cluster.local", port=port, resolv_conf=resolv, assign_address=False
            ),
            informers=informers,
            clock=SystemClock(),
        )
        tasks = [asyncio.create_task(informers.run()), asyncio.create_task(server.run())]
        try:
            await asyncio.wait_for(server.wait_ready(), 5)
            for _ in range(2):  # the second time from memory
                assert addresses(await ask_udp(port, "web.default.svc.cluster.local")) == ["10.96.0.20"]
            assert addresses(await ask_tcp(port, "web.default.svc.cluster.local")) == ["10.96.0.20"]
            unknown = await ask_udp(port, "new.default.svc.cluster.local")
            assert unknown.header.rcode == dnslib.RCODE.NXDOMAIN
            new = {**WEB, "metadata": {"namespace": "default", "name": "new"}}
            await client.create(SERVICES, new, "default")
            while (await ask_udp(port, "new.default.svc.cluster.local")).header.rcode != dnslib.RCODE.NOERROR:
                await asyncio.sleep(0)
            # The API takes it as a name, a packet does not: labels end at 63 bytes (RFC 1035).
            odd = {**new, "metadata": {"namespace": "default", "name": "odd"}}
            odd["spec"] = {"type": "ExternalName", "externalName": f"{'a' * 64}.example.org"}
            await client.create(SERVICES, odd, "default")
            while (reply := await ask_udp(port, "odd.default.svc.cluster.local")).header.rcode == dnslib.RCODE.NXDOMAIN:
                await asyncio.sleep(0)
            assert reply.header.rcode == dnslib.RCODE.SERVFAIL
            # Nobody upstream: said at once, not after a time-out.
            assert (await ask_udp(port, "example.org")).header.rcode == dnslib.RCODE.SERVFAIL
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
