"""Leases for keys that expire, shared by keys written at about the same time.

A lease costs etcd more than a key, and events come by the thousand. So a key lives up to a twentieth longer than it
was promised, a minute at most, as upstream's do. Source: kube-apiserver --lease-reuse-duration-seconds.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from timonel.api.clock import Clock
from timonel.storage.etcd.client import EtcdClient

_SHARE = 0.05
_LONGEST_WINDOW_SECONDS = 60
_MOST_KEYS = 1000
"""Keys on one lease: they are deleted in one transaction."""


@dataclass(slots=True)
class _Lease:
    id: int
    expires: float
    keys: int = 0


class Leases:
    def __init__(self, client: EtcdClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._current: dict[int, _Lease] = {}
        """By time to live: there are as many as there are kinds of expiring objects."""
        self._granting = asyncio.Lock()

    async def lease_for(self, ttl_seconds: int) -> int:
        """A lease that ends in `ttl_seconds` or a little later. Raises StoreError."""
        lease = self._usable(ttl_seconds)
        if lease is None:
            async with self._granting:
                lease = self._usable(ttl_seconds) or await self._grant(ttl_seconds)
        lease.keys += 1
        return lease.id

    def forget(self, lease_id: int) -> None:
        """It turned out to be gone: etcd's clock is not ours."""
        self._current = {ttl: lease for ttl, lease in self._current.items() if lease.id != lease_id}

    def _usable(self, ttl_seconds: int) -> _Lease | None:
        lease = self._current.get(ttl_seconds)
        if lease is None or lease.keys >= _MOST_KEYS or lease.expires < self._clock.monotonic() + ttl_seconds:
            return None
        return lease

    async def _grant(self, ttl_seconds: int) -> _Lease:
        window = min(int(ttl_seconds * _SHARE), _LONGEST_WINDOW_SECONDS)
        asked = self._clock.monotonic()
        lease_id, _ = await self._client.grant(ttl_seconds + window)
        lease = self._current[ttl_seconds] = _Lease(lease_id, asked + ttl_seconds + window)
        return lease
