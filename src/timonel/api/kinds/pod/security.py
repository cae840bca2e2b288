"""Security contexts of pods and containers: users, seccomp, AppArmor, sysctls, user namespaces.

Source: kubernetes.io/docs/concepts/security and .../tasks/configure-pod-container/security-context
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from timonel.api.field_errors import (
    Path,
    duplicate,
    forbidden,
    go_struct,
    invalid,
    not_supported,
    required,
    too_long,
)
from timonel.api.kinds.pod.paths import check_descending
from timonel.api.kinds.pod.windows import check_windows_options
from timonel.api.kinds.rules import Errors, check_between, check_option
from timonel.api.objects import Object

MAX_ID = 2**31 - 1
_PROFILE_TYPES = ("Localhost", "RuntimeDefault", "Unconfined")
_CONTEXT = dict.fromkeys(
    (
        "capabilities", "privileged", "seLinuxOptions", "windowsOptions", "runAsUser", "runAsGroup", "runAsNonRoot",
        "readOnlyRootFilesystem", "allowPrivilegeEscalation", "procMount", "seccompProfile", "appArmorProfile",
    )
)  # fmt: skip
_SYSCTL = r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL_MAX = 253
_sysctl_match = re.compile(_SYSCTL).fullmatch
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "fs.mqueue.")


def each_container(spec: Object, path: Path) -> Iterator[tuple[Object, Path]]:
    """All containers with their paths, in upstream's order of visiting."""
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(kind) or ()):
            yield container, (path / kind)[index]


def _check_id(errors: Errors, path: Path, value: int | None) -> None:
    if value is not None:
        check_between(errors, path, value, 0, MAX_ID)


def check_pod_security(errors: Errors, path: Path, spec: Object) -> None:
    context = spec.get("securityContext")
    if not context:
        return
    for field in ("fsGroup", "runAsUser", "runAsGroup"):
        if field in context:
            _check_id(errors, path / field, context[field])
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        _check_id(errors, (path / "supplementalGroups")[index], group)
    if context.get("sysctls"):
        _check_sysctls(errors, path / "sysctls", context["sysctls"], spec)
    policies = (
        ("fsGroupChangePolicy", ("Always", "OnRootMismatch")),
        ("supplementalGroupsPolicy", ("Merge", "Strict")),
        ("seLinuxChangePolicy", ("Recursive",)),  # MountOption is of SELinuxMount, off by default,
    )
    _check_seccomp(errors, path / "seccompProfile", context.get("seccompProfile"))
    check_windows_options(errors, path / "windowsOptions", context.get("windowsOptions"))
    _check_app_armor(errors, path / "appArmorProfile", context.get("appArmorProfile"))
    for field, choices in policies:
        check_option(errors, path / field, context.get(field), choices)


def check_shared_namespaces(errors: Errors, path: Path, spec: Object) -> None:
    """`path` is the pod's securityContext, where upstream reports it."""
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        why = "ShareProcessNamespace and HostPID cannot both be enabled"
        errors.append(invalid(path / "shareProcessNamespace", True, why))


def check_container_security(errors: Errors, path: Path, context: Object | None, *, host_users: bool) -> None:
    if not context:
        return
    for field in ("runAsUser", "runAsGroup"):
        if field in context:
            _check_id(errors, path / field, context[field])
    proc_mount = context.get("procMount")
    if proc_mount is not None:
        check_option(errors, path / "procMount", proc_mount, ("Default", "Unmasked"))
        if host_users and proc_mount == "Unmasked":
            errors.append(invalid(path / "procMount", proc_mount, "`hostUsers` must be false to use `Unmasked`"))
    _check_seccomp(errors, path / "seccompProfile", context.get("seccompProfile"))
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            errors.append(invalid(path, _shown(context), why))
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            errors.append(invalid(path, _shown(context), why))
    check_windows_options(errors, path / "windowsOptions", context.get("windowsOptions"))
    _check_app_armor(errors, path / "appArmorProfile", context.get("appArmorProfile"))


