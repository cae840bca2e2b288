"""Unused tokens of old: kept for a year, marked, kept for a year more, deleted; never those made by hand or in use.

Source: kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#legacy-serviceaccount-token-cleaner
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from tests.unit.controllers.loops import running
from tests.unit.controllers.test_token_secrets import account, secret
from timonel.api.objects import Object, labels_of
from timonel.api.refs import SECRETS
from timonel.client.informer import Informers
from timonel.controllers.legacy_tokens import LegacyTokenCleaner, LegacyTokenConfig, ripe_at
from timonel.controllers.slim import slim_pod
from timonel.testing.clock import VirtualClock
from timonel.testing.fake_client import FakeClient

PERIOD = timedelta(days=10)
DAY = 24 * 3600.0


@pytest.mark.parametrize(
    ("labels", "created", "since", "ripe"),
    [
        ({}, "2026-01-01T12:00:00Z", date(2025, 1, 1), datetime(2026, 1, 11, 12)),
        ({}, "2025-01-01T12:00:00Z", date(2026, 1, 1), datetime(2026, 1, 12)),
        ({"last-used": "2026-01-05"}, "2025-01-01T12:00:00Z", date(2025, 1, 1), datetime(2026, 1, 16)),
        ({"last-used": "2026-01-05", "invalid-since": "2026-02-01"}, "2025-01-01T12:00:00Z", date(2025, 1, 1),
         datetime(2026, 2, 12)),
        ({"last-used": "yesterday"}, "2025-01-01T12:00:00Z", date(2025, 1, 1), None),
        ({"invalid-since": "some day"}, "2025-01-01T12:00:00Z", date(2025, 1, 1), datetime(2025, 1, 12)),
    ],
)  # fmt: skip
def test_when_something_may_be_done(labels: dict[str, str], created: str, since: date, ripe: datetime | None) -> None:
    made = secret()
    made["metadata"]["creationTimestamp"] = created
    made["metadata"]["labels"] = {f"kubernetes.io/legacy-token-{key}": value for key, value in labels.items()}
    assert ripe_at(made, since, PERIOD) == (ripe.replace(tzinfo=UTC) if ripe else None)


TRACKING: Object = {
    "kind": "ConfigMap",
    "apiVersion": "v1",
    "metadata": {"name": "kube-apiserver-legacy-service-account-token-tracking", "namespace": "kube-system"},
    "data": {"since": "2025-01-01"},
}


def pod(**spec: Any) -> Object:
    containers = [{"name": "c", **spec.pop("container", {})}]
    metadata = {"name": "p", "namespace": "d"}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": {"containers": containers, **spec}}


async def after(days: int, *objects: Object) -> Object | None:
    """The Secret, some days after its creation; None when it is gone."""
    clock = VirtualClock()
    client = FakeClient(TRACKING, *(slim_pod(each) if each["kind"] == "Pod" else each for each in objects), clock=clock)
    config = LegacyTokenConfig(legacy_service_account_token_clean_up_period=PERIOD.total_seconds())
    own = LegacyTokenCleaner(client=client, informers=Informers(client, clock=clock), clock=clock, config=config)
    async with running(own):
        for _ in range(days):
            await clock.advance(DAY)
    assert len(client.written()) <= 2
    return next(iter(client.objects(SECRETS)), None)


OWN = account("app", "uid-app", "t")
MARK = "kubernetes.io/legacy-token-invalid-since"


async def test_its_life() -> None:
    early = await after(9, OWN, secret())
    assert early is not None
    assert labels_of(early) == {}
    marked = await after(12, OWN, secret())
    assert marked is not None
    assert labels_of(marked)[MARK] in ("2026-01-11", "2026-01-12")
    still = await after(20, OWN, secret())
    assert still is not None
    assert await after(26, OWN, secret()) is None


@pytest.mark.parametrize(
    "others",
    [
        [account()],  # made by hand: not listed
        [],
        [OWN, pod(volumes=[{"name": "v", "secret": {"secretName": "t"}}])],
        [OWN, pod(container={"envFrom": [{"secretRef": {"name": "t"}}]})],
        [OWN, pod(container={"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "t", "key": "token"}}}]})],
        [OWN, pod(imagePullSecrets=[{"name": "t"}])],
    ],
)
async def test_what_is_kept(others: list[Object]) -> None:
    found = await after(40, secret(), *others)
    assert found is not None
    assert labels_of(found) == {}


async def test_pods_that_use_others_do_not_count() -> None:
    found = await after(12, OWN, secret(), pod(volumes=[{"name": "v", "secret": {"secretName": "other"}}]))
    assert found is not None
    assert MARK in labels_of(found)
