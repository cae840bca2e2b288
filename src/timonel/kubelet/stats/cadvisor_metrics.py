"""/metrics/cadvisor: all that is known of containers, under the names and labels that dashboards ask for. Pure.

cAdvisor, whose page this is upstream, is a library for one language; the figures are the kernel's. Every series says
`container`, `pod`, `namespace`, `id` (the cgroup), `image` and `name`; those of a whole pod have container, image and
name empty, and those of the machine all but id, "/". Source: github.com/google/cadvisor docs/storage/prometheus.md
"""

from __future__ import annotations

from collections.abc import Mapping

from timonel.kubelet.containers.resources import CPU_PERIOD
from timonel.kubelet.node.machine import Machine
from timonel.kubelet.stats.cgroup_usage import CgroupUsage, CpuUsage, DeviceUsage, MemoryUsage
from timonel.kubelet.stats.exposition import Page, labels_text
from timonel.kubelet.stats.filesystems import FilesystemSample, FilesystemUsage
from timonel.kubelet.stats.host_usage import InterfaceUsage
from timonel.kubelet.stats.sampler import pod_usage
from timonel.kubelet.stats.samples import ContainerSample, NodeSample, PodSample

_C, _G = "counter", "gauge"
_FAMILIES = {
    "cadvisor_version_info": (_G, "Kernel version, OS version and version of what reads the figures."),
    "container_cpu_cfs_periods_total": (_C, "Number of periods in which the CPU limit was looked at."),
    "container_cpu_cfs_throttled_periods_total": (_C, "Number of periods in which the CPU limit was reached."),
    "container_cpu_cfs_throttled_seconds_total": (_C, "Time held back by the CPU limit, in seconds."),
    "container_cpu_system_seconds_total": (_C, "CPU time in the kernel, in seconds."),
    "container_cpu_usage_seconds_total": (_C, "CPU time, in seconds."),
    "container_cpu_user_seconds_total": (_C, "CPU time outside the kernel, in seconds."),
    "container_fs_inodes_free": (_G, "Inodes free."),
    "container_fs_inodes_total": (_G, "Inodes there are."),
    "container_fs_limit_bytes": (_G, "Size of the file system, in bytes."),
    "container_fs_reads_bytes_total": (_C, "Bytes read."),
    "container_fs_reads_total": (_C, "Reads completed."),
    "container_fs_usage_bytes": (_G, "Bytes taken on the file system."),
    "container_fs_writes_bytes_total": (_C, "Bytes written."),
    "container_fs_writes_total": (_C, "Writes completed."),
    "container_last_seen": (_G, "When the container was last looked at, in seconds since 1970."),
    "container_memory_cache": (_G, "Bytes of page cache."),
    "container_memory_failcnt": (_C, "How often the memory limit was met."),
    "container_memory_failures_total": (_C, "Page faults."),
    "container_memory_mapped_file": (_G, "Bytes of memory mapped files."),
    "container_memory_max_usage_bytes": (_G, "The most memory ever used, in bytes."),
    "container_memory_rss": (_G, "Bytes of anonymous memory."),
    "container_memory_swap": (_G, "Bytes of swap."),
    "container_memory_usage_bytes": (_G, "Memory used, with caches, in bytes."),
    "container_memory_working_set_bytes": (_G, "Memory used that could not be given back at once, in bytes."),
    **{
        f"container_network_{way}_{what}_total": (_C, f"Network: {what.replace('_', ' ')}, {way}.")
        for way in ("receive", "transmit")
        for what in ("bytes", "errors", "packets_dropped", "packets")
    },
    **{
        f"container_pressure_{what}_{how}_seconds_total": (_C, f"Time in which {who} stood still for want of {what}.")
        for what in ("cpu", "memory", "io")
        for how, who in (("stalled", "all processes"), ("waiting", "at least one process"))
    },
    "container_processes": (_G, "Processes, with threads."),
    "container_spec_cpu_period": (_G, "Period that the CPU limit is for, in microseconds."),
    "container_spec_cpu_quota": (_G, "CPU time allowed in a period, in microseconds."),
    "container_spec_cpu_shares": (_G, "Weight in sharing CPU."),
    "container_spec_memory_limit_bytes": (_G, "Memory limit, in bytes; 0 for none."),
    "container_spec_memory_reservation_limit_bytes": (_G, "Memory kept free for the container, in bytes."),
    "container_spec_memory_swap_limit_bytes": (_G, "Swap limit, in bytes; 0 for none."),
    "container_start_time_seconds": (_G, "When the container was started, in seconds since 1970."),
    "machine_cpu_cores": (_G, "Number of logical CPU cores."),
    "machine_memory_bytes": (_G, "Memory of the machine, in bytes."),
    "machine_scrape_error": (_G, "1 if something of the machine could not be read, else 0."),
    "machine_swap_bytes": (_G, "Swap of the machine, in bytes."),
}

