"""Certificates and keys of a cluster: made once, verified by OpenSSL itself, renewed in time, private."""

from __future__ import annotations

import base64
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID

from timonel.cluster import pki
from timonel.cluster.certificates import Pair, read_pair
from timonel.cluster.kubeconfig_files import write_kubeconfig

NOW = datetime.now(UTC)


def make(directory: Path, **kwargs: object) -> pki.Pki:
    return pki.ensure_pki(directory, service_address="10.96.0.1", addresses=["192.0.2.7"], **kwargs)  # type: ignore[arg-type]


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def snapshot(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    make(tmp_path)
    before = snapshot(tmp_path)
    make(tmp_path, now=NOW + timedelta(days=200))
    assert snapshot(tmp_path) == before


def test_leaves_near_their_end_are_renewed_and_the_rest_stays(tmp_path: Path) -> None:
    make(tmp_path)
    before = snapshot(tmp_path)
    make(tmp_path, now=NOW + timedelta(days=330))
    after = snapshot(tmp_path)
    changed = {name for name in after if after[name] != before[name]}
    assert "apiserver.crt" in changed
    assert "admin.crt" in changed
    assert not changed & {"ca.crt", "ca.key", "front-proxy-ca.crt", "sa.key", "sa.pub", "encryption.key"}


def test_new_addresses_make_a_new_server_certificate_only(tmp_path: Path) -> None:
    make(tmp_path)
    before = snapshot(tmp_path)
    make(tmp_path, names=["api.example.org"])
    after = snapshot(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {"apiserver.crt", "apiserver.key"}


def test_a_damaged_or_foreign_pair_is_made_anew(tmp_path: Path) -> None:
    made = make(tmp_path)
    made.clients["admin"].cert.write_text("garbage")
    made.kubelet_client.key.write_bytes(made.apiserver.key.read_bytes())
    made = make(tmp_path)
    assert read_pair(made.clients["admin"]) is not None
    assert read_pair(made.kubelet_client) is not None


def test_private_files_are_private(tmp_path: Path) -> None:
    make(tmp_path / "pki")
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700
    for path in (tmp_path / "pki").iterdir():
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o600 if path.suffix == ".key" else 0o644), path


def test_server_certificate_has_every_name_upstream_puts_in(tmp_path: Path) -> None:
    made = make(tmp_path, names=["api.example.org", "198.51.100.4"])
    names = certificate(made.apiserver.cert).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {*names.get_values_for_type(x509.DNSName)} == {
        "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
        "localhost", "api.example.org",
    }  # fmt: skip
    assert {str(item) for item in names.get_values_for_type(x509.IPAddress)} == {
        "10.96.0.1", "127.0.0.1", "::1", "192.0.2.7", "198.51.100.4",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("component", "name", "groups"),
    [
        ("admin", "kubernetes-admin", ["kubeadm:cluster-admins"]),
        ("manager", "system:kube-controller-manager", []),
        ("scheduler", "system:kube-scheduler", []),
        ("proxy", "system:kube-proxy", []),
    ],
)
def test_client_subjects(tmp_path: Path, component: str, name: str, groups: list[str]) -> None:
    subject = certificate(make(tmp_path).clients[component].cert).subject
    assert [item.value for item in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [name]
    assert [item.value for item in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == groups


def test_openssl_accepts_server_and_clients(tmp_path: Path) -> None:
    made = make(tmp_path / "pki")
    node = pki.ensure_node_client(tmp_path / "node", made.ca, "alpha")
    serving = pki.ensure_kubelet_serving(tmp_path / "node", made.ca, "alpha", ["192.0.2.9"])
    for server, host in (
        (made.apiserver, "10.96.0.1"),
        (made.apiserver, "kubernetes.default.svc"),
        (serving, "192.0.2.9"),
    ):
        for client in (*made.clients.values(), made.kubelet_client, node):
            peer = handshake(made.ca.cert, server, client, host)
            assert peer == certificate(client.cert).fingerprint(certificate(client.cert).signature_hash_algorithm)  # type: ignore[arg-type]


def test_a_client_certificate_is_no_server_certificate(tmp_path: Path) -> None:
    made = make(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(made.ca.cert, made.clients["admin"], made.clients["admin"], "localhost")


def test_front_proxy_clients_are_not_cluster_clients(tmp_path: Path) -> None:
    made = make(tmp_path)
    with pytest.raises(ssl.SSLError):
        handshake(made.ca.cert, made.apiserver, made.front_proxy_client, "localhost")


def handshake(ca: Path, server: Pair, client: Pair, host: str) -> bytes:
    """A TLS handshake in memory; gives the fingerprint of the client certificate as the server saw it."""
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(ca))
    server_context.verify_mode = ssl.CERT_REQUIRED
    server_context.load_cert_chain(server.cert, server.key)
    client_context = ssl.create_default_context(cafile=str(ca))
    client_context.load_cert_chain(client.cert, client.key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_side = server_context.wrap_bio(to_server, to_client, server_side=True)
    client_side = client_context.wrap_bio(to_client, to_server, server_hostname=host)
    done = set()
    for _ in range(6):
        for side in (client_side, server_side):
            if side in done:
                continue
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
    der = server_side.getpeercert(binary_form=True)
    assert der is not None
    parsed = x509.load_der_x509_certificate(der)
    return parsed.fingerprint(parsed.signature_hash_algorithm)  # type: ignore[arg-type]


def test_encryption_key_has_256_bits(tmp_path: Path) -> None:
    made = make(tmp_path)
    assert len(made.read_encryption_key()) == 32


@pytest.mark.parametrize("embed", [True, False])
def test_kubeconfig(tmp_path: Path, embed: bool) -> None:
    made = make(tmp_path / "pki")
    path = tmp_path / "admin.kubeconfig"
    write_kubeconfig(path, server="https://192.0.2.7:6443", ca=made.ca.cert, client=made.clients["admin"], embed=embed)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    config = yaml.safe_load(path.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    assert cluster["server"] == "https://192.0.2.7:6443"
    assert config["contexts"] == [{"name": "timonel", "context": {"cluster": "timonel", "user": "timonel"}}]
    assert config["current-context"] == "timonel"
    if embed:
        assert base64.b64decode(cluster["certificate-authority-data"]) == made.ca.cert.read_bytes()
        assert base64.b64decode(user["client-key-data"]) == made.clients["admin"].key.read_bytes()
    else:
        assert user["client-certificate"] == str(made.clients["admin"].cert)
