"""Pods as controllers and the scheduler need them: without what only kubelets read.

A pod of an ordinary manifest shrinks to less than half, and what pods have in common is kept once: a pod of a
Deployment costs 3 KB here, of 24 KB as it comes. Such a copy must never be written back whole; everything that
uses the shared pod informer writes patches and subresources.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from timonel.api.objects import Object
from timonel.client.sharing import SharedParts

_CONTAINER_FIELDS = ("name", "image", "ports", "resources", "restartPolicy")
_SPEC_DROPPED = (
    "ephemeralContainers", "securityContext", "dnsConfig", "dnsPolicy", "hostAliases", "readinessGates",
    "enableServiceLinks", "serviceAccount",
)  # fmt: skip
_SECRET_FIELDS: dict[str, Callable[[Object], Any]] = {
    "env": lambda item: (item.get("valueFrom") or {}).get("secretKeyRef"),
    "envFrom": lambda item: item.get("secretRef"),
}
_STATUS_FIELDS = ("name", "restartCount", "ready", "started", "resources", "allocatedResources")


_SHARED_METADATA = ("namespace", "generateName", "ownerReferences", "labels", "annotations", "creationTimestamp")
_SHARED_STATUS = ("phase", "qosClass", "hostIP", "hostIPs", "startTime", "containerStatuses", "initContainerStatuses")
_TOKEN_SOURCES = {"serviceAccountToken", "configMap", "downwardAPI"}


class SlimPods:
    """For Informers.of(PODS, transform=…). Changes the object given, which must be private."""

    def __init__(self, share: SharedParts | None = None) -> None:
        self._share = share or SharedParts()

    def __call__(self, pod: Object) -> Object:
        share = self._share
        slim_pod(pod)
        metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
        share.fields(metadata, _SHARED_METADATA)
        for field, value in spec.items():
            if field == "volumes":
                # Volumes of StatefulSets' claims are named alike, claims are not.
                spec[field] = [{k: v if k == "name" else share(v) for k, v in volume.items()} for volume in value]
            else:
                spec[field] = share(value)
        share.fields(status, _SHARED_STATUS)
        share.items(status, "conditions")
        address = status.get("podIP")
        for each in status.get("podIPs") or ():
            if each.get("ip") == address:
                each["ip"] = address
        # Made anew: what once held many fields stays as large as it was.
        pod["metadata"], pod["spec"], pod["status"] = (dict(part.items()) for part in (metadata, spec, status))
        return pod


def slim_pod(pod: Object) -> Object:
    """Changes the object given, which must be private; for Informers.of(PODS, transform=…)."""
    metadata = pod["metadata"]
    metadata.pop("managedFields", None)
    (metadata.get("annotations") or {}).pop("kubectl.kubernetes.io/last-applied-configuration", None)
    spec = pod.get("spec") or {}
    for field in _SPEC_DROPPED:
        spec.pop(field, None)
    owners = {owner.get("kind") for owner in metadata.get("ownerReferences") or ()}
    if "volumes" in spec and "StatefulSet" not in owners:  # whose controller compares all volumes
        spec["volumes"] = [volume for volume in spec["volumes"] if not _is_token(volume)]
        if not spec["volumes"]:
            del spec["volumes"]
    for field in ("containers", "initContainers"):
        if spec.get(field):
            spec[field] = [_slim_container(container) for container in spec[field]]
    status = pod.get("status") or {}
    # Jobs ask how and when containers ended.
    fields = (*_STATUS_FIELDS, "state") if "Job" in owners else _STATUS_FIELDS
    for field in ("containerStatuses", "initContainerStatuses"):
        if status.get(field):
            status[field] = [_only(container, fields) for container in status[field]]
    return pod


def _is_token(volume: Object) -> bool:
    """The volume with its account's token that every pod is given, under a name of its own."""
    sources = (volume.get("projected") or {}).get("sources") or ()
    return bool(sources) and all(source.keys() <= _TOKEN_SOURCES for source in sources)


def _slim_container(container: Object) -> Object:
    """Of its environment, what names Secrets: whether a token is in use depends on it."""
    made = _only(container, _CONTAINER_FIELDS)
    for field, ref in _SECRET_FIELDS.items():
        if naming := [item for item in container.get(field) or () if ref(item)]:
            made[field] = naming
    return made


def _only(item: Object, fields: tuple[str, ...]) -> Object:
    return {field: item[field] for field in fields if field in item}
