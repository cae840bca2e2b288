"""Options of Windows pods, and what pods of one operating system may not say of the other."""

from __future__ import annotations

import re

from timonel.api.field_errors import Path, forbidden, invalid, not_supported, required
from timonel.api.kinds.rules import Errors, check_subdomain
from timonel.api.objects import Object

_SPEC_LIMIT_KIB = 64
_control = re.compile(r"[\x00-\x1f\x7f]").search
_netbios_match = re.compile(r'[^\\/:\*\?"<>|\.][^\\/:\*\?"<>|]{0,14}').fullmatch
_DNS_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_dns_match = re.compile(rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*").fullmatch
_bad_user = re.compile(r'["/\\:;|=,\+\*\?<>@\[\]]').search
_empty_user_match = re.compile(r"[\. ]+").fullmatch

_POD_CONTEXT = (
    "appArmorProfile", "seLinuxOptions", "seccompProfile", "fsGroup", "fsGroupChangePolicy", "sysctls", "runAsUser",
    "runAsGroup", "supplementalGroups", "supplementalGroupsPolicy", "seLinuxChangePolicy",
)  # fmt: skip
_CONTAINER_CONTEXT = (
    "appArmorProfile", "seLinuxOptions", "seccompProfile", "capabilities", "readOnlyRootFilesystem", "privileged",
    "allowPrivilegeEscalation", "procMount", "runAsUser", "runAsGroup",
)  # fmt: skip


def check_windows_options(errors: Errors, path: Path, options: Object | None) -> None:
    if options is None:
        return
    if options.get("gmsaCredentialSpecName") is not None:
        check_subdomain(errors, path / "gmsaCredentialSpecName", options["gmsaCredentialSpecName"])
    spec = options.get("gmsaCredentialSpec")
    if spec is not None:
        if not spec:
            errors.append(invalid(path / "gmsaCredentialSpec", spec, "gmsaCredentialSpec cannot be an empty string"))
        elif len(spec) > _SPEC_LIMIT_KIB * 1024:
            why = f"gmsaCredentialSpec size must be under {_SPEC_LIMIT_KIB} KiB"
            errors.append(invalid(path / "gmsaCredentialSpec", spec, why))
    name = options.get("runAsUserName")
    if name is not None:
        for why in _user_name_findings(name):
            errors.append(invalid(path / "runAsUserName", name, f"runAsUserName{why}"))


def _user_name_findings(name: str) -> list[str]:
    if not name:
        return [" cannot be an empty string"]
    if _control(name):
        return [" cannot contain control characters"]
    parts = name.split("\\")
    if len(parts) > 2:
        return [" cannot contain more than one backslash"]
    domain, user = parts if len(parts) == 2 else (None, parts[0])
    findings = []
    if domain is not None:
        if len(domain) >= 256:
            findings.append("'s Domain length must be under 256 characters")
        if not (_netbios_match(domain) or _dns_match(domain)):
            findings.append("'s Domain doesn't match the NetBios nor the DNS format")
    if not user:
        findings.append("'s User cannot be empty")
    elif len(user) > 104:
        findings.append("'s User length must not be longer than 104 characters")
    if _empty_user_match(user):
        findings.append("'s User cannot contain only periods or spaces")
    if _bad_user(user):
        findings.append("'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]")
    return findings


def check_operating_system(errors: Errors, path: Path, spec: Object) -> None:
    system = spec.get("os")
    if system is None:
        return
    name = system.get("name") or ""
    if not name:
        errors.append(required(path / "os" / "name"))
    elif name not in ("linux", "windows"):
        errors.append(not_supported(path / "os", name, ("linux", "windows")))
    elif name == "linux":
        _check_linux(errors, path, spec)
    else:
        _check_windows(errors, path, spec)


def _contexts(spec: Object, path: Path) -> list[tuple[Object, Path]]:
    found = []
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(kind) or ()):
            if container.get("securityContext"):
                found.append((container["securityContext"], (path / kind)[index] / "securityContext"))
    return found


def _check_linux(errors: Errors, path: Path, spec: Object) -> None:
    why = "windows options cannot be set for a linux pod"
    if (spec.get("securityContext") or {}).get("windowsOptions") is not None:
        errors.append(forbidden(path / "securityContext" / "windowsOptions", why))
    for context, here in _contexts(spec, path):
        if context.get("windowsOptions") is not None:
            errors.append(forbidden(here / "windowsOptions", why))


def _check_windows(errors: Errors, path: Path, spec: Object) -> None:
    why = "cannot be set for a windows pod"
    context = spec.get("securityContext") or {}
    for field in ("hostUsers", "hostPID", "hostIPC", "shareProcessNamespace"):
        if spec.get(field) not in (None, *(() if field in ("hostUsers", "shareProcessNamespace") else (False,))):
            errors.append(forbidden(path / field, why))
    for field in _POD_CONTEXT:
        if context.get(field) is not None:
            errors.append(forbidden(path / "securityContext" / field, why))
    for container, here in _contexts(spec, path):
        for field in _CONTAINER_CONTEXT:
            if container.get(field) is not None:
                errors.append(forbidden(here / field, why))


def check_host_process(errors: Errors, path: Path, spec: Object) -> None:
    """HostProcess containers: all of a pod or none, and only with the host's network."""
    options = (spec.get("securityContext") or {}).get("windowsOptions")
    pod_value = (options or {}).get("hostProcess")
    contexts = _contexts(spec, path)
    if pod_value is None and not any((c.get("windowsOptions") or {}).get("hostProcess") for c, _ in contexts):
        return
    count = sum(len(spec.get(kind) or ()) for kind in ("initContainers", "containers", "ephemeralContainers"))
    explicit = 0
    inherited = count
    for context, here in contexts:
        value = (context.get("windowsOptions") or {}).get("hostProcess")
        if value is None:
            continue
        inherited -= 1
        explicit += bool(value)
        if pod_value is not None and value != pod_value:
            why = f"pod hostProcess value must be identical if both are specified, was {str(pod_value).lower()}"
            errors.append(invalid(here / "windowsOptions" / "hostProcess", value, why))
    total = explicit + (inherited if pod_value else 0)
    if total:
        if total != count:
            why = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
            errors.append(invalid(path, "", why))
        if not spec.get("hostNetwork"):
            why = "hostNetwork must be true if pod contains any hostProcess containers"
            errors.append(invalid(path / "hostNetwork", False, why))
