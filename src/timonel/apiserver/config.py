"""What one API server is told: addresses, certificates, limits. Files and flags are parsed in `timonel.cluster`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from timonel.apiserver.security import SecurityConfig


@dataclass(frozen=True, kw_only=True)
class ApiServerConfig:
    bind_address: str = "0.0.0.0"
    port: int = 6443
    """0 takes any free one; `ApiServer.url` then says which."""
    unix_socket: Path | None = None
    """A second listener for components on this host, with the same TLS: certificates say who they are."""

    cert_file: Path | None = None
    """Serving certificate, PEM. Without it the server speaks plain HTTP, which only tests do."""
    key_file: Path | None = None
    client_ca_file: Path | None = None
    """Client certificates signed by it are asked for and accepted; they stay optional."""

    security: SecurityConfig
    """Who may ask what; keys, tokens, the audit log."""

    advertise_address: str = ""
    """The address in the Endpoints of default/kubernetes; empty: the bind address, or the host's own."""
    service_cidr: str = "10.96.0.0/12"
    node_port_range: tuple[int, int] = (30000, 32767)
    """First and last port, both included."""

    request_timeout_seconds: float = 60.0
    """Of requests that are no watch or other stream; then 504. Clients may ask for less with ?timeout."""
    enable_priority_and_fairness: bool = True
    """False: plain limits on requests in flight instead of fair queues."""
    max_requests_inflight: int = 400
    max_mutating_requests_inflight: int = 200
    """With priority and fairness their sum is divided among the levels; without, they limit reads and writes, 0: not
    at all."""

    request_head_seconds: float = 32.0
    """From the first byte of a request, or from connecting, to the end of its head; as upstream."""
    max_body_bytes: int = 3 * 1024 * 1024
    """Upstream's limit; larger requests get 413."""
    min_watch_seconds: float = 1800.0
    """A watch without timeoutSeconds ends after this to twice this, so that clients spread their returns."""
    bookmark_interval_seconds: float = 60.0
    watch_buffer_bytes: int = 4 * 1024 * 1024
    """A watcher with more than this unsent is cut off; it resumes from its resourceVersion."""
    gzip_min_bytes: int = 128 * 1024
    event_ttl_seconds: int = 3600
    shutdown_grace_seconds: float = 5.0
    """How long requests in flight may take once the server is told to stop: with all else that stopping takes, less
    than the ten seconds after which the supervisor kills it."""
    history_seconds: float = 300.0
    """How long old revisions are kept for watches and continue tokens."""
