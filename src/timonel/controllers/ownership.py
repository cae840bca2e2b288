"""Controllers own objects by controller reference: adopting orphans that match, releasing what no longer matches.

Source: kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents and, for the rules of adoption,
kubernetes/design-proposals-archive controller-ref.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from timonel.api.errors import Invalid, NotFound
from timonel.api.labels import Selector
from timonel.api.objects import (
    Object,
    ObjectKey,
    controller_of,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    owner_references,
    resource_version_of,
    uid_of,
)
from timonel.api.refs import ResourceRef
from timonel.client.controller import KeyFunction, Keys, owner_key
from timonel.client.informer import Informer
from timonel.client.protocol import ApiClient

log = logging.getLogger(__name__)

CONTROLLER_INDEX = "controller"


def controller_index(obj: Object) -> Iterable[str]:
    """For Informer.add_index(CONTROLLER_INDEX, …): by the controller's uid, orphans by `orphans_of` a namespace."""
    owner = controller_of(obj)
    return (owner["uid"] if owner else orphans_of(namespace_of(obj)),)


def orphans_of(namespace: str) -> str:
    return f"orphans/{namespace}"


def controller_reference(owner: Object, ref: ResourceRef) -> Object:
    return {
        "apiVersion": ref.api_version,
        "kind": ref.kind,
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_controlled_by(obj: Object, owner: Object) -> bool:
    reference = controller_of(obj)
    return reference is not None and reference["uid"] == uid_of(owner)


def owner_or_adopters(informer: Informer, selector_of: Callable[[Object], Selector]) -> KeyFunction:
    """For Watch.key: the controlling owner of the informer's kind; of an orphan, all that may adopt it."""
    owner_of = owner_key(informer.ref.kind, informer.ref.group)

    def keys(obj: Object) -> Keys:
        if controller_of(obj) is not None:
            return owner_of(obj)
        if is_deleting(obj):
            return None
        owners = informer.lister.list(namespace_of(obj))
        adopters: list[ObjectKey] = [key_of(owner) for owner in owners if selector_of(owner).matches(labels_of(obj))]
        return adopters

    return keys


@dataclass(frozen=True, slots=True)
class Claims:
    owned: tuple[Object, ...] = ()
    adopt: tuple[Object, ...] = ()
    release: tuple[Object, ...] = ()


def plan_claims(owner: Object, selector: Selector, candidates: Iterable[Object]) -> Claims:
    """Sorts candidates: ours, to be adopted, to be let go. An owner that is being deleted changes nothing."""
    deleting = is_deleting(owner)
    owned, adopt, release = [], [], []
    for obj in candidates:
        matches = selector.matches(labels_of(obj))
        reference = controller_of(obj)
        if reference is not None:
            if reference["uid"] == uid_of(owner):
                if matches:
                    owned.append(obj)
                elif not deleting:
                    release.append(obj)
        elif matches and not deleting and not is_deleting(obj):
            adopt.append(obj)
    return Claims(tuple(owned), tuple(adopt), tuple(release))


async def apply_claims(
    client: ApiClient,
    owner: Object,
    owner_ref: ResourceRef,
    ref: ResourceRef,
    claims: Claims,
    *,
    finalizers: Sequence[str] = (),
) -> Sequence[Object]:
    """Adopts and releases; returns all that is owned then. Raises Conflict when an object changed meanwhile.

    What is owned gets the `finalizers`, what is released loses them.
    """
    owned = list(claims.owned)
    if claims.adopt:
        # The cache may not know yet that the owner is being deleted; adopting then would undo an orphaning delete.
        fresh = await client.get(owner_ref, name_of(owner), namespace_of(owner))
        if uid_of(fresh) == uid_of(owner) and not is_deleting(fresh):
            for obj in claims.adopt:
                owners = [*owner_references(obj), controller_reference(owner, owner_ref)]
                held = [*(name for name in _finalizers(obj) if name not in finalizers), *finalizers]
                adopted = await _set_owners(client, ref, obj, owners, held)
                if adopted is not None:
                    owned.append(adopted)
    for obj in claims.release:
        owners = [reference for reference in owner_references(obj) if reference["uid"] != uid_of(owner)]
        held = [name for name in _finalizers(obj) if name not in finalizers]
        await _set_owners(client, ref, obj, owners, held)
    return owned


def _finalizers(obj: Object) -> list[str]:
    return obj["metadata"].get("finalizers") or []


async def _set_owners(
    client: ApiClient, ref: ResourceRef, obj: Object, owners: list[Object], finalizers: list[str]
) -> Object | None:
    metadata: Object = {
        "uid": uid_of(obj),
        "resourceVersion": resource_version_of(obj),
        "ownerReferences": owners or None,
    }
    if finalizers != _finalizers(obj):
        metadata["finalizers"] = finalizers or None
    patch = {"metadata": metadata}
    try:
        return await client.patch(ref, name_of(obj), patch, namespace_of(obj), type="merge")
    except (NotFound, Invalid) as exc:
        # Gone, or replaced by another of the same name: nothing to own.
        log.debug("owner not changed resource=%s object=%s error=%s", ref.plural, name_of(obj), exc)
        return None
