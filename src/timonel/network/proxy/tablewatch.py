"""Notices that somebody took our table away: `nft flush ruleset` does, and so does a restart of Debian's nftables.

The kernel tells every change of nftables to a netlink group; all but deletions of tables are passed over by their
header. Our own replacement deletes the table too, so what follows is a look whether it is there, not a verdict.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)

NETLINK_NETFILTER = 12
NFTABLES_GROUP = 7
DELETED_TABLE = (10 << 8) | 2
"""NFNL_SUBSYS_NFTABLES, NFT_MSG_DELTABLE. Source: linux/netfilter/nfnetlink.h, nf_tables.h."""
TABLE_NAME_ATTRIBUTE = 1
_HEADER = struct.Struct("=IHHII")
_FAMILY_BYTES = 4
_READ_BYTES = 1 << 17


def deleted_tables(data: bytes) -> Iterator[str]:
    """Names in one read of the socket: netlink messages, each a header, a family header and attributes."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        if kind == DELETED_TABLE:
            yield from _names(data[offset + _HEADER.size + _FAMILY_BYTES : offset + length])
        offset += (length + 3) & ~3


def _names(attributes: bytes) -> Iterator[str]:
    offset = 0
    while offset + 4 <= len(attributes):
        length, kind = struct.unpack_from("=HH", attributes, offset)
        if length < 4:
            return
        if kind == TABLE_NAME_ATTRIBUTE:
            yield attributes[offset + 4 : offset + length].rstrip(b"\0").decode(errors="replace")
        offset += (length + 3) & ~3


class TableWatch:
    """Calls `on_deleted` when a table of this name was deleted, or when events were lost."""

    def __init__(self, *, table: str, on_deleted: Callable[[], None]) -> None:
        self._table = table
        self._on_deleted = on_deleted
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Without the socket everything else works; the table then comes back at the next change."""
        try:
            made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_NETFILTER)
            made.bind((0, 1 << (NFTABLES_GROUP - 1)))
        except OSError as error:
            logger.warning("nftables not watched error=%s", error)
            return
        self._socket = made
        asyncio.get_running_loop().add_reader(made.fileno(), self._read)

    def stop(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _read(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # ENOBUFS: more events than the buffer holds
            self._on_deleted()
            return
        if self._table in deleted_tables(data):
            self._on_deleted()
