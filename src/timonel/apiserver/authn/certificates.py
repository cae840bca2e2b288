"""Client certificates. TLS has verified the chain by the time we look; here the subject becomes a user.

The server's SSL context asks for a certificate without insisting on one (`verify_mode = CERT_OPTIONAL`) and trusts
only the cluster CA, so whatever certificate arrives is genuine. It is parsed once per connection.
Source: kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID, ObjectIdentifier

from timonel.api.buckets import Buckets
from timonel.api.clock import Clock
from timonel.api.errors import Unauthorized
from timonel.apiserver.authn.user import UserInfo

_UID_OID = ObjectIdentifier("1.3.6.1.4.1.57683.2")
"""Names a user's UID in a subject; an arc of the Kubernetes project (private enterprise number 57683)."""
_HOUR, _DAY = 3600.0, 86400.0
_LIFETIMES = (0.0, _HOUR / 2, _HOUR, 2 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY, 4 * _DAY, 7 * _DAY, 30 * _DAY,
              90 * _DAY, 180 * _DAY, 360 * _DAY)  # fmt: skip
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a client's certificate says."""

    user: UserInfo
    not_after: datetime


class CertificateAuthenticator:
    """CN is the user name, each O a group. A certificate without CN is refused."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._by_connection: WeakKeyDictionary[Any, Certificate | None] = WeakKeyDictionary()
        """By SSL object, which lives as long as the connection."""
        self.lifetimes = Buckets(_LIFETIMES)
        """Seconds that certificates had left, each counted once per connection."""

    def authenticate(self, transport: Any) -> UserInfo | None:
        """The user of a connection; None when it showed no certificate. Raises Unauthorized for an expired one."""
        certificate = self.shown_on(transport)
        return None if certificate is None else self.check(certificate)

    def shown_on(self, transport: Any) -> Certificate | None:
        """Whether it is still good says `check`. Raises Unauthorized for one without a name."""
        ssl_object = transport.get_extra_info("ssl_object") if transport is not None else None
        if ssl_object is None:
            return None
        try:
            return self._by_connection[ssl_object]
        except KeyError:
            der = ssl_object.getpeercert(binary_form=True)
            known = self._by_connection[ssl_object] = parse_certificate(der) if der else None
            if known is not None:
                self.lifetimes.observe((known.not_after - self._clock.now()).total_seconds())
            return known

    def check(self, certificate: Certificate) -> UserInfo:
        """Raises Unauthorized for an expired one."""
        if self._clock.now() > certificate.not_after:
            raise Unauthorized
        return certificate.user


def parse_certificate(der: bytes) -> Certificate:
    certificate = x509.load_der_x509_certificate(der)
    names = [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if not names or not names[0]:
        raise Unauthorized
    groups = (str(item.value) for item in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    uids = [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(_UID_OID)]
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
    user = UserInfo(
        name=names[0],
        uid=uids[0] if len(uids) == 1 else "",
        groups=tuple(dict.fromkeys(groups)),
        extra={CREDENTIAL_ID: (f"X509SHA256={fingerprint}",)},
    )
    return Certificate(user, certificate.not_valid_after_utc)
