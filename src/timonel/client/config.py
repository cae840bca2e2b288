"""How a client reaches a server and who it says it is; kubeconfig files are read here.

Source: kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig, client.authentication v1 Config.
"""

from __future__ import annotations

import base64
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from timonel.api.objects import find_by


class InvalidKubeconfig(ValueError):
    """The file cannot be used; the message names the file and the entry that is missing or malformed."""


@dataclass(frozen=True, slots=True)
class ClientConfig:
    server: str
    """Base URL, such as "https://127.0.0.1:6443"."""
    ca_file: str = ""
    """PEM bundle the server's certificate must chain to; "" uses the system's."""
    cert_file: str = ""
    """PEM client certificate (chain); with `key_file`."""
    key_file: str = ""
    token: str = field(default="", repr=False)
    """Bearer token; `token_file` wins when both are set."""
    token_file: str = ""
    """Read again when it changes: bound tokens are rotated in place."""
    user_agent: str = "timonel"
    unix_socket: str | None = None
    """Path of a Unix socket to connect to instead of the host in `server`, whose scheme still decides on TLS."""
    tls_server_name: str = ""
    """Name expected in the server's certificate when it differs from the host in `server`."""
    insecure_skip_tls_verify: bool = False
    ca_data: str = ""
    """PEM text, instead of `ca_file`; kubeconfig files may embed it."""
    cert_data: str = field(default="", repr=False)
    key_data: str = field(default="", repr=False)
    connect_timeout: float = 10.0
    """Seconds for connecting and the TLS handshake."""
    request_timeout: float = 60.0
    """Seconds for a whole request that is not a watch; upstream servers give up after 60 too."""
    max_connections: int = 0
    """Connections open at once; 0 is unlimited, since every watch holds one."""

    @classmethod
    def from_kubeconfig(
        cls, path: str | Path, context: str | None = None, *, user_agent: str = "timonel"
    ) -> ClientConfig:
        """The named context of a kubeconfig file, or its current one. Raises InvalidKubeconfig, OSError."""
        source = Path(path)
        try:
            document = yaml.safe_load(source.read_text(encoding="utf-8"))
        except yaml.YAMLError as exc:
            raise InvalidKubeconfig(f"{source}: not YAML: {exc}") from exc
        if not isinstance(document, dict):
            raise InvalidKubeconfig(f"{source}: not a kubeconfig")
        chosen = context or document.get("current-context") or ""
        entry = _entry(source, document, "contexts", chosen, "context")
        cluster = _entry(source, document, "clusters", entry.get("cluster", ""), "cluster")
        user = _entry(source, document, "users", entry["user"], "user") if entry.get("user") else {}
        if "exec" in user or "auth-provider" in user:
            raise InvalidKubeconfig(f"{source}: user {entry['user']!r}: credential plugins are not built")
        return cls(
            server=str(cluster.get("server") or "http://localhost:8080").rstrip("/"),
            ca_file=_file(source, cluster, "certificate-authority"),
            ca_data=_data(source, cluster, "certificate-authority-data"),
            cert_file=_file(source, user, "client-certificate"),
            cert_data=_data(source, user, "client-certificate-data"),
            key_file=_file(source, user, "client-key"),
            key_data=_data(source, user, "client-key-data"),
            token=str(user.get("token") or ""),
            token_file=_file(source, user, "tokenFile"),
            tls_server_name=str(cluster.get("tls-server-name") or ""),
            insecure_skip_tls_verify=bool(cluster.get("insecure-skip-tls-verify")),
            user_agent=user_agent,
        )

    def ssl_context(self) -> ssl.SSLContext | None:
        """TLS settings for this server, or None for http. Raises OSError and ssl.SSLError for unusable files."""
        if not self.server.startswith("https://"):
            return None
        if self.insecure_skip_tls_verify:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            context = ssl.create_default_context(cafile=self.ca_file or None, cadata=self.ca_data or None)
        if self.cert_file and self.key_file:
            context.load_cert_chain(self.cert_file, self.key_file)
        elif self.cert_data and self.key_data:
            # OpenSSL through Python takes files only; this one is private (0600) and gone right after.
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as bundle:
                bundle.write(self.cert_data + "\n" + self.key_data)
                bundle.flush()
                context.load_cert_chain(bundle.name)
        return context


def _entry(source: Path, document: dict[str, Any], section: str, name: str, field_name: str) -> dict[str, Any]:
    found = find_by(document.get(section), "name", name)
    if found is None or not isinstance(found.get(field_name), dict):
        raise InvalidKubeconfig(f"{source}: no {field_name} {name!r}")
    entry: dict[str, Any] = found[field_name]
    return entry


def _file(source: Path, entry: dict[str, Any], name: str) -> str:
    """Paths in a kubeconfig are relative to the file."""
    value = entry.get(name)
    return str(source.parent / value) if value else ""


def _data(source: Path, entry: dict[str, Any], name: str) -> str:
    try:
        return base64.b64decode(entry.get(name) or "", validate=True).decode()
    except ValueError as exc:
        raise InvalidKubeconfig(f"{source}: {name} is not base64 of PEM text") from exc
