"""The kernel's files, of both versions of cgroups, against what the kernel's documents say they mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from timonel.kubelet.stats.cgroup_usage import (
    CgroupFiles,
    CgroupUsage,
    CpuUsage,
    DeviceUsage,
    MemoryUsage,
    Pressure,
    Stall,
)  # fmt: skip
from timonel.kubelet.stats.host_usage import HostFiles, default_interface, parse_interfaces

from . import trees
from .trees import MIB, POD

BOTH = pytest.mark.parametrize("make", [trees.version_1, trees.version_2], ids=["v1", "v2"])


def files(root: Path, make: object) -> CgroupFiles:
    return CgroupFiles(mount=str(root), unified=make is trees.version_2)


@BOTH
def test_all_of_a_cgroup(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path, POD)
    used = files(tmp_path, make).read(f"/{POD}", details=True)
    assert used == CgroupUsage(
        CpuUsage(5_000_000_000, 3_000_000_000, 2_000_000_000, 7, 2, 5_000_000),
        MemoryUsage(
            usage=30 * MIB,
            working_set=20 * MIB,
            rss=18 * MIB,
            cache=12 * MIB,
            mapped_file=4096,
            limit=64 * MIB,
            swap=MIB,
            swap_limit=32 * MIB,
            page_faults=11,
            major_page_faults=3,
            max_usage=40 * MIB,
            failures=4,
        ),
        5,
        (DeviceUsage("8:0", 4096, 8192, 1, 2),),
        *(
            Pressure(Stall(micros, 1.5, 0.7, 0.1), Stall(micros // 2, 0.5, 0.2, 0.0))
            for micros in (4_000_000, 2_000_000, 1_000_000)
        ),
    )


@BOTH
def test_a_cgroup_that_is_gone_has_used_nothing_known(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    assert files(tmp_path, make).read("/gone") == CgroupUsage()
    assert files(tmp_path, make).first_process("/gone") is None


@BOTH
def test_no_working_set_is_negative(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    """The two files are not read in the same instant."""
    make(tmp_path, POD, usage=5 * MIB)
    memory = files(tmp_path, make).read(POD).memory
    assert memory is not None
    assert memory.working_set == 0


@BOTH
def test_processes_of_other_pid_namespaces_are_passed_over(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path, POD)
    assert files(tmp_path, make).first_process(POD) == 4321


def test_no_limit(tmp_path: Path) -> None:
    """Version 1 tells it by a number near 2^63, version 2 by "max"."""
    trees.version_2(tmp_path / "2", POD)
    trees.write(tmp_path / "2" / POD, {"memory.max": "max\n", "memory.swap.max": "max\n"})
    trees.version_1(tmp_path / "1", POD)
    unlimited = "hierarchical_memory_limit 9223372036854771712\nhierarchical_memsw_limit 9223372036854771712\n"
    trees.write(tmp_path / "1" / "memory" / POD, {"memory.stat": unlimited})
    for root, unified in ((tmp_path / "1", False), (tmp_path / "2", True)):
        memory = CgroupFiles(mount=str(root), unified=unified).read(POD).memory
        assert memory is not None
        assert (memory.limit, memory.swap_limit) == (0, None)


def test_the_machine_without_a_telling_root_cgroup(tmp_path: Path) -> None:
    """In version 2 the root has no memory files; /proc tells: what is not free, without untouched file pages."""
    trees.proc(tmp_path / "proc")
    host = HostFiles(cgroups=CgroupFiles(mount=str(tmp_path / "cgroup"), unified=True), proc=str(tmp_path / "proc"))
    used = host.read()
    assert used.cpu == CpuUsage((100 + 20 + 30 + 1 + 2 + 4) * 10_000_000)
    assert used.memory is not None
    assert (used.memory.usage, used.memory.working_set) == (12 << 30, 11 << 30)
    assert (used.memory.page_faults, used.memory.major_page_faults) == (77, 5)
    assert host.boot_time() == 1_000_000_000
    assert host.read(details=True).cpu_pressure == Pressure(Stall(123, 9, 8, 7), Stall(0))
    assert host.read(details=True).io_pressure is None
    assert host.processes() == (345, 32768)


def test_the_root_cgroup_tells_of_the_machine(tmp_path: Path) -> None:
    trees.version_1(tmp_path, "", cpu=9_000_000_000)
    cgroups = CgroupFiles(mount=str(tmp_path), unified=False)
    used = HostFiles(cgroups=cgroups, proc="/nowhere").read()
    assert used.cpu is not None
    assert used.memory is not None
    assert (used.cpu.total_nanos, used.memory.working_set) == (9_000_000_000, 20 * MIB)


def test_interfaces() -> None:
    found = parse_interfaces(trees.NET_DEV)
    assert [each.name for each in found] == ["eth0", "tunl"]
    eth0 = found[0]
    assert (eth0.received_bytes, eth0.received_packets, eth0.received_errors, eth0.received_dropped) == (5000, 50, 1, 2)
    assert (eth0.sent_bytes, eth0.sent_packets, eth0.sent_errors, eth0.sent_dropped) == (7000, 70, 3, 4)
    assert default_interface(found[::-1]) is eth0
    assert default_interface(()) is None