Labels = Mapping[str, str]


def render_cadvisor_metrics(
    node: NodeSample, files: FilesystemSample, machine: Machine, devices: Mapping[str, str]
) -> str:
    """`devices`: names of block devices by their numbers, {"8:0": "/dev/sda"}."""
    page = Page(_FAMILIES)
    about = {"kernelVersion": machine.kernel, "osVersion": machine.os_image, "cadvisorVersion": "", "dockerVersion": ""}
    page.add("cadvisor_version_info", labels_text(about), 1)
    whole = _labels("/")
    _add_usage(page, whole, node.usage, node.time, devices)
    _add_network(page, whole, node.interfaces, node.time)
    _add_filesystem(page, {**whole, "device": "/"}, files.node, node.time)
    for name, usage in node.system.items():
        if name == "pods":
            _add_usage(page, _labels("/kubepods"), usage, node.time, devices)
    for pod in node.pods:
        _add_pod(page, pod, files, devices)
    same = labels_text(
        {"boot_id": machine.boot_id, "machine_id": machine.machine_id, "system_uuid": machine.system_uuid}
    )
    page.add("machine_cpu_cores", same, machine.cores)
    page.add("machine_memory_bytes", same, machine.memory_bytes)
    page.add("machine_swap_bytes", same, machine.swap_bytes)
    page.add("machine_scrape_error", "", int(node.failed))
    return page.render()


def _add_pod(page: Page, pod: PodSample, files: FilesystemSample, devices: Mapping[str, str]) -> None:
    source = pod.source
    labels = _labels(source.cgroup, namespace=source.namespace, pod=source.name)
    _add_usage(page, labels, pod_usage(pod), pod.time, devices)
    sandbox = {**labels, "id": f"{source.cgroup}/{source.sandbox_id}", "name": source.sandbox_id}
    _add_network(page, sandbox, pod.interfaces, pod.time)
    for container in pod.containers:
        _add_container(page, pod, container, files, devices)


def _add_container(
    page: Page, pod: PodSample, container: ContainerSample, files: FilesystemSample, devices: Mapping[str, str]
) -> None:
    source = container.source
    labels = _labels(
        f"{pod.source.cgroup}/{source.id}",
        namespace=pod.source.namespace,
        pod=pod.source.name,
        container=source.name,
        image=source.image,
        name=source.id,
    )
    text = labels_text(labels)
    _add_usage(page, labels, container.usage, container.time, devices)
    if (layer := files.layers.get(source.id)) is not None:
        _add_filesystem(page, {**labels, "device": "/"}, layer, container.time)
    page.add("container_last_seen", text, int(container.time), container.time)
    page.add("container_start_time_seconds", text, source.started_at)
    page.add("container_spec_cpu_period", text, CPU_PERIOD)
    if source.cpu_quota:
        page.add("container_spec_cpu_quota", text, source.cpu_quota)
    page.add("container_spec_cpu_shares", text, source.cpu_shares)
    page.add("container_spec_memory_limit_bytes", text, source.memory_limit)
    page.add("container_spec_memory_reservation_limit_bytes", text, 0)
    swap_limit = container.usage.memory.swap_limit if container.usage.memory is not None else None
    page.add("container_spec_memory_swap_limit_bytes", text, swap_limit or 0)


def _labels(
    cgroup: str, *, namespace: str = "", pod: str = "", container: str = "", image: str = "", name: str = ""
) -> Labels:
    return {"container": container, "id": cgroup, "image": image, "name": name, "namespace": namespace, "pod": pod}


