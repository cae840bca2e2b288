"""From a request to its user: certificate, token, anonymous, impersonation, and what each refuses."""

from __future__ import annotations

import base64
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from cryptography.hazmat.primitives.asymmetric import ec
from multidict import CIMultiDict

from timonel.api.errors import BadRequest, Forbidden, Unauthorized
from timonel.api.objects import Object
from timonel.api.refs import SERVICE_ACCOUNTS
from timonel.apiserver.authn.authenticator import IMPERSONATOR, RequestAuthenticator
from timonel.apiserver.authn.certificates import CertificateAuthenticator
from timonel.apiserver.authn.keys import KeySet
from timonel.apiserver.authn.service_accounts import DEFAULT_ISSUER, ServiceAccountTokens
from timonel.apiserver.authn.static_tokens import StaticTokens
from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.authz.attributes import Attributes, Decision
from timonel.apiserver.heads import KnownRequest, head_of
from timonel.cluster import pki
from timonel.testing.clock import VirtualClock
from timonel.testing.readers import FakeReaders

ACCOUNT: Object = {"metadata": {"namespace": "d", "name": "app", "uid": "u"}}


class Allowing:
    """Allows what is listed as "verb resource[/subresource] name"."""

    def __init__(self, *allowed: str) -> None:
        self.allowed = allowed

    async def authorize(self, a: Attributes) -> Decision:
        return Decision(f"{a.verb} {a.qualified_resource} {a.name}" in self.allowed)


class Transport:
    def __init__(self, ssl_object: Any = None) -> None:
        self.ssl_object = ssl_object

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.ssl_object if name == "ssl_object" else default


class Connection:
    """Stands for the SSL object of a connection; counts how often the certificate is asked for."""

    def __init__(self, der: bytes | None) -> None:
        self.der = der
        self.asked = 0

    def getpeercert(self, binary_form: bool) -> bytes | None:
        self.asked += 1
        return self.der


def request(*headers: tuple[str, str], connection: Any = None) -> Any:
    return make_mocked_request("GET", "/", headers=CIMultiDict(headers), transport=Transport(connection))


