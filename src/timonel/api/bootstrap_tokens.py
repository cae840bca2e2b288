"""Bootstrap tokens: short-lived Secrets in kube-system by which a new node proves that it may join. Pure.

A token reads `<id>.<secret>`; its Secret is named `bootstrap-token-<id>` and says what the token is for.
Source: kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens
"""

from __future__ import annotations

import re
from base64 import b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from datetime import datetime
from hashlib import sha256
from hmac import digest

from timonel.api.clock import parse_time
from timonel.api.objects import Object, name_of

SECRET_TYPE = "bootstrap.kubernetes.io/token"
NAMESPACE = "kube-system"
PREFIX = "bootstrap-token-"
GROUP = "system:bootstrappers"
"""Of every bearer of such a token."""
USER_PREFIX = "system:bootstrap:"
NODE_GROUP = f"{GROUP}:kubeadm:default-node-token"
"""Of tokens made for nodes; it has the rights that a node needs to join."""
AUTHENTICATION, SIGNING = "usage-bootstrap-authentication", "usage-bootstrap-signing"

CLUSTER_INFO_NAMESPACE, CLUSTER_INFO = "kube-public", "cluster-info"
KUBECONFIG = "kubeconfig"
SIGNATURE_PREFIX = "jws-kubeconfig-"

_is_token = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})").fullmatch
_is_name = re.compile(re.escape(PREFIX) + r"([a-z0-9]{6})").fullmatch
_GROUP_PATTERN = GROUP + r":[a-z0-9:-]{0,255}[a-z0-9]"
_is_group = re.compile(_GROUP_PATTERN).fullmatch


def parse_token(text: str) -> tuple[str, str] | None:
    """(id, secret), or None for what is no bootstrap token."""
    found = _is_token(text)
    return (found[1], found[2]) if found else None


def value_of(secret: Object, key: str) -> str:
    """A value of the Secret's data as text; "" when it is not there."""
    try:
        return b64decode((secret.get("data") or {}).get(key) or "").decode()
    except (Base64Error, UnicodeDecodeError):
        return ""


def expires_at(secret: Object) -> datetime | None:
    """None: never. A time that cannot be read is long past."""
    text = value_of(secret, "expiration")
    if not text:
        return None
    try:
        return parse_time(text)
    except ValueError:
        return parse_time("1970-01-01T00:00:00Z")


def has_expired(secret: Object, now: datetime) -> bool:
    expires = expires_at(secret)
    return expires is not None and expires <= now


def groups_of(secret: Object) -> tuple[str, ...]:
    """Of the token's bearer, in order. Raises ValueError for an extra group that tokens may not give."""
    groups = {GROUP}
    if extra := value_of(secret, "auth-extra-groups"):
        for group in extra.split(","):
            if not _is_group(group):
                raise ValueError(f"bootstrap group {group!r} is invalid (must match {_GROUP_PATTERN})")
            groups.add(group)
    return tuple(sorted(groups))


def signing_token(secret: Object, now: datetime) -> tuple[str, str] | None:
    """(id, secret) of a token that signs the cluster's description, None for others."""
    named = _is_name(name_of(secret))
    token_id, token_secret = value_of(secret, "token-id"), value_of(secret, "token-secret")
    if named is None or named[1] != token_id or not token_secret or has_expired(secret, now):
        return None
    return (token_id, token_secret) if value_of(secret, SIGNING) == "true" else None


def sign_detached(content: str, token_id: str, token_secret: str) -> str:
    """A JWS of the content that leaves it out: `header..signature`. Source: RFC 7515, appendix F."""
    header = _encoded(f'{{"alg":"HS256","kid":"{token_id}"}}'.encode())
    signature = digest(token_secret.encode(), f"{header}.{_encoded(content.encode())}".encode(), sha256)
    return f"{header}..{_encoded(signature)}"


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
