"""Which standard a namespace asks for, and what a pod violates of it. Pure.

Source: kubernetes.io/docs/concepts/security/pod-security-admission
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, invalid
from timonel.api.objects import Object
from timonel.apiserver.admission.pod_security import baseline, restricted
from timonel.apiserver.admission.pod_security.findings import Check, Finding

LABEL = "pod-security.kubernetes.io/"
LEVELS = ("privileged", "baseline", "restricted")
"""From lax to strict."""
NEWEST_MINOR = 36

_VERSION = re.compile(r"v1\.(0|[1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Standard:
    """A level in one version, printed as "baseline:v1.30"."""

    level: str = "privileged"
    version: str = "latest"

    @property
    def minor(self) -> int:
        match = _VERSION.fullmatch(self.version)
        return min(int(match[1]), NEWEST_MINOR) if match else NEWEST_MINOR

    @property
    def strictness(self) -> int:
        return LEVELS.index(self.level)

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"


@dataclass(frozen=True, slots=True)
class Policy:
    enforce: Standard = Standard()
    audit: Standard = Standard()
    warn: Standard = Standard()

    @property
    def is_privileged(self) -> bool:
        return self is LAX or not (self.enforce.strictness or self.audit.strictness or self.warn.strictness)


LAX = Policy()
"""Of namespaces that say nothing, as most do."""


def parse_policy(labels: Mapping[str, str]) -> tuple[Policy, list[FieldError]]:
    """The policy of a namespace's labels, and what is wrong with them.

    A level that cannot be read enforces "restricted", but neither warns nor audits.
    """
    errors: list[FieldError] = []
    if not any(label.startswith(LABEL) for label in labels):
        return LAX, errors
    standards: dict[str, Standard] = {}
    for mode in ("enforce", "audit", "warn"):
        level, version = labels.get(f"{LABEL}{mode}"), labels.get(f"{LABEL}{mode}-version")
        standard = Standard()
        if level is not None:
            if level in LEVELS:
                standard = replace(standard, level=level)
            else:
                standard = replace(standard, level="restricted" if mode == "enforce" else "privileged")
                errors.append(_invalid(mode, level, f"must be one of {', '.join(LEVELS)}"))
        if version is not None:
            if version == "latest" or _VERSION.fullmatch(version):
                standard = replace(standard, version=version)
            else:
                errors.append(_invalid(f"{mode}-version", version, 'must be "latest" or "v1.x"'))
        standards[mode] = standard
    enforced, warned = standards["enforce"], standards["warn"]
    # Who enforces and says nothing of warnings wants to hear of templates that will make no pods.
    is_silent = f"{LABEL}warn" not in labels and labels.get(f"{LABEL}enforce") in LEVELS
    if is_silent and enforced.strictness > warned.strictness:
        version = warned.version if f"{LABEL}warn-version" in labels else enforced.version
        standards["warn"] = Standard(enforced.level, version)
    return Policy(**standards), errors


def _invalid(label: str, value: str, why: str) -> FieldError:
    return invalid((Path("metadata") / "labels")[f"{LABEL}{label}"], value, why)


def violations(standard: Standard, pod: Object) -> list[Finding]:
    """Everything in a pod, or a pod template, that the standard forbids."""
    minor = standard.minor
    found = (check.run(pod, minor) for check in _checks(standard.level, minor))
    return [finding for finding in found if finding is not None]


@lru_cache(maxsize=128)
def _checks(level: str, minor: int) -> tuple[Check, ...]:
    if level == "privileged":
        return ()
    base = [check for check in baseline.CHECKS if check.since <= minor]
    if level == "baseline":
        return tuple(base)
    strict = [check for check in restricted.CHECKS if check.since <= minor]
    names = {check.name for check in strict}
    return (*(check for check in base if restricted.OVERRIDES.get(check.name) not in names), *strict)
