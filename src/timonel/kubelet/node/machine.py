"""Facts of the machine, read once from the kernel's files."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from timonel.api.objects import Object

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}


@dataclass(frozen=True, slots=True)
class Machine:
    cores: int
    memory_bytes: int
    storage_bytes: int
    """Of the file system that holds the kubelet's directory."""
    architecture: str
    kernel: str
    os_image: str
    machine_id: str
    system_uuid: str
    boot_id: str
    swap_bytes: int


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _memory(field: str) -> int:
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


def _os_image() -> str:
    for line in _read("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip().strip('"')
    return platform.system()


def read_machine(root_dir: str) -> Machine:
    disk = os.statvfs(root_dir)
    machine = platform.machine()
    machine_id = _read("/etc/machine-id")
    return Machine(
        cores=os.cpu_count() or 1,
        memory_bytes=_memory("MemTotal"),
        storage_bytes=disk.f_blocks * disk.f_frsize,
        architecture=_ARCHITECTURES.get(machine, machine),
        kernel=platform.release(),
        os_image=_os_image(),
        machine_id=machine_id,
        system_uuid=_read("/sys/class/dmi/id/product_uuid") or machine_id,
        boot_id=_read("/proc/sys/kernel/random/boot_id"),
        swap_bytes=_memory("SwapTotal"),
    )


def capacity(machine: Machine, max_pods: int) -> Object:
    """As upstream prints it: memory in Ki, storage in bytes or Ki."""
    return {
        "cpu": str(machine.cores),
        "ephemeral-storage": f"{machine.storage_bytes // 1024}Ki",
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
        "memory": f"{machine.memory_bytes // 1024}Ki",
        "pods": str(max_pods),
    }


def allocatable(machine: Machine, max_pods: int, reserved_cpu_milli: int, reserved_memory_bytes: int) -> Object:
    given = capacity(machine, max_pods)
    milli = machine.cores * 1000 - reserved_cpu_milli
    given["cpu"] = str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"
    given["memory"] = f"{(machine.memory_bytes - reserved_memory_bytes) // 1024}Ki"
    # A tenth of the disk is kept from pods, where upstream starts to evict.
    given["ephemeral-storage"] = str(machine.storage_bytes * 9 // 10)
    return given
