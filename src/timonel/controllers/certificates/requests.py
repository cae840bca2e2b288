"""What kubernetes.io's signers ask of a request: its subject, its alternative names, its usages. Pure.

Source: kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import ModuleType
from typing import TYPE_CHECKING, Any

from timonel.api.certificate_requests import APPROVED, DENIED, FAILED, conditions_of
from timonel.api.objects import Object, get_path

if TYPE_CHECKING:  # 9 MB, which a cluster without requests never needs: imported where one is read
    from cryptography import x509

API_CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
LEGACY_UNKNOWN = "kubernetes.io/legacy-unknown"

SHORTEST = timedelta(minutes=10)

_NODES, _NODE_PREFIX = "system:nodes", "system:node:"
_SIGNATURE, _ENCIPHERMENT, _CLIENT, _SERVER = "digital signature", "key encipherment", "client auth", "server auth"


class CannotSign(Exception):
    """The authority is not usable now: its files are missing, do not fit, or it has expired."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A certificate request, read."""

    request: x509.CertificateSigningRequest
    common_name: str
    organizations: tuple[str, ...]
    dns_names: tuple[x509.DNSName, ...] = ()
    emails: tuple[x509.RFC822Name, ...] = ()
    addresses: tuple[x509.IPAddress, ...] = ()
    uris: tuple[x509.UniformResourceIdentifier, ...] = ()

    @property
    def alternative_names(self) -> list[x509.GeneralName]:
        """Those of the kinds that are signed; others are left out."""
        return [*self.dns_names, *self.emails, *self.addresses, *self.uris]


def parse_wish(request: Object) -> Wish:
    """Of a CertificateSigningRequest. Raises ValueError, which the API server's validation makes unlikely."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return _read(request, x509)
    except UnsupportedAlgorithm as exc:
        raise ValueError(str(exc)) from exc


def _read(request: Object, x509: ModuleType) -> Wish:
    parsed = x509.load_pem_x509_csr(b64decode(get_path(request, "spec", "request", default="")))
    common_names = _texts(parsed.subject, x509.NameOID.COMMON_NAME)
    names: list[Any] = []
    try:
        names = list(parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        pass
    return Wish(
        request=parsed,
        common_name=common_names[-1] if common_names else "",
        organizations=tuple(_texts(parsed.subject, x509.NameOID.ORGANIZATION_NAME)),
        dns_names=tuple(name for name in names if isinstance(name, x509.DNSName)),
        emails=tuple(name for name in names if isinstance(name, x509.RFC822Name)),
        addresses=tuple(name for name in names if isinstance(name, x509.IPAddress)),
        uris=tuple(name for name in names if isinstance(name, x509.UniformResourceIdentifier)),
    )


def _texts(name: x509.Name, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(attribute.value) for attribute in name.get_attributes_for_oid(oid)]


def lifetime_of(expiration_seconds: int | None, longest: timedelta) -> timedelta:
    """What was asked for, within ten minutes and the signer's own limit, which is also the default."""
    if expiration_seconds is None:
        return longest
    asked = timedelta(seconds=expiration_seconds)
    return longest if asked > longest else max(asked, SHORTEST)


def kubelet_client_problem(wish: Wish, usages: Sequence[str]) -> str:
    if wish.organizations != (_NODES,):
        return "subject organization is not system:nodes"
    for names, kind in (
        (wish.dns_names, "DNS"),
        (wish.emails, "Email"),
        (wish.addresses, "IP"),
        (wish.uris, "URI"),
    ):
        if names:
            return f"{kind} subjectAltNames are not allowed"
    if not wish.common_name.startswith(_NODE_PREFIX):
        return "subject common name does not begin with system:node:"
    return _usages_problem(usages, _CLIENT)


def kubelet_serving_problem(wish: Wish, usages: Sequence[str]) -> str:
    if wish.organizations != (_NODES,):
        return "subject organization is not system:nodes"
    if not wish.dns_names and not wish.addresses:
        return "DNS or IP subjectAltName is required"
    if wish.emails:
        return "Email subjectAltNames are not allowed"
    if wish.uris:
        return "URI subjectAltNames are not allowed"
    if problem := _usages_problem(usages, _SERVER):
        return problem
    if not wish.common_name.startswith(_NODE_PREFIX):
        return "subject common name does not begin with system:node:"
    return ""


def _usages_problem(usages: Sequence[str], purpose: str) -> str:
    """Key encipherment is for RSA keys only, so it may be left out."""
    required = {_SIGNATURE, _ENCIPHERMENT, purpose}
    if set(usages) in (required, required - {_ENCIPHERMENT}):
        return ""
    return f"usages did not match [{' '.join(sorted(required))}]"


def api_client_problem(wish: Wish, usages: Sequence[str]) -> str:
    for usage in usages:
        if usage not in (_SIGNATURE, _ENCIPHERMENT, _CLIENT):
            return f"invalid usage for client certificate: {usage}"
    return "" if _CLIENT in usages else f"missing required usage for client certificate: {_CLIENT}"


SIGNERS: dict[str, Callable[[Wish, Sequence[str]], str]] = {
    API_CLIENT: api_client_problem,
    KUBELET_CLIENT: kubelet_client_problem,
    KUBELET_SERVING: kubelet_serving_problem,
    LEGACY_UNKNOWN: lambda wish, usages: "",
}
"""Signer -> why it does not sign a wish with these usages; "" when it does."""


def is_approved(request: Object) -> bool:
    return bool(conditions_of(request, APPROVED)) and not conditions_of(request, DENIED)


def is_decided(request: Object) -> bool:
    return bool(conditions_of(request, APPROVED) or conditions_of(request, DENIED))


def has_failed(request: Object) -> bool:
    return any(condition.get("status") == "True" for condition in conditions_of(request, FAILED))


def certificate_of(request: Object) -> str:
    """Base64 of PEM; "" when none was issued."""
    return get_path(request, "status", "certificate") or ""
