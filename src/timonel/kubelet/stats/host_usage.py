"""What the whole machine uses, and what goes through network interfaces: from /proc and the root cgroup."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from timonel.kubelet.stats.cgroup_usage import CgroupFiles, CgroupUsage, CpuUsage, MemoryUsage, read_pressure

_TICK_NANOS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_BUSY = slice(0, 3)
"""user, nice and system in the first line of /proc/stat; idle and iowait follow."""
_INTERRUPTS = slice(5, 8)
"""irq, softirq, steal."""
PRIMARY = ("eth0", "en", "ens", "eth", "wl")


@dataclass(frozen=True, slots=True)
class InterfaceUsage:
    """Bytes, packets, errors and drops since the interface came up."""

    name: str
    received_bytes: int
    received_packets: int
    received_errors: int
    received_dropped: int
    sent_bytes: int
    sent_packets: int
    sent_errors: int
    sent_dropped: int


class HostFiles:
    """`proc` is where the proc file system is mounted."""

    def __init__(self, *, cgroups: CgroupFiles, proc: str = "/proc") -> None:
        self._cgroups = cgroups
        self._proc = Path(proc)

    def read(self, *, details: bool = False) -> CgroupUsage:
        """The machine's, in the terms of a cgroup. The root cgroup tells most, but in version 2 not the memory."""
        root = self._cgroups.read("/")
        cpu, memory = root.cpu or self._cpu(), root.memory or self._memory()
        if not details:
            return CgroupUsage(cpu, memory)
        of_cpu, of_memory, of_io = (read_pressure(f"{self._proc}/pressure/{what}") for what in ("cpu", "memory", "io"))
        return CgroupUsage(cpu, memory, cpu_pressure=of_cpu, memory_pressure=of_memory, io_pressure=of_io)

    def _cpu(self) -> CpuUsage | None:
        try:
            words = (self._proc / "stat").read_text().split("\n", 1)[0].split()
        except OSError:
            return None
        ticks = [int(word) for word in words[1:]]
        return CpuUsage((sum(ticks[_BUSY]) + sum(ticks[_INTERRUPTS])) * _TICK_NANOS)

    def _memory(self) -> MemoryUsage | None:
        info = self.memory_info()
        if not info:
            return None
        faults = self._faults()
        usage = info.get("MemTotal", 0) - info.get("MemFree", 0)
        return MemoryUsage(
            usage=usage,
            working_set=max(0, usage - info.get("Inactive(file)", 0)),
            rss=info.get("AnonPages", 0),
            cache=info.get("Cached", 0),
            mapped_file=info.get("Mapped", 0),
            page_faults=faults.get("pgfault", 0),
            major_page_faults=faults.get("pgmajfault", 0),
        )

    def memory_info(self) -> dict[str, int]:
        """/proc/meminfo, in bytes."""
        info = {}
        try:
            lines = (self._proc / "meminfo").read_text().splitlines()
        except OSError:
            return {}
        for line in lines:
            name, _, rest = line.partition(":")
            number, _, unit = rest.strip().partition(" ")
            if number.isdigit():
                info[name] = int(number) * (1024 if unit == "kB" else 1)
        return info

    def _faults(self) -> dict[str, int]:
        try:
            lines = (self._proc / "vmstat").read_text().splitlines()
        except OSError:
            return {}
        pairs = (line.split() for line in lines if line.startswith(("pgfault ", "pgmajfault ")))
        return {name: int(value) for name, value in pairs}

    def interfaces(self, process: int | None = None) -> tuple[InterfaceUsage, ...]:
        """Those of this node, or of the network namespace that a process is in; without loopback."""
        try:
            text = (self._proc / (str(process) if process else "self") / "net/dev").read_text()
        except OSError:
            return ()
        return parse_interfaces(text)

    def boot_time(self) -> float:
        """Seconds since 1970."""
        try:
            lines = (self._proc / "stat").read_text().splitlines()
        except OSError:
            return 0.0
        return next((float(line.split()[1]) for line in lines if line.startswith("btime ")), 0.0)

    def processes(self) -> tuple[int, int]:
        """(how many there are, how many there may be)."""
        try:
            limit = int((self._proc / "sys/kernel/pid_max").read_text())
            running = (self._proc / "loadavg").read_text().split()[3]
        except (OSError, ValueError, IndexError):
            return 0, 0
        return int(running.partition("/")[2]), limit


def parse_interfaces(text: str) -> tuple[InterfaceUsage, ...]:
    """Of the text of /proc/net/dev. Source: docs.kernel.org/filesystems/proc.html, "net"."""
    found = []
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        name, words = name.strip(), numbers.split()
        if name != "lo" and len(words) >= 12:
            values = [int(word) for word in words]
            found.append(InterfaceUsage(name, *values[0:4], *values[8:12]))
    return tuple(found)


def default_interface(interfaces: tuple[InterfaceUsage, ...]) -> InterfaceUsage | None:
    """eth0, or what looks most like the one to the outside."""
    for prefix in PRIMARY:
        for interface in interfaces:
            if interface.name.startswith(prefix):
                return interface
    return interfaces[0] if interfaces else None
