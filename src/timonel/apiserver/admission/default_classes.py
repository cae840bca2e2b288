"""DefaultStorageClass and DefaultIngressClass: what names no class gets the one that is marked as default.

Source: kubernetes.io/docs/concepts/storage/storage-classes/#default-storageclass,
kubernetes.io/docs/concepts/services-networking/ingress/#default-ingress-class
"""

from __future__ import annotations

from collections.abc import Iterable

from timonel.api.objects import Object, annotations_of, name_of
from timonel.api.refs import INGRESS_CLASSES, INGRESSES, PERSISTENT_VOLUME_CLAIMS, STORAGE_CLASSES
from timonel.apiserver.admission.chain import AdmissionRequest, Plugin
from timonel.apiserver.readers import Readers

_STORAGE = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_INGRESS = ("ingressclass.kubernetes.io/is-default-class",)
_OLD_STORAGE_CLASS = "volume.beta.kubernetes.io/storage-class"
_OLD_INGRESS_CLASS = "kubernetes.io/ingress.class"


class DefaultStorageClass(Plugin):
    name = "DefaultStorageClass"
    operations = frozenset({"CREATE"})
    resources = frozenset({(PERSISTENT_VOLUME_CLAIMS.group, PERSISTENT_VOLUME_CLAIMS.plural)})

    def __init__(self, *, readers: Readers) -> None:
        self._classes = readers.reader(STORAGE_CLASSES)

    async def mutate(self, request: AdmissionRequest) -> None:
        claim = request.obj
        if claim is None or request.subresource or _OLD_STORAGE_CLASS in annotations_of(claim):
            return
        # "" asks for no class at all, which is something else than asking for none in particular.
        if claim["spec"].get("storageClassName") is None:
            found = newest_default(self._classes.list(), _STORAGE)
            if found:
                claim["spec"]["storageClassName"] = found


class DefaultIngressClass(Plugin):
    name = "DefaultIngressClass"
    operations = frozenset({"CREATE"})
    resources = frozenset({(INGRESSES.group, INGRESSES.plural)})

    def __init__(self, *, readers: Readers) -> None:
        self._classes = readers.reader(INGRESS_CLASSES)

    async def mutate(self, request: AdmissionRequest) -> None:
        ingress = request.obj
        if ingress is None or request.subresource or _OLD_INGRESS_CLASS in annotations_of(ingress):
            return
        spec = ingress.setdefault("spec", {})
        if spec.get("ingressClassName") is None:
            found = newest_default(self._classes.list(), _INGRESS)
            if found:
                spec["ingressClassName"] = found


def newest_default(classes: Iterable[Object], marks: Iterable[str]) -> str:
    """The name of the class marked as default; of several the newest, then the first by name. "" when none is."""
    marked = [item for item in classes if any(annotations_of(item).get(mark) == "true" for mark in marks)]
    marked.sort(key=name_of)
    newest = max(marked, key=lambda item: item["metadata"].get("creationTimestamp") or "", default=None)
    return name_of(newest) if newest is not None else ""
