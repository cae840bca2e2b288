"""The cluster's certificates and keys: made once, kept, renewed before they expire.

    ca.crt/.key                signs everything below but the front proxy
    front-proxy-ca.crt/.key    signs the client certificate the API server shows to aggregated API servers
    apiserver.crt/.key         the API server's serving certificate
    apiserver-kubelet-client   the API server as a client of kubelets
    <component>.crt/.key       clients: admin, manager, scheduler, proxy, one per node
    sa.key, sa.pub             signs service account tokens; never renewed by itself, old tokens would die
    encryption.key             32 random bytes, base64: Secrets at rest
    etcd/                      an authority of its own, where the cluster keeps an etcd of its own

Private files have mode 0600 and appear whole or not at all. Names follow kubeadm
(kubernetes.io/docs/setup/best-practices/certificates).
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from timonel.cluster.certificates import (
    Pair,
    ensure_ca,
    ensure_client_certificate,
    ensure_server_certificate,
    key_pem,
)
from timonel.cluster.private_files import write_atomic, write_private

ADMIN = "admin"
MANAGER = "manager"
SCHEDULER = "scheduler"
PROXY = "proxy"
INGRESS = "ingress"


@dataclass(frozen=True, slots=True)
class Pki:
    """Where everything is. `clients` by component name: admin, manager, scheduler, proxy, ingress."""

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
    INGRESS: ("system:timonel:ingress", ()),
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
    ca = ensure_ca(directory, "ca", "kubernetes", now)
    front_proxy_ca = ensure_ca(directory, "front-proxy-ca", "front-proxy-ca", now)
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


def _ensure_service_account_key(directory: Path) -> Path:
    path, public = directory / "sa.key", directory / "sa.pub"
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        key = ec.generate_private_key(ec.SECP256R1())
        write_private(path, key_pem(key))
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if not public.exists() or public.read_bytes() != pem:
        write_atomic(public, pem, 0o644)
    return path


def _ensure_encryption_key(directory: Path) -> Path:
    path = directory / "encryption.key"
    if not path.exists():
        write_private(path, base64.b64encode(secrets.token_bytes(32)) + b"\n")
    return path
