"""Has the cache caught up with what this controller itself wrote? Until then, deciding anew would do things twice.

A write is seen once the informer reflects its resourceVersion (versions are one rising number, KEP-5504); a deletion,
once the object is gone or marked. No counters to go wrong: both are read from the cache as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from timonel.api.clock import Clock
from timonel.api.objects import Object, ObjectKey, is_deleting, key_of, resource_version_of, uid_of
from timonel.client.informer import Informer

_GIVE_UP_SECONDS = 300.0


@dataclass(slots=True)
class _Pending:
    since: float
    written: dict[str, tuple[Informer, int]] = field(default_factory=dict)
    deleted: dict[str, tuple[Informer, ObjectKey]] = field(default_factory=dict)


class OwnWrites:
    """Kept per key of the controller; a key with nothing pending costs nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pending: dict[ObjectKey, _Pending] = {}

    def wrote(self, key: ObjectKey, informer: Informer, obj: Object) -> None:
        """`obj` is the server's answer to a create, update or patch."""
        version = resource_version_of(obj)
        if not version.isdigit():
            return
        written = self._entry(key).written
        _, newest = written.get(informer.ref.plural, (informer, 0))
        written[informer.ref.plural] = (informer, max(newest, int(version)))

    def deleted(self, key: ObjectKey, informer: Informer, obj: Object) -> None:
        """`obj` as it was in the cache when its deletion was asked for and accepted."""
        self._entry(key).deleted[uid_of(obj)] = (informer, key_of(obj))

    def are_seen(self, key: ObjectKey) -> bool:
        pending = self._pending.get(key)
        if pending is None:
            return True
        if self._clock.monotonic() - pending.since < _GIVE_UP_SECONDS:
            for informer, version in pending.written.values():
                if not informer.revision or int(informer.revision) < version:
                    return False
            for uid, (informer, object_key) in pending.deleted.items():
                obj = informer.lister.get(*object_key)
                if obj is not None and uid_of(obj) == uid and not is_deleting(obj):
                    return False
        del self._pending[key]
        return True

    def forget(self, key: ObjectKey) -> None:
        self._pending.pop(key, None)

    def _entry(self, key: ObjectKey) -> _Pending:
        entry = self._pending.setdefault(key, _Pending(0.0))
        entry.since = self._clock.monotonic()
        return entry
