"""The newest known state of objects that this controller writes: from the cache, or from its own writes before that."""

from __future__ import annotations

from timonel.api.objects import Object, ObjectKey, key_of, resource_version_of
from timonel.client.informer import Informer


class Freshest:
    """Of one kind. Costs memory only for what was written and has not come back by the watch yet."""

    def __init__(self, informer: Informer) -> None:
        self._informer = informer
        self._own: dict[ObjectKey, Object] = {}

    def get(self, key: ObjectKey) -> Object | None:
        cached = self._informer.lister.get(*key)
        own = self._own.get(key)
        if own is None:
            return cached
        if cached is not None and not _is_newer(own, cached):
            del self._own[key]
            return cached
        revision = self._informer.revision
        if cached is None and revision and int(revision) >= int(resource_version_of(own)):
            del self._own[key]  # gone since
            return None
        return own

    def wrote(self, obj: Object) -> Object:
        """`obj` is the server's answer to a write; given back."""
        if resource_version_of(obj).isdigit():
            self._own[key_of(obj)] = obj
        return obj


def _is_newer(one: Object, other: Object) -> bool:
    return int(resource_version_of(one) or 0) > int(resource_version_of(other) or 0)
