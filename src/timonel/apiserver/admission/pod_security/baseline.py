"""The baseline standard: no known way to the host.

Source: kubernetes.io/docs/concepts/security/pod-security-standards/#baseline
"""

from __future__ import annotations

from typing import Any

from timonel.api.objects import Object
from timonel.api.pod_references import all_containers
from timonel.apiserver.admission.pod_security.findings import (
    Check,
    Finding,
    containers_where,
    has_user_namespace,
    named,
    plural,
    quoted,
    security_context,
    setters,
)

_CAPABILITIES = frozenset({
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
})  # fmt: skip
_SYSCTLS: dict[str, int] = {
    "kernel.shm_rmid_forced": 0,
    "net.ipv4.ip_local_port_range": 0,
    "net.ipv4.tcp_syncookies": 0,
    "net.ipv4.ping_group_range": 0,
    "net.ipv4.ip_unprivileged_port_start": 0,
    "net.ipv4.ip_local_reserved_ports": 27,
    "net.ipv4.tcp_keepalive_time": 29,
    "net.ipv4.tcp_fin_timeout": 29,
    "net.ipv4.tcp_keepalive_intvl": 29,
    "net.ipv4.tcp_keepalive_probes": 29,
    "net.ipv4.tcp_rmem": 32,
    "net.ipv4.tcp_wmem": 32,
}
"""Safe sysctls by the version that allows them."""
_SELINUX_TYPES = ("", "container_t", "container_init_t", "container_kvm_t")
_PROFILES = ("RuntimeDefault", "Localhost")
_APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_POD, _SECCOMP_CONTAINER = (
    "seccomp.security.alpha.kubernetes.io/pod",
    "container.seccomp.security.alpha.kubernetes.io/",
)


def check_app_armor(pod: Object, minor: int) -> Finding | None:
    bad_values: set[str] = set()

    def is_bad(holder: Object) -> bool:
        profile = security_context(holder).get("appArmorProfile")
        if not profile or profile.get("type") in _PROFILES:
            return False
        bad_values.add(profile.get("type") or "")
        return True

    found = setters(is_bad(pod["spec"]), containers_where(pod, is_bad))
    annotations = sorted(
        f'{key}="{value}"'
        for key, value in (pod["metadata"].get("annotations") or {}).items()
        if key.startswith(_APPARMOR_ANNOTATION)
        and value not in ("", "runtime/default")
        and not value.startswith("localhost/")
    )
    values = [*sorted(bad_values), *annotations]
    if annotations:
        found.append(plural("annotation", annotations))
    if not found:
        return None
    return Finding(
        plural("forbidden AppArmor profile", values),
        f"{' and '.join(found)} must not set AppArmor profile type to {quoted(values)}",
    )


def check_capabilities(pod: Object, minor: int) -> Finding | None:
    added: set[str] = set()

    def is_bad(container: Object) -> bool:
        extra = set((security_context(container).get("capabilities") or {}).get("add") or ()) - _CAPABILITIES
        added.update(extra)
        return bool(extra)

    if bad := containers_where(pod, is_bad):
        what = f"must not include {quoted(sorted(added))} in securityContext.capabilities.add"
        return Finding("non-default capabilities", f"{named(bad)} {what}")
    return None


def check_host_namespaces(pod: Object, minor: int) -> Finding | None:
    used = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if pod["spec"].get(field)]
    return Finding("host namespaces", ", ".join(used)) if used else None


def check_host_paths(pod: Object, minor: int) -> Finding | None:
    volumes = [volume.get("name") or "" for volume in pod["spec"].get("volumes") or () if "hostPath" in volume]
    return Finding("hostPath volumes", named(volumes, "volume")) if volumes else None


def check_host_ports(pod: Object, minor: int) -> Finding | None:
    used: set[str] = set()

    def is_bad(container: Object) -> bool:
        ports = {str(port["hostPort"]) for port in container.get("ports") or () if port.get("hostPort")}
        used.update(ports)
        return bool(ports)

    if bad := containers_where(pod, is_bad):
        uses = "uses" if len(bad) == 1 else "use"
        return Finding("hostPort", f"{named(bad)} {uses} {plural('hostPort', used)} {', '.join(sorted(used))}")
    return None


def check_host_probes(pod: Object, minor: int) -> Finding | None:
    bad: set[str] = set()
    hosts: set[str] = set()
    for container in all_containers(pod):
        lifecycle = container.get("lifecycle") or {}
        handlers = [container.get(probe) for probe in ("livenessProbe", "readinessProbe", "startupProbe")]
        handlers += [lifecycle.get(hook) for hook in ("postStart", "preStop")]
        for handler in handlers:
            for action in ("httpGet", "tcpSocket"):
                if host := ((handler or {}).get(action) or {}).get("host"):
                    bad.add(container.get("name") or "")
                    hosts.add(host)
    if not bad:
        return None
    uses = "uses" if len(bad) == 1 else "use"
    what = f"{uses} {plural('probe or lifecycle host', hosts)} {quoted(sorted(hosts))}"
    return Finding("probe or lifecycle host", f"{named(sorted(bad))} {what}")


