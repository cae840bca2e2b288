"""Short ways to write claims, volumes and classes."""

from __future__ import annotations

from typing import Any

from timonel.api.objects import Object


def claim(name: str = "data", size: str = "1Gi", **options: Any) -> Object:
    """`storage_class` (None: none given), `modes`, `uid`, `annotations`, `status`; the rest goes into the spec."""
    storage_class = options.pop("storage_class", "fast")
    metadata = {
        "name": name,
        "namespace": "default",
        "uid": options.pop("uid", f"uid-{name}"),
        "resourceVersion": "5",
        "annotations": options.pop("annotations", {}),
    }
    status = options.pop("status", {"phase": "Pending"})
    spec: Object = {
        "accessModes": options.pop("modes", ["ReadWriteOnce"]),
        "resources": {"requests": {"storage": size}},
        "volumeMode": "Filesystem",
        **options,
    }
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    return {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": status}


def volume(name: str = "v1", size: str = "1Gi", **options: Any) -> Object:
    """`storage_class`, `modes`, `phase`, `policy`, `labels`, `annotations`; the rest goes into the spec."""
    metadata = {
        "name": name,
        "uid": f"uid-{name}",
        "resourceVersion": "3",
        "labels": options.pop("labels", {}),
        "annotations": options.pop("annotations", {}),
    }
    phase = options.pop("phase", "Available")
    spec: Object = {
        "capacity": {"storage": size},
        "accessModes": options.pop("modes", ["ReadWriteOnce"]),
        "persistentVolumeReclaimPolicy": options.pop("policy", "Retain"),
        "storageClassName": options.pop("storage_class", "fast"),
        "volumeMode": "Filesystem",
        "hostPath": {"path": f"/srv/{name}"},
        **options,
    }
    return {
        "kind": "PersistentVolume", "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": {"phase": phase},
    }  # fmt: skip


def reference(name: str = "data", uid: str | None = None) -> Object:
    """A claimRef; without a uid it only reserves."""
    return {"namespace": "default", "name": name} | ({"uid": uid} if uid else {})


def storage_class(name: str = "fast", mode: str = "Immediate", **options: Any) -> Object:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if options.pop("default", False) else {}
    return {
        "kind": "StorageClass",
        "apiVersion": "storage.k8s.io/v1",
        "metadata": {"name": name, "annotations": annotations},
        "provisioner": options.pop("provisioner", "example.com/disks"),
        "reclaimPolicy": "Delete",
        "volumeBindingMode": mode,
        **options,
    }
