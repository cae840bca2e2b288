"""The DNS server's sockets, at the cluster DNS address on every node and nowhere else.

The address is put on the loopback link, so pods' packets to it end on their own node without translation, and nobody
outside the node can ask. Answers of the cluster's own names are kept as bytes until a Service or EndpointSlice changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from dnslib import RCODE, DNSRecord

from timonel.api.clock import Clock
from timonel.api.objects import Object, ObjectKey
from timonel.api.refs import ENDPOINT_SLICES, SERVICES
from timonel.client.informer import Informers
from timonel.network.commands import CommandFailed, run_command
from timonel.network.dns.forwarding import Forwarder, ForwardFailed, read_resolvers
from timonel.network.dns.message import (
    PLAIN_UDP_BYTES,
    BadMessage,
    Query,
    parse_query,
    render_answer,
    render_error,
    render_truncated,
    render_with_answers,
)
from timonel.network.dns.zone import Zone, service_of_slice

logger = logging.getLogger(__name__)

KEPT_ANSWERS = 4096
TCP_IDLE_SECONDS = 10.0
TCP_CONNECTIONS = 256
"""More at once are closed: whoever opens thousands must not use up the agent's descriptors."""
LONGEST_ALIAS_CHAIN = 8
"""ExternalName Services may point at each other, and in a circle."""
LOOPBACK_LABEL = "lo:timonel"
"""Tells the address apart from those a person put there; `down --purge` removes it by this label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsConfig:
    address: str
    domain: str
    port: int = 53
    resolv_conf: Path = Path("/etc/resolv.conf")
    assign_address: bool = True
    """Put the address on loopback; tests listen where they already can."""


class DnsServer:
    def __init__(self, *, config: DnsConfig, informers: Informers, clock: Clock) -> None:
        self._config = config
        self._services = informers.of(SERVICES)
        self._slices = informers.of(ENDPOINT_SLICES)
        self._services.add_index("address", _service_addresses)
        self._slices.add_index("service", _slice_service)
        self._slices.add_index("address", _slice_addresses)
        self._zone = Zone(domain=config.domain, services=self._services.lister, slices=self._slices.lister)
        upstreams = [item for item in read_resolvers(config.resolv_conf) if item != config.address]
        self._forwarder = Forwarder(upstreams=upstreams, clock=clock)
        self._kept: dict[bytes, bytes] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = 0
        self._ready = asyncio.Event()

    async def wait_ready(self) -> None:
        """Until the sockets are open and the informers have been filled."""
        await self._ready.wait()

    async def run(self) -> None:
        def forget(*_: object) -> None:
            self._kept.clear()

        for informer in (self._services, self._slices):
            informer.add_handler(on_add=forget, on_update=forget, on_delete=forget)
        # Until then a name that exists would be called unknown.
        await asyncio.gather(self._services.wait_synced(), self._slices.wait_synced())
        await self._assign_address()
        loop = asyncio.get_running_loop()
        address = (self._config.address, self._config.port)
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=address)
        server = await asyncio.start_server(self._serve_stream, *address)
        logger.info("DNS server started address=%s domain=%s", self._config.address, self._config.domain)
        self._ready.set()
        try:
            await server.serve_forever()
        finally:
            transport.close()
            server.close()
            for task in self._tasks:
                task.cancel()

    async def _assign_address(self) -> None:
        if self._config.assign_address:
            address = f"{self._config.address}/32"
            try:
                await run_command("ip", "addr", "replace", address, "dev", "lo", "label", LOOPBACK_LABEL)
            except CommandFailed as error:
                logger.error("DNS address not assigned address=%s error=%s", address, error)
                raise

    def answer_at_once(self, packet: bytes) -> bytes | None:
        """From memory, or None. The key leaves the id out and includes flags, question and EDNS."""
        kept = self._kept.get(packet[2:])
        return packet[:2] + kept if kept is not None else None

    async def answer(self, packet: bytes, *, is_udp: bool, aliases_followed: int = 0) -> bytes | None:
        """None for what deserves no answer at all."""
        try:
            query = parse_query(packet)
        except BadMessage:
            return None
        try:
            reply = await self._answer_query(query, packet, aliases_followed)
        except Exception:
            # Names that the API takes and a packet cannot hold (labels of 64 and more), say: the client is told.
            logger.exception("question not answered name=%s type=%s", query.name, query.type)
            reply = render_error(query, RCODE.SERVFAIL)
        if is_udp and len(reply) > query.udp_bytes:
            return render_truncated(query)
        return reply

    async def _answer_query(self, query: Query, packet: bytes, aliases_followed: int) -> bytes:
        if query.opcode != 0 or not query.is_class_in:
            return render_error(query, RCODE.NOTIMP)
        if not self._zone.covers(query.name):
            return await self._forward(query, packet)
        answer = self._zone.answer(query.name, query.type)
        if answer.records and answer.records[0].type == "CNAME" and query.type != "CNAME":
            if aliases_followed >= LONGEST_ALIAS_CHAIN:
                return render_error(query, RCODE.SERVFAIL)
            question = bytes(DNSRecord.question(answer.records[0].value, query.type).pack())
            target = await self.answer(question, is_udp=False, aliases_followed=aliases_followed + 1)
            if target is not None:
                return render_with_answers(query, answer.records, target)
        reply = render_answer(query, answer, self._config.domain)
        if len(reply) <= PLAIN_UDP_BYTES:
            if len(self._kept) >= KEPT_ANSWERS:
                self._kept.clear()
            self._kept[packet[2:]] = reply[2:]
        return reply

    async def _forward(self, query: Query, packet: bytes) -> bytes:
        try:
            return await self._forwarder.ask(packet)
        except ForwardFailed as error:
            logger.debug("question not forwarded name=%s error=%s", query.name, error)
            return render_error(query, RCODE.SERVFAIL)

    def start_answer(self, packet: bytes, transport: asyncio.DatagramTransport, client: tuple[str, int]) -> None:
        async def work() -> None:
            reply = await self.answer(packet, is_udp=True)
            if reply is not None and not transport.is_closing():
                transport.sendto(reply, client)

        task = asyncio.create_task(work(), name="dns-answer")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connections >= TCP_CONNECTIONS:
            writer.close()
            return
        self._connections += 1
        try:
            while True:
                async with asyncio.timeout(TCP_IDLE_SECONDS):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    packet = await reader.readexactly(size)
                reply = await self.answer(packet, is_udp=False)
                if reply is None:
                    break
                writer.write(len(reply).to_bytes(2, "big") + reply)
                async with asyncio.timeout(TCP_IDLE_SECONDS):
                    await writer.drain()
        except TimeoutError:
            writer.transport.abort()  # it asks nothing, or does not read what it asked for
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._connections -= 1
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, not a check: uvloop's transports are not subclasses of asyncio's.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        reply = self._server.answer_at_once(data)
        if reply is not None:
            self._transport.sendto(reply, addr)
        else:
            self._server.start_answer(data, self._transport, addr)


def _service_addresses(service: Object) -> Iterable[str]:
    spec = service.get("spec") or {}
    return [address for address in spec.get("clusterIPs") or [] if address != "None"]


def _slice_service(item: Object) -> Iterable[ObjectKey]:
    key = service_of_slice(item)
    return [key] if key else []


def _slice_addresses(item: Object) -> Iterable[str]:
    return [address for endpoint in item.get("endpoints") or [] for address in endpoint["addresses"]]
