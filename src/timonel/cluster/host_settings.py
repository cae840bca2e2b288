"""Kernel settings of the host that clusters on it need, and what they were before: `down --purge` puts them back.

Several clusters may need the same setting, so who needs it and the first values are kept in one file beside the run
folders. It lies under /run because the settings, too, end with a reboot. The last cluster that goes restores them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from timonel.cluster.lock import exclusive

RECORD = Path("/run/timonel-host.json")
SYSCTLS = Path("/proc/sys/net/ipv4")
FORWARDING = "ip_forward"
ROUTE_LOCALNET = "conf/all/route_localnet"


def require(user: str, names: tuple[str, ...], *, record: Path = RECORD, sysctls: Path = SYSCTLS) -> None:
    """Sets each of `names` to 1 for `user` (a cluster's context) and remembers what changed."""
    with exclusive(str(record), _say_nothing):
        known = _load(record)
        for name in names:
            if (sysctls / name).read_text().strip() != "1":
                for path in _affected(name, sysctls):
                    known["before"].setdefault(str(path.relative_to(sysctls)), path.read_text().strip())
        if known["before"] and user not in known["users"]:
            known["users"].append(user)
        if known["before"]:
            temporary = record.with_suffix(".new")
            temporary.write_text(json.dumps(known))
            os.replace(temporary, record)
        for name in names:
            if (sysctls / name).read_text().strip() != "1":
                (sysctls / name).write_text("1")


def release(user: str, *, record: Path = RECORD, sysctls: Path = SYSCTLS) -> None:
    """Ends `user`'s need. When nobody is left, everything is as it was before the first."""
    with exclusive(str(record), _say_nothing):
        known = _load(record)
        if user not in known["users"]:
            return
        known["users"].remove(user)
        if known["users"]:
            record.write_text(json.dumps(known))
            return
        # ip_forward first, since writing it changes the others.
        for name, value in sorted(known["before"].items(), key=lambda item: item[0] != FORWARDING):
            path = sysctls / name
            if path.exists() and path.read_text().strip() != value:
                path.write_text(value)
        record.unlink(missing_ok=True)


def _affected(name: str, sysctls: Path) -> list[Path]:
    """The setting itself, and those the kernel changes with it.

    Source: docs.kernel.org/networking/ip-sysctl.html, ip_forward: "resets all configuration parameters to their
    default state".
    """
    if name != FORWARDING:
        return [sysctls / name]
    side_effects = [sysctls / "conf/all/accept_redirects", *sorted(sysctls.glob("conf/*/forwarding"))]
    return [sysctls / name, *(path for path in side_effects if path.exists())]


def _load(record: Path) -> dict[str, Any]:
    try:
        known = json.loads(record.read_text())
        return {"before": dict(known["before"]), "users": list(known["users"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"before": {}, "users": []}


def _say_nothing(_: str) -> None:
    pass
