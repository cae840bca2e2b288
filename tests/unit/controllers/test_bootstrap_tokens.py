"""Bootstrap tokens sign the cluster's description while they are good, and go when they have expired.

Source: kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens
"""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from typing import Any

import jwt
import pytest

from tests.unit.controllers.loops import running
from timonel.api.bootstrap_tokens import groups_of, has_expired, parse_token, sign_detached, signing_token
from timonel.api.objects import Object
from timonel.api.refs import CONFIGMAPS, SECRETS
from timonel.client.informer import Informers
from timonel.controllers.bootstrap_tokens import BootstrapSigner, BootstrapTokenCleaner
from timonel.testing.clock import VirtualClock, settle
from timonel.testing.fake_client import FakeClient

ID, SECRET = "07401b", "f395accd246ae52d"
NOW = VirtualClock().now()


def token(token_id: str = ID, *, name: str = "", **data: str) -> Object:
    fields = {
        "token-id": token_id, "token-secret": SECRET, "usage-bootstrap-signing": "true",
        **{key.replace("_", "-"): value for key, value in data.items()},
    }  # fmt: skip
    return {
        "kind": "Secret",
        "apiVersion": "v1",
        "metadata": {"name": name or f"bootstrap-token-{token_id}", "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "data": {key: b64encode(value.encode()).decode() for key, value in fields.items() if value},
    }


def info(**data: str) -> Object:
    metadata = {"name": "cluster-info", "namespace": "kube-public"}
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": data}


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        (f"{ID}.{SECRET}", (ID, SECRET)),
        (f"{ID}.{SECRET}\n", None),
        (f"{ID.upper()}.{SECRET}", None),
        (f"{ID}x.{SECRET}", None),
        (f"{ID}.{SECRET}x", None),
        (ID, None),
        ("", None),
    ],
)
def test_what_a_token_looks_like(text: str, parsed: Any) -> None:
    assert parse_token(text) == parsed


@pytest.mark.parametrize(
    ("secret", "signs"),
    [
        (token(), True),
        (token(expiration="2026-01-01T00:00:01Z"), True),
        (token(expiration="2026-01-01T02:00:00+01:00"), True),
        (token(expiration="2026-01-01T00:00:00Z"), False),
        (token(expiration="tomorrow"), False),
        (token(usage_bootstrap_signing=""), False),
        (token(usage_bootstrap_signing="yes"), False),
        (token(token_secret=""), False),
        (token(name="bootstrap-token-aaaaaa"), False),
        (token(name="my-token"), False),
    ],
)
def test_which_tokens_sign(secret: Object, signs: bool) -> None:
    assert signing_token(secret, NOW) == ((ID, SECRET) if signs else None)


def test_a_token_without_a_time_does_not_expire() -> None:
    assert not has_expired(token(), NOW)


def test_groups() -> None:
    assert groups_of(token()) == ("system:bootstrappers",)
    both = token(auth_extra_groups="system:bootstrappers:worker,system:bootstrappers:a:b")
    assert groups_of(both) == ("system:bootstrappers", "system:bootstrappers:a:b", "system:bootstrappers:worker")
    for bad in ("system:masters", "system:bootstrappers:", "system:bootstrappers:A", "system:bootstrappers:a, b"):
        with pytest.raises(ValueError, match="invalid"):
            groups_of(token(auth_extra_groups=bad))


@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")  # sixteen characters are what tokens have
def test_the_signature_is_a_jws_that_anybody_can_verify() -> None:
    content = "kind: Config\n"
    header, middle, signature = sign_detached(content, ID, SECRET).split(".")
    assert middle == ""
    payload = urlsafe_b64encode(content.encode()).rstrip(b"=").decode()
    whole = f"{header}.{payload}.{signature}"
    assert jwt.get_unverified_header(whole) == {"alg": "HS256", "kid": ID}
    jws = jwt.PyJWS()
    assert jws.decode(whole, SECRET, algorithms=["HS256"]) == (content.encode())
    with pytest.raises(jwt.InvalidSignatureError):
        jws.decode(whole, SECRET[::-1], algorithms=["HS256"])


async def test_signatures_follow_the_tokens() -> None:
    clock = VirtualClock()
    client = FakeClient(info(kubeconfig="kind: Config\n"), token(), clock=clock)
    own = BootstrapSigner(client=client, informers=Informers(client, clock=clock), clock=clock)

    def data() -> Object:
        (found,) = client.objects(CONFIGMAPS)
        made: Object = found["data"]
        return made

    async with running(own):
        first = sign_detached("kind: Config\n", ID, SECRET)
        assert data() == {"kubeconfig": "kind: Config\n", f"jws-kubeconfig-{ID}": first}
        client.add(token("abcdef"))
        await settle()
        assert set(data()) == {"kubeconfig", f"jws-kubeconfig-{ID}", "jws-kubeconfig-abcdef"}
        client.remove(SECRETS, f"bootstrap-token-{ID}", "kube-system")
        await settle()
        assert set(data()) == {"kubeconfig", "jws-kubeconfig-abcdef"}
        client.change(CONFIGMAPS, "cluster-info", "kube-public", lambda obj: obj["data"].update(kubeconfig="new"))
        await settle()
        assert data()["jws-kubeconfig-abcdef"] == sign_detached("new", "abcdef", SECRET)
        writes = len(client.writes)
        client.disconnect()
        await clock.advance(60)
        assert len(client.writes) == writes


async def test_without_a_description_there_is_nothing_to_sign() -> None:
    clock = VirtualClock()
    client = FakeClient(info(other="x"), token(), clock=clock)
    async with running(BootstrapSigner(client=client, informers=Informers(client, clock=clock), clock=clock)):
        assert client.writes == []


async def test_expired_tokens_are_deleted_when_their_time_comes() -> None:
    clock = VirtualClock()
    client = FakeClient(
        token(), token("aaaaaa", expiration="2026-01-01T01:00:00Z"), token("bbbbbb", expiration="never?"), clock=clock
    )
    async with running(BootstrapTokenCleaner(client=client, informers=Informers(client, clock=clock), clock=clock)):
        names = [each["metadata"]["name"] for each in client.objects(SECRETS)]
        assert names == [f"bootstrap-token-{ID}", "bootstrap-token-aaaaaa"]
        await clock.advance(3599)
        assert len(client.objects(SECRETS)) == 2
        await clock.advance(1)
        assert [each["metadata"]["name"] for each in client.objects(SECRETS)] == [f"bootstrap-token-{ID}"]
