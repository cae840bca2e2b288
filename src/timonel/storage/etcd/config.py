"""Where etcd is and how to be let in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EtcdConfig:
    endpoints: tuple[str, ...]
    """URLs of the members, https://host:port; http:// means without TLS, for a member on the same host only."""
    ca_file: str = ""
    """PEM: who signs the members' certificates; "": the system's authorities."""
    cert_file: str = ""
    """PEM: our certificate, which etcd asks for when it runs with --client-cert-auth."""
    key_file: str = ""
    prefix: str = ""
    """Put before every key, for clusters that share one etcd. "" lays keys out as upstream does: /registry/…"""
    history_seconds: float = 300.0
    """How long changes are kept at least. All servers of one etcd share this duty; 0: somebody else compacts."""
    call_seconds: float = 10.0
    """How long one call may take, and how long a write waits until this process has heard of it."""
