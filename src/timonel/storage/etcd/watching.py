"""Following changes across lost connections: in order, each once, none left out."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from timonel.api.clock import Clock
from timonel.storage.etcd import etcd_pb2 as pb
from timonel.storage.etcd.client import EtcdClient
from timonel.storage.etcd.errors import ClientClosed
from timonel.storage.etcd.keys import Interval, Keyspace
from timonel.storage.protocol import Compacted, Event, StoreError

log = logging.getLogger(__name__)

_FIRST_DELAY_SECONDS = 0.1
_LONGEST_DELAY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class News:
    """Everything that changed up to `revision` has been told, `events` included; there may be none."""

    events: Sequence[pb.WatchEvent]
    revision: int


async def follow(
    client: EtcdClient,
    clock: Clock,
    interval: Interval,
    after: int,
    *,
    with_previous: bool = False,
    from_newest: bool = False,
) -> AsyncGenerator[News, None]:
    """Every change after a revision, for ever; waits out lost connections. Raises Compacted. Close it with `aclosing`.

    etcd compares where a watch starts with what is compacted by "less than", yet compaction takes away deletions at
    its very revision. So a watch starts one revision early, and what was seen is left out. That makes etcd go through
    its history, which takes it up to 100 ms; `from_newest` spares it where `after` was the newest revision just now.
    """
    delay = _FIRST_DELAY_SECONDS
    while True:
        request = pb.WatchCreateRequest(
            key=interval.first,
            range_end=interval.end,
            start_revision=max(after + from_newest, 1),
            progress_notify=True,
            prev_kv=with_previous,
            fragment=True,
        )
        from_newest = False
        try:
            async with aclosing(_connection(client, request)) as connection:
                async for news in connection:
                    delay = _FIRST_DELAY_SECONDS
                    if news.revision <= after:
                        continue
                    if news.events and news.events[0].kv.mod_revision <= after:
                        fresh = [event for event in news.events if event.kv.mod_revision > after]
                        news = News(fresh, news.revision)
                    after = news.revision
                    yield news
            log.info("The watch of etcd ended, will resume endpoint=%s after=%d", client.endpoint, after)
        except Compacted as exc:
            raise Compacted(after, exc.oldest) from exc
        except ClientClosed:
            raise
        except StoreError as exc:
            log.warning("The watch of etcd broke, will resume after=%d error=%s", after, exc)
        await clock.sleep(delay)
        delay = min(2 * delay, _LONGEST_DELAY_SECONDS)


async def _connection(client: EtcdClient, request: pb.WatchCreateRequest) -> AsyncGenerator[News, None]:
    """What one connection tells. Raises Compacted, StoreError."""
    fragments: list[pb.WatchEvent] = []
    async with aclosing(client.watch(request)) as responses:
        async for response in responses:
            if response.compact_revision:
                raise Compacted(request.start_revision, response.compact_revision)
            if response.canceled:
                raise StoreError(f"etcd at {client.endpoint} refused the watch: {response.cancel_reason}")
            if response.created:
                continue
            if response.events:
                fragments.extend(response.events)
                if not response.fragment:
                    yield News(fragments, fragments[-1].kv.mod_revision)
                    fragments = []
            else:
                # A progress notification of this very watch, which etcd sends in order behind its events.
                yield News((), response.header.revision)


def event_of(event: pb.WatchEvent, keyspace: Keyspace) -> Event:
    """Without what was before: for subscribers, who have seen it."""
    kv = event.kv
    value = None if event.type == pb.WatchEvent.DELETE else kv.value
    return Event(keyspace.from_etcd(kv.key), kv.mod_revision, value, None, kv.create_revision, 0)


def full_event_of(event: pb.WatchEvent, keyspace: Keyspace) -> Event:
    """With what was before. Raises Compacted when that is gone."""
    kv, before = event.kv, event.prev_kv
    is_deletion = event.type == pb.WatchEvent.DELETE
    had_value = event.HasField("prev_kv")
    if not had_value and (is_deletion or kv.create_revision != kv.mod_revision):
        raise Compacted(kv.mod_revision - 1, kv.mod_revision)
    return Event(
        keyspace.from_etcd(kv.key),
        kv.mod_revision,
        None if is_deletion else kv.value,
        before.value if had_value else None,
        before.create_revision if is_deletion else kv.create_revision,
        before.mod_revision,
    )
