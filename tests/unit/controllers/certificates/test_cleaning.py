"""How long requests stay.

Source: kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#request-signing-process
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.unit.controllers.certificates.wishes import START, condition, signing_request, write_authority
from tests.unit.controllers.loops import running
from timonel.api.objects import Object
from timonel.api.refs import CERTIFICATE_SIGNING_REQUESTS
from timonel.client.informer import Informers
from timonel.controllers.certificates import RequestCleaner
from timonel.controllers.certificates.authority import Authority
from timonel.controllers.certificates.cleaning import due_at
from timonel.controllers.certificates.requests import parse_wish
from timonel.testing.clock import VirtualClock
from timonel.testing.fake_client import FakeClient

HOUR, DAY = timedelta(hours=1), timedelta(hours=24)
UPDATED = "2026-01-01T10:00:00Z"


@pytest.mark.parametrize(
    ("conditions", "certificate", "due"),
    [
        ([], b"", DAY),
        ([condition("Denied", UPDATED)], b"", 11 * HOUR),
        ([condition("Approved", UPDATED)], b"no certificate", 11 * HOUR),
        ([condition("Approved", UPDATED)], b"", 10 * HOUR + DAY),
        ([condition("Approved", UPDATED), condition("Failed", "2026-01-01T12:00:00Z")], b"", 13 * HOUR),
        ([condition("Other", UPDATED)], b"", None),
    ],
)
def test_when_a_request_goes(conditions: list[Object], certificate: bytes, due: timedelta | None) -> None:
    request = signing_request(conditions=conditions, certificate=certificate)
    request["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    assert due_at(request) == (None if due is None else START + due)


def test_it_goes_with_its_certificate(tmp_path: Path) -> None:
    wish = parse_wish(signing_request())
    lifetime = timedelta(minutes=20)
    certificate = Authority(*write_authority(tmp_path)).sign(wish, ["client auth"], lifetime, START)
    request = signing_request(conditions=[condition("Approved")], certificate=certificate)
    request["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    assert due_at(request) == START + lifetime


async def test_it_is_deleted_then_and_not_before() -> None:
    clock = VirtualClock()
    client = FakeClient(signing_request(), clock=clock)
    async with running(RequestCleaner(client=client, informers=Informers(client, clock=clock), clock=clock)):
        await clock.advance(24 * 3600 - 1)
        assert len(client.objects(CERTIFICATE_SIGNING_REQUESTS)) == 1
        await clock.advance(3)
        assert client.objects(CERTIFICATE_SIGNING_REQUESTS) == []
    assert len(client.written()) == 1


async def test_a_denial_brings_it_forward() -> None:
    clock = VirtualClock()
    client = FakeClient(signing_request(), clock=clock)
    async with running(RequestCleaner(client=client, informers=Informers(client, clock=clock), clock=clock)):
        denied = condition("Denied")
        client.change(CERTIFICATE_SIGNING_REQUESTS, "wish", "", lambda obj: obj.update(status={"conditions": [denied]}))
        await clock.advance(3602)
        assert client.objects(CERTIFICATE_SIGNING_REQUESTS) == []
