"""/stats/summary: the node, its pods and containers in one object. Pure.

Source: kubernetes.io/docs/reference/instrumentation/node-metrics; the fields are those of stats/v1alpha1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from timonel.api.clock import format_time
from timonel.api.objects import Object
from timonel.kubelet.stats.cgroup_usage import CgroupUsage, CpuUsage, Pressure
from timonel.kubelet.stats.filesystems import FilesystemSample, FilesystemUsage
from timonel.kubelet.stats.host_usage import InterfaceUsage, default_interface
from timonel.kubelet.stats.sampler import pod_usage
from timonel.kubelet.stats.samples import ContainerSample, NodeSample, PodSample

Earlier = Mapping[str, tuple[CpuUsage, float]]
"""CPU of an earlier look and its time, by pod uid or container id; "" is the node."""


def render_summary(node: NodeSample, earlier: NodeSample, files: FilesystemSample | None) -> Object:
    """`earlier` is what rates are made from. Without `files`: only CPU and memory."""
    before = cpus_of(earlier)
    made: Object = {
        "nodeName": node.name,
        "systemContainers": [
            {"name": name, "startTime": _moment(node.booted_at), **_usage(usage, node.time, before.get(f"/{name}"))}
            for name, usage in node.system.items()
        ],
        "startTime": _moment(node.booted_at),
        **_usage(node.usage, node.time, before.get("")),
    }
    if node.usage.memory is not None:
        memory = made["memory"]
        memory["availableBytes"] = max(0, node.memory_total - node.usage.memory.working_set)
    made["swap"] = {
        "time": _moment(node.time),
        "swapAvailableBytes": node.swap_free,
        "swapUsageBytes": node.swap_total - node.swap_free,
    }
    if files is not None:
        made |= _network(node.interfaces, node.time)
        made["fs"] = _filesystem(files.node)
        if files.images is not None:
            images = _filesystem(files.images)
            made["runtime"] = {"imageFs": images, "containerFs": images}
        made["rlimit"] = {"time": _moment(node.time), "maxpid": node.max_processes, "curproc": node.processes}
    return {"node": made, "pods": [_pod(pod, before, files) for pod in node.pods]}


def cpus_of(node: NodeSample) -> Earlier:
    found: dict[str, tuple[CpuUsage, float]] = {}
    if node.usage.cpu is not None:
        found[""] = node.usage.cpu, node.time
    for name, usage in node.system.items():
        if usage.cpu is not None:
            found[f"/{name}"] = usage.cpu, node.time
    for pod in node.pods:
        whole = pod_usage(pod)
        if whole.cpu is not None:
            found[pod.source.uid] = whole.cpu, pod.time
        for container in pod.containers:
            if container.usage.cpu is not None:
                found[container.source.id] = container.usage.cpu, container.time
    return found


def _pod(pod: PodSample, before: Earlier, files: FilesystemSample | None) -> Object:
    source, whole = pod.source, pod_usage(pod)
    made: Object = {
        "podRef": {"name": source.name, "namespace": source.namespace, "uid": source.uid},
        "startTime": _moment(source.started_at),
        "containers": [_container(pod, each, before, files) for each in pod.containers],
        **_usage(whole, pod.time, before.get(source.uid)),
    }
    if files is None:
        return made
    made |= _network(pod.interfaces, pod.time)
    volumes = []
    for volume in source.volumes:
        usage = files.volumes.get((source.uid, volume.name))
        if usage is not None:
            claim = {"pvcRef": {"name": volume.claim, "namespace": source.namespace}} if volume.claim else {}
            volumes.append({**_filesystem(usage), "name": volume.name, **claim})
    if volumes:
        made["volume"] = volumes
    made["ephemeral-storage"] = _filesystem(_ephemeral(pod, files))
    if whole.processes is not None:
        made["process_stats"] = {"process_count": whole.processes}
    return made


def _ephemeral(pod: PodSample, files: FilesystemSample) -> FilesystemUsage:
    """What the pod takes of the node's own file system: layers, logs, and volumes that are no claim's."""
    uid = pod.source.uid
    parts: list[FilesystemUsage] = [
        *(files.layers[each.source.id] for each in pod.containers if each.source.id in files.layers),
        *(usage for (owner, _), usage in files.logs.items() if owner == uid),
        *(
            files.volumes[uid, volume.name]
            for volume in pod.source.volumes
            if not volume.claim and (uid, volume.name) in files.volumes
        ),
    ]
    node = files.node
    return FilesystemUsage(
        time=pod.time,
        capacity=node.capacity,
        available=node.available,
        used=sum(part.used for part in parts),
        inodes=node.inodes,
        inodes_free=node.inodes_free,
        inodes_used=sum(part.inodes_used for part in parts),
    )


def _container(pod: PodSample, container: ContainerSample, before: Earlier, files: FilesystemSample | None) -> Object:
    source = container.source
    made: Object = {
        "name": source.name,
        "startTime": _moment(source.started_at),
        **_usage(container.usage, container.time, before.get(source.id)),
    }
    if files is not None:
        layer = files.layers.get(source.id)
        if layer is not None:
            made["rootfs"] = _filesystem(layer)
        logs = files.logs.get((pod.source.uid, source.name))
        if logs is not None:
            made["logs"] = _filesystem(logs)
    return made


def _usage(usage: CgroupUsage, time: float, before: tuple[CpuUsage, float] | None) -> Object:
    made: Object = {}
    moment = _moment(time)
    if usage.cpu is not None:
        made["cpu"] = {"time": moment}
        if before is not None and time > before[1] and usage.cpu.total_nanos >= before[0].total_nanos:
            made["cpu"]["usageNanoCores"] = int((usage.cpu.total_nanos - before[0].total_nanos) / (time - before[1]))
        made["cpu"]["usageCoreNanoSeconds"] = usage.cpu.total_nanos
        made["cpu"] |= _pressure(usage.cpu_pressure)
    memory = usage.memory
    if memory is not None:
        made["memory"] = {"time": moment}
        if memory.limit:
            made["memory"]["availableBytes"] = max(0, memory.limit - memory.working_set)
        made["memory"] |= {
            "usageBytes": memory.usage,
            "workingSetBytes": memory.working_set,
            "rssBytes": memory.rss,
            "pageFaults": memory.page_faults,
            "majorPageFaults": memory.major_page_faults,
            **_pressure(usage.memory_pressure),
        }
        made["swap"] = {"time": moment, "swapUsageBytes": memory.swap}
        if memory.swap_limit is not None:
            made["swap"]["swapAvailableBytes"] = max(0, memory.swap_limit - memory.swap)
    if usage.io_pressure is not None:
        made["io"] = {"time": moment, **_pressure(usage.io_pressure)}
    return made


def _pressure(pressure: Pressure | None) -> Object:
    if pressure is None:
        return {}
    stalls = (("full", pressure.full), ("some", pressure.some))
    return {
        "psi": {
            kind: {"total": stall.total_micros, "avg10": stall.avg10, "avg60": stall.avg60, "avg300": stall.avg300}
            for kind, stall in stalls
        }
    }


def _network(interfaces: Iterable[InterfaceUsage], time: float) -> Object:
    listed = tuple(interfaces)
    default = default_interface(listed)
    if default is None:
        return {}
    return {"network": {"time": _moment(time), **_interface(default), "interfaces": [_interface(i) for i in listed]}}


def _interface(usage: InterfaceUsage) -> Object:
    return {
        "name": usage.name,
        "rxBytes": usage.received_bytes,
        "rxErrors": usage.received_errors,
        "txBytes": usage.sent_bytes,
        "txErrors": usage.sent_errors,
    }


def _filesystem(usage: FilesystemUsage) -> Object:
    return {
        "time": _moment(usage.time),
        "availableBytes": usage.available,
        "capacityBytes": usage.capacity,
        "usedBytes": usage.used,
        "inodesFree": usage.inodes_free,
        "inodes": usage.inodes,
        "inodesUsed": usage.inodes_used,
    }


def _moment(seconds: float) -> str:
    return format_time(datetime.fromtimestamp(seconds, UTC))
