"""Calls to etcd: one channel to each member, the next member when one is away.

A call that certainly did not leave goes to the next member. Reads do so after every loss of connection; a write whose
answer was lost is reported, not repeated, for it may have been done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import grpc.aio

from timonel.storage.etcd import etcd_pb2 as pb
from timonel.storage.etcd.config import EtcdConfig
from timonel.storage.etcd.errors import ClientClosed, is_about_the_member, is_compacted, never_left, store_error
from timonel.storage.protocol import Compacted, StoreError

log = logging.getLogger(__name__)

_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", -1),  # a page of large objects has no limit that etcd would keep
    ("grpc.max_send_message_length", -1),  # etcd has its own, and says so
    ("grpc.keepalive_time_ms", 30_000),  # finds a member that vanished without a word
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),  # also beside a watch that has nothing to tell
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
]

_PATIENCE_SECONDS = 1.0
"""How long a call waits for any member to come back, which covers a restart and what gRPC waits to connect anew."""
_PAUSE_SECONDS = 0.05

_REQUIRE_LEADER = (("hasleader", "true"),)
"""A member cut off from the others then ends our watch instead of keeping silent. Source: etcd.io/docs, clientv3."""

_ANSWERS: dict[str, Any] = {
    "KV/Range": pb.RangeResponse,
    "KV/Txn": pb.TxnResponse,
    "KV/Put": pb.PutResponse,
    "KV/Compact": pb.CompactionResponse,
    "Lease/LeaseGrant": pb.LeaseGrantResponse,
    "Maintenance/Status": pb.StatusResponse,
    "Maintenance/Defragment": pb.DefragmentResponse,
}


class EtcdClient:
    """Belongs to one event loop. Raises StoreError when a file of the configuration cannot be used."""

    def __init__(self, config: EtcdConfig) -> None:
        if not config.endpoints:
            raise StoreError("no etcd endpoint is configured")
        self._seconds = config.call_seconds
        self._patience = min(_PATIENCE_SECONDS, config.call_seconds)
        self._channels = [(endpoint, _open_channel(endpoint, config)) for endpoint in config.endpoints]
        self._chosen = 0
        self._methods: dict[tuple[int, str], Any] = {}
        self._closed = False

    @property
    def endpoint(self) -> str:
        return self._channels[self._chosen][0]

    @property
    def endpoints(self) -> int:
        return len(self._channels)

    async def close(self) -> None:
        self._closed = True
        for _, channel in self._channels:
            await channel.close()

    # Calls

    async def range(self, request: pb.RangeRequest) -> pb.RangeResponse:
        """Raises Compacted (with `oldest` 0: unknown), StoreError."""
        answer: pb.RangeResponse = await self._call("KV/Range", request, repeatable=True)
        return answer

    async def txn(self, request: pb.TxnRequest) -> pb.TxnResponse:
        answer: pb.TxnResponse = await self._call("KV/Txn", request)
        return answer

    async def put(self, key: bytes, value: bytes) -> int:
        """Unconditional; the revision."""
        answer: pb.PutResponse = await self._call("KV/Put", pb.PutRequest(key=key, value=value), repeatable=True)
        return answer.header.revision

    async def compact(self, revision: int) -> None:
        """Raises Compacted when that is done already."""
        await self._call("KV/Compact", pb.CompactionRequest(revision=revision))

    async def grant(self, ttl_seconds: int) -> tuple[int, int]:
        """Id of a new lease, and the seconds it got, which may be more."""
        answer: pb.LeaseGrantResponse = await self._call("Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=ttl_seconds))
        return answer.ID, answer.TTL

    async def status(self) -> pb.StatusResponse:
        answer: pb.StatusResponse = await self._call("Maintenance/Status", pb.StatusRequest(), repeatable=True)
        return answer

    async def defragment(self) -> None:
        """Of every member, one after the other: each answers nobody while it works."""
        for member, (endpoint, _) in enumerate(self._channels):
            try:
                await self._method(member, "Maintenance/Defragment")(pb.DefragmentRequest())
            except grpc.aio.AioRpcError as exc:
                raise store_error(exc, endpoint) from exc

    async def snapshot(self) -> AsyncGenerator[bytes, None]:
        """The database file of one member, in pieces, and its SHA-256 behind it."""
        endpoint, channel = self._channels[self._chosen]
        method = channel.unary_stream(
            "/etcdserverpb.Maintenance/Snapshot",
            request_serializer=pb.SnapshotRequest.SerializeToString,
            response_deserializer=pb.SnapshotResponse.FromString,
        )
        try:
            async for piece in method(pb.SnapshotRequest()):
                yield piece.blob
        except grpc.aio.AioRpcError as exc:
            raise store_error(exc, endpoint) from exc

    async def watch(self, request: pb.WatchCreateRequest) -> AsyncGenerator[pb.WatchResponse, None]:
        """One connection's worth of answers. The next call goes to the next member if this one failed."""
        if self._closed:
            raise ClientClosed("the store is closed")
        member = self._chosen
        endpoint, channel = self._channels[member]
        method = channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=pb.WatchRequest.SerializeToString,
            response_deserializer=pb.WatchResponse.FromString,
        )
        call = method(metadata=_REQUIRE_LEADER)
        try:
            await call.write(pb.WatchRequest(create_request=request))
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as exc:
            self._avoid(member)
            raise store_error(exc, endpoint) from exc
        except grpc.aio.UsageError as exc:  # what writing to a call that has ended raises
            self._avoid(member)
            raise StoreError(f"etcd at {endpoint} ended the watch") from exc
        except asyncio.CancelledError:
            # Closing a channel cancels its calls, which is no reason for their consumers to think it was they.
            task = asyncio.current_task()
            if self._closed and task is not None and not task.cancelling():
                raise ClientClosed("the store is closed") from None
            raise
        finally:
            call.cancel()
        self._avoid(member)

    async def _call(self, method: str, request: Any, *, repeatable: bool = False) -> Any:
        loop = asyncio.get_running_loop()
        patient_until = loop.time() + self._patience
        for tried in count(1):
            member = self._chosen
            try:
                return await self._method(member, method)(request, timeout=self._seconds)
            except grpc.aio.AioRpcError as exc:
                if is_compacted(exc):
                    raise Compacted(request.revision, 0) from exc
                error = store_error(exc, self._channels[member][0])
                if is_about_the_member(exc):
                    self._avoid(member)
                    has_others = tried < len(self._channels)
                    if (has_others or loop.time() < patient_until) and (repeatable or never_left(exc)):
                        log.debug("Went on to the next etcd member endpoint=%s error=%s", self.endpoint, error)
                        if not has_others:
                            await asyncio.sleep(_PAUSE_SECONDS)
                        continue
                raise error from exc
        raise AssertionError("unreachable")

    def _avoid(self, member: int) -> None:
        """The next call goes elsewhere, unless another call has moved on already."""
        if member == self._chosen:
            self._chosen = (member + 1) % len(self._channels)

    def _method(self, member: int, method: str) -> Any:
        call = self._methods.get((member, method))
        if call is None:
            call = self._methods[member, method] = self._channels[member][1].unary_unary(
                f"/etcdserverpb.{method}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=_ANSWERS[method].FromString,
            )
        return call


def _open_channel(endpoint: str, config: EtcdConfig) -> grpc.aio.Channel:
    url = urlsplit(endpoint)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise StoreError(f"etcd endpoint {endpoint!r} is no URL of the form https://host:port")
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    target = f"{host}:{url.port or 2379}"
    if url.scheme == "http":
        return grpc.aio.insecure_channel(target, options=_OPTIONS)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_read(config.ca_file),
        private_key=_read(config.key_file),
        certificate_chain=_read(config.cert_file),
    )
    return grpc.aio.secure_channel(target, credentials, options=_OPTIONS)


def _read(path: str) -> bytes | None:
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as exc:
        raise StoreError(f"cannot read {path}, which the etcd store needs: {exc.strerror}") from exc
