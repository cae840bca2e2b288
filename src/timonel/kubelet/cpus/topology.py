"""Which CPUs there are and what they share; sets of CPUs as the kernel spells them.

Source: docs.kernel.org/admin-guide/cputopology.html; cpuset(7), "List format".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

CpuSet = frozenset[int]


def parse_cpus(text: str) -> CpuSet:
    """ "0-2,7" -> {0, 1, 2, 7}. Raises ValueError."""
    found: set[int] = set()
    for part in text.strip().split(",") if text.strip() else ():
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if match is None or (match[2] is not None and int(match[2]) < int(match[1])):
            raise ValueError(f"{text!r} is no list of CPUs")
        found.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return frozenset(found)


def format_cpus(cpus: Iterable[int]) -> str:
    """{0, 1, 2, 7} -> "0-2,7"."""
    ranges: list[list[int]] = []
    for cpu in sorted(cpus):
        if ranges and ranges[-1][1] == cpu - 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one CPU is. Cores are numbered within their socket by the kernel, so here a core is named by both."""

    socket: int = 0
    numa: int = 0
    core: tuple[int, int] = (0, 0)


Topology = Mapping[int, Place]
"""Every CPU that is online."""


def read_topology(sys: str = "/sys") -> dict[int, Place]:
    """{} where the kernel does not tell."""
    root = Path(sys, "devices/system")
    try:
        online = parse_cpus((root / "cpu/online").read_text())
    except (OSError, ValueError):
        return {}
    numa: dict[int, int] = {}
    for folder in root.glob("node/node[0-9]*"):
        try:
            numa |= dict.fromkeys(parse_cpus((folder / "cpulist").read_text()), int(folder.name.removeprefix("node")))
        except (OSError, ValueError):
            continue
    made = {}
    for cpu in sorted(online):
        about = root / f"cpu/cpu{cpu}/topology"
        socket, core = (_number(about / name) for name in ("physical_package_id", "core_id"))
        made[cpu] = Place(max(socket, 0), numa.get(cpu, 0), (socket, core if core >= 0 else cpu))
    return made


def _number(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return -1
