"""What the watch cache holds: one object as its wire bytes, with the few values that lists and watches select by.

Memory is the reason for the shape: ten thousand objects of 2 KB stay near their own size, so an object is decoded when
somebody asks and forgotten when too much has been decoded since.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import MappingProxyType

import orjson

from timonel.api.objects import Object
from timonel.storage.codec import resplice

_NO_LABELS: Mapping[str, str] = MappingProxyType({})


class DecodedObjects:
    """Keeps recently decoded objects alive, at most `max_bytes` of their wire form, which is a tenth of their size as
    dicts. First decoded, first forgotten; forgetting costs nothing but a decoding (3 µs a KB)."""

    def __init__(self, max_bytes: int = 2 * 1024 * 1024) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[CachedObject, None] = OrderedDict()

    def keep(self, cached: CachedObject) -> None:
        self._kept[cached] = None
        self._bytes += len(cached.value)
        while self._bytes > self._max_bytes:
            self.forget(next(iter(self._kept)))

    def forget(self, cached: CachedObject) -> None:
        """What another version has replaced takes no room from objects that are there: nobody is likely to ask."""
        if cached in self._kept:
            del self._kept[cached]
            self._bytes -= len(cached.value)
            cached.forget()


class FieldValues:
    """Which fields of one resource can be selected by, and how to read them: shared by all its cached objects."""

    def __init__(self, fields: Mapping[str, Callable[[Object], str]]) -> None:
        self.positions = {path: position for position, path in enumerate(fields)}
        self._readers = tuple(fields.values())

    def read(self, obj: Object) -> tuple[str, ...]:
        return tuple([sys.intern(str(reader(obj))) for reader in self._readers])  # a generator would cost half more


class CachedObject:
    """Read-only. `value` is the wire JSON with resourceVersion, `obj` the same decoded, where somebody has it;
    `stale`: it should be encrypted at rest anew."""

    __slots__ = ("_decoded", "_field_values", "_fields", "_obj", "key", "labels", "name", "namespace", "revision",
                 "stale", "value")  # fmt: skip

    def __init__(
        self,
        key: str,
        value: bytes,
        revision: int,
        *,
        namespace: str,
        name: str,
        fields: FieldValues,
        decoded: DecodedObjects,
        stale: bool = False,
        obj: Object | None = None,
        before: CachedObject | None = None,
    ) -> None:
        """`before` is the state it replaces: what did not change since need not be read again."""
        self.key = key
        self.value = value
        self.revision = revision
        self.namespace = namespace
        self.name = name
        self.stale = stale
        if obj is None:
            obj = orjson.loads(value)
        labels = obj["metadata"].get("labels")
        self.labels: Mapping[str, str]
        if before is not None and before.labels == labels:
            self.labels = before.labels
        else:
            # Labels repeat in every object of an application; interned, each text exists once.
            self.labels = (
                {sys.intern(label): sys.intern(text) for label, text in labels.items()} if labels else _NO_LABELS
            )
        self._fields = fields
        self._field_values: tuple[str, ...]
        if before is not None and before._obj is not None and _differ_in_metadata(obj, before._obj):
            self._field_values = before._field_values  # of metadata, only names can be selected by
        else:
            self._field_values = fields.read(obj)
        self._decoded = decoded
        # Who hears of the change (indexes, watchers with selectors) is likely to look at it next.
        self._obj: Object | None = obj
        decoded.keep(self)

    @property
    def obj(self) -> Object:
        """The object as JSON. Shared and read-only: `copy_object` first, then change."""
        obj = self._obj
        if obj is None:
            obj = self._obj = orjson.loads(self.value)
            self._decoded.keep(self)
        return obj

    def forget(self) -> None:
        """Drops the decoded form; the next reader makes it anew."""
        self._obj = None

    def field(self, path: str) -> str:
        """The value of a selectable field: metadata.name, metadata.namespace, or one the resource declares.

        Raises KeyError for others.
        """
        position = self._fields.positions.get(path)
        if position is not None:
            return self._field_values[position]
        if path == "metadata.name":
            return self.name
        if path == "metadata.namespace":
            return self.namespace
        raise KeyError(path)

    def __repr__(self) -> str:
        return f"CachedObject({self.key!r}, revision={self.revision})"


def _differ_in_metadata(one: Object, other: Object) -> bool:
    """Whether all else is the very same."""
    if len(one) != len(other):
        return False
    return all(other.get(part) is value for part, value in one.items() if part != "metadata")


class CacheEvent:
    """One committed change, shared by every watcher, with the bytes of the wire built once.

    `type` is ADDED, MODIFIED or DELETED; `new` is None for a deletion, `old` for a creation.
    """

    __slots__ = ("_changed", "_created", "_deleted", "new", "old", "revision", "type")

    def __init__(self, type: str, new: CachedObject | None, old: CachedObject | None, revision: int) -> None:
        self.type = type
        self.new = new
        self.old = old
        self.revision = revision
        self._created: bytes | None = None
        self._changed: bytes | None = None
        self._deleted: bytes | None = None

    @property
    def subject(self) -> CachedObject:
        """The object the event is about: the new state, or the last one of a deleted object."""
        subject = self.new or self.old
        assert subject is not None
        return subject

    def object_bytes(self, type: str) -> bytes:
        """JSON of the object an event of this type carries.

        DELETED carries the last state with the revision of the change that removed it from sight, whether it was
        deleted or ceased to match a selector. Source: kubernetes.io/docs/reference/using-api/api-concepts, watch.
        """
        if type == "DELETED":
            assert self.old is not None
            return resplice(self.old.value, self.revision)
        assert self.new is not None
        return self.new.value

    def wire(self, type: str) -> bytes:
        """One line of a watch stream: `{"type":"ADDED","object":{…}}` and a newline."""
        if type == "MODIFIED":
            line = self._changed
            if line is None:
                line = self._changed = b'{"type":"MODIFIED","object":%b}\n' % self.object_bytes(type)
        elif type == "ADDED":
            line = self._created
            if line is None:
                line = self._created = b'{"type":"ADDED","object":%b}\n' % self.object_bytes(type)
        else:
            line = self._deleted
            if line is None:
                line = self._deleted = b'{"type":"DELETED","object":%b}\n' % self.object_bytes(type)
        return line

    def type_for(self, matches: Callable[[CachedObject], bool]) -> str | None:
        """What a watcher with a selector sees: an object that begins to match is ADDED, one that ceases is DELETED.

        None when it sees nothing.
        """
        now = self.new is not None and matches(self.new)
        before = self.old is not None and matches(self.old)
        if now:
            return "MODIFIED" if before else "ADDED"
        return "DELETED" if before else None

    def __repr__(self) -> str:
        return f"CacheEvent({self.type}, {self.subject.key!r}, revision={self.revision})"
