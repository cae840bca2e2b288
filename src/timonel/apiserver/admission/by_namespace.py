"""Objects of one kind by their namespace, kept current: asking for a namespace that has none is one look-up."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from timonel.api.objects import Object, name_of, namespace_of
from timonel.apiserver.readers import Reader

_NONE: Mapping[str, Object] = MappingProxyType({})


class ByNamespace:
    def __init__(self, reader: Reader) -> None:
        self._namespaces: dict[str, dict[str, Object]] = {}
        reader.subscribe(self._learn)

    def of(self, namespace: str) -> Mapping[str, Object]:
        """By name; empty, and free, where there are none."""
        return self._namespaces.get(namespace, _NONE)

    def _learn(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self._namespaces.setdefault(namespace_of(new), {})[name_of(new)] = new
        elif old is not None:
            objects = self._namespaces.get(namespace_of(old))
            if objects is not None:
                objects.pop(name_of(old), None)
                if not objects:
                    del self._namespaces[namespace_of(old)]
