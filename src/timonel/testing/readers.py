"""Objects in dictionaries behind the protocols that authorisation and admission read from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from timonel.api.objects import Object, ObjectKey, key_of
from timonel.api.refs import ResourceRef

_Listener = Callable[[Object | None, Object | None], None]


@dataclass
class FakeReader:
    objects: dict[ObjectKey, Object] = field(default_factory=dict)
    listeners: list[_Listener] = field(default_factory=list)

    def get(self, namespace: str, name: str) -> Object | None:
        return self.objects.get(ObjectKey(namespace, name))

    def list(self, namespace: str | None = None) -> list[Object]:
        return [obj for key, obj in sorted(self.objects.items()) if not namespace or key.namespace == namespace]

    def subscribe(self, listener: _Listener) -> None:
        for obj in self.objects.values():
            listener(None, obj)
        self.listeners.append(listener)

    def put(self, obj: Object) -> Object:
        old = self.objects.get(key_of(obj))
        self.objects[key_of(obj)] = obj
        for listener in self.listeners:
            listener(old, obj)
        return obj

    def remove(self, namespace: str, name: str) -> None:
        old = self.objects.pop(ObjectKey(namespace, name))
        for listener in self.listeners:
            listener(old, None)


class FakeReaders:
    """Implements `timonel.apiserver.readers.Readers` for every resource: each begins empty."""

    def __init__(self) -> None:
        self._readers: dict[ResourceRef, FakeReader] = {}

    def reader(self, ref: ResourceRef) -> FakeReader:
        return self._readers.setdefault(ref, FakeReader())

    def put(self, ref: ResourceRef, obj: Object) -> Object:
        return self.reader(ref).put(obj)
