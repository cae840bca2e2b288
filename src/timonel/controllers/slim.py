"""Pods as controllers and the scheduler need them: without what only kubelets read.

A pod of an ordinary manifest shrinks to less than half. Such a copy must never be written back whole; everything that
uses the shared pod informer writes patches and subresources.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from timonel.api.objects import Object

_CONTAINER_FIELDS = ("name", "image", "ports", "resources", "restartPolicy")
_SPEC_DROPPED = ("ephemeralContainers", "securityContext", "dnsConfig", "dnsPolicy", "hostAliases", "readinessGates")
_SECRET_FIELDS: dict[str, Callable[[Object], Any]] = {
    "env": lambda item: (item.get("valueFrom") or {}).get("secretKeyRef"),
    "envFrom": lambda item: item.get("secretRef"),
}
_STATUS_FIELDS = ("name", "restartCount", "ready", "started", "resources", "allocatedResources")


def slim_pod(pod: Object) -> Object:
    """Changes the object given, which must be private; for Informers.of(PODS, transform=…)."""
    metadata = pod["metadata"]
    metadata.pop("managedFields", None)
    (metadata.get("annotations") or {}).pop("kubectl.kubernetes.io/last-applied-configuration", None)
    spec = pod.get("spec") or {}
    for field in _SPEC_DROPPED:
        spec.pop(field, None)
    for field in ("containers", "initContainers"):
        if spec.get(field):
            spec[field] = [_slim_container(container) for container in spec[field]]
    status = pod.get("status") or {}
    of_job = any(owner.get("kind") == "Job" for owner in metadata.get("ownerReferences") or ())
    fields = (*_STATUS_FIELDS, "state") if of_job else _STATUS_FIELDS  # Jobs ask how and when containers ended
    for field in ("containerStatuses", "initContainerStatuses"):
        if status.get(field):
            status[field] = [_only(container, fields) for container in status[field]]
    return pod


def _slim_container(container: Object) -> Object:
    """Of its environment, what names Secrets: whether a token is in use depends on it."""
    made = _only(container, _CONTAINER_FIELDS)
    for field, ref in _SECRET_FIELDS.items():
        if naming := [item for item in container.get(field) or () if ref(item)]:
            made[field] = naming
    return made


def _only(item: Object, fields: tuple[str, ...]) -> Object:
    return {field: item[field] for field in fields if field in item}
