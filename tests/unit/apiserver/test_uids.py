"""uids are random UUIDs: RFC 9562, section 5.4."""

from __future__ import annotations

import uuid

from timonel.apiserver.registry.metadata import random_uid


def test_uids_are_of_version_4() -> None:
    uids = [random_uid() for _ in range(200)]
    parsed = [uuid.UUID(uid) for uid in uids]
    assert [str(uid) for uid in parsed] == uids
    assert {(uid.version, uid.variant) for uid in parsed} == {(4, uuid.RFC_4122)}
    assert len(set(uids)) == len(uids)
    assert {uid[19] for uid in uids} == set("89ab")
