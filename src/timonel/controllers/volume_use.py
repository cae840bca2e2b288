"""Which pods use a claim: an index of the shared pod informer."""

from __future__ import annotations

from collections.abc import Iterable

from timonel.api.objects import Object, ObjectKey, namespace_of
from timonel.api.volumes import claim_names
from timonel.client.informer import Informer

BY_CLAIM = "by claim"


def index_by_claim(pods: Informer) -> None:
    """`pods.lister.by_index(BY_CLAIM, key of a claim)` from now on. Pods without claims cost nothing."""
    pods.add_index(BY_CLAIM, keys_of_claims)


def keys_of_claims(pod: Object) -> Iterable[ObjectKey]:
    namespace = namespace_of(pod)
    return [ObjectKey(namespace, name) for name, _ in claim_names(pod)]
