"""Which client is with which endpoint (session affinity): known to the kernel only, and carried over when the table is
made anew, so that neither a restart of the agent nor a repair sends clients elsewhere."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection

from timonel.network.commands import CommandFailed, run_command

logger = logging.getLogger(__name__)


async def recall(table: str, wanted: Collection[str]) -> str:
    """Commands that fill these sets with what the table has in sets of the same names; "" where there is nothing."""
    if not wanted:
        return ""
    try:
        return render_members(table, wanted, await run_command("nft", "-j", "list", "sets", "table", "ip", table))
    except CommandFailed:
        return ""  # no table yet
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("session affinity not carried over error=%s", error)
        return ""


def render_members(table: str, wanted: Collection[str], listed: str) -> str:
    """From what `nft -j list sets` prints. Of each client, the time that is left stays the same."""
    lines = []
    for item in json.loads(listed)["nftables"]:
        found = item.get("set")
        if not found or found["name"] not in wanted:
            continue
        members = [element["elem"] for element in found.get("elem") or [] if "elem" in element]
        texts = [
            f"{member['val']} timeout {member.get('timeout') or found['timeout']}s expires {member['expires']}s"
            for member in members
            if member.get("expires")
        ]
        if texts:
            lines.append(f"add element ip {table} {found['name']} {{ {', '.join(texts)} }}")
    return "\n".join(lines) + "\n" if lines else ""
