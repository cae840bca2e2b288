"""Secrets that hold a service account's token, made by hand and good until they are deleted. Pure.

Source: kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin
"""

from __future__ import annotations

from datetime import date, datetime

from timonel.api.objects import Object, annotations_of, labels_of, name_of, namespace_of, uid_of

TOKEN_TYPE = "kubernetes.io/service-account-token"
ACCOUNT_NAME, ACCOUNT_UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"
"""Annotations: whose token it is."""
LAST_USED, INVALID_SINCE = "kubernetes.io/legacy-token-last-used", "kubernetes.io/legacy-token-invalid-since"
"""Labels, dates such as 2026-01-31."""
ISSUER = "kubernetes/serviceaccount"
TRACKING_NAMESPACE, TRACKING = "kube-system", "kube-apiserver-legacy-service-account-token-tracking"
"""The ConfigMap that says since when uses are noted."""

_CLAIM = "kubernetes.io/serviceaccount/"
NAMESPACE_CLAIM, SECRET_CLAIM = f"{_CLAIM}namespace", f"{_CLAIM}secret.name"
NAME_CLAIM, UID_CLAIM = f"{_CLAIM}service-account.name", f"{_CLAIM}service-account.uid"


def token_claims(account: Object, secret: Object) -> Object:
    namespace, name = namespace_of(account), name_of(account)
    return {
        "iss": ISSUER,
        NAMESPACE_CLAIM: namespace,
        SECRET_CLAIM: name_of(secret),
        NAME_CLAIM: name,
        UID_CLAIM: uid_of(account),
        "sub": f"system:serviceaccount:{namespace}:{name}",
    }


def account_name_of(secret: Object) -> str:
    return annotations_of(secret).get(ACCOUNT_NAME) or ""


def belongs_to(secret: Object, account: Object) -> bool:
    """Whether the Secret is for this account, or for one of its name whose uid nobody has noted yet."""
    uid = annotations_of(secret).get(ACCOUNT_UID)
    return account_name_of(secret) == name_of(account) and (not uid or uid == uid_of(account))


def is_listed(secret_name: str, account: Object) -> bool:
    """Whether the account lists it: those that were made by themselves, before v1.24, are listed."""
    return any(item.get("name") == secret_name for item in account.get("secrets") or ())


def date_label(secret: Object, label: str) -> date | None:
    """None when it is not there. Raises ValueError when it is no date."""
    text = labels_of(secret).get(label)
    return None if text is None else datetime.strptime(text, "%Y-%m-%d").date()
