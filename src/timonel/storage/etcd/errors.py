"""What etcd's answers mean to a person and to the rest of the store."""

from __future__ import annotations

import grpc
import grpc.aio

from timonel.storage.protocol import StoreError

_UNCONNECTED = ("failed to connect to all addresses", "Name resolution", "DNS resolution failed")
"""gRPC's words for a call that never left. Any other loss of connection leaves open whether it was done."""

_ADVICE = (
    ("database space exceeded", "etcd is out of its space quota; compact and defragment it, then disarm its alarm"),
    ("request is too large", "the object is larger than etcd takes (--max-request-bytes)"),
    ("received message larger than max", "the object is larger than etcd takes (--max-request-bytes)"),
    ("permission denied", "etcd denies access; give the user named in our certificate read and write to the prefix"),
    ("no leader", "etcd has no leader; check that most of its members run and reach each other"),
)


class ClientClosed(StoreError):
    """The store was closed while somebody still watched."""


class LeaseNotFound(StoreError):
    """The lease has expired before it was used."""


def is_compacted(error: grpc.aio.AioRpcError) -> bool:
    return "has been compacted" in (error.details() or "")


def never_left(error: grpc.aio.AioRpcError) -> bool:
    details = error.details() or ""
    return error.code() is grpc.StatusCode.UNAVAILABLE and any(words in details for words in _UNCONNECTED)


def is_about_the_member(error: grpc.aio.AioRpcError) -> bool:
    """Whether another member may do better."""
    return error.code() in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
    )


def store_error(error: grpc.aio.AioRpcError, endpoint: str) -> StoreError:
    """gRPC's error as ours, saying what to do."""
    details = error.details() or error.code().name
    if "lease not found" in details:
        return LeaseNotFound(details)
    for words, advice in _ADVICE:
        if words in details:
            return StoreError(f"{advice} ({endpoint}: {details})")
    if never_left(error):
        return StoreError(
            f"etcd is away at {endpoint}: {_cause(details)}; check that it runs and that its address is right"
        )
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return StoreError(f"etcd at {endpoint} did not answer in time; check its disk and its connection to its peers")
    return StoreError(f"etcd at {endpoint}: {details}")


def _cause(details: str) -> str:
    """The part of gRPC's sentence that names the cause."""
    return details.rpartition("last error: ")[2]
