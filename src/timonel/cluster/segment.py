"""The segment of nodes in namespaces: a host bridge, and per node a network namespace with one veth to it.

Host address .1, node i address .(i+1). Done with iproute2, whose words an administrator can retype.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
import subprocess
from pathlib import Path

from timonel.cluster.errors import UserError
from timonel.cluster.layout import Layout, NodeLayout

NAMESPACES = Path("/run/netns")
_POOL = ipaddress.IPv4Network("10.89.0.0/16")


def run(*command: str, check: bool = True, stdin: str | None = None) -> str:
    """A short-lived system command's output. Raises UserError with its own words."""
    result = subprocess.run(command, capture_output=True, text=True, input=stdin, check=False)
    if check and result.returncode != 0:
        raise UserError(f"{' '.join(command)}: {(result.stderr or result.stdout).strip()}")
    return result.stdout


def choose_segment(layout: Layout) -> str:
    """A free /24 of the pool, the same one for the same name as long as nobody else has it."""
    taken = [
        ipaddress.IPv4Interface(f"{info['local']}/{info['prefixlen']}").network
        for link in json.loads(run("ip", "-j", "-4", "addr"))
        for info in link["addr_info"]
        if link["ifname"] != layout.bridge
    ]
    candidates = list(_POOL.subnets(new_prefix=24))
    first = int.from_bytes(hashlib.sha256(layout.name.encode()).digest()[:2], "big") % len(candidates)
    for candidate in candidates[first:] + candidates[:first]:
        if not any(candidate.overlaps(network) for network in taken):
            return str(candidate)
    raise UserError(f"no free /24 left in {_POOL}; set network.nodes in the configuration")


def address_of(segment: str, index: int) -> str:
    """Address of node `index`, 0 for the host's side."""
    return str(ipaddress.IPv4Network(segment)[index + 1])


def main_address() -> str:
    """The host's address towards the outside, or of its first link that has one, or loopback."""
    route = run("ip", "-j", "route", "get", "192.0.2.254", check=False)
    try:
        return str(json.loads(route)[0]["prefsrc"])
    except (ValueError, LookupError):
        pass
    for link in json.loads(run("ip", "-j", "-4", "addr")):
        for info in link["addr_info"]:
            if info.get("scope") == "global":
                return str(info["local"])
    return "127.0.0.1"


def ensure_bridge(layout: Layout, segment: str) -> None:
    if not Path(f"/sys/class/net/{layout.bridge}").exists():
        run("ip", "link", "add", layout.bridge, "type", "bridge")
    prefix = ipaddress.IPv4Network(segment).prefixlen
    run("ip", "addr", "replace", f"{address_of(segment, 0)}/{prefix}", "dev", layout.bridge)
    run("ip", "link", "set", layout.bridge, "up")
    # Nodes in namespaces reach registries and the outside through the host. What stays on the bridge, for pods of
    # another node, passes here too where br_netfilter is loaded, and keeps its address.
    table = f"{layout.nft_table}-nodes"
    run(
        "nft",
        "-f",
        "-",
        stdin=f"""
add table ip {table}
delete table ip {table}
table ip {table} {{
  chain outbound {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {segment} ip daddr != {segment} oifname != "{layout.bridge}" masquerade
  }}
}}
""",
    )


def ensure_node_link(layout: Layout, node: NodeLayout, segment: str) -> None:
    """The namespace with loopback up, address, default route by the host. Leaves what is right alone."""
    file = NAMESPACES / node.namespace
    if file.exists() and not os.path.ismount(file):
        file.unlink()  # left from before a reboot: a name without a namespace
    if not file.exists():
        run("ip", "netns", "add", node.namespace)
    inside = ("ip", "-n", node.namespace)
    if not run(*inside, "link", "show", "eth0", check=False):
        # A host side without the other one belongs to a namespace whose name was taken away.
        run("ip", "link", "del", node.host_link, check=False)
        run(
            *("ip", "link", "add", node.host_link, "type", "veth"),
            *("peer", "name", "eth0", "netns", node.namespace),
        )
    run("ip", "link", "set", node.host_link, "master", layout.bridge, "up")
    prefix = ipaddress.IPv4Network(segment).prefixlen
    run(*inside, "link", "set", "lo", "up")
    run(*inside, "addr", "replace", f"{address_of(segment, node.index)}/{prefix}", "dev", "eth0")
    run(*inside, "link", "set", "eth0", "up")
    run(*inside, "route", "replace", "default", "via", address_of(segment, 0))


def remove_segment(layout: Layout) -> None:
    """Everything the functions above may have made, found by its name: an interrupted `up` keeps no record."""
    links = [link["ifname"] for link in json.loads(run("ip", "-j", "link"))]
    for link in links:
        if link == layout.bridge or re.fullmatch(rf"{layout.identity}n\d+", link):
            run("ip", "link", "del", link, check=False)
    for file in NAMESPACES.glob(f"{layout.context}-*"):
        if re.fullmatch(rf"{re.escape(layout.context)}-\d+", file.name):
            run("ip", "netns", "del", file.name, check=False)
            file.unlink(missing_ok=True)
    run("nft", "delete", "table", "ip", f"{layout.nft_table}-nodes", check=False)
