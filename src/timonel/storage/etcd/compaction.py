"""Forgetting old history on a timer, which of all servers on one etcd only one does at a time.

The agreement is upstream's own, so that its API servers and ours can share an etcd: the key `compact_rev_key` holds
the revision last compacted to, and its version counts the rounds. Whoever finds the version he last saw may do the
next round; the others see a newer version and take that as theirs.
Source: etcd.io/docs "compaction"; kube-apiserver --etcd-compaction-interval.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from timonel.api.clock import Clock
from timonel.storage.etcd import etcd_pb2 as pb
from timonel.storage.etcd.client import EtcdClient
from timonel.storage.protocol import Compacted, StoreError

log = logging.getLogger(__name__)

COMPACT_KEY = b"compact_rev_key"


class Compactor:
    """`on_compacted` hears how far history is gone, whoever did it."""

    def __init__(
        self, client: EtcdClient, clock: Clock, *, interval_seconds: float, on_compacted: Callable[[int], None]
    ) -> None:
        self._client = client
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._on_compacted = on_compacted
        self._rounds = 0
        self._noted = 0
        """The newest revision one interval ago: what is older has been kept long enough."""

    async def run(self) -> None:
        """After a first `take_turn`."""
        while True:
            await self._clock.sleep(self._interval_seconds)
            try:
                await self.take_turn()
            except StoreError as exc:
                log.warning("Could not compact etcd, will retry error=%s", exc)

    async def take_turn(self) -> bool:
        """One round; whether it was ours. The first only notes where the history is. Raises StoreError."""
        ours = pb.Compare(target=pb.Compare.VERSION, key=COMPACT_KEY, version=self._rounds)
        claim = pb.PutRequest(key=COMPACT_KEY, value=b"%d" % self._noted)
        look = pb.RangeRequest(key=COMPACT_KEY)
        answer = await self._client.txn(
            pb.TxnRequest(
                compare=[ours],
                success=[pb.RequestOp(request_put=claim)],
                failure=[pb.RequestOp(request_range=look)],
            )
        )
        target, self._noted = self._noted, answer.header.revision
        if not answer.succeeded:
            self._see(answer.responses[0].response_range.kvs)
            return False
        self._rounds += 1
        if target:
            try:
                await self._client.compact(target)
            except Compacted:
                pass  # somebody did more by hand
            self._on_compacted(target)
            log.debug("Compacted etcd revision=%d", target)
        return bool(target)

    def _see(self, found: Iterable[pb.KeyValue]) -> None:
        self._rounds = 0  # if the key was deleted by hand
        for kv in found:
            self._rounds = kv.version
            self._on_compacted(compacted_revision(kv))


def compacted_revision(kv: pb.KeyValue) -> int:
    """What the shared key says; 0 when that is no revision."""
    return int(kv.value) if kv.value.isdigit() else 0
