"""Certificates that are issued: who signed them, for what, for how long; and what is never signed."""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.unit.controllers.certificates.wishes import (
    APPROVED,
    START,
    condition,
    key,
    name,
    request_pem,
    signing_request,
    write_authority,
)
from tests.unit.controllers.loops import running
from timonel.api.objects import Object
from timonel.api.refs import CERTIFICATE_SIGNING_REQUESTS
from timonel.client.informer import Informers
from timonel.controllers.certificates import RequestSigner, SigningConfig
from timonel.controllers.certificates.authority import Authority, render_usages
from timonel.controllers.certificates.requests import CannotSign, Wish, lifetime_of, parse_wish
from timonel.controllers.certificates.signing import SigningPair
from timonel.testing.clock import VirtualClock
from timonel.testing.fake_client import FakeClient

HOUR, YEAR = timedelta(hours=1), timedelta(days=365)


def sign(directory: Path, lifetime: timedelta = YEAR, usages: Any = ("client auth",), **wish: Any) -> x509.Certificate:
    authority = Authority(*write_authority(directory))
    parsed = parse_wish(signing_request(**wish))
    return x509.load_pem_x509_certificate(authority.sign(parsed, usages, lifetime, START))


def test_the_authority_of_the_cluster_signed_it(tmp_path: Path) -> None:
    certificate = sign(tmp_path, common_name="jane", organizations=["dev", "ops"])
    authority = x509.load_pem_x509_certificate((tmp_path / "ca.crt").read_bytes())
    certificate.verify_directly_issued_by(authority)
    assert certificate.subject == name("jane", ["dev", "ops"])
    assert certificate.public_key() == key().public_key()
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca) == (True, False)
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert found.key_identifier == identifier


@pytest.mark.parametrize(
    ("lifetime", "lasts"),
    [
        (HOUR, HOUR),  # shorter than eight hours: the whole time
        (8 * HOUR, 8 * HOUR - timedelta(minutes=5)),
        (YEAR, YEAR - timedelta(minutes=5)),
        (20 * YEAR, timedelta(days=3650)),  # never longer than the authority
    ],
)
def test_how_long_it_holds(tmp_path: Path, lifetime: timedelta, lasts: timedelta) -> None:
    certificate = sign(tmp_path, lifetime)
    assert certificate.not_valid_before_utc == START - timedelta(minutes=5)
    assert certificate.not_valid_after_utc == START + lasts


@pytest.mark.parametrize(
    ("seconds", "lifetime"),
    [(None, YEAR), (600, timedelta(minutes=10)), (30, timedelta(minutes=10)), (3600, HOUR), (10**9, YEAR)],
)
def test_a_request_may_ask_for_less_than_the_signers_limit(seconds: int | None, lifetime: timedelta) -> None:
    assert lifetime_of(seconds, YEAR) == lifetime


def test_an_authority_that_has_expired_signs_nothing(tmp_path: Path) -> None:
    authority = Authority(*write_authority(tmp_path, ends=START))
    with pytest.raises(CannotSign, match="expired"):
        authority.sign(parse_wish(signing_request()), ["client auth"], YEAR, START)


def test_files_that_do_not_belong_together_sign_nothing(tmp_path: Path) -> None:
    certificate, _ = write_authority(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    _, strange = write_authority(other)
    with pytest.raises(CannotSign, match="is not the key of"):
        Authority(certificate, strange).sign(parse_wish(signing_request()), ["client auth"], YEAR, START)
    with pytest.raises(CannotSign):
        Authority(certificate, tmp_path / "none").sign(parse_wish(signing_request()), ["client auth"], YEAR, START)


def test_a_renewed_authority_is_read_again(tmp_path: Path) -> None:
    authority = Authority(*write_authority(tmp_path))
    wish = parse_wish(signing_request())
    authority.sign(wish, ["client auth"], YEAR, START)
    write_authority(tmp_path)
    certificate = x509.load_pem_x509_certificate(authority.sign(wish, ["client auth"], YEAR, START))
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate((tmp_path / "ca.crt").read_bytes()))


def test_names_are_taken_over(tmp_path: Path) -> None:
    names = {"dns": ["n1"], "ip": ["10.0.0.1"], "email": ["a@b.c"], "uri": ["spiffe://a"]}
    found = sign(tmp_path, names=names).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert not found.critical
    assert [str(each.value) for each in found.value] == ["n1", "a@b.c", "10.0.0.1", "spiffe://a"]
    nameless = sign(tmp_path, common_name="", names=names)
    assert nameless.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


