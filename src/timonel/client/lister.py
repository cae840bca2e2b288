"""The local copy of a kind that an informer keeps: reads are dict look-ups and never wait.

Objects are shared by all readers and read-only: `copy_object` before changing one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TYPE_CHECKING

from timonel.api.objects import Object, ObjectKey, labels_of

if TYPE_CHECKING:
    from timonel.api.labels import Selector

IndexFunction = Callable[[Object], Iterable[Hashable]]
Objects = list[Object]


class _Index:
    __slots__ = ("entries", "function")

    def __init__(self, function: IndexFunction) -> None:
        self.function = function
        self.entries: dict[Hashable, dict[ObjectKey, Object]] = {}

    def insert(self, key: ObjectKey, obj: Object) -> None:
        for value in self.function(obj):
            self.entries.setdefault(value, {})[key] = obj

    def remove(self, key: ObjectKey, obj: Object) -> None:
        for value in self.function(obj):
            bucket = self.entries.get(value)
            if bucket is not None:
                bucket.pop(key, None)
                if not bucket:
                    del self.entries[value]


class Lister:
    """`get` and `by_index` cost one look-up; `list` of a namespace costs its objects only."""

    def __init__(self) -> None:
        self._namespaces: dict[str, dict[str, Object]] = {}
        self._indexes: dict[str, _Index] = {}

    def __len__(self) -> int:
        return sum(map(len, self._namespaces.values()))

    def get(self, namespace: str, name: str) -> Object | None:
        objects = self._namespaces.get(namespace)
        return objects.get(name) if objects else None

    def list(self, namespace: str | None = None, selector: Selector | None = None) -> list[Object]:
        """All objects, of one namespace if given, whose labels match if a selector is given; in no special order."""
        if namespace is None:
            found = [obj for objects in self._namespaces.values() for obj in objects.values()]
        else:
            found = list(self._namespaces.get(namespace, {}).values())
        if selector is not None:
            found = [obj for obj in found if selector.matches(labels_of(obj))]
        return found

    def named(self, name: str) -> Objects:
        """Those of that name, whichever their namespace; costs a look-up for each namespace."""
        return [objects[name] for objects in self._namespaces.values() if name in objects]

    def by_index(self, name: str, value: Hashable) -> Objects:
        bucket = self._indexes[name].entries.get(value)
        return [*bucket.values()] if bucket else []

    def keys(self) -> Iterator[ObjectKey]:
        for namespace, objects in self._namespaces.items():
            for name in objects:
                yield ObjectKey(namespace, name)

    # What follows is the informer's side.

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Adding the same name again is allowed: components that share an informer may want the same index."""
        if name in self._indexes:
            return
        index = self._indexes[name] = _Index(function)
        for namespace, objects in self._namespaces.items():
            for object_name, obj in objects.items():
                index.insert(ObjectKey(namespace, object_name), obj)

    def put(self, key: ObjectKey, obj: Object) -> Object | None:
        """Stores an object; returns the one it replaces."""
        objects = self._namespaces.setdefault(key.namespace, {})
        old = objects.get(key.name)
        objects[key.name] = obj
        for index in self._indexes.values():
            if old is not None:
                index.remove(key, old)
            index.insert(key, obj)
        return old

    def remove(self, key: ObjectKey) -> Object | None:
        objects = self._namespaces.get(key.namespace)
        old = objects.pop(key.name, None) if objects else None
        if old is None:
            return None
        if not objects:
            del self._namespaces[key.namespace]
        for index in self._indexes.values():
            index.remove(key, old)
        return old
