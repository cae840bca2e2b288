"""Security contexts into CRI's. Pure.

Source: kubernetes.io/docs/tasks/configure-pod-container/security-context
"""

from __future__ import annotations

from typing import Any

from timonel.api.objects import Object, uid_of
from timonel.kubelet.containers.environment import ConfigError
from timonel.kubelet.cri import runtime_pb2 as cri

MASKED_PATHS = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_INHERITED = ("runAsUser", "runAsGroup", "runAsNonRoot", "seccompProfile", "seLinuxOptions", "appArmorProfile")


def effective(pod: Object, container: Object) -> Object:
    """The container's security context with what it takes from the pod's."""
    pod_context = pod["spec"].get("securityContext") or {}
    own = container.get("securityContext") or {}
    return {key: pod_context[key] for key in _INHERITED if pod_context.get(key) is not None} | {
        key: value for key, value in own.items() if value is not None
    }


def namespace_options(pod: Object, target_id: str = "") -> cri.NamespaceOption:
    spec = pod["spec"]
    if target_id:
        pid = cri.TARGET
    elif spec.get("hostPID"):
        pid = cri.NODE
    else:
        pid = cri.POD if spec.get("shareProcessNamespace") else cri.CONTAINER
    return cri.NamespaceOption(
        network=cri.NODE if spec.get("hostNetwork") else cri.POD,
        ipc=cri.NODE if spec.get("hostIPC") else cri.POD,
        pid=pid,
        target_id=target_id,
    )


def seccomp_profile(profile: Object | None, seccomp_root: str, default_runtime: bool) -> cri.SecurityProfile:
    kind = (profile or {}).get("type") or ("RuntimeDefault" if default_runtime else "Unconfined")
    if kind == "RuntimeDefault":
        return cri.SecurityProfile(profile_type=cri.SecurityProfile.RuntimeDefault)
    if kind == "Localhost":
        reference = (profile or {}).get("localhostProfile") or ""
        if not reference or reference.startswith("/") or ".." in reference.split("/"):
            raise ConfigError("localhostProfile must be set if seccompProfile type is Localhost.")
        return cri.SecurityProfile(
            profile_type=cri.SecurityProfile.Localhost, localhost_ref=f"{seccomp_root}/{reference}"
        )
    return cri.SecurityProfile(profile_type=cri.SecurityProfile.Unconfined)


def _groups(pod: Object) -> list[int]:
    context = pod["spec"].get("securityContext") or {}
    groups = [int(group) for group in context.get("supplementalGroups") or ()]
    if context.get("fsGroup") is not None:
        groups.append(int(context["fsGroup"]))
    return groups


def _policy(pod: Object) -> Any:
    context = pod["spec"].get("securityContext") or {}
    return cri.Strict if context.get("supplementalGroupsPolicy") == "Strict" else cri.Merge


def check_non_root(pod: Object, container: Object, image: cri.Image | None) -> None:
    """Raises ConfigError when runAsNonRoot is asked for and the container would be root, or nobody can tell."""
    context = effective(pod, container)
    if not context.get("runAsNonRoot"):
        return
    where = f'(pod: "{pod["metadata"]["name"]}_{pod["metadata"]["namespace"]}({uid_of(pod)})", container: '
    where += f"{container['name']})"
    if context.get("runAsUser") is not None:
        if context["runAsUser"] == 0:
            raise ConfigError(f"container's runAsUser breaks non-root policy {where}")
        return
    if image is not None and image.username:
        raise ConfigError(
            f"container has runAsNonRoot and image has non-numeric user ({image.username}), "
            f"cannot verify user is non-root {where}"
        )
    if image is None or not image.HasField("uid") or image.uid.value == 0:
        raise ConfigError(f"container has runAsNonRoot and image will run as root {where}")


def container_context(
    pod: Object,
    container: Object,
    *,
    image: cri.Image | None,
    seccomp_root: str,
    default_seccomp: bool,
    target_id: str = "",
) -> cri.LinuxContainerSecurityContext:
    context = effective(pod, container)
    made = cri.LinuxContainerSecurityContext(
        privileged=bool(context.get("privileged")),
        namespace_options=namespace_options(pod, target_id),
        readonly_rootfs=bool(context.get("readOnlyRootFilesystem")),
        supplemental_groups=_groups(pod),
        supplemental_groups_policy=_policy(pod),
        no_new_privs=context.get("allowPrivilegeEscalation") is False,
        seccomp=seccomp_profile(context.get("seccompProfile"), seccomp_root, default_seccomp),
    )
    capabilities = context.get("capabilities") or {}
    made.capabilities.add_capabilities.extend(capabilities.get("add") or ())
    made.capabilities.drop_capabilities.extend(capabilities.get("drop") or ())
    if context.get("runAsUser") is not None:
        made.run_as_user.value = context["runAsUser"]
    elif image is not None and image.HasField("uid"):
        made.run_as_user.value = image.uid.value
    elif image is not None and image.username:
        made.run_as_username = image.username
    if context.get("runAsGroup") is not None:
        made.run_as_group.value = context["runAsGroup"]
    if context.get("procMount") != "Unmasked":
        made.masked_paths.extend(MASKED_PATHS)
        made.readonly_paths.extend(READONLY_PATHS)
    return made


def sandbox_context(pod: Object, seccomp_root: str) -> cri.LinuxSandboxSecurityContext:
    context = pod["spec"].get("securityContext") or {}
    everything = (pod["spec"].get("initContainers") or []) + (pod["spec"].get("containers") or [])
    made = cri.LinuxSandboxSecurityContext(
        namespace_options=namespace_options(pod),
        supplemental_groups=_groups(pod),
        supplemental_groups_policy=_policy(pod),
        privileged=any((c.get("securityContext") or {}).get("privileged") for c in everything),
        # The pause process needs nothing; upstream confines it always.
        seccomp=seccomp_profile({"type": "RuntimeDefault"}, seccomp_root, True),
    )
    if context.get("runAsUser") is not None:
        made.run_as_user.value = context["runAsUser"]
    if context.get("runAsGroup") is not None:
        made.run_as_group.value = context["runAsGroup"]
    return made


# Those the kernel keeps per pod. Source: kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster, "Safe sysctls".
SAFE_SYSCTLS = frozenset((
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
))  # fmt: skip


def forbidden_sysctls(pod: Object, allowed: tuple[str, ...]) -> list[str]:
    """Those a pod asks for that this node neither knows as safe nor allows by its settings ("net.core.*")."""
    asked = [entry["name"] for entry in (pod["spec"].get("securityContext") or {}).get("sysctls") or ()]
    prefixes = tuple(name[:-1] for name in allowed if name.endswith("*"))
    return [
        name for name in asked if name not in SAFE_SYSCTLS and name not in allowed and not name.startswith(prefixes)
    ]
