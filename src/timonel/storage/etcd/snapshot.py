"""A backup: etcd's own snapshot, which `etcdctl snapshot restore` reads."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator

from timonel.storage.protocol import StoreError

_HASH_BYTES = 32
_PAGE_BYTES = 512


async def write_snapshot(pieces: AsyncIterator[bytes], path: str) -> None:
    """Complete and durable under its name when this returns; nothing is there when it fails. Raises StoreError.

    etcd sends the SHA-256 of the database file behind it; so cut short or altered on the way, it is noticed.
    """
    partial = f"{path}.partial"
    digest, tail, size = hashlib.sha256(), b"", 0
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            async for piece in pieces:
                await asyncio.to_thread(_write_all, descriptor, piece)
                size += len(piece)
                seen = tail + piece
                digest.update(seen[:-_HASH_BYTES])
                tail = seen[-_HASH_BYTES:]
            if size % _PAGE_BYTES != _HASH_BYTES or digest.digest() != tail:
                raise StoreError(f"etcd's snapshot arrived damaged after {size} bytes; try again")
            await asyncio.to_thread(os.fsync, descriptor)
        finally:
            os.close(descriptor)
        await asyncio.to_thread(_publish, partial, path)
    except OSError as exc:
        raise StoreError(f"cannot write {path}: {exc.strerror}") from exc
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)


def _write_all(descriptor: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(descriptor, view) :]


def _publish(partial: str, path: str) -> None:
    os.replace(partial, path)
    descriptor = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