def bearer(token: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {token}")


@pytest.fixture
def readers() -> FakeReaders:
    readers = FakeReaders()
    readers.put(SERVICE_ACCOUNTS, ACCOUNT)
    return readers


@pytest.fixture
def tokens(readers: FakeReaders) -> ServiceAccountTokens:
    return ServiceAccountTokens(
        keys=KeySet(ec.generate_private_key(ec.SECP256R1())), readers=readers, clock=VirtualClock()
    )


def authenticator(tokens: ServiceAccountTokens | None = None, *allowed: str, **options: Any) -> RequestAuthenticator:
    return RequestAuthenticator(
        certificates=CertificateAuthenticator(clock=VirtualClock(datetime.now(UTC))),
        tokens=tokens,
        authorizer=Allowing(*allowed),
        **options,
    )


async def test_anonymous() -> None:
    user = await authenticator().authenticate(request())
    assert user == UserInfo("system:anonymous", groups=("system:unauthenticated",))
    assert await authenticator(anonymous=False).authenticate(request()) is None


async def test_bearer_token(tokens: ServiceAccountTokens) -> None:
    token, _ = tokens.issue(ACCOUNT, audiences=[DEFAULT_ISSUER], expiration_seconds=600)
    user = await authenticator(tokens).authenticate(request(bearer(token)))
    assert user is not None
    assert user.name == "system:serviceaccount:d:app"
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:d", "system:authenticated")


async def test_what_is_remembered_of_a_token_never_outlives_its_account(
    readers: FakeReaders, tokens: ServiceAccountTokens
) -> None:
    token, _ = tokens.issue(ACCOUNT, audiences=[DEFAULT_ISSUER], expiration_seconds=600)
    made = authenticator(tokens)
    for _ in range(2):
        assert await made.authenticate(request(bearer(token)))
    assert tokens.knows(token)
    readers.reader(SERVICE_ACCOUNTS).remove("d", "app")
    with pytest.raises(Unauthorized):
        await made.authenticate(request(bearer(token)))
    readers.put(SERVICE_ACCOUNTS, {"metadata": {**ACCOUNT["metadata"], "uid": "another"}})
    with pytest.raises(Unauthorized):
        await made.authenticate(request(bearer(token)))


async def test_fixed_tokens_are_remembered_only_when_they_are_good() -> None:
    fixed = StaticTokens({"secret": UserInfo("ann")})
    for _ in range(2):
        assert fixed.authenticate("secret") == UserInfo("ann")
        assert fixed.authenticate("secre") is None
    assert StaticTokens({"other": UserInfo("bob")}).authenticate("secret") is None


async def test_token_in_a_websocket_subprotocol(tokens: ServiceAccountTokens) -> None:
    token, _ = tokens.issue(ACCOUNT, audiences=[DEFAULT_ISSUER], expiration_seconds=600)
    encoded = base64.urlsafe_b64encode(token.encode()).rstrip(b"=").decode()
    header = ("Sec-WebSocket-Protocol", f"v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.{encoded}")
    user = await authenticator(tokens).authenticate(request(header))
    assert user is not None
    assert user.name == "system:serviceaccount:d:app"


@pytest.mark.parametrize("token", ["wrong", "a.b.c", "é"])
async def test_bad_tokens_are_not_anonymous(tokens: ServiceAccountTokens, token: str) -> None:
    with pytest.raises(Unauthorized):
        await authenticator(tokens).authenticate(request(bearer(token)))


async def test_other_schemes_are_no_credentials() -> None:
    user = await authenticator().authenticate(request(("Authorization", "Basic YTpi")))
    assert user is not None
    assert user.name == "system:anonymous"


async def test_static_tokens(tmp_path: Path) -> None:
    file = tmp_path / "tokens.csv"
    file.write_text('# fixed\nsecret,ann,1,"devs,ops"\nplain,bob,2\n')
    made = authenticator(static_tokens=StaticTokens.from_file(file))
    assert await made.authenticate(request(bearer("secret"))) == UserInfo(
        "ann", "1", ("devs", "ops", "system:authenticated")
    )
    assert await made.authenticate(request(bearer("plain"))) == UserInfo("bob", "2", ("system:authenticated",))
    file.write_text("secret,ann\n")
    with pytest.raises(ValueError, match="line 1"):
        StaticTokens.from_file(file)


async def test_client_certificate_is_parsed_once(tmp_path: Path) -> None:
    made = pki.ensure_pki(tmp_path, service_address="10.96.0.1")
    der = ssl.PEM_cert_to_DER_cert(made.clients["admin"].cert.read_text())
    connection = Connection(der)
    subject = authenticator()
    for _ in range(3):
        user = await subject.authenticate(request(connection=connection))
        assert user is not None
        assert (user.name, user.groups) == ("kubernetes-admin", ("kubeadm:cluster-admins", "system:authenticated"))
    assert connection.asked == 1
    left = subject.certificates.lifetimes  # of a year: more than 360 days
    assert (left.counts[-1], sum(left.counts)) == (1, 1)
    assert timedelta(days=360) < timedelta(seconds=left.total) <= timedelta(days=366)


async def test_a_certificate_that_expires_during_a_connection(tmp_path: Path) -> None:
    made = pki.ensure_pki(tmp_path, service_address="10.96.0.1")
    connection = Connection(ssl.PEM_cert_to_DER_cert(made.clients["admin"].cert.read_text()))
    clock = VirtualClock(datetime.now(UTC))
    subject = RequestAuthenticator(
        certificates=CertificateAuthenticator(clock=clock), tokens=None, authorizer=Allowing()
    )
    await subject.authenticate(request(connection=connection))
    await clock.advance(timedelta(days=366).total_seconds())
    with pytest.raises(Unauthorized):
        await subject.authenticate(request(connection=connection))


def again(sent: Any) -> Any:
    """A request with the head of one before, on the same connection."""
    made: Any = KnownRequest(head_of(sent), "/", sent.protocol, sent.task)
    return made


async def test_a_known_head_says_who_asks_and_not_that_they_still_may(readers: FakeReaders, tmp_path: Path) -> None:
    made = pki.ensure_pki(tmp_path, service_address="10.96.0.1")
    der = ssl.PEM_cert_to_DER_cert(made.clients["admin"].cert.read_text())
    clock = VirtualClock(datetime.now(UTC))
    tokens = ServiceAccountTokens(keys=KeySet(ec.generate_private_key(ec.SECP256R1())), readers=readers, clock=clock)
    token, _ = tokens.issue(ACCOUNT, audiences=[DEFAULT_ISSUER], expiration_seconds=600)
    subject = RequestAuthenticator(
        certificates=CertificateAuthenticator(clock=clock), tokens=tokens, authorizer=Allowing()
    )
    for sent, seconds in (
        (request(bearer(token)), timedelta(minutes=12).total_seconds()),
        (request(connection=Connection(der)), timedelta(days=366).total_seconds()),
    ):
        known = again(sent)
        user = await subject.authenticate(known)
        assert user is not None
        assert user.name in ("system:serviceaccount:d:app", "kubernetes-admin")
        repeated = KnownRequest(known.head, "/other", known.protocol, known._task)
        assert await subject.authenticate(repeated) == user
        await clock.advance(seconds)
        with pytest.raises(Unauthorized):
            await subject.authenticate(repeated)


async def test_a_connection_without_certificate_goes_on_to_tokens(tokens: ServiceAccountTokens) -> None:
    token, _ = tokens.issue(ACCOUNT, audiences=[DEFAULT_ISSUER], expiration_seconds=600)
    user = await authenticator(tokens).authenticate(request(bearer(token), connection=Connection(None)))
    assert user is not None
    assert user.name == "system:serviceaccount:d:app"


IMPERSONATE_ANN = ("Impersonate-User", "ann")


async def test_impersonation() -> None:
    subject = authenticator(None, "impersonate users ann", "impersonate groups devs", "impersonate userextras/scopes a",
                            "impersonate uids 7")  # fmt: skip
    sent = request(
        IMPERSONATE_ANN, ("Impersonate-Group", "devs"), ("Impersonate-Uid", "7"), ("Impersonate-Extra-Scopes", "a")
    )
    user = await subject.authenticate(sent)
    assert user == UserInfo("ann", "7", ("devs", "system:authenticated"), {"scopes": ("a",)})
    assert sent[IMPERSONATOR].name == "system:anonymous"


async def test_impersonated_service_accounts_have_their_groups() -> None:
    subject = authenticator(None, "impersonate serviceaccounts app")
    user = await subject.authenticate(request(("Impersonate-User", "system:serviceaccount:d:app")))
    assert user is not None
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:d", "system:authenticated")


@pytest.mark.parametrize(
    ("name", "groups", "expected"),
    [
        ("system:anonymous", (), ("system:unauthenticated",)),
        ("ann", ("system:unauthenticated",), ("system:unauthenticated",)),
        ("ann", ("system:authenticated",), ("system:authenticated",)),
    ],
)
async def test_implied_groups(name: str, groups: tuple[str, ...], expected: tuple[str, ...]) -> None:
    subject = authenticator(None, f"impersonate users {name}", *(f"impersonate groups {group}" for group in groups))
    headers = [("Impersonate-User", name), *(("Impersonate-Group", group) for group in groups)]
    user = await subject.authenticate(request(*headers))
    assert user is not None
    assert user.groups == expected


async def test_impersonation_needs_every_right() -> None:
    subject = authenticator(None, "impersonate users ann")
    with pytest.raises(Forbidden) as caught:
        await subject.authenticate(request(IMPERSONATE_ANN, ("Impersonate-Group", "system:masters")))
    assert caught.value.message == (
        'groups "system:masters" is forbidden: User "system:anonymous" cannot impersonate resource "groups"'
        ' in API group "" at the cluster scope'
    )


async def test_groups_without_a_user() -> None:
    with pytest.raises(BadRequest, match="without impersonating a user"):
        await authenticator().authenticate(request(("Impersonate-Group", "devs")))
