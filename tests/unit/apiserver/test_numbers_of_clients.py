"""Numbers with thousands of digits, which Python does not read, are refused as what is out of range."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from timonel.api.errors import BadRequest
from timonel.api.field_errors import Path
from timonel.api.kinds.pod.annotations import check_pod_annotations
from timonel.api.kinds.rules import Errors, parse_ip
from timonel.apiserver.component_statuses import why_lost
from timonel.apiserver.identity import is_expired
from timonel.apiserver.registry.listing import parse_revision

MANY = "1" * 5000


@pytest.mark.parametrize("text", [MANY, str(1 << 64)])
def test_revisions(text: str) -> None:
    with pytest.raises(BadRequest, match="value out of range"):
        parse_revision(text)


def test_the_last_revision_there_could_be() -> None:
    assert parse_revision(str((1 << 64) - 1)) == (1 << 64) - 1


def test_addresses() -> None:
    assert parse_ip(f"1.1.1.{MANY}") is None
    assert str(parse_ip("010.0.0.1")) == "10.0.0.1"


@pytest.mark.parametrize(("cost", "allowed"), [(MANY, False), ("2147483648", False), ("-2147483648", True)])
def test_costs_of_deletion(cost: str, allowed: bool) -> None:
    errors: Errors = []
    check_pod_annotations(
        errors, Path("metadata") / "annotations", {"controller.kubernetes.io/pod-deletion-cost": cost}, {}
    )
    assert (not errors) == allowed


def test_leases_that_outlast_all_calendars() -> None:
    lease = {"spec": {"renewTime": "9999-01-01T00:00:00.000000Z", "leaseDurationSeconds": 2**31 - 1,
                      "holderIdentity": "x"}}  # fmt: skip
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert not is_expired(lease, now)
    assert why_lost(lease, now) == ""
