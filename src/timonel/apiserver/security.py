"""Everything that guards one API server, built in one place: who asks, whether they may, what is stored, the record.

The registry is built with an empty `Admission`; `build_security` then fills it, since plugins read from the registry.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from timonel.api.clock import Clock
from timonel.api.resource import ResourceTable
from timonel.apiserver.admission.chain import Admission
from timonel.apiserver.admission.plugins import Tools, build_plugins
from timonel.apiserver.admission.selection import AdmissionConfig
from timonel.apiserver.audit import AuditLog
from timonel.apiserver.authn.authenticator import RequestAuthenticator
from timonel.apiserver.authn.bootstrap_tokens import BootstrapTokens
from timonel.apiserver.authn.certificates import CertificateAuthenticator
from timonel.apiserver.authn.keys import KeySet
from timonel.apiserver.authn.legacy_tokens import LegacyTokens
from timonel.apiserver.authn.service_accounts import DEFAULT_ISSUER, ServiceAccountTokens
from timonel.apiserver.authn.static_tokens import StaticTokens
from timonel.apiserver.authz.node import NodeAuthorizer
from timonel.apiserver.authz.rbac import RbacAuthorizer
from timonel.apiserver.authz.union import UnionAuthorizer
from timonel.apiserver.proxy.kubelets import Kubelets
from timonel.apiserver.readers import Readers, Writer


@dataclass(frozen=True, kw_only=True)
class SecurityConfig:
    service_account_key_file: Path
    """Signs tokens; PEM, RSA or elliptic curve."""
    service_account_verifying_files: tuple[Path, ...] = ()
    """Keys of before, whose tokens are still accepted."""
    issuer: str = DEFAULT_ISSUER
    audiences: tuple[str, ...] = ()
    """Whom tokens for this server name; empty: the issuer."""
    jwks_uri: str = ""
    """Published for OpenID discovery; empty: /openid/v1/jwks at the address that was asked."""
    extend_token_expiration: bool = True
    """Tokens the server mounts into pods live a year, as upstream, and warn after the hour they say."""
    token_file: Path | None = None
    """Fixed bearer tokens, CSV."""
    bootstrap_tokens: bool = True
    """Accept the tokens of bootstrap-token-… Secrets, as with --enable-bootstrap-token-auth."""
    anonymous: bool = True
    """Requests without credentials are system:anonymous, which RBAC lets see health and version and nothing else."""

    client_ca_file: Path | None = None
    """Published to extension API servers; verification itself is in the TLS context."""
    front_proxy_ca_file: Path | None = None
    kubelet_ca_file: Path | None = None
    """Signs kubelets' serving certificates; None: no kubelet is spoken to."""
    kubelet_client_cert_file: Path | None = None
    kubelet_client_key_file: Path | None = None

    not_ready_toleration_seconds: int = 300
    unreachable_toleration_seconds: int = 300
    """How long pods that do not say otherwise stay bound to a node that is lost."""

    admission: AdmissionConfig = field(default_factory=AdmissionConfig)
    """Plugins beside the default ones, or without some of them."""

    audit_log_file: Path | None = None
    """None: no audit log."""
    audit_max_bytes: int = 100 * 1024 * 1024
    audit_backups: int = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Security:
    config: SecurityConfig
    authenticator: RequestAuthenticator
    authorizer: UnionAuthorizer
    rbac: RbacAuthorizer
    tokens: ServiceAccountTokens
    legacy_tokens: LegacyTokens
    """`run` it beside the server; it notes when tokens in Secrets are used."""
    static_tokens: StaticTokens | None
    readers: Readers
    admission: Admission
    kubelets: Kubelets
    audit: AuditLog
    """`run` it beside the server; `audit.finish(…)` never blocks."""


def build_security(
    config: SecurityConfig,
    *,
    readers: Readers,
    writer: Writer,
    table: ResourceTable,
    clock: Clock,
    admission: Admission,
) -> Security:
    """Reads key files. Raises OSError and ValueError, naming the file or the admission plugin."""
    rbac = RbacAuthorizer(readers=readers)
    authorizer = UnionAuthorizer((NodeAuthorizer(readers=readers), rbac))
    tokens = ServiceAccountTokens(
        keys=KeySet.from_files(config.service_account_key_file, config.service_account_verifying_files),
        readers=readers,
        clock=clock,
        issuer=config.issuer,
        audiences=config.audiences,
    )
    legacy_tokens = LegacyTokens(keys=tokens.keys, readers=readers, writer=writer, clock=clock)
    static_tokens = StaticTokens.from_file(config.token_file) if config.token_file else None
    admission.use(
        build_plugins(
            Tools(
                readers=readers,
                writer=writer,
                authorizer=authorizer,
                rbac=rbac,
                table=table,
                clock=clock,
                not_ready_seconds=config.not_ready_toleration_seconds,
                unreachable_seconds=config.unreachable_toleration_seconds,
            ),
            config.admission,
        )
    )
    return Security(
        config=config,
        authenticator=RequestAuthenticator(
            certificates=CertificateAuthenticator(clock=clock),
            tokens=tokens,
            static_tokens=static_tokens,
            legacy_tokens=legacy_tokens,
            bootstrap_tokens=BootstrapTokens(readers=readers, clock=clock) if config.bootstrap_tokens else None,
            authorizer=authorizer,
            anonymous=config.anonymous,
        ),
        authorizer=authorizer,
        rbac=rbac,
        tokens=tokens,
        legacy_tokens=legacy_tokens,
        static_tokens=static_tokens,
        readers=readers,
        admission=admission,
        kubelets=Kubelets(
            ca_file=config.kubelet_ca_file,
            cert_file=config.kubelet_client_cert_file,
            key_file=config.kubelet_client_key_file,
        ),
        audit=AuditLog(
            config.audit_log_file, clock=clock, max_bytes=config.audit_max_bytes, backups=config.audit_backups
        ),
    )


def published_authorities(config: SecurityConfig) -> dict[str, str]:
    """The PEM texts that extension API servers need to trust our clients, as arguments of `reconcile_bootstrap`."""
    files = {"client_ca": config.client_ca_file, "front_proxy_ca": config.front_proxy_ca_file}
    return {name: path.read_text() for name, path in files.items() if path is not None}
