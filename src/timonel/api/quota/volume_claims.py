"""What PersistentVolumeClaims use: themselves and storage, in all and by storage class."""

from __future__ import annotations

from collections.abc import Iterable

from timonel.api.objects import Object, annotations_of
from timonel.api.quota.amounts import Amounts, rounded_up, value_of
from timonel.api.quota.evaluator import Evaluator, Surroundings, names_match
from timonel.api.refs import PERSISTENT_VOLUME_CLAIMS

CLAIMS, STORAGE = "persistentvolumeclaims", "requests.storage"
BY_CLASS = ".storageclass.storage.k8s.io/"
_SUFFIXES = (BY_CLASS + CLAIMS, BY_CLASS + STORAGE)
_OLD_CLASS = "volume.beta.kubernetes.io/storage-class"


class VolumeClaimEvaluator(Evaluator):
    def __init__(self) -> None:
        super().__init__(PERSISTENT_VOLUME_CLAIMS.group_resource)
        self.names |= {CLAIMS, STORAGE}

    def handles(self, operation: str, subresource: str, new: Object, old: Object | None) -> bool:
        if subresource == "status":
            return operation == "UPDATE" and old is not None and _changes(old, new)
        return operation in ("CREATE", "UPDATE") and not subresource

    def matching(self, names: Iterable[str], around: Surroundings) -> set[str]:
        return {name for name in names if name in self.names or name.endswith(_SUFFIXES)}

    def is_in_scope(self, scope: Object, obj: Object) -> bool:
        return scope.get("scopeName") == "VolumeAttributesClass" and names_match(scope, attributes_classes(obj))

    def usage(self, obj: Object, around: Surroundings) -> Amounts:
        used = {CLAIMS: "1", self.count_name: "1"}
        storage_class = storage_class_of(obj)
        if storage_class:
            used[f"{storage_class}{BY_CLASS}{CLAIMS}"] = "1"
        storage = _storage(obj)
        if storage is not None:
            used[STORAGE] = storage
            if storage_class:
                used[f"{storage_class}{BY_CLASS}{STORAGE}"] = storage
        return used

    def releases(self, old: Object, new: Object, around: Surroundings) -> bool:
        return _changes(old, new)


def storage_class_of(claim: Object) -> str:
    """The annotation of before the field still counts, and first."""
    old = annotations_of(claim).get(_OLD_CLASS)
    return old if old is not None else (claim.get("spec") or {}).get("storageClassName") or ""


def attributes_classes(claim: Object) -> set[str]:
    """Every VolumeAttributesClass it has, asks for or is being changed to: it counts for each."""
    status = claim.get("status") or {}
    found = (
        (claim.get("spec") or {}).get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    return {name for name in found if name}


def _storage(claim: Object) -> str | None:
    """What it asks for, or was given when that is more."""
    asked = (((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}).get("storage")
    if asked is None:
        return None
    given = _allocated(claim)
    return rounded_up(str(given if given is not None and value_of(str(given)) > value_of(str(asked)) else asked))


def _allocated(claim: Object) -> str | None:
    amount = ((claim.get("status") or {}).get("allocatedResources") or {}).get("storage")
    return None if amount is None else str(amount)


def _changes(old: Object, new: Object) -> bool:
    return _allocated(old) != _allocated(new) or attributes_classes(old) != attributes_classes(new)
