"""An etcd of the cluster's own, for `--store etcd` without addresses of one: a member beside the server, on loopback.

It has an authority of its own: whoever it lets in reads every Secret's bytes, so that none of the certificates which
the cluster's authority signs, such as the kubelets', may open it. Source of names: kubeadm's layout, with etcd/ca.crt.
"""

from __future__ import annotations

from dataclasses import dataclass

from timonel.cluster.certificates import Pair, ensure_authority, ensure_client_certificate, ensure_server_certificate
from timonel.cluster.layout import Layout, NodeLayout
from timonel.cluster.spawn import Part

CLIENT_PORT, PEER_PORT = 2379, 2380
PART = "etcd"
_HEARTBEAT_MILLISECONDS = 50
"""A member alone waits for ten of these before it leads."""
_LARGEST_REQUEST_BYTES = 8 * 1024 * 1024
"""etcd's own limit of 1.5 MiB is less than the API's of 3 MiB."""
_LARGEST_FILE_BYTES = 8 * 1024**3
"""What etcd recommends at most; its own limit is 2 GiB."""


@dataclass(frozen=True, slots=True)
class EtcdPki:
    ca: Pair
    server: Pair
    client: Pair


def ensure_etcd_pki(layout: Layout) -> EtcdPki:
    """Makes what is missing or near its end. Raises OSError."""
    folder = layout.pki / "etcd"
    ca = ensure_authority(folder, "ca", "etcd-ca")
    return EtcdPki(
        ca=ca,
        server=ensure_server_certificate(folder, "server", ca, "etcd", ["localhost", "127.0.0.1"]),
        client=ensure_client_certificate(folder, "apiserver-client", ca, "kube-apiserver-etcd-client"),
    )


def etcd_part(layout: Layout, node: NodeLayout, pki: EtcdPki) -> Part:
    """Debian's program; it tells the supervisor itself when it is ready."""
    client, peer = f"https://127.0.0.1:{CLIENT_PORT}", f"https://127.0.0.1:{PEER_PORT}"
    return Part(
        name=PART,
        argv=(
            "etcd", f"--name={PART}", f"--data-dir={layout.etcd_data}/member",
            f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={PART}={peer}",
            "--client-cert-auth", f"--trusted-ca-file={pki.ca.cert}",
            f"--cert-file={pki.server.cert}", f"--key-file={pki.server.key}",
            "--peer-client-cert-auth", f"--peer-trusted-ca-file={pki.ca.cert}",
            f"--peer-cert-file={pki.server.cert}", f"--peer-key-file={pki.server.key}",
            f"--heartbeat-interval={_HEARTBEAT_MILLISECONDS}", f"--election-timeout={10 * _HEARTBEAT_MILLISECONDS}",
            f"--max-request-bytes={_LARGEST_REQUEST_BYTES}", f"--quota-backend-bytes={_LARGEST_FILE_BYTES}",
            "--enable-grpc-gateway=false", "--logger=zap", "--log-level=warn",
        ),
        log=str(layout.logs / f"{PART}.log"),
        namespace=node.namespace,
        host_name=node.name if node.namespace else "",
    )  # fmt: skip
