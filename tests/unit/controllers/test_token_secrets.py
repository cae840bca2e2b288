"""Secrets for tokens, made by hand: filled, kept right, and gone with their account.

Source: kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.controllers.loops import running
from timonel.api.objects import Object
from timonel.api.refs import SECRETS, SERVICE_ACCOUNTS
from timonel.api.token_keys import TokenSigner
from timonel.client.informer import Informers
from timonel.controllers.token_secrets import TokenSecretController
from timonel.testing.clock import VirtualClock, settle
from timonel.testing.fake_client import FakeClient

KEY = ec.generate_private_key(ec.SECP256R1())
CA = "-----BEGIN CERTIFICATE-----\n"


def account(name: str = "app", uid: str = "uid-app", *secrets: str) -> Object:
    metadata = {"name": name, "namespace": "d", "uid": uid}
    made: Object = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": metadata}
    if secrets:
        made["secrets"] = [{"name": each} for each in secrets]
    return made


def secret(name: str = "t", owner: str = "app", uid: str = "", **data: str) -> Object:
    annotations = {"kubernetes.io/service-account.name": owner}
    if uid:
        annotations["kubernetes.io/service-account.uid"] = uid
    return {
        "kind": "Secret",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "d", "annotations": annotations},
        "type": "kubernetes.io/service-account-token",
        "data": {key: b64encode(value.encode()).decode() for key, value in data.items()},
    }


@asynccontextmanager
async def working(*objects: Object) -> AsyncIterator[FakeClient]:
    clock = VirtualClock()
    client = FakeClient(*objects, clock=clock)
    own = TokenSecretController(
        client=client, informers=Informers(client, clock=clock), clock=clock, root_ca=CA, signer=TokenSigner(KEY)
    )
    async with running(own):
        yield client


def data_of(client: FakeClient) -> dict[str, str]:
    (found,) = client.objects(SECRETS)
    return {key: b64decode(value).decode() for key, value in found["data"].items()}


async def test_a_new_one_is_filled() -> None:
    async with working(account(), secret()) as client:
        data = data_of(client)
        assert (data["ca.crt"], data["namespace"]) == (CA, "d")
        claims = jwt.decode(data["token"], KEY.public_key(), algorithms=["ES256"])
        assert claims == {
            "iss": "kubernetes/serviceaccount",
            "kubernetes.io/serviceaccount/namespace": "d",
            "kubernetes.io/serviceaccount/secret.name": "t",
            "kubernetes.io/serviceaccount/service-account.name": "app",
            "kubernetes.io/serviceaccount/service-account.uid": "uid-app",
            "sub": "system:serviceaccount:d:app",
        }
        (found,) = client.objects(SECRETS)
        assert found["metadata"]["annotations"] == {
            "kubernetes.io/service-account.name": "app",
            "kubernetes.io/service-account.uid": "uid-app",
        }
        assert len(client.written()) == 1


async def test_a_token_that_is_there_stays_and_an_old_authority_goes() -> None:
    async with working(account(), secret(token="mine", namespace="d", **{"ca.crt": "old"})) as client:
        assert data_of(client) == {"token": "mine", "namespace": "d", "ca.crt": CA}


async def test_what_is_complete_is_left_alone() -> None:
    async with working(account(), secret(uid="uid-app", token="x", namespace="d", **{"ca.crt": CA})) as client:
        assert client.written() == []


async def test_without_an_account_it_is_deleted() -> None:
    async with working(secret()) as client:
        assert client.objects(SECRETS) == []


async def test_it_does_not_survive_its_account() -> None:
    async with working(account(), secret(), secret("other", "other"), account("other", "uid-other")) as client:
        client.remove(SERVICE_ACCOUNTS, "app", "d")
        await settle()
        assert [each["metadata"]["name"] for each in client.objects(SECRETS)] == ["other"]


async def test_a_new_account_of_the_same_name_is_not_its_account() -> None:
    async with working(account(uid="new"), secret(uid="old", token="x")) as client:
        assert client.objects(SECRETS) == []


async def test_an_account_that_the_cache_does_not_know_yet_counts() -> None:
    clock = VirtualClock()
    client = FakeClient(account(), secret(), clock=clock)
    own = TokenSecretController(client=client, informers=Informers(client), clock=clock, signer=TokenSigner(KEY))
    lister = own.lister(SECRETS, field_selector="type=kubernetes.io/service-account-token")
    from timonel.api.objects import key_of

    (found,) = client.objects(SECRETS)
    lister.put(key_of(found), found)
    await own.sync(key_of(found))
    assert "token" in data_of(client)


async def test_the_account_forgets_a_secret_that_was_deleted() -> None:
    async with working(account("app", "uid-app", "t", "keep"), secret()) as client:
        await settle()
        await client.delete(SECRETS, "t", "d")
        await settle()
        (found,) = client.objects(SERVICE_ACCOUNTS)
        assert found["secrets"] == [{"name": "keep"}]
