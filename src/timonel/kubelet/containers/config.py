"""CRI's configuration of a sandbox and of its containers, put together from the pieces beside this module. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from timonel.api.objects import Object, name_of, namespace_of, uid_of
from timonel.kubelet.config import KubeletConfig
from timonel.kubelet.containers import labels
from timonel.kubelet.containers.expansion import expand
from timonel.kubelet.containers.names import Resolver, kernel_host_name, pod_resolver
from timonel.kubelet.containers.resources import CPU_PERIOD, container_limit, container_request, cpu_quota, cpu_shares
from timonel.kubelet.containers.security import container_context, sandbox_context
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.pods.qos import oom_score_adjust

_PROTOCOLS = {"TCP": cri.TCP, "UDP": cri.UDP, "SCTP": cri.SCTP}
_PROPAGATION = {
    "None": cri.PROPAGATION_PRIVATE,
    "HostToContainer": cri.PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": cri.PROPAGATION_BIDIRECTIONAL,
}


@dataclass(frozen=True, slots=True)
class MountPoint:
    host_path: str
    container_path: str
    read_only: bool = False
    propagation: str = "None"
    image: str = ""
    """Mounted by the runtime instead of `host_path`: the image's reference."""
    image_sub_path: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    host_path: str
    container_path: str
    permissions: str
    """Of the cgroup: some of "mrw"."""


def pod_log_dir(config: KubeletConfig, pod: Object) -> str:
    return f"{config.pod_logs_dir}/{namespace_of(pod)}_{name_of(pod)}_{uid_of(pod)}"


def log_path(container: str, attempt: int) -> str:
    """Below the pod's log directory."""
    return f"{container}/{attempt}.log"


def sandbox_config(
    pod: Object, attempt: int, *, config: KubeletConfig, host_resolver: Resolver, cgroup_parent: str
) -> cri.PodSandboxConfig:
    """Raises ValueError when the pod's host name cannot be."""
    spec = pod["spec"]
    resolver = pod_resolver(pod, host_resolver, config.cluster_dns, config.cluster_domain)
    made = cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(
            name=name_of(pod), uid=uid_of(pod), namespace=namespace_of(pod), attempt=attempt
        ),
        log_directory=pod_log_dir(config, pod),
        dns_config=cri.DNSConfig(servers=resolver.servers, searches=resolver.searches, options=resolver.options),
        labels=labels.pod_labels(pod),
        annotations=labels.pod_annotations(pod),
    )
    if not spec.get("hostNetwork"):
        made.hostname = kernel_host_name(pod, config.cluster_domain)
        for container in (spec.get("initContainers") or []) + (spec.get("containers") or []):
            for port in container.get("ports") or ():
                if port.get("hostPort"):
                    made.port_mappings.add(
                        protocol=_PROTOCOLS[port.get("protocol") or "TCP"],
                        container_port=port["containerPort"],
                        host_port=port["hostPort"],
                        host_ip=port.get("hostIP") or "",
                    )
    made.linux.cgroup_parent = cgroup_parent
    made.linux.security_context.CopyFrom(sandbox_context(pod, f"{config.root_dir}/seccomp"))
    for sysctl in (spec.get("securityContext") or {}).get("sysctls") or ():
        made.linux.sysctls[sysctl["name"]] = sysctl["value"]
    return made


def container_resources(
    pod: Object, container: Object, *, memory_capacity: int, unified_cgroups: bool, whole: bool = False
) -> cri.LinuxContainerResources:
    """`whole`: a limit that is not there is named as such, to take away what a running container had."""
    made = cri.LinuxContainerResources(
        cpu_shares=cpu_shares(container_request(container, "cpu")),
        memory_limit_in_bytes=container_limit(container, "memory") or 0,
        oom_score_adj=oom_score_adjust(pod, container, memory_capacity),
    )
    quota = cpu_quota(container_limit(container, "cpu") or 0)
    if quota or whole:
        made.cpu_period, made.cpu_quota = CPU_PERIOD, quota or -1
    if whole and not made.memory_limit_in_bytes:
        made.memory_limit_in_bytes = -1
    if unified_cgroups:
        # Out of memory ends the whole container, not one process of it, as upstream on cgroup v2.
        made.unified["memory.oom.group"] = "1"
    return made


def container_config(
    pod: Object,
    container: Object,
    attempt: int,
    *,
    config: KubeletConfig,
    image: cri.Image | None,
    image_ref: str,
    environment: Mapping[str, str],
    mounts: Sequence[MountPoint],
    devices: Sequence[Device] = (),
    memory_capacity: int,
    unified_cgroups: bool,
    target_id: str = "",
    cpus: str = "",
) -> cri.ContainerConfig:
    """`image` tells the user it would run as; `cpus` is which ones it may run on, "" all of them.

    `target_id` is whose processes an ephemeral container sees.
    """
    made = cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name=container["name"], attempt=attempt),
        image=cri.ImageSpec(image=image_ref, user_specified_image=container.get("image", "")),
        command=[expand(word, environment.get) for word in container.get("command") or ()],
        args=[expand(word, environment.get) for word in container.get("args") or ()],
        working_dir=container.get("workingDir") or "",
        envs=[
            cri.KeyValue(key=name, value=value.encode(errors="surrogateescape")) for name, value in environment.items()
        ],
        labels=labels.container_labels(pod, container),
        annotations=labels.container_annotations(pod, container, attempt),
        log_path=log_path(container["name"], attempt),
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        tty=bool(container.get("tty")),
    )
    for mount in mounts:
        added = made.mounts.add(
            host_path=mount.host_path,
            container_path=mount.container_path,
            readonly=mount.read_only,
            propagation=_PROPAGATION[mount.propagation],
        )
        if mount.image:
            added.image.image = mount.image
            added.image_sub_path = mount.image_sub_path
    for device in devices:
        made.devices.add(
            host_path=device.host_path, container_path=device.container_path, permissions=device.permissions
        )
    made.linux.resources.CopyFrom(
        container_resources(pod, container, memory_capacity=memory_capacity, unified_cgroups=unified_cgroups)
    )
    made.linux.resources.cpuset_cpus = cpus
    made.linux.security_context.CopyFrom(
        container_context(
            pod,
            container,
            image=image,
            seccomp_root=f"{config.root_dir}/seccomp",
            default_seccomp=config.default_seccomp,
            target_id=target_id,
        )
    )
    return made
