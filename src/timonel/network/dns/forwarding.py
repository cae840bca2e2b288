"""Names that are not the cluster's: asked of the host's resolvers in turn, kept as long as they allow."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import cast

from timonel.api.clock import Clock
from timonel.network.dns.message import least_ttl

logger = logging.getLogger(__name__)

TRY_SECONDS = 2.0
LONGEST_KEPT_SECONDS = 30
KEPT_ANSWERS = 4096
IN_FLIGHT = 512
"""More questions at once are refused: a silent upstream must not fill the memory."""


class ForwardFailed(Exception):
    """No upstream answered."""


def read_resolvers(path: Path) -> list[str]:
    """Nameservers of a resolv.conf(5), in order; [] when there is none."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                ip_address(words[1].partition("%")[0])
            except ValueError:
                continue
            found.append(words[1])
    return found


class Forwarder:
    def __init__(self, *, upstreams: Sequence[str], clock: Clock, port: int = 53) -> None:
        self._upstreams = list(upstreams)
        self._clock = clock
        self._port = port
        self._kept: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._in_flight = 0

    async def ask(self, packet: bytes) -> bytes:
        """The answer with the question's own id. Raises ForwardFailed."""
        question = packet[2:]
        kept = self._kept.get(question)
        if kept is not None and kept[0] > self._clock.monotonic():
            return packet[:2] + kept[1]
        if self._in_flight >= IN_FLIGHT:
            raise ForwardFailed("too many questions at once")
        self._in_flight += 1
        try:
            answer = await self._ask_in_turn(packet)
        finally:
            self._in_flight -= 1
        self._keep(question, answer[2:], least_ttl(answer))
        return packet[:2] + answer[2:]

    async def _ask_in_turn(self, packet: bytes) -> bytes:
        # An id of our own, so that a stranger's packet is not taken for the answer.
        asked = secrets.token_bytes(2) + packet[2:]
        for upstream in self._upstreams:
            try:
                answer = await asyncio.wait_for(_ask_udp(asked, upstream, self._port), TRY_SECONDS)
                if answer[2] & 0x02:  # truncated
                    answer = await asyncio.wait_for(_ask_tcp(asked, upstream, self._port), TRY_SECONDS)
                return answer
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                logger.debug("upstream did not answer upstream=%s error=%r", upstream, error)
        raise ForwardFailed("no upstream resolver answered" if self._upstreams else "there is no upstream resolver")

    def _keep(self, question: bytes, answer: bytes, ttl: int) -> None:
        if ttl <= 0:
            return
        self._kept[question] = (self._clock.monotonic() + min(ttl, LONGEST_KEPT_SECONDS), answer)
        self._kept.move_to_end(question)
        while len(self._kept) > KEPT_ANSWERS:
            self._kept.popitem(last=False)


class _Exchange(asyncio.DatagramProtocol):
    def __init__(self, packet: bytes) -> None:
        self._packet = packet
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, not a check: uvloop's transports are not subclasses of asyncio's.
        cast(asyncio.DatagramTransport, transport).sendto(self._packet)

    def datagram_received(self, data: bytes, addr: object) -> None:
        is_ours = len(data) >= 12 and data[:2] == self._packet[:2] and data[2] & 0x80
        if is_ours and not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def _ask_udp(packet: bytes, upstream: str, port: int) -> bytes:
    loop = asyncio.get_running_loop()
    transport, exchange = await loop.create_datagram_endpoint(lambda: _Exchange(packet), remote_addr=(upstream, port))
    try:
        return await exchange.answer
    finally:
        transport.close()


async def _ask_tcp(packet: bytes, upstream: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(upstream, port)
    try:
        writer.write(len(packet).to_bytes(2, "big") + packet)
        await writer.drain()
        size = int.from_bytes(await reader.readexactly(2), "big")
        return await reader.readexactly(size)
    finally:
        writer.close()
