"""Packets that policies dropped: read from the kernel when somebody asks, and kept when the table is made anew.

A packet that none of a pod's policies accepts counts for each of them: all of them isolate the pod, none let it pass.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping

from timonel.network.commands import CommandFailed

METRIC = "timonel_network_policy_dropped_packets_total"
_HELP = "Packets to or from pods of this node that a NetworkPolicy isolates and none allows."


async def read_counters(table: str, run: Callable[..., Awaitable[str]]) -> dict[str, tuple[int, int]]:
    """Packets and bytes by name; nothing when there is no table, or its counters cannot be read."""
    try:
        return parse_counters(await run("nft", "-j", "list", "counters", "table", "inet", table))
    except (CommandFailed, ValueError, KeyError):
        return {}


def parse_counters(text: str) -> dict[str, tuple[int, int]]:
    """From what `nft -j list counters` prints."""
    items = (item.get("counter") for item in json.loads(text)["nftables"])
    return {item["name"]: (item["packets"], item["bytes"]) for item in items if item}


def render_metrics(counts: Mapping[str, tuple[int, int]], policies: Mapping[str, tuple[str, str, str]]) -> str:
    """For Prometheus. `policies`: counter to namespace, name and direction."""
    lines = [f"# HELP {METRIC} {_HELP}", f"# TYPE {METRIC} counter"]
    for name, (namespace, policy, direction) in sorted(policies.items(), key=lambda item: item[1]):
        labels = f'namespace="{namespace}",policy="{policy}",direction="{direction}"'
        lines.append(f"{METRIC}{{{labels}}} {counts.get(name, (0, 0))[0]}")
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""