def _shown(context: Object) -> Object:
    """A container's security context as messages show it."""
    shown = {("SELinuxOptions" if name == "SeLinuxOptions" else name): value for name, value in
             go_struct(context, _CONTEXT).items()}  # fmt: skip
    parts: tuple[tuple[str, Object], ...] = (
        ("Capabilities", {"add": None, "drop": None}),
        ("SELinuxOptions", {"user": "", "role": "", "type": "", "level": ""}),
        ("SeccompProfile", {"type": "", "localhostProfile": None}),
        ("AppArmorProfile", {"type": "", "localhostProfile": None}),
    )
    for name, fields in parts:
        if shown[name] is not None:
            shown[name] = go_struct(shown[name], fields)
    return shown


def _check_sysctls(errors: Errors, path: Path, sysctls: list[Object], spec: Object) -> None:
    seen: set[str] = set()
    for index, sysctl in enumerate(sysctls):
        name, here = sysctl.get("name") or "", path[index] / "name"
        if not name:
            errors.append(required(here))
        elif len(name) > _SYSCTL_MAX or not _sysctl_match(name):
            why = f"must have at most {_SYSCTL_MAX} characters and match regex ^{_SYSCTL}$"
            errors.append(invalid(here, name, why))
        elif name in seen:
            errors.append(duplicate(here, name))
        seen.add(name)
        plain = name.replace("/", ".")
        if spec.get("hostNetwork") and plain.startswith("net."):
            errors.append(invalid(here, name, "may not be specified when 'hostNetwork' is true"))
        elif spec.get("hostIPC") and (plain.startswith(_IPC_SYSCTLS) or plain == "kernel.sem"):
            errors.append(invalid(here, name, "may not be specified when 'hostIPC' is true"))


def _check_seccomp(errors: Errors, path: Path, profile: Object | None) -> None:
    if profile is None:
        return
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    if not kind:
        errors.append(required(path / "type", "type is required when seccompProfile is set"))
    elif kind not in _PROFILE_TYPES:
        errors.append(not_supported(path / "type", kind, _PROFILE_TYPES))
    if kind == "Localhost":
        if local is None:
            errors.append(required(path / "localhostProfile", "must be set when seccomp type is Localhost"))
        else:
            check_descending(errors, path / "localhostProfile", local)
    elif local is not None:
        why = "can only be set when seccomp type is Localhost"
        shown = go_struct(profile, {"type": "", "localhostProfile": None})
        errors.append(invalid(path / "localhostProfile", shown, why))


def _check_app_armor(errors: Errors, path: Path, profile: Object | None) -> None:
    if profile is None:
        return
    kind, local, here = profile.get("type") or "", profile.get("localhostProfile"), path / "localhostProfile"
    if kind == "Localhost":
        if local is None or not local.strip():
            if local:
                errors.append(invalid(here, local, "must not be padded with whitespace"))
            else:
                errors.append(required(here, "must be set when AppArmor type is Localhost"))
        else:
            if local != local.strip():
                errors.append(invalid(here, local, "must not be padded with whitespace"))
            if len(local) > 4095:
                errors.append(too_long(here, 4095))
    elif kind in _PROFILE_TYPES:
        if local is not None:
            errors.append(invalid(here, local, "can only be set when AppArmor type is Localhost"))
    elif not kind:
        errors.append(required(path / "type", "type is required when appArmorProfile is set"))
    else:
        errors.append(not_supported(path / "type", kind, _PROFILE_TYPES))


def check_host_users(errors: Errors, path: Path, spec: Object) -> None:
    """A user namespace of its own goes with no other namespace of the host."""
    if spec.get("hostUsers") is not False:
        return
    for field, called in (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")):
        if spec.get(field):
            errors.append(forbidden(path / called, "when `hostUsers` is false"))
    for container, here in each_container(spec, path):
        if container.get("volumeDevices"):
            errors.append(forbidden(here / "volumeDevices", "when `hostUsers` is false"))
