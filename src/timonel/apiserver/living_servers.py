"""Which API servers of this cluster live: each keeps a record in the store that expires unless it is renewed.

Where only one server can use the store there is nothing to keep: it is the one. Records are where upstream's servers
keep theirs, so that both find each other. Source: kube-apiserver --endpoint-reconciler-type=lease.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable, Sequence

import orjson

from timonel.api.clock import Clock
from timonel.storage.protocol import Event, KeyExists, RevisionMismatch, Store, StoreError

log = logging.getLogger(__name__)

PREFIX = "/registry/masterleases/"
TTL_SECONDS = 15
INTERVAL_SECONDS = 10.0
_TRIES = 10


class LivingServers:
    """`address` is this server's own; `changed` is called when another one came or went."""

    def __init__(self, store: Store, *, clock: Clock, address: str, changed: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._own = address
        self._key = PREFIX + address
        self._changed = changed
        self._keys: set[str] = set()
        self._renewals = 0
        self._left = False
        self._unsubscribe: Callable[[], None] | None = None

    @property
    def addresses(self) -> Sequence[str]:
        """Of all that live, in order; IPv4 first."""
        found = {ipaddress.ip_address(key.removeprefix(PREFIX)) for key in self._keys}
        if not self._left:
            found.add(ipaddress.ip_address(self._own))
        return [str(address) for address in sorted(found, key=lambda each: (each.version, each))]

    async def start(self) -> None:
        """Puts up the record. Raises StoreError."""
        if self._store.is_shared:
            self._unsubscribe = self._store.subscribe(PREFIX, self._hear, self._read)
            await self._renew()
            await self._read()

    async def run(self) -> None:
        """Renews it until cancelled."""
        while self._store.is_shared:
            await self._clock.sleep(INTERVAL_SECONDS)
            try:
                await self._renew()
            except StoreError as exc:
                log.warning("own record could not be renewed, will retry key=%s error=%s", self._key, exc)

    async def leave(self) -> None:
        """Takes it away; the others hear at once. Raises StoreError."""
        if not self._store.is_shared:
            return
        self._left = True
        if self._unsubscribe is not None:
            self._unsubscribe()
        for _ in range(_TRIES):
            entry = await self._store.get(self._key)
            if entry is None:
                break
            try:
                await self._store.delete(self._key, entry.mod_revision)
            except RevisionMismatch:
                continue
        self._keys.discard(self._key)

    async def _renew(self) -> None:
        self._renewals += 1
        value = orjson.dumps({
            "kind": "Endpoints", "apiVersion": "v1", "metadata": {"generation": self._renewals},
            "subsets": [{"addresses": [{"ip": self._own}]}],
        })  # fmt: skip
        for _ in range(_TRIES):
            entry = await self._store.get(self._key)
            try:
                if entry is None:
                    await self._store.create(self._key, value, ttl_seconds=TTL_SECONDS)
                else:
                    await self._store.update(self._key, value, entry.mod_revision, ttl_seconds=TTL_SECONDS)
                return
            except (KeyExists, RevisionMismatch):
                continue
        raise StoreError(f"{self._key} changed {_TRIES} times while it was written")

    async def _read(self) -> None:
        found = await self._store.range(PREFIX)
        self._replace({entry.key for entry in found.entries if _is_address(entry.key)})

    def _hear(self, events: Sequence[Event]) -> None:
        keys = set(self._keys)
        for event in events:
            if event.value is None:
                keys.discard(event.key)
            elif _is_address(event.key):
                keys.add(event.key)
        self._replace(keys)

    def _replace(self, keys: set[str]) -> None:
        if keys != self._keys:
            self._keys = keys
            log.info("API servers of this cluster addresses=%s", ",".join(self.addresses))
            self._changed()


def _is_address(key: str) -> bool:
    try:
        ipaddress.ip_address(key.removeprefix(PREFIX))
    except ValueError:
        return False
    return True