def test_other_extensions_are_not_taken_over(tmp_path: Path) -> None:
    """Who asks to be an authority is none."""
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name("jane"))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key(), hashes.SHA256())
    )
    authority = Authority(*write_authority(tmp_path))
    wish = Wish(request=request, common_name="jane", organizations=())
    certificate = x509.load_pem_x509_certificate(authority.sign(wish, ["client auth"], YEAR, START))
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize(
    ("usages", "bits", "purposes"),
    [
        (["signing"], {"digital_signature"}, []),
        (["client auth", "server auth"], set(), [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
        (["cert sign", "key agreement", "encipher only"], {"key_cert_sign", "key_agreement", "encipher_only"}, []),
        (["s/mime", "email protection", "ocsp signing", "crl sign"], {"crl_sign"},
         [ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.OCSP_SIGNING]),
    ],
)  # fmt: skip
def test_usages(usages: list[str], bits: set[str], purposes: list[x509.ObjectIdentifier]) -> None:
    key_usage, extended = render_usages(usages)
    allowed = ("digital_signature", "key_cert_sign", "key_agreement", "crl_sign", "content_commitment")
    assert {bit for bit in allowed if key_usage and getattr(key_usage, bit)} == bits - {"encipher_only"}
    if "encipher_only" in bits:
        assert key_usage is not None
        assert key_usage.encipher_only
    assert list(extended or ()) == purposes


def test_unknown_usages_are_refused() -> None:
    with pytest.raises(ValueError, match="unrecognized"):
        render_usages(["client auth", "world domination"])


def signer(client: FakeClient, clock: VirtualClock, directory: Path, **config: Any) -> RequestSigner:
    cert_file, key_file = write_authority(directory)
    settings = SigningConfig(cluster_signing_cert_file=str(cert_file), cluster_signing_key_file=str(key_file), **config)
    return RequestSigner(client=client, informers=Informers(client, clock=clock), clock=clock, config=settings)


async def signed(request: Object, directory: Path, **config: Any) -> Object:
    clock = VirtualClock()
    client = FakeClient(request, clock=clock)
    async with running(signer(client, clock, directory, **config)):
        await clock.advance(5)
    assert len(client.written()) <= 1
    (found,) = client.objects(CERTIFICATE_SIGNING_REQUESTS)
    status: Object = found.get("status") or {}
    return status


async def test_an_approved_request_gets_its_certificate(tmp_path: Path) -> None:
    status = await signed(signing_request(conditions=[APPROVED], expirationSeconds=3600), tmp_path)
    certificate = x509.load_pem_x509_certificate(b64decode(status["certificate"]))
    assert certificate.not_valid_after_utc == START + HOUR
    assert status["conditions"] == [APPROVED]


async def test_the_limit_comes_from_the_flag(tmp_path: Path) -> None:
    status = await signed(signing_request(conditions=[APPROVED]), tmp_path, cluster_signing_duration=7200.0)
    certificate = x509.load_pem_x509_certificate(b64decode(status["certificate"]))
    assert certificate.not_valid_after_utc == START + 2 * HOUR


@pytest.mark.parametrize(
    "request_",
    [
        signing_request(),
        signing_request(conditions=[condition("Denied")]),
        signing_request(conditions=[APPROVED, condition("Failed")]),
        signing_request(conditions=[APPROVED], signer="example.com/own"),
    ],
)
async def test_what_is_not_signed(request_: Object, tmp_path: Path) -> None:
    assert await signed(request_, tmp_path) == request_["status"]


async def test_a_wish_against_the_rules_fails_for_good(tmp_path: Path) -> None:
    status = await signed(signing_request(usages=["server auth"], conditions=[APPROVED]), tmp_path)
    assert "certificate" not in status
    assert status["conditions"] == [
        APPROVED,
        {
            "type": "Failed",
            "status": "True",
            "reason": "SignerValidationFailure",
            "message": "invalid usage for client certificate: server auth",
            "lastUpdateTime": "2026-01-01T00:00:00Z",
        },
    ]


async def test_a_missing_key_is_waited_for(tmp_path: Path) -> None:
    clock = VirtualClock()
    client = FakeClient(signing_request(conditions=[APPROVED]), clock=clock)
    own = signer(client, clock, tmp_path)
    content = (tmp_path / "ca.key").read_bytes()
    (tmp_path / "ca.key").unlink()
    async with running(own):
        await clock.advance(90)
        assert client.written() == []
        (tmp_path / "ca.key").write_bytes(content)
        await clock.advance(60)
    assert [write.subresource for write in client.written()] == ["status"]


def test_each_signer_may_have_files_of_its_own() -> None:
    own = SigningPair("a.crt", "a.key")
    assert SigningConfig(kubelet_serving=own).pairs() == {"kubernetes.io/kubelet-serving": own}
    assert len(SigningConfig(cluster_signing_cert_file="c", cluster_signing_key_file="k").pairs()) == 4
    assert SigningConfig().pairs() == {}


def test_request_texts_are_what_clients_send() -> None:
    assert request_pem("jane").startswith(b"-----BEGIN CERTIFICATE REQUEST-----")


@pytest.mark.parametrize("make", [ed25519.Ed25519PrivateKey.generate, lambda: rsa.generate_private_key(65537, 2048)])
async def test_keys_of_other_kinds(make: Any, tmp_path: Path) -> None:
    own = make()
    algorithm = None if isinstance(own, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    asked = x509.CertificateSigningRequestBuilder().subject_name(name("jane")).sign(own, algorithm)
    request = signing_request(conditions=[APPROVED])
    request["spec"]["request"] = b64encode(asked.public_bytes(Encoding.PEM)).decode()
    certificate = x509.load_pem_x509_certificate(b64decode((await signed(request, tmp_path))["certificate"]))
    assert certificate.public_key() == own.public_key()


async def test_a_request_that_cannot_be_read_fails(tmp_path: Path) -> None:
    request = signing_request(conditions=[APPROVED])
    request["spec"]["request"] = b64encode(b"nonsense").decode()
    status = await signed(request, tmp_path)
    assert [each["type"] for each in status["conditions"]] == ["Approved", "Failed"]
