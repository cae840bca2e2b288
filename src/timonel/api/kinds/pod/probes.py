"""Probes, lifecycle hooks and what they do: exec, HTTP, TCP, gRPC, sleep."""

from __future__ import annotations

from timonel.api.field_errors import Path, forbidden, invalid, not_supported, required
from timonel.api.kinds.rules import Errors, check_not_negative, check_port, check_text
from timonel.api.names import validate_http_header_name
from timonel.api.objects import Object

_PROBE_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_HOOK_HANDLERS = ("exec", "httpGet", "tcpSocket", "sleep")
_COUNTS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
_WINDOWS_SIGNALS = ("SIGKILL", "SIGTERM")
_SIGNAL_NAMES = (
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL",
    "PROF", "PWR", "QUIT", "RTMAX", "RTMIN", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU",
    "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
    *(f"RTMIN+{number}" for number in range(1, 16)),
    *(f"RTMAX-{number}" for number in range(1, 15)),
)  # fmt: skip
_LINUX_SIGNALS = tuple(sorted(f"SIG{name}" for name in _SIGNAL_NAMES))


def check_probes(errors: Errors, path: Path, container: Object, grace_period: int | None) -> None:
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(kind)
        if probe is None:
            continue
        here = path / kind
        _check_handler(errors, here, probe, _PROBE_HANDLERS, grace_period)
        for field in _COUNTS:
            value = probe.get(field)
            if value is not None and value < 0:
                check_not_negative(errors, here / field, value)
        period = probe.get("terminationGracePeriodSeconds")
        if period is not None and period <= 0:
            errors.append(invalid(here / "terminationGracePeriodSeconds", period, "must be greater than 0"))
        if kind == "readinessProbe":
            if period is not None:
                why = "must not be set for readinessProbes"
                errors.append(invalid(here / "terminationGracePeriodSeconds", period, why))
        elif probe.get("successThreshold", 0) != 1:
            errors.append(invalid(here / "successThreshold", probe.get("successThreshold", 0), "must be 1"))


def check_lifecycle(
    errors: Errors, path: Path, lifecycle: Object | None, grace_period: int | None, system: str | None
) -> None:
    """`system` is spec.os.name, None when the pod does not say."""
    if lifecycle is None:
        return
    for hook in ("postStart", "preStop"):
        handler = lifecycle.get(hook)
        if handler is not None:
            _check_handler(errors, path / hook, handler, _HOOK_HANDLERS, grace_period)
    signal = lifecycle.get("stopSignal")
    if signal is not None:
        here = path / "stopSignal"
        if system is None:
            errors.append(forbidden(here, "may not be set for containers with empty `spec.os.name`"))
        elif system == "windows" and signal not in _WINDOWS_SIGNALS:
            errors.append(not_supported(here, signal, _WINDOWS_SIGNALS))
        elif system == "linux" and signal not in _LINUX_SIGNALS:
            errors.append(not_supported(here, signal, _LINUX_SIGNALS))


def _check_handler(
    errors: Errors, path: Path, handler: Object, kinds: tuple[str, ...], grace_period: int | None
) -> None:
    found = False
    for kind in kinds:
        action = handler.get(kind)
        if action is None:
            continue
        if found:
            errors.append(forbidden(path / kind, "may not specify more than 1 handler type"))
            continue
        found = True
        here = path / kind
        if kind == "exec":
            if not action.get("command"):
                errors.append(required(here / "command"))
        elif kind == "httpGet":
            _check_http(errors, here, action)
        elif kind == "sleep":
            seconds = action.get("seconds", 0)
            if grace_period is not None and not 0 <= seconds <= grace_period:
                why = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_period})"
                errors.append(invalid(here, seconds, why))
        else:
            check_port(errors, here / "port", action.get("port"))
    if not found:
        errors.append(required(path, "must specify a handler type"))


def _check_http(errors: Errors, path: Path, action: Object) -> None:
    if not action.get("path"):
        errors.append(required(path / "path"))
    check_port(errors, path / "port", action.get("port"))
    if action.get("scheme") not in ("HTTP", "HTTPS"):
        errors.append(not_supported(path / "scheme", action.get("scheme") or "", ("HTTP", "HTTPS")))
    for header in action.get("httpHeaders") or ():
        check_text(errors, path / "httpHeaders", header.get("name") or "", validate_http_header_name)
