"""The cluster's certificates and keys: made once, kept, renewed before they expire.

    ca.crt/.key                signs everything below but the front proxy
    front-proxy-ca.crt/.key    signs the client certificate the API server shows to aggregated API servers
    apiserver.crt/.key         the API server's serving certificate
    apiserver-kubelet-client   the API server as a client of kubelets
    <component>.crt/.key       clients: admin, manager, scheduler, proxy, one per node
    sa.key, sa.pub             signs service account tokens; never renewed by itself, old tokens would die
    encryption.key             32 random bytes, base64: Secrets at rest
    etcd/                      an authority of its own, where the cluster keeps an etcd of its own

Keys are ECDSA P-256: a signature takes 20 µs where RSA takes a millisecond. Private files have mode 0600 and appear
whole or not at all. Names follow kubeadm (kubernetes.io/docs/setup/best-practices/certificates).
"""

from __future__ import annotations

import base64
import ipaddress
import os
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=365)
RENEW_BEFORE = timedelta(days=60)
"""A leaf with less left than this is made anew, a CA with less than a leaf's whole life."""
BACKDATE = timedelta(minutes=5)
"""Certificates hold from a little before now, for machines whose clocks are behind."""

ADMIN = "admin"
MANAGER = "manager"
SCHEDULER = "scheduler"
PROXY = "proxy"

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, as PEM files."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Pki:
    """Where everything is. `clients` by component name: admin, manager, scheduler, proxy."""

    directory: Path
    ca: Pair
    front_proxy_ca: Pair
    front_proxy_client: Pair
    apiserver: Pair
    kubelet_client: Pair
    clients: dict[str, Pair]
    service_account_key: Path
    service_account_public_key: Path
    encryption_key: Path

    def read_encryption_key(self) -> bytes:
        """32 bytes."""
        return base64.b64decode(self.encryption_key.read_bytes(), validate=False)


MANAGER_SERVING = "manager-serving"
"""Of the manager's ports for monitoring."""

CLIENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    ADMIN: ("kubernetes-admin", ("kubeadm:cluster-admins",)),
    MANAGER: ("system:kube-controller-manager", ()),
    SCHEDULER: ("system:kube-scheduler", ()),
    PROXY: ("system:kube-proxy", ()),
}
"""Component -> (CN, O). The admin's group is bound to cluster-admin, so its rights can be taken away again."""

KUBELET_CLIENT_USER = "kube-apiserver-kubelet-client"
"""Bound to system:kubelet-api-admin: enough to talk to kubelets, and nothing else."""


def ensure_pki(
    directory: Path,
    *,
    service_address: str,
    addresses: Sequence[str] = (),
    names: Sequence[str] = (),
    domain: str = "cluster.local",
    now: datetime | None = None,
) -> Pki:
    """Makes what is missing, damaged, near its end or for other names, and leaves the rest untouched.

    `service_address` is the first address of the service network, `addresses` those of the server's hosts, `names`
    more DNS names or addresses. Raises OSError when the directory cannot be written.
    """
    now = now or datetime.now(UTC)
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    ca = _ensure_ca(directory, "ca", "kubernetes", now)
    front_proxy_ca = _ensure_ca(directory, "front-proxy-ca", "front-proxy-ca", now)
    alternatives = [
        "kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{domain}", "localhost",
        *names, service_address, "127.0.0.1", "::1", *addresses,
    ]  # fmt: skip
    ensure_server_certificate(directory, "apiserver", ca, "kube-apiserver", alternatives, now=now)
    local = ["localhost", "127.0.0.1", "::1", *addresses]
    ensure_server_certificate(directory, MANAGER_SERVING, ca, "kube-controller-manager", local, now=now)
    ensure_client_certificate(directory, "front-proxy-client", front_proxy_ca, "front-proxy-client", now=now)
    ensure_client_certificate(directory, "apiserver-kubelet-client", ca, KUBELET_CLIENT_USER, now=now)
    for component, (name, groups) in CLIENTS.items():
        ensure_client_certificate(directory, component, ca, name, groups, now=now)
    _ensure_service_account_key(directory)
    _ensure_encryption_key(directory)
    return locate_pki(directory)


