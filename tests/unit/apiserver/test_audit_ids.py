"""Ids of requests in the audit log."""

from __future__ import annotations

import uuid

from timonel.apiserver.server import new_audit_id


def test_each_is_a_version_4_uuid_of_its_own() -> None:
    ids = [new_audit_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    for text in ids:
        parsed = uuid.UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 4, uuid.RFC_4122)
