"""The Node object and its status. Pure.

Source: kubernetes.io/docs/reference/node/node-status, kubernetes.io/docs/reference/labels-annotations-taints.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from timonel.api.clock import format_time
from timonel.api.objects import Object, find_by
from timonel.api.volumes import LOCAL_DIRECTORY
from timonel.kubelet.config import KubeletConfig
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.node.machine import Machine, allocatable, capacity


@dataclass(frozen=True, slots=True)
class Health:
    """What the conditions are made of. Empty texts are good news."""

    runtime_error: str = ""
    network_error: str = ""
    pressure: frozenset[str] = frozenset()
    """Conditions that are true: "MemoryPressure", "DiskPressure", "PIDPressure"."""


def well_known_labels(config: KubeletConfig, machine: Machine) -> dict[str, str]:
    labels = {"kubernetes.io/hostname": config.node_name}
    for prefix in ("kubernetes.io", "beta.kubernetes.io"):
        labels |= {f"{prefix}/arch": machine.architecture, f"{prefix}/os": "linux"}
    return labels


def own_annotations(config: KubeletConfig) -> dict[str, str]:
    found = {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
    return found | {LOCAL_DIRECTORY: config.volumes_dir} if config.volumes_dir else found


def new_node(config: KubeletConfig, machine: Machine) -> Object:
    node: Object = {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {
            "name": config.node_name,
            "labels": well_known_labels(config, machine) | dict(config.node_labels),
            "annotations": own_annotations(config),
        },
        "spec": {},
    }
    if config.node_taints:
        node["spec"]["taints"] = [dict(taint) for taint in config.node_taints]
    return node


def conditions(health: Health, now: datetime, previous: Iterable[Object]) -> list[Object]:
    """With the time of the last change kept and the heartbeat set to now."""
    previous = list(previous)
    moment = format_time(now)
    memory, disk, pids = (name in health.pressure for name in ("MemoryPressure", "DiskPressure", "PIDPressure"))
    problems = [text for text in (health.runtime_error, health.network_error) if text]
    if len(problems) > 1:
        problems = [f"[{', '.join(problems)}]"]
    rows = [
        ("MemoryPressure", memory, "KubeletHasInsufficientMemory", "KubeletHasSufficientMemory",
         "kubelet has insufficient memory available", "kubelet has sufficient memory available"),
        ("DiskPressure", disk, "KubeletHasDiskPressure", "KubeletHasNoDiskPressure",
         "kubelet has disk pressure", "kubelet has no disk pressure"),
        ("PIDPressure", pids, "KubeletHasInsufficientPID", "KubeletHasSufficientPID",
         "kubelet has insufficient PID available", "kubelet has sufficient PID available"),
        ("Ready", not problems, "KubeletReady", "KubeletNotReady",
         "kubelet is posting ready status", "".join(problems)),
    ]  # fmt: skip
    made = []
    for kind, status, reason_true, reason_false, message_true, message_false in rows:
        text = "True" if status else "False"
        old = find_by(previous, "type", kind)
        same = old is not None and old.get("status") == text
        changed_at = (old or {}).get("lastTransitionTime") if same else None  # whoever wrote it may have left it out
        made.append(
            {
                "type": kind,
                "status": text,
                "lastHeartbeatTime": moment,
                "lastTransitionTime": changed_at or moment,
                "reason": reason_true if status else reason_false,
                "message": message_true if status else message_false,
            }
        )
    return made


def node_status(
    config: KubeletConfig,
    machine: Machine,
    *,
    runtime_version: str,
    images: Sequence[cri.Image],
    abilities: cri.StatusResponse | None = None,
    condition_list: list[Object],
) -> Object:
    addresses = [{"type": "InternalIP", "address": ip} for ip in config.node_ips]
    made: Object = {
        "addresses": [*addresses, {"type": "Hostname", "address": config.node_name}],
        "allocatable": allocatable(machine, config.max_pods, config.reserved_cpu_milli, config.reserved_memory_bytes),
        "capacity": capacity(machine, config.max_pods),
        "conditions": condition_list,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": config.port}},
        "images": image_list(images, config.status_max_images),
        "nodeInfo": {
            "architecture": machine.architecture,
            "bootID": machine.boot_id,
            "containerRuntimeVersion": runtime_version,
            "kernelVersion": machine.kernel,
            "kubeProxyVersion": "",
            "kubeletVersion": config.version,
            "machineID": machine.machine_id,
            "operatingSystem": "linux",
            "osImage": machine.os_image,
            "systemUUID": machine.system_uuid,
        },
    }
    if abilities is not None:
        made |= runtime_abilities(abilities)
    return made


def add_extended(status: Object, previous: Object, devices: Mapping[str, tuple[int, int]]) -> None:
    """Resources beyond the kernel's: those of device plugins, and what others announced in the node's capacity.

    Source: kubernetes.io/docs/tasks/administer-cluster/extended-resource-node
    """
    announced = previous.get("capacity") or {}
    foreign = {name: amount for name, amount in announced.items() if "/" in name and name not in devices}
    status["capacity"] |= foreign | {name: str(there) for name, (there, _) in devices.items()}
    status["allocatable"] |= foreign | {name: str(healthy) for name, (_, healthy) in devices.items()}


def runtime_abilities(told: cri.StatusResponse) -> Object:
    """What the runtime says it can do; older ones say nothing. Source: KEP-3857, KEP-3619."""
    made: Object = {}
    if told.HasField("features"):
        made["features"] = {"supplementalGroupsPolicy": told.features.supplemental_groups_policy}
    if told.runtime_handlers:
        made["runtimeHandlers"] = [_handler(handler) for handler in told.runtime_handlers]
    return made


def _handler(handler: cri.RuntimeHandler) -> Object:
    features = {
        "recursiveReadOnlyMounts": handler.features.recursive_read_only_mounts,
        "userNamespaces": handler.features.user_namespaces,
    }
    return {"name": handler.name, "features": features}


def image_list(images: Sequence[cri.Image], most: int) -> list[Object]:
    """The largest ones (-1: all), as the scheduler wants them for its image locality score."""
    largest = sorted(images, key=lambda image: (-image.size, image.id))[: most if most >= 0 else None]
    return [
        {"names": [*image.repo_digests, *image.repo_tags][:5], "sizeBytes": image.size}
        for image in largest
        if image.repo_digests or image.repo_tags
    ]


def without_heartbeat(status: Object) -> Object:
    """What counts as a change of the status."""
    plain = [{k: v for k, v in c.items() if k != "lastHeartbeatTime"} for c in status.get("conditions") or ()]
    return {**status, "conditions": plain}