def check_privileged(pod: Object, minor: int) -> Finding | None:
    bad = containers_where(pod, lambda container: bool(security_context(container).get("privileged")))
    return Finding("privileged", f"{named(bad)} must not set securityContext.privileged=true") if bad else None


def check_proc_mount(pod: Object, minor: int) -> Finding | None:
    if minor >= 35 and has_user_namespace(pod):
        return None
    kinds: set[str] = set()

    def is_bad(container: Object) -> bool:
        kind = security_context(container).get("procMount") or "Default"
        if kind == "Default":
            return False
        kinds.add(kind)
        return True

    if bad := containers_where(pod, is_bad):
        return Finding("procMount", f"{named(bad)} must not set securityContext.procMount to {quoted(sorted(kinds))}")
    return None


def check_selinux(pod: Object, minor: int) -> Finding | None:
    allowed = (*_SELINUX_TYPES, "container_engine_t") if minor >= 31 else _SELINUX_TYPES
    types: set[str] = set()
    forbidden: dict[str, bool] = {"user": False, "role": False}

    def is_bad(holder: Object) -> bool:
        options: dict[str, Any] = security_context(holder).get("seLinuxOptions") or {}
        bad = False
        if (options.get("type") or "") not in allowed:
            types.add(options["type"])
            bad = True
        for field in forbidden:
            if options.get(field):
                forbidden[field] = bad = True
        return bad

    found = setters(is_bad(pod["spec"]), containers_where(pod, is_bad))
    if not found:
        return None
    data = [f"{plural('type', types)} {quoted(sorted(types))}"] if types else []
    data += [f"{field} may not be set" for field, is_set in forbidden.items() if is_set]
    what = f"set forbidden securityContext.seLinuxOptions: {'; '.join(data)}"
    return Finding("seLinuxOptions", f"{' and '.join(found)} {what}")


def check_seccomp(pod: Object, minor: int) -> Finding | None:
    if minor < 19:
        return _check_seccomp_annotations(pod)
    values: set[str] = set()
    found = setters(sets_bad_seccomp(pod["spec"], values), containers_where(pod, lambda c: sets_bad_seccomp(c, values)))
    return bad_seccomp(found, values) if found else None


def sets_bad_seccomp(holder: Object, values: set[str]) -> bool:
    profile = security_context(holder).get("seccompProfile")
    if not profile or profile.get("type") in _PROFILES:
        return False
    values.add(profile.get("type") or "")
    return True


def bad_seccomp(found: list[str], values: set[str]) -> Finding:
    what = f"must not set securityContext.seccompProfile.type to {quoted(sorted(values))}"
    return Finding("seccompProfile", f"{' and '.join(found)} {what}")


def _check_seccomp_annotations(pod: Object) -> Finding | None:
    keys = [_SECCOMP_POD, *(f"{_SECCOMP_CONTAINER}{container.get('name')}" for container in all_containers(pod))]
    annotations = pod["metadata"].get("annotations") or {}
    bad = sorted(
        f'{key}="{annotations[key]}"'
        for key in set(keys) & annotations.keys()
        if annotations[key] not in ("runtime/default", "docker/default")
        and not annotations[key].startswith("localhost/")
    )
    return Finding("seccompProfile", f"forbidden {plural('annotation', bad)} {', '.join(bad)}") if bad else None


def check_sysctls(pod: Object, minor: int) -> Finding | None:
    names = [item.get("name") or "" for item in security_context(pod["spec"]).get("sysctls") or ()]
    bad = [name for name in names if _SYSCTLS.get(name, minor + 1) > minor]
    return Finding("forbidden sysctls", ", ".join(bad)) if bad else None


def check_windows_host_process(pod: Object, minor: int) -> Finding | None:
    def is_bad(holder: Object) -> bool:
        return bool((security_context(holder).get("windowsOptions") or {}).get("hostProcess"))

    if found := setters(is_bad(pod["spec"]), containers_where(pod, is_bad)):
        what = "must not set securityContext.windowsOptions.hostProcess=true"
        return Finding("hostProcess", f"{' and '.join(found)} {what}")
    return None


CHECKS = (
    Check("appArmorProfile", check_app_armor),
    Check("capabilities_baseline", check_capabilities),
    Check("hostNamespaces", check_host_namespaces),
    Check("hostPathVolumes", check_host_paths),
    Check("hostPorts", check_host_ports),
    Check("hostProbesAndHostLifecycle", check_host_probes, since=34),
    Check("privileged", check_privileged),
    Check("procMount", check_proc_mount),
    Check("seLinuxOptions", check_selinux),
    Check("seccompProfile_baseline", check_seccomp),
    Check("sysctls", check_sysctls),
    Check("windowsHostProcess", check_windows_host_process),
)
"""In the order of their names, in which messages list them."""