def _add_usage(page: Page, labels: Labels, usage: CgroupUsage, time: float, devices: Mapping[str, str]) -> None:
    if usage.cpu is not None:
        _add_cpu(page, labels, usage.cpu, time)
    if usage.memory is not None:
        _add_memory(page, labels, usage.memory, time)
    if usage.processes is not None:
        page.add("container_processes", labels_text(labels), usage.processes, time)
    pressures = (("cpu", usage.cpu_pressure), ("memory", usage.memory_pressure), ("io", usage.io_pressure))
    for what, pressure in pressures:
        if pressure is not None:
            text, name = labels_text(labels), f"container_pressure_{what}"
            page.add(f"{name}_stalled_seconds_total", text, pressure.full.total_micros / 1e6, time)
            page.add(f"{name}_waiting_seconds_total", text, pressure.some.total_micros / 1e6, time)
    for device in usage.devices:
        _add_device(page, {**labels, "device": devices.get(device.device, device.device)}, device, time)


def _add_cpu(page: Page, labels: Labels, cpu: CpuUsage, time: float) -> None:
    text = labels_text(labels)
    # Recording rules of dashboards sum over `cpu`, whose one value upstream's kubelet gives is "total".
    page.add("container_cpu_usage_seconds_total", labels_text({**labels, "cpu": "total"}), cpu.total_nanos / 1e9, time)
    page.add("container_cpu_user_seconds_total", text, cpu.user_nanos / 1e9, time)
    page.add("container_cpu_system_seconds_total", text, cpu.system_nanos / 1e9, time)
    if cpu.periods:
        page.add("container_cpu_cfs_periods_total", text, cpu.periods, time)
        page.add("container_cpu_cfs_throttled_periods_total", text, cpu.throttled_periods, time)
        page.add("container_cpu_cfs_throttled_seconds_total", text, cpu.throttled_nanos / 1e9, time)


def _add_memory(page: Page, labels: Labels, memory: MemoryUsage, time: float) -> None:
    text = labels_text(labels)
    for name, value in (
        ("cache", memory.cache),
        ("failcnt", memory.failures),
        ("mapped_file", memory.mapped_file),
        ("max_usage_bytes", memory.max_usage),
        ("rss", memory.rss),
        ("swap", memory.swap),
        ("usage_bytes", memory.usage),
        ("working_set_bytes", memory.working_set),
    ):
        page.add(f"container_memory_{name}", text, value, time)
    for kind, value in (("pgfault", memory.page_faults), ("pgmajfault", memory.major_page_faults)):
        told = labels_text({**labels, "failure_type": kind, "scope": "hierarchy"})
        page.add("container_memory_failures_total", told, value, time)


def _add_device(page: Page, labels: Labels, device: DeviceUsage, time: float) -> None:
    text = labels_text(labels)
    page.add("container_fs_reads_bytes_total", text, device.read_bytes, time)
    page.add("container_fs_reads_total", text, device.reads, time)
    page.add("container_fs_writes_bytes_total", text, device.written_bytes, time)
    page.add("container_fs_writes_total", text, device.writes, time)


def _add_filesystem(page: Page, labels: Labels, usage: FilesystemUsage, time: float) -> None:
    text = labels_text(labels)
    page.add("container_fs_usage_bytes", text, usage.used, time)
    page.add("container_fs_limit_bytes", text, usage.capacity, time)
    page.add("container_fs_inodes_free", text, usage.inodes_free, time)
    page.add("container_fs_inodes_total", text, usage.inodes, time)


def _add_network(page: Page, labels: Labels, interfaces: tuple[InterfaceUsage, ...], time: float) -> None:
    for each in interfaces:
        text = labels_text({**labels, "interface": each.name})
        for name, value in (
            ("receive_bytes", each.received_bytes),
            ("receive_errors", each.received_errors),
            ("receive_packets_dropped", each.received_dropped),
            ("receive_packets", each.received_packets),
            ("transmit_bytes", each.sent_bytes),
            ("transmit_errors", each.sent_errors),
            ("transmit_packets_dropped", each.sent_dropped),
            ("transmit_packets", each.sent_packets),
        ):
            page.add(f"container_network_{name}_total", text, value, time)
