"""Connection tracking entries of UDP, which has no end: entries to a vanished endpoint swallow packets until they time
out, and a client that goes on sending from one port never lets them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from timonel.network.commands import CommandFailed, run_command
from timonel.network.proxy.fragments import UdpPort

logger = logging.getLogger(__name__)


class UdpFlow(NamedTuple):
    address: str
    """What the client sent to; "" for any address of the node."""
    port: int
    endpoint: str
    """Who answers."""


def ended_flows(
    before: Iterable[Mapping[UdpPort, frozenset[str]]], after: Iterable[Mapping[UdpPort, frozenset[str]]]
) -> set[UdpFlow]:
    """To endpoints that a port had before and has no more."""

    def flows(fragments: Iterable[Mapping[UdpPort, frozenset[str]]]) -> set[UdpFlow]:
        return {
            UdpFlow(address, port, endpoint)
            for fragment in fragments
            for (address, port), endpoints in fragment.items()
            for endpoint in endpoints
        }

    return flows(before) - flows(after)


def stale_flows(listing: str, known: Mapping[UdpPort, frozenset[str]]) -> set[UdpFlow]:
    """Of `conntrack -L -p udp`: translated flows to a known port whose endpoint it does not have.

    For the time in which nobody looked: the proxy was not running.
    """
    found = set()
    for line in listing.splitlines():
        fields = [word.partition("=")[::2] for word in line.split() if "=" in word]
        asked = [value for key, value in fields if key == "dst"]
        ports = [value for key, value in fields if key == "dport"]
        answering = [value for key, value in fields if key == "src"]
        if len(asked) < 2 or len(ports) < 2 or len(answering) < 2 or not ports[0].isdigit():
            continue
        address, port, endpoint = asked[0], int(ports[0]), answering[1]
        endpoints = known.get((address, port), known.get(("", port)))
        if endpoints is not None and endpoint != address and endpoint not in endpoints:
            found.add(UdpFlow(address, port, endpoint))
    return found


async def forget(flows: Iterable[UdpFlow]) -> None:
    """Logs what does not work; the entries time out in the end."""
    for address, port, endpoint in sorted(flows):
        asked = ("--orig-dst", address) if address else ()
        try:
            await run_command(
                *("conntrack", "-D", "-p", "udp", *asked, "--orig-port-dst", str(port), "--reply-src", endpoint)
            )
        except CommandFailed as error:
            if "0 flow entries" not in str(error):
                logger.warning("connections not forgotten endpoint=%s error=%s", endpoint, error)


async def forget_stale(known: Mapping[UdpPort, frozenset[str]]) -> None:
    if not known:
        return
    try:
        listing = await run_command("conntrack", "-L", "-p", "udp")
    except CommandFailed as error:
        logger.warning("connections not listed error=%s", error)
        return
    await forget(stale_flows(listing, known))
