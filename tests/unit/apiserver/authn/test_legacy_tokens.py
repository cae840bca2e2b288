"""Tokens in Secrets: good while the Secret holds them, their use noted by the day.

Source: kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from timonel.api.objects import Object, ObjectKey, copy_object
from timonel.api.refs import SECRETS, SERVICE_ACCOUNTS, ResourceRef
from timonel.api.token_secrets import token_claims
from timonel.apiserver.authn.keys import KeySet
from timonel.apiserver.authn.legacy_tokens import LegacyTokens
from timonel.apiserver.authn.service_accounts import InvalidToken
from timonel.testing.clock import VirtualClock, settle
from timonel.testing.readers import FakeReaders

KEYS = KeySet(ec.generate_private_key(ec.SECP256R1()))
ACCOUNT: Object = {"metadata": {"name": "app", "namespace": "d", "uid": "u"}}


class Writing:
    """Stands for the registry: writes into what is read."""

    def __init__(self, readers: FakeReaders) -> None:
        self.readers = readers
        self.writes = 0

    async def create(self, ref: ResourceRef, obj: Object, namespace: str = "") -> Any:
        raise NotImplementedError

    async def update(
        self,
        ref: ResourceRef,
        namespace: str,
        name: str,
        transform: Callable[[Object], Object],
        *,
        subresource: str = "",
    ) -> Any:
        reader = self.readers.reader(ref)
        self.writes += 1
        live = reader.get(namespace, name)
        assert live is not None
        reader.put(transform(live))


class World:
    def __init__(self, **changes: Any) -> None:
        self.clock = VirtualClock()
        self.readers = FakeReaders()
        self.writer = Writing(self.readers)
        secret: Object = {"metadata": {"name": "t", "namespace": "d", "uid": "s"}}
        self.token = KEYS.sign(token_claims(ACCOUNT, secret) | changes)
        secret["data"] = {"token": b64encode(self.token.encode()).decode()}
        self.readers.put(SECRETS, secret)
        self.readers.put(SERVICE_ACCOUNTS, copy_object(ACCOUNT))
        self.tokens = LegacyTokens(keys=KEYS, readers=self.readers, writer=self.writer, clock=self.clock)

    def change(self, ref: ResourceRef, name: str, **metadata: Any) -> None:
        live = self.readers.reader(ref).get("d", name)
        assert live is not None
        self.readers.put(ref, live | {"metadata": live["metadata"] | metadata})

    def why(self) -> str:
        with pytest.raises(InvalidToken) as caught:
            self.tokens.authenticate(self.token)
        return caught.value.why

    @property
    def labels(self) -> Any:
        found = self.readers.reader(SECRETS).get("d", "t")
        assert found is not None
        return found["metadata"].get("labels")


def test_it_is_the_account() -> None:
    world = World()
    assert world.tokens.is_ours(world.token)
    user = world.tokens.authenticate(world.token)
    assert (user.name, user.uid) == ("system:serviceaccount:d:app", "u")
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:d")


def test_others_tokens_are_not_ours() -> None:
    world = World(iss="https://elsewhere")
    assert not world.tokens.is_ours(world.token)
    assert not world.tokens.is_ours("07401b.f395accd246ae52d")


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"sub": ""}, "sub claim is missing"),
        ({"sub": "system:serviceaccount:d:other"}, "sub claim is invalid"),
        ({"kubernetes.io/serviceaccount/namespace": ""}, "namespace claim is missing"),
        ({"kubernetes.io/serviceaccount/secret.name": ""}, "secretName claim is missing"),
        ({"kubernetes.io/serviceaccount/service-account.uid": ""}, "serviceAccountUID claim is missing"),
        ({"kubernetes.io/serviceaccount/service-account.uid": "x"},
         "ServiceAccount UID (u) does not match claim (x)"),
        ({"kubernetes.io/serviceaccount/secret.name": "gone"}, "Token has been invalidated"),
    ],
)  # fmt: skip
def test_claims_are_checked(claims: dict[str, str], why: str) -> None:
    assert World(**claims).why() == why


def test_it_dies_with_its_secret() -> None:
    world = World()
    world.tokens.authenticate(world.token)
    world.readers.put(SECRETS, {"metadata": {"name": "t", "namespace": "d", "uid": "s"}, "data": {"token": "bmV3"}})
    assert world.why() == "Token does not match server's copy"
    world.readers.reader(SECRETS).remove("d", "t")
    assert world.why() == "Token has been invalidated"


def test_it_dies_with_its_account() -> None:
    world = World()
    world.change(SERVICE_ACCOUNTS, "app", deletionTimestamp="2026-01-01T00:00:00Z")
    assert world.why() == "ServiceAccount d/app has been deleted"
    del world.readers.reader(SERVICE_ACCOUNTS).objects[ObjectKey("d", "app")]
    assert world.why() == 'serviceaccounts "app" not found'


def test_a_forged_one() -> None:
    world = World()
    world.token = KeySet(ec.generate_private_key(ec.SECP256R1())).sign({"iss": "kubernetes/serviceaccount"})
    assert "no keys found" in world.why()


def test_the_audit_log_is_told_what_kind_of_token_it_is() -> None:
    world = World()
    notes: dict[str, str] = {}
    world.tokens.authenticate(world.token, notes)
    assert notes == {"authentication.k8s.io/legacy-token-manual-secret": "t"}
    world.readers.put(SERVICE_ACCOUNTS, ACCOUNT | {"secrets": [{"name": "t"}]})
    notes = {}
    world.tokens.authenticate(world.token, notes)
    assert notes == {"authentication.k8s.io/legacy-token-autogenerated-secret": "t"}
    world.change(SECRETS, "t", labels={"kubernetes.io/legacy-token-invalid-since": "2025-12-01"})
    notes = {}
    with pytest.raises(InvalidToken):
        world.tokens.authenticate(world.token, notes)
    assert notes == {"authentication.k8s.io/legacy-token-invalidated": "t/d"}


async def test_its_use_is_noted_once_a_day() -> None:
    world = World()
    task = asyncio.create_task(world.tokens.run())
    for _ in range(3):
        world.tokens.authenticate(world.token)
        await settle()
    assert world.labels == {"kubernetes.io/legacy-token-last-used": "2026-01-01"}
    assert world.writer.writes == 1
    await world.clock.advance(24 * 3600)
    world.tokens.authenticate(world.token)
    await settle()
    assert world.labels == {"kubernetes.io/legacy-token-last-used": "2026-01-02"}
    task.cancel()


async def test_a_marked_one_is_refused_and_the_attempt_is_noted() -> None:
    world = World()
    task = asyncio.create_task(world.tokens.run())
    world.change(SECRETS, "t", labels={"kubernetes.io/legacy-token-invalid-since": "2025-12-01"})
    assert "has been marked invalid" in world.why()
    await settle()
    assert world.labels["kubernetes.io/legacy-token-last-used"] == "2026-01-01"
    task.cancel()
