"""Annotations of pods that still mean something: mirror pods, deletion cost, and the old seccomp and AppArmor ones."""

from __future__ import annotations

from collections.abc import Mapping

from timonel.api.field_errors import Path, forbidden, invalid
from timonel.api.kinds.pod.paths import check_descending
from timonel.api.kinds.pod.security import each_container
from timonel.api.kinds.rules import Errors
from timonel.api.objects import Object

MIRROR = "kubernetes.io/config.mirror"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_LOCAL = "localhost/"
_INT32_DIGITS = 10
_SECCOMP_DEFAULTS = ("runtime/default", "docker/default")


def check_pod_annotations(errors: Errors, path: Path, annotations: Mapping[str, str], spec: Object) -> None:
    if MIRROR in annotations and not spec.get("nodeName"):
        why = "must set spec.nodeName if mirror pod annotation is set"
        errors.append(invalid(path[MIRROR], annotations[MIRROR], why))
    cost = annotations.get(DELETION_COST)
    if cost is not None and not _is_int32(cost):
        errors.append(invalid(path[DELETION_COST], cost, "must be a 32bit integer"))
    for key, value in annotations.items():
        if key == _SECCOMP_POD or key.startswith(_SECCOMP_CONTAINER):
            _check_seccomp(errors, path / key, value)
        elif key.startswith(_APP_ARMOR):
            name = key.removeprefix(_APP_ARMOR)
            if all(container.get("name") != name for container, _ in each_container(spec, path)):
                errors.append(invalid(path[key], name, "container not found"))
            if value not in ("", "runtime/default", "unconfined") and not value.startswith(_LOCAL):
                errors.append(invalid(path[key], value, f'invalid AppArmor profile name: "{value}"'))


def _is_int32(text: str) -> bool:
    """Canonical: no plus sign, no leading zeros."""
    digits = text.removeprefix("-")
    if not digits.isdigit() or not digits.isascii() or (digits.startswith("0") and text != "0"):
        return False
    return len(digits) <= _INT32_DIGITS and -(2**31) <= int(text) < 2**31


def _check_seccomp(errors: Errors, path: Path, profile: str) -> None:
    if profile.startswith(_LOCAL):
        check_descending(errors, path, profile.removeprefix(_LOCAL))
    elif profile != "unconfined" and profile not in _SECCOMP_DEFAULTS:
        errors.append(invalid(path, profile, "must be a valid seccomp profile"))


def check_profile_annotations(errors: Errors, path: Path, annotations: Mapping[str, str] | None, spec: Object) -> None:
    """Where an old annotation and its field are both given, they say the same."""
    if not annotations:
        return
    pod_context = spec.get("securityContext") or {}
    profile = pod_context.get("seccompProfile")
    if profile is not None and _SECCOMP_POD in annotations:
        here = path / "securityContext" / "seccompProfile"
        _check_match(errors, here, "seccomp", annotations[_SECCOMP_POD], profile, _SECCOMP_DEFAULTS)
    windows = (spec.get("os") or {}).get("name") == "windows"
    for container, container_path in each_container(spec, path):
        context = container.get("securityContext") or {}
        here, name = container_path / "securityContext", container.get("name") or ""
        profile, key = context.get("seccompProfile"), _SECCOMP_CONTAINER + name
        if profile is not None and key in annotations:
            _check_match(errors, here / "seccompProfile", "seccomp", annotations[key], profile, _SECCOMP_DEFAULTS)
        profile, key = context.get("appArmorProfile") or pod_context.get("appArmorProfile"), _APP_ARMOR + name
        if profile is not None and key in annotations and not windows:
            defaults = ("runtime/default",)
            _check_match(errors, here / "appArmorProfile", "apparmor", annotations[key], profile, defaults)


def _check_match(
    errors: Errors, path: Path, what: str, annotation: str, profile: Object, defaults: tuple[str, ...]
) -> None:
    kind = profile.get("type")
    if kind == "Localhost":
        if not annotation.startswith(_LOCAL):
            errors.append(forbidden(path / "type", f"{what} type in annotation and field must match"))
        elif annotation.removeprefix(_LOCAL) != profile.get("localhostProfile"):
            errors.append(forbidden(path / "localhostProfile", f"{what} profile in annotation and field must match"))
    else:
        allowed = {"Unconfined": ("unconfined",), "RuntimeDefault": defaults}.get(kind or "")
        if allowed is not None and annotation not in allowed:
            errors.append(forbidden(path / "type", f"{what} type in annotation and field must match"))


def check_annotation_updates(
    errors: Errors, path: Path, new: Mapping[str, str] | None, old: Mapping[str, str] | None
) -> None:
    """AppArmor and mirror annotations are fixed for the life of a pod."""
    new, old = new or {}, old or {}
    if new == old:
        return
    for key in old:
        if new.get(key) == old[key]:
            continue
        if key.startswith(_APP_ARMOR):
            errors.append(forbidden(path[key], "may not remove or update AppArmor annotations"))
        if key == MIRROR:
            errors.append(forbidden(path[key], "may not remove or update mirror pod annotation"))
    for key in new.keys() - old.keys():
        if key.startswith(_APP_ARMOR):
            errors.append(forbidden(path[key], "may not add AppArmor annotations"))
        if key == MIRROR:
            errors.append(forbidden(path[key], "may not add mirror pod annotation"))
