"""What one cgroup has used and uses, from the files of cgroup versions 1 and 2.

The working set is what cannot be given back at once: usage without file pages that nobody has touched lately, as
everybody who reads such figures expects. Reading one costs a few system calls: some 100 µs for the figures that
autoscaling lives on, three times that for all.
Source: docs.kernel.org/admin-guide/cgroup-v1/memory.html, …/cgroup-v2.html
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_UNLIMITED_V1 = 1 << 60
"""Version 1 says "no limit" by the largest multiple of a page; nobody has an exabyte."""
_LONGEST = 256 * 1024
"""Bytes of a file; cgroup.procs of a very full cgroup is cut off."""
_TICK_NANOS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class CpuUsage:
    """Since the cgroup was made."""

    total_nanos: int
    user_nanos: int = 0
    system_nanos: int = 0
    periods: int = 0
    throttled_periods: int = 0
    throttled_nanos: int = 0


@dataclass(frozen=True, slots=True)
class MemoryUsage:
    """Bytes, but for the faults, which are counted since the cgroup was made."""

    usage: int
    working_set: int
    rss: int
    cache: int
    mapped_file: int = 0
    limit: int = 0
    """0: none."""
    swap: int = 0
    swap_limit: int | None = None
    """None: none, or the kernel does not account for swap."""
    page_faults: int = 0
    major_page_faults: int = 0
    max_usage: int = 0
    failures: int = 0
    """How often the limit was met."""


@dataclass(frozen=True, slots=True)
class DeviceUsage:
    """What was read from and written to one block device, "8:0" by its numbers."""

    device: str
    read_bytes: int = 0
    written_bytes: int = 0
    reads: int = 0
    writes: int = 0


@dataclass(frozen=True, slots=True)
class Stall:
    """How long work stood still for want of something: microseconds in all, and percent of the last seconds."""

    total_micros: int
    avg10: float = 0.0
    avg60: float = 0.0
    avg300: float = 0.0


@dataclass(frozen=True, slots=True)
class Pressure:
    """`some`: while at least one process stood; `full`: while all did. Source: docs.kernel.org/accounting/psi.html"""

    some: Stall
    full: Stall


@dataclass(frozen=True, slots=True)
class CgroupUsage:
    """None where the cgroup, or its controller, is not there."""

    cpu: CpuUsage | None = None
    memory: MemoryUsage | None = None
    processes: int | None = None
    devices: tuple[DeviceUsage, ...] = ()
    cpu_pressure: Pressure | None = None
    memory_pressure: Pressure | None = None
    io_pressure: Pressure | None = None


class CgroupFiles:
    """`mount` is where cgroup file systems are. Files that cannot be read count as absent: cgroups go at any time."""

    def __init__(self, *, mount: str = "/sys/fs/cgroup", unified: bool) -> None:
        self._mount = Path(mount)
        self._unified = unified

    def read(self, path: str, *, details: bool = False) -> CgroupUsage:
        """`path` as the runtime has it, "/timonel/node/kubepods/…". `details`: what /metrics/resource does not show."""
        relative = path.strip("/")
        if self._unified:
            return self._read_v2(str(self._mount / relative), details)
        return self._read_v1(relative, details)

    def first_process(self, path: str) -> int | None:
        """Of those directly in the cgroup, by its number here."""
        relative = path.strip("/")
        tree = self._mount if self._unified else self._mount / "cpuacct"
        for word in _text(str(tree / relative / "cgroup.procs")).split():
            if word != "0":  # a process of a pid namespace that is none of ours
                return int(word)
        return None

    def _read_v2(self, folder: str, details: bool) -> CgroupUsage:
        cpu, memory = None, None
        stat = _pairs(f"{folder}/cpu.stat")
        if "usage_usec" in stat:
            cpu = CpuUsage(
                stat["usage_usec"] * 1000,
                stat.get("user_usec", 0) * 1000,
                stat.get("system_usec", 0) * 1000,
                stat.get("nr_periods", 0),
                stat.get("nr_throttled", 0),
                stat.get("throttled_usec", 0) * 1000,
            )
        usage = _number(f"{folder}/memory.current")
        if usage is not None:
            stat = _pairs(f"{folder}/memory.stat")
            memory = MemoryUsage(
                usage=usage,
                working_set=max(0, usage - stat.get("inactive_file", 0)),
                rss=stat.get("anon", 0),
                cache=stat.get("file", 0),
                mapped_file=stat.get("file_mapped", 0),
                limit=_number(f"{folder}/memory.max") or 0,
                swap=_number(f"{folder}/memory.swap.current") or 0,
                swap_limit=_number(f"{folder}/memory.swap.max"),
                page_faults=stat.get("pgfault", 0),
                major_page_faults=stat.get("pgmajfault", 0),
                max_usage=(_number(f"{folder}/memory.peak") or 0) if details else 0,
                failures=_pairs(f"{folder}/memory.events").get("max", 0) if details else 0,
            )
        if not details:
            return CgroupUsage(cpu, memory)
        processes, devices = _number(f"{folder}/pids.current"), _devices_v2(f"{folder}/io.stat")
        return CgroupUsage(cpu, memory, processes, devices, *_pressures(folder, ".pressure"))

    def _read_v1(self, relative: str, details: bool) -> CgroupUsage:
        cpu, memory = None, None
        folder = str(self._mount / "cpuacct" / relative)
        total = _number(f"{folder}/cpuacct.usage")
        if total is not None:
            cpu = CpuUsage(total)
            if details:
                ticks = _pairs(f"{folder}/cpuacct.stat")
                stat = _pairs(str(self._mount / "cpu" / relative / "cpu.stat"))
                cpu = CpuUsage(
                    total,
                    ticks.get("user", 0) * _TICK_NANOS,
                    ticks.get("system", 0) * _TICK_NANOS,
                    stat.get("nr_periods", 0),
                    stat.get("nr_throttled", 0),
                    stat.get("throttled_time", 0),
                )
        folder = str(self._mount / "memory" / relative)
        usage = _number(f"{folder}/memory.usage_in_bytes")
        if usage is not None:
            # The figures without "total_" leave out the cgroups below.
            stat = _pairs(f"{folder}/memory.stat")
            limit, both = stat.get("hierarchical_memory_limit", 0), stat.get("hierarchical_memsw_limit", 0)
            limit = 0 if limit >= _UNLIMITED_V1 else limit
            memory = MemoryUsage(
                usage=usage,
                working_set=max(0, usage - stat.get("total_inactive_file", 0)),
                rss=stat.get("total_rss", 0),
                cache=stat.get("total_cache", 0),
                mapped_file=stat.get("total_mapped_file", 0),
                limit=limit,
                swap=stat.get("total_swap", 0),
                swap_limit=max(0, both - limit) if 0 < both < _UNLIMITED_V1 else None,
                page_faults=stat.get("total_pgfault", 0),
                major_page_faults=stat.get("total_pgmajfault", 0),
                max_usage=(_number(f"{folder}/memory.max_usage_in_bytes") or 0) if details else 0,
                failures=(_number(f"{folder}/memory.failcnt") or 0) if details else 0,
            )
        if not details:
            return CgroupUsage(cpu, memory)
        processes = _number(str(self._mount / "pids" / relative / "pids.current"))
        devices = _devices_v1(str(self._mount / "blkio" / relative))
        # Only version 2 knows pressure; beside version 1 it is often mounted without controllers.
        pressures = _pressures(str(self._mount / "unified" / relative), ".pressure")
        return CgroupUsage(cpu, memory, processes, devices, *pressures)


def _pressures(folder: str, suffix: str) -> tuple[Pressure | None, Pressure | None, Pressure | None]:
    """Of CPU, memory and I/O."""
    cpu, memory, io = (read_pressure(f"{folder}/{what}{suffix}") for what in ("cpu", "memory", "io"))
    return cpu, memory, io


def read_pressure(path: str) -> Pressure | None:
    """Of a file with the lines "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" and "full …"."""
    found = {}
    for line in _text(path).splitlines():
        kind, *words = line.split()
        values = dict(word.split("=", 1) for word in words)
        try:
            averages = (float(values[name]) for name in ("avg10", "avg60", "avg300"))
            found[kind] = Stall(int(values["total"]), *averages)
        except (KeyError, ValueError):
            return None
    if "some" not in found:
        return None
    return Pressure(found["some"], found.get("full", Stall(0)))


def _devices_v2(path: str) -> tuple[DeviceUsage, ...]:
    """Lines are "8:0 rbytes=1 wbytes=2 rios=3 wios=4 …"."""
    found = []
    for line in _text(path).splitlines():
        device, *words = line.split()
        values = {name: int(value) for name, _, value in (word.partition("=") for word in words) if value.isdigit()}
        if values:
            found.append(DeviceUsage(device, *(values.get(name, 0) for name in ("rbytes", "wbytes", "rios", "wios"))))
    return tuple(found)


def _devices_v1(folder: str) -> tuple[DeviceUsage, ...]:
    """Two files with lines "8:0 Read 1"."""
    found: dict[str, list[int]] = {}
    for file, first in (("blkio.throttle.io_service_bytes_recursive", 0), ("blkio.throttle.io_serviced_recursive", 2)):
        for line in _text(f"{folder}/{file}").splitlines():
            words = line.split()
            if len(words) == 3 and words[1] in ("Read", "Write"):
                found.setdefault(words[0], [0, 0, 0, 0])[first + (words[1] == "Write")] = int(words[2])
    return tuple(DeviceUsage(device, *values) for device, values in found.items())


def _text(path: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # a file object costs half as much again
    except OSError:
        return ""
    try:
        return os.read(descriptor, _LONGEST).decode("ascii", "replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _number(path: str) -> int | None:
    """None for "max", which is no limit, and when there is no such file."""
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _pairs(path: str) -> dict[str, int]:
    """Of a file with "name number" lines."""
    pairs = {}
    for line in _text(path).splitlines():
        name, _, value = line.partition(" ")
        if value.isdigit():
            pairs[name] = int(value)
    return pairs