def locate_pki(directory: Path) -> Pki:
    """Where `ensure_pki` put everything, for a process that only reads it."""

    def pair(name: str) -> Pair:
        return Pair(directory / f"{name}.crt", directory / f"{name}.key")

    return Pki(
        directory=directory,
        ca=pair("ca"),
        front_proxy_ca=pair("front-proxy-ca"),
        front_proxy_client=pair("front-proxy-client"),
        apiserver=pair("apiserver"),
        kubelet_client=pair("apiserver-kubelet-client"),
        clients={component: pair(component) for component in CLIENTS},
        service_account_key=directory / "sa.key",
        service_account_public_key=directory / "sa.pub",
        encryption_key=directory / "encryption.key",
    )


def ensure_authority(directory: Path, name: str, common_name: str, *, now: datetime | None = None) -> Pair:
    """One more, which nothing of the cluster trusts by itself."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    return _ensure_ca(directory, name, common_name, now or datetime.now(UTC))


def ensure_node_client(directory: Path, ca: Pair, node: str, *, now: datetime | None = None) -> Pair:
    """The kubelet as a client, "kubelet-client.crt" in `directory`: system:node:NAME of system:nodes."""
    return ensure_client_certificate(directory, "kubelet-client", ca, f"system:node:{node}", ("system:nodes",), now=now)


def ensure_kubelet_serving(
    directory: Path, ca: Pair, node: str, addresses: Sequence[str], *, now: datetime | None = None
) -> Pair:
    """The kubelet's HTTPS server, "kubelet-server.crt" in `directory`, for the node's name and addresses."""
    return ensure_server_certificate(
        directory, "kubelet-server", ca, f"system:node:{node}", [node, *addresses, "127.0.0.1", "localhost"],
        groups=("system:nodes",), now=now,
    )  # fmt: skip


def ensure_client_certificate(
    directory: Path, name: str, ca: Pair, common_name: str, groups: Sequence[str] = (), *, now: datetime | None = None
) -> Pair:
    return _ensure_leaf(directory, name, ca, _subject(common_name, groups), (), ExtendedKeyUsageOID.CLIENT_AUTH, now)


def ensure_server_certificate(
    directory: Path,
    name: str,
    ca: Pair,
    common_name: str,
    alternatives: Sequence[str],
    *,
    groups: Sequence[str] = (),
    now: datetime | None = None,
) -> Pair:
    """`alternatives` are DNS names and IP addresses in any order."""
    unique = tuple(dict.fromkeys(_general_name(text) for text in alternatives if text))
    subject = _subject(common_name, groups)
    return _ensure_leaf(directory, name, ca, subject, unique, ExtendedKeyUsageOID.SERVER_AUTH, now)


def _ensure_leaf(
    directory: Path,
    name: str,
    ca: Pair,
    subject: x509.Name,
    alternatives: Sequence[x509.GeneralName],
    usage: x509.ObjectIdentifier,
    now: datetime | None,
) -> Pair:
    now = now or datetime.now(UTC)
    directory.mkdir(parents=True, exist_ok=True)
    pair = Pair(directory / f"{name}.crt", directory / f"{name}.key")
    authority = _read(ca)
    if authority is None:
        raise ValueError(f"{ca.cert} and {ca.key} are no usable certificate authority")
    ca_certificate, ca_key = authority
    existing = _read(pair)
    if existing is not None and _is_good(existing[0], ca_certificate, subject, alternatives, now):
        pair.key.chmod(0o600)
        return pair
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(
            subject, ca_certificate.subject, key, now, min(now + LEAF_LIFETIME, ca_certificate.not_valid_after_utc)
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(_authority_identifier(ca_certificate), critical=False)
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    _write_pair(pair, builder.sign(ca_key, hashes.SHA256()), key)
    return pair


def _ensure_ca(directory: Path, name: str, common_name: str, now: datetime) -> Pair:
    """A CA is kept as long as it outlives the leaves it signs. It is renewed with its key, so its leaves stay good."""
    pair = Pair(directory / f"{name}.crt", directory / f"{name}.key")
    existing = _read(pair)
    if existing is not None and existing[0].not_valid_after_utc - now > LEAF_LIFETIME:
        pair.key.chmod(0o600)
        return pair
    key = existing[1] if existing is not None else ec.generate_private_key(ec.SECP256R1())
    subject = _subject(common_name, ())
    certificate = (
        _builder(subject, subject, key, now, now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write_pair(pair, certificate, key)
    return pair


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, now: datetime, not_after: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _authority_identifier(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(common_name: str, groups: Sequence[str]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _is_good(
    certificate: x509.Certificate,
    ca: x509.Certificate,
    subject: x509.Name,
    alternatives: Sequence[x509.GeneralName],
    now: datetime,
) -> bool:
    if certificate.not_valid_after_utc - now < RENEW_BEFORE or certificate.not_valid_before_utc > now:
        return False
    if certificate.subject != subject:
        return False
    try:
        certificate.verify_directly_issued_by(ca)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is not from this CA and is made anew
        return False
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return not alternatives
    return set(alternatives) <= set(extension.value)


def _read(pair: Pair) -> tuple[x509.Certificate, Key] | None:
    """None when either file is missing, damaged or does not belong to the other."""
    try:
        certificate = x509.load_pem_x509_certificate(pair.cert.read_bytes())
        key = load_pem_private_key(pair.key.read_bytes(), password=None)
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        return None
    return certificate, key


def _write_pair(pair: Pair, certificate: x509.Certificate, key: Key) -> None:
    # The key first: a crash in between leaves a pair that does not match, which is made anew.
    write_private(pair.key, _key_pem(key))
    write_atomic(pair.cert, certificate.public_bytes(Encoding.PEM), 0o644)


def _key_pem(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _ensure_service_account_key(directory: Path) -> Path:
    path, public = directory / "sa.key", directory / "sa.pub"
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        key = ec.generate_private_key(ec.SECP256R1())
        write_private(path, _key_pem(key))
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if not public.exists() or public.read_bytes() != pem:
        write_atomic(public, pem, 0o644)
    return path


def _ensure_encryption_key(directory: Path) -> Path:
    path = directory / "encryption.key"
    if not path.exists():
        write_private(path, base64.b64encode(secrets.token_bytes(32)) + b"\n")
    return path


def write_private(path: Path, data: bytes) -> None:
    write_atomic(path, data, 0o600)


def write_atomic(path: Path, data: bytes, mode: int) -> None:
    """Replaces the file in one step; after a crash it is the old one or the new one, on the disk."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_kubeconfig(
    path: Path,
    *,
    server: str,
    ca: Path,
    client: Pair,
    context: str = "timonel",
    user: str = "",
    embed: bool = True,
    namespace: str = "",
) -> None:
    """A kubeconfig with one cluster, user and context, all named after `context` (the user after `user`, if given).

    With `embed` it holds the certificates themselves and can be carried away; without, it names the files, and
    renewed ones are picked up by whoever reads it again.
    """
    user = user or context

    def material(key: str, file: Path) -> dict[str, str]:
        if embed:
            return {f"{key}-data": base64.b64encode(file.read_bytes()).decode()}
        return {key: str(file)}

    cluster = {"server": server, **material("certificate-authority", ca)}
    credentials = {**material("client-certificate", client.cert), **material("client-key", client.key)}
    scope = {"cluster": context, "user": user, **({"namespace": namespace} if namespace else {})}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": context, "context": scope}],
        "current-context": context,
        "preferences": {},
    }
    write_private(path, yaml.safe_dump(document, sort_keys=False).encode())
