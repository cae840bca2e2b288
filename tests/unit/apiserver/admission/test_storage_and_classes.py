"""Classes that are filled in, finalizers that protect, claims that grow."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.apiserver.admission.reviewing import admit, refused, review
from timonel.api.objects import Object
from timonel.api.refs import (
    INGRESS_CLASSES,
    INGRESSES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    STORAGE_CLASSES,
    VOLUME_ATTRIBUTES_CLASSES,
    ResourceRef,
)
from timonel.apiserver.admission.default_classes import DefaultIngressClass, DefaultStorageClass
from timonel.apiserver.admission.storage_protection import StorageObjectInUseProtection
from timonel.apiserver.admission.volume_resize import PersistentVolumeClaimResize
from timonel.testing.readers import FakeReaders

DEFAULT = "storageclass.kubernetes.io/is-default-class"


def storage_class(name: str, created: str = "2026-01-01T00:00:00Z", mark: str = "true", **fields: Any) -> Object:
    metadata = {"name": name, "creationTimestamp": created, "annotations": {DEFAULT: mark}}
    return {"metadata": metadata, "provisioner": "x", **fields}


def claim(size: str = "1Gi", storage_class: str | None = None, phase: str = "", **metadata: Any) -> Object:
    spec: Object = {"resources": {"requests": {"storage": size}}}
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    return {"metadata": {"name": "c", **metadata}, "spec": spec, "status": {"phase": phase}}


async def test_claims_get_the_newest_default_class() -> None:
    readers = FakeReaders()
    plugin = DefaultStorageClass(readers=readers)
    assert "storageClassName" not in (await admit(plugin, review(PERSISTENT_VOLUME_CLAIMS, claim())))["spec"]
    for item in (
        storage_class("old"),
        storage_class("b-new", "2026-02-01T00:00:00Z"),
        storage_class("a-new", "2026-02-01T00:00:00Z"),
        storage_class("newest", "2026-03-01T00:00:00Z", mark="false"),
    ):
        readers.put(STORAGE_CLASSES, item)
    made = await admit(plugin, review(PERSISTENT_VOLUME_CLAIMS, claim()))
    assert made["spec"]["storageClassName"] == "a-new"
    made = await admit(plugin, review(PERSISTENT_VOLUME_CLAIMS, claim(storage_class="")))
    assert made["spec"]["storageClassName"] == ""
    beta = {"volume.beta.kubernetes.io/storage-class": "own"}
    made = await admit(plugin, review(PERSISTENT_VOLUME_CLAIMS, claim(annotations=beta)))
    assert "storageClassName" not in made["spec"]


async def test_ingresses_get_the_default_class() -> None:
    readers = FakeReaders()
    mark = {"ingressclass.kubernetes.io/is-default-class": "true"}
    readers.put(INGRESS_CLASSES, {"metadata": {"name": "nginx", "annotations": mark}})
    plugin = DefaultIngressClass(readers=readers)
    made = await admit(plugin, review(INGRESSES, {"metadata": {"name": "i"}, "spec": {}}))
    assert made["spec"] == {"ingressClassName": "nginx"}
    named = {"metadata": {"name": "i", "annotations": {"kubernetes.io/ingress.class": "old"}}, "spec": {}}
    assert (await admit(plugin, review(INGRESSES, named)))["spec"] == {}


@pytest.mark.parametrize(
    ("ref", "finalizer"),
    [
        (PERSISTENT_VOLUMES, "kubernetes.io/pv-protection"),
        (PERSISTENT_VOLUME_CLAIMS, "kubernetes.io/pvc-protection"),
        (VOLUME_ATTRIBUTES_CLASSES, "kubernetes.io/vac-protection"),
    ],
)
async def test_storage_is_protected_once(ref: ResourceRef, finalizer: str) -> None:
    obj: Object = {"metadata": {"name": "x", "finalizers": ["own/one"]}}
    for _ in range(2):
        made = await admit(StorageObjectInUseProtection(), review(ref, obj))
        assert made["metadata"]["finalizers"] == ["own/one", finalizer]


async def test_claims_grow_where_their_class_lets_them() -> None:
    readers = FakeReaders()
    readers.put(STORAGE_CLASSES, storage_class("grows", allowVolumeExpansion=True))
    readers.put(STORAGE_CLASSES, storage_class("fixed"))
    plugin = PersistentVolumeClaimResize(readers=readers)

    def grow(storage_class: str, phase: str = "Bound", size: str = "2Gi") -> Any:
        old, new = (claim(each, storage_class, phase) for each in ("1Gi", size))
        return review(PERSISTENT_VOLUME_CLAIMS, new, "UPDATE", old=old)

    await admit(plugin, grow("grows"))
    await admit(plugin, grow("fixed", size="1Gi"))
    error = await refused(plugin, grow("grows", "Pending"))
    assert error.message == (
        'persistentvolumeclaims "c" is forbidden: Only bound persistent volume claims can be expanded'
    )
    for name in ("fixed", "missing", ""):
        error = await refused(plugin, grow(name))
        assert error.message.endswith(
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support"
            " resize"
        )
