"""Netlink messages of nftables: which of them take a table away."""

from __future__ import annotations

import struct

import pytest

from timonel.network.proxy.tablewatch import deleted_tables

NEW_TABLE, DELETED_TABLE, NEW_ELEMENT = 0x0A00, 0x0A02, 0x0A0C


def message(kind: int, name: str) -> bytes:
    """As linux/netlink.h lays it out: header, nfgenmsg, one attribute NFTA_TABLE_NAME padded to four bytes."""
    value = name.encode() + b"\0"
    attribute = struct.pack("=HH", 4 + len(value), 1) + value
    body = struct.pack("=BBH", 2, 0, 0) + attribute + b"\0" * (-len(attribute) % 4)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def test_deletions_are_found_among_other_messages() -> None:
    data = (
        message(NEW_TABLE, "timonel")
        + message(NEW_ELEMENT, "timonel")
        + message(DELETED_TABLE, "other")
        + message(DELETED_TABLE, "timonel")
    )
    assert list(deleted_tables(data)) == ["other", "timonel"]


@pytest.mark.parametrize("data", [b"", b"\0" * 64, b"\x01", message(DELETED_TABLE, "timonel")[:20]])
def test_damaged_messages_end_the_reading(data: bytes) -> None:
    assert list(deleted_tables(data)) == []
