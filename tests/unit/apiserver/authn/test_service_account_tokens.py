"""Bound tokens: good for their audience and their time, and no longer than what they are bound to."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from timonel.api.objects import Object
from timonel.api.refs import NODES, PODS, SECRETS, SERVICE_ACCOUNTS
from timonel.apiserver.authn.keys import KeySet
from timonel.apiserver.authn.service_accounts import DEFAULT_ISSUER, InvalidToken, ServiceAccountTokens
from timonel.apiserver.authn.user import UserInfo
from timonel.testing.clock import VirtualClock
from timonel.testing.readers import FakeReaders

KEY = ec.generate_private_key(ec.SECP256R1())
API = (DEFAULT_ISSUER,)


def thing(name: str, namespace: str = "d", uid: str = "") -> Object:
    return {"metadata": {"name": name, "uid": uid or f"uid-{name}", **({"namespace": namespace} if namespace else {})}}


ACCOUNT = thing("app")


@pytest.fixture
def readers() -> FakeReaders:
    made = FakeReaders()
    made.put(SERVICE_ACCOUNTS, ACCOUNT)
    made.put(PODS, thing("pod"))
    made.put(SECRETS, thing("secret"))
    made.put(NODES, thing("node", ""))
    return made


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def tokens(readers: FakeReaders, clock: VirtualClock) -> ServiceAccountTokens:
    return ServiceAccountTokens(keys=KeySet(KEY), readers=readers, clock=clock)


def issue(tokens: ServiceAccountTokens, **bound: Any) -> str:
    return tokens.issue(ACCOUNT, **{"audiences": API, "expiration_seconds": 3600, **bound})[0]


def why(tokens: ServiceAccountTokens, token: str, audiences: tuple[str, ...] | None = None) -> str:
    with pytest.raises(InvalidToken) as caught:
        tokens.authenticate(token, audiences)
    return caught.value.why


def test_claims_are_those_of_the_documentation(tokens: ServiceAccountTokens, clock: VirtualClock) -> None:
    token, jti = tokens.issue(
        ACCOUNT, audiences=["vault"], expiration_seconds=600, pod=thing("pod"), node=thing("node", "")
    )
    now = int(clock.now().timestamp())
    assert jwt.decode(token, options={"verify_signature": False}) == {
        "aud": ["vault"],
        "exp": now + 600,
        "iat": now,
        "nbf": now,
        "iss": "https://kubernetes.default.svc.cluster.local",
        "jti": jti,
        "kubernetes.io": {
            "namespace": "d",
            "node": {"name": "node", "uid": "uid-node"},
            "pod": {"name": "pod", "uid": "uid-pod"},
            "serviceaccount": {"name": "app", "uid": "uid-app"},
        },
        "sub": "system:serviceaccount:d:app",
    }


def test_the_user(tokens: ServiceAccountTokens) -> None:
    token, jti = tokens.issue(ACCOUNT, audiences=API, expiration_seconds=3600, pod=thing("pod"), node=thing("node", ""))
    user, audiences = tokens.authenticate(token)
    assert audiences == API
    prefix = "authentication.kubernetes.io/"
    assert user == UserInfo(
        "system:serviceaccount:d:app",
        "uid-app",
        ("system:serviceaccounts", "system:serviceaccounts:d"),
        {
            f"{prefix}credential-id": (f"JTI={jti}",),
            f"{prefix}pod-name": ("pod",),
            f"{prefix}pod-uid": ("uid-pod",),
            f"{prefix}node-name": ("node",),
            f"{prefix}node-uid": ("uid-node",),
        },
    )


def test_the_audience_must_fit(tokens: ServiceAccountTokens) -> None:
    token = issue(tokens, audiences=["vault"])
    assert why(tokens, token).startswith('token audiences ["vault"] is invalid for the target audiences ["https://')
    assert tokens.authenticate(token, ("vault", "other"))[1] == ("vault",)


async def test_it_expires_although_it_was_verified(tokens: ServiceAccountTokens, clock: VirtualClock) -> None:
    token = issue(tokens)
    tokens.authenticate(token)
    await clock.advance(3600 + 61)
    assert why(tokens, token) == "service account token has expired"


@pytest.mark.parametrize(
    ("bound", "ref", "namespace", "message"),
    [
        ({}, SERVICE_ACCOUNTS, "d", 'serviceaccounts "app" not found'),
        ({"pod": thing("pod")}, PODS, "d", "service account token has been invalidated"),
        ({"secret": thing("secret")}, SECRETS, "d", "service account token has been invalidated"),
        ({"node": thing("node", "")}, NODES, "", "service account token has been invalidated"),
    ],
)
def test_it_dies_with_what_it_is_bound_to(
    tokens: ServiceAccountTokens, readers: FakeReaders, bound: Object, ref: Any, namespace: str, message: str
) -> None:
    token = issue(tokens, **bound)
    tokens.authenticate(token)
    readers.reader(ref).remove(namespace, next(iter(bound.values()), ACCOUNT)["metadata"]["name"])
    assert why(tokens, token) == message


def test_a_pod_of_the_same_name_is_another_pod(tokens: ServiceAccountTokens, readers: FakeReaders) -> None:
    token = issue(tokens, pod=thing("pod"))
    readers.put(PODS, thing("pod", uid="new"))
    assert why(tokens, token) == "pod UID (new) does not match service account pod ref claim (uid-pod)"


def test_the_node_of_a_pods_token_is_only_told(tokens: ServiceAccountTokens, readers: FakeReaders) -> None:
    token = issue(tokens, pod=thing("pod"), node=thing("node", ""))
    readers.reader(NODES).remove("", "node")
    tokens.authenticate(token)


def test_a_deleted_pods_token_lasts_a_minute_more(
    tokens: ServiceAccountTokens, readers: FakeReaders, clock: VirtualClock
) -> None:
    token = issue(tokens, pod=thing("pod"))
    going = thing("pod")
    going["metadata"]["deletionTimestamp"] = "2025-12-31T23:59:30Z"
    readers.put(PODS, going)
    tokens.authenticate(token)
    going["metadata"]["deletionTimestamp"] = "2025-12-31T23:58:30Z"
    assert why(tokens, token) == "service account token has been invalidated"


def test_foreign_signatures(tokens: ServiceAccountTokens, readers: FakeReaders, clock: VirtualClock) -> None:
    other = ServiceAccountTokens(keys=KeySet(ec.generate_private_key(ec.SECP256R1())), readers=readers, clock=clock)
    token = issue(other)
    assert tokens.is_ours(token)
    assert why(tokens, token) == "invalid signature, no keys found"
    head, claims, _ = issue(tokens).split(".")
    assert "Signature verification failed" in why(tokens, f"{head}.{claims}.{token.split('.')[2]}")


def test_unsigned_tokens(tokens: ServiceAccountTokens) -> None:
    claims = jwt.decode(issue(tokens), options={"verify_signature": False})
    with pytest.raises(InvalidToken):
        tokens.authenticate(jwt.encode(claims, None, algorithm="none"))


def test_keys_can_be_exchanged(readers: FakeReaders, clock: VirtualClock) -> None:
    old = ServiceAccountTokens(keys=KeySet(KEY), readers=readers, clock=clock)
    fresh = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    new = ServiceAccountTokens(keys=KeySet(fresh, [KEY.public_key()]), readers=readers, clock=clock)
    for token in (issue(old), issue(new)):
        assert new.authenticate(token)[0].name == "system:serviceaccount:d:app"
    assert new.keys.algorithms() == ["ES256", "RS256"]


@pytest.mark.parametrize("token", ["", "abc", "a.b.c", "x" * 100_000, "..", "\udcff.\udcff.x"])
def test_garbage_is_not_ours(tokens: ServiceAccountTokens, token: str) -> None:
    assert not tokens.is_ours(token)


def test_published_keys_verify_our_tokens(tokens: ServiceAccountTokens) -> None:
    token = issue(tokens)
    jwks = jwt.PyJWKSet.from_dict(tokens.keys.jwks())
    key = jwks[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(
        token,
        key.key,
        algorithms=["ES256"],
        audience=DEFAULT_ISSUER,
        options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
    )
    (published,) = tokens.keys.jwks()["keys"]
    assert {"use": "sig", "kty": "EC", "alg": "ES256", "crv": "P-256"}.items() <= published.items()
    assert "d" not in published
