"""The restricted standard: hardening on top of baseline.

Source: kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
"""

from __future__ import annotations

from timonel.api.objects import Object
from timonel.api.pod_references import all_containers
from timonel.apiserver.admission.pod_security.baseline import bad_seccomp, sets_bad_seccomp
from timonel.apiserver.admission.pod_security.findings import (
    Check,
    Finding,
    containers_where,
    has_user_namespace,
    is_windows,
    named,
    plural,
    quoted,
    security_context,
    setters,
)

_VOLUMES = frozenset({
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
})  # fmt: skip
_OTHER_VOLUMES = frozenset({
    "hostPath", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "nfs", "iscsi", "glusterfs", "rbd",
    "flexVolume", "cinder", "cephfs", "flocker", "fc", "azureFile", "vsphereVolume", "quobyte", "azureDisk",
    "photonPersistentDisk", "portworxVolume", "scaleIO", "storageos",
})  # fmt: skip


def check_privilege_escalation(pod: Object, minor: int) -> Finding | None:
    if minor >= 25 and is_windows(pod):
        return None
    bad = containers_where(pod, lambda item: security_context(item).get("allowPrivilegeEscalation") is not False)
    if not bad:
        return None
    what = "must set securityContext.allowPrivilegeEscalation=false"
    return Finding("allowPrivilegeEscalation != false", f"{named(bad)} {what}")


def check_capabilities(pod: Object, minor: int) -> Finding | None:
    if minor >= 25 and is_windows(pod):
        return None
    keeping: list[str] = []
    adding: list[str] = []
    added: set[str] = set()
    for container in all_containers(pod):
        capabilities = security_context(container).get("capabilities") or {}
        name = container.get("name") or ""
        if "ALL" not in (capabilities.get("drop") or ()):
            keeping.append(name)
        if extra := set(capabilities.get("add") or ()) - {"NET_BIND_SERVICE"}:
            adding.append(name)
            added |= extra
    details = []
    if keeping:
        details.append(f'{named(keeping)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        details.append(f"{named(adding)} must not include {quoted(sorted(added))} in securityContext.capabilities.add")
    return Finding("unrestricted capabilities", "; ".join(details)) if details else None


def check_volumes(pod: Object, minor: int) -> Finding | None:
    bad: list[str] = []
    kinds: set[str] = set()
    for volume in pod["spec"].get("volumes") or ():
        if not volume.keys() & _VOLUMES:
            bad.append(volume.get("name") or "")
            kinds.add(next(iter(volume.keys() & _OTHER_VOLUMES), "unknown"))
    if not bad:
        return None
    uses = "uses" if len(bad) == 1 else "use"
    what = f"{uses} {plural('restricted volume type', kinds)} {quoted(sorted(kinds))}"
    return Finding("restricted volume types", f"{named(bad, 'volume')} {what}")


def check_non_root(pod: Object, minor: int) -> Finding | None:
    if minor >= 35 and has_user_namespace(pod):
        return None
    of_pod = security_context(pod["spec"]).get("runAsNonRoot")
    refusing = containers_where(pod, lambda item: security_context(item).get("runAsNonRoot") is False)
    if found := setters(of_pod is False, refusing):
        return Finding("runAsNonRoot != true", f"{' and '.join(found)} must not set securityContext.runAsNonRoot=false")
    silent = containers_where(pod, lambda item: security_context(item).get("runAsNonRoot") is None)
    if silent and not of_pod:
        return Finding("runAsNonRoot != true", f"pod or {named(silent)} must set securityContext.runAsNonRoot=true")
    return None


def check_user(pod: Object, minor: int) -> Finding | None:
    if minor >= 35 and has_user_namespace(pod):
        return None

    def is_root(holder: Object) -> bool:
        return security_context(holder).get("runAsUser") == 0

    if found := setters(is_root(pod["spec"]), containers_where(pod, is_root)):
        return Finding("runAsUser=0", f"{' and '.join(found)} must not set runAsUser=0")
    return None


def check_seccomp(pod: Object, minor: int) -> Finding | None:
    if minor >= 25 and is_windows(pod):
        return None
    values: set[str] = set()
    pod_is_bad = sets_bad_seccomp(pod["spec"], values)
    if found := setters(pod_is_bad, containers_where(pod, lambda item: sets_bad_seccomp(item, values))):
        return bad_seccomp(found, values)
    silent = containers_where(pod, lambda item: not security_context(item).get("seccompProfile"))
    if silent and not security_context(pod["spec"]).get("seccompProfile"):
        what = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
        return Finding("seccompProfile", f"pod or {named(silent)} {what}")
    return None


CHECKS = (
    Check("allowPrivilegeEscalation", check_privilege_escalation, since=8),
    Check("capabilities_restricted", check_capabilities, since=22),
    Check("restrictedVolumes", check_volumes),
    Check("runAsNonRoot", check_non_root),
    Check("runAsUser", check_user, since=23),
    Check("seccompProfile_restricted", check_seccomp, since=19),
)
OVERRIDES = {
    "capabilities_baseline": "capabilities_restricted",
    "hostPathVolumes": "restrictedVolumes",
    "seccompProfile_baseline": "seccompProfile_restricted",
}
"""Baseline checks that a restricted one says all of: they are not run beside it."""
