"""Bound service account tokens: issued for one account, an audience and a time, and dead with what they are bound to.

A signature is verified once and remembered; the objects a token is bound to are looked up again for every request,
so a token stops working the moment its pod, secret or account is gone.
Source: kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import jwt

from timonel.api.clock import Clock, parse_time
from timonel.api.errors import Unauthorized
from timonel.api.objects import Object, namespace_of, uid_of
from timonel.api.refs import NODES, PODS, SECRETS, SERVICE_ACCOUNTS, ResourceRef
from timonel.apiserver.authn.keys import KeySet
from timonel.apiserver.authn.user import UserInfo, service_account_groups, service_account_user_name
from timonel.apiserver.readers import Reader, Readers

DEFAULT_ISSUER = "https://kubernetes.default.svc.cluster.local"
LEEWAY = timedelta(minutes=1)
"""Clocks of verifier and issuer may differ by this much, and a deleted object counts for so long."""
MAX_REMEMBERED_TOKENS = 8192
MAX_TOKEN_BYTES = 16 * 1024

_EXTRA = "authentication.kubernetes.io/"


@dataclass(frozen=True, slots=True)
class Verified:
    """A token with a good signature: its claims, and the user it stands for while its objects live."""

    claims: Object
    user: UserInfo
    audiences: tuple[str, ...]
    issued_at: datetime
    not_before: datetime
    expires: datetime


class InvalidToken(Unauthorized):
    """A token of ours that is not good; `why` goes into TokenReview and logs, never into a plain 401."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self.why = why


class ServiceAccountTokens:
    def __init__(
        self,
        *,
        keys: KeySet,
        readers: Readers,
        clock: Clock,
        issuer: str = DEFAULT_ISSUER,
        audiences: Sequence[str] = (),
    ) -> None:
        self.keys = keys
        self.issuer = issuer
        self.audiences: tuple[str, ...] = tuple(audiences) or (issuer,)
        """Whom the API server takes itself to be; tokens for others are refused."""
        self._clock = clock
        self._accounts: Reader = readers.reader(SERVICE_ACCOUNTS)
        self._pods: Reader = readers.reader(PODS)
        self._nodes: Reader = readers.reader(NODES)
        self._secrets: Reader = readers.reader(SECRETS)
        self._verified: OrderedDict[str, Verified] = OrderedDict()

    def issue(
        self,
        account: Object,
        *,
        audiences: Sequence[str],
        expiration_seconds: int,
        warn_after_seconds: int = 0,
        pod: Object | None = None,
        secret: Object | None = None,
        node: Object | None = None,
    ) -> tuple[str, str]:
        """(token, jti). `node` beside `pod` only records where the pod runs; alone, the token is bound to the node."""
        now = int(self._clock.now().timestamp())
        namespace, name = namespace_of(account), account["metadata"]["name"]
        private: Object = {"namespace": namespace}
        for key, obj in (("node", node), ("pod", pod), ("secret", secret), ("serviceaccount", account)):
            if obj is not None:
                private[key] = {"name": obj["metadata"]["name"]}
                if uid := uid_of(obj):
                    private[key]["uid"] = uid
        if warn_after_seconds:
            private["warnafter"] = now + warn_after_seconds
        jti = str(uuid4())
        claims = {
            "aud": list(audiences),
            "exp": now + expiration_seconds,
            "iat": now,
            "iss": self.issuer,
            "jti": jti,
            "kubernetes.io": private,
            "nbf": now,
            "sub": service_account_user_name(namespace, name),
        }
        return self.keys.sign(claims), jti

    def knows(self, token: str) -> bool:
        """Whether its signature has been verified before; that it is still good `authenticate` says."""
        return token in self._verified

    def is_ours(self, token: str) -> bool:
        """Whether the token claims to be from our issuer; says nothing of its signature."""
        if token in self._verified:
            return True
        if len(token) > MAX_TOKEN_BYTES or token.count(".") != 2 or not token.isascii():
            return False
        try:
            unverified = jwt.decode(token, options={"verify_signature": False})
            return bool(unverified.get("iss") == self.issuer)
        except (jwt.InvalidTokenError, ValueError, AttributeError, RecursionError):
            return False  # anything may stand in a header that says it is a token

    def authenticate(self, token: str, audiences: Iterable[str] | None = None) -> tuple[UserInfo, tuple[str, ...]]:
        """The user and those of `audiences` (the API server's by default) that the token is for.

        Raises InvalidToken.
        """
        verified = self._verified.get(token)
        if verified is None:
            verified = self._verify(token)
            self._verified[token] = verified
            if len(self._verified) > MAX_REMEMBERED_TOKENS:
                self._verified.popitem(last=False)
        wanted = self.audiences if audiences is None else tuple(audiences)
        common = tuple(audience for audience in verified.audiences if audience in wanted)
        if not common:
            raise InvalidToken(
                f"token audiences {_go_list(verified.audiences)} is invalid for the target audiences {_go_list(wanted)}"
            )
        now = self._clock.now()
        if now > verified.expires + LEEWAY:
            self._verified.pop(token, None)
            raise InvalidToken("service account token has expired")
        if now + LEEWAY < verified.not_before:
            raise InvalidToken("service account token is not valid yet")
        if now + LEEWAY < verified.issued_at:
            raise InvalidToken("service account token is issued in the future")
        self._check_objects(verified.claims["kubernetes.io"], now)
        return verified.user, common

    def _verify(self, token: str) -> Verified:
        try:
            claims = self.keys.verify(token)
            if claims.get("iss") != self.issuer:
                raise InvalidToken(f'token issuer "{claims.get("iss")}" is invalid')
            private = claims["kubernetes.io"]
            namespace, account = private["namespace"], private["serviceaccount"]
            user = UserInfo(
                name=service_account_user_name(namespace, account["name"]),
                uid=account.get("uid") or "",
                groups=service_account_groups(namespace),
                extra=_extra(claims, private),
            )
            audience = claims.get("aud") or self.audiences
            return Verified(
                claims=claims,
                user=user,
                audiences=(audience,) if isinstance(audience, str) else tuple(audience),
                issued_at=_moment(claims, "iat"),
                not_before=_moment(claims, "nbf"),
                expires=_moment(claims, "exp"),
            )
        except jwt.InvalidTokenError as error:
            raise InvalidToken(str(error)) from error
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise InvalidToken("service account token claims could not be validated") from error

    def _check_objects(self, private: Object, now: datetime) -> None:
        namespace, account = private["namespace"], private["serviceaccount"]
        live = self._accounts.get(namespace, account["name"])
        if live is None:
            raise InvalidToken(f'serviceaccounts "{account["name"]}" not found')
        if uid_of(live) != account.get("uid"):
            raise InvalidToken(
                f"service account UID ({uid_of(live)}) does not match claim ({account.get('uid') or ''})"
            )
        if _is_gone(live, now):
            raise InvalidToken(f"service account {namespace}/{account['name']} has been deleted")
        if secret := private.get("secret"):
            _check_bound(self._secrets, namespace, secret, SECRETS, now)
        if pod := private.get("pod"):
            _check_bound(self._pods, namespace, pod, PODS, now)
        elif node := private.get("node"):
            _check_bound(self._nodes, "", node, NODES, now)


def _check_bound(reader: Reader, namespace: str, claim: Object, ref: ResourceRef, now: datetime) -> None:
    live = reader.get(namespace, claim["name"])
    if live is None or _is_gone(live, now):
        raise InvalidToken("service account token has been invalidated")
    if uid_of(live) != claim.get("uid"):
        kind = ref.kind.lower()
        raise InvalidToken(
            f"{kind} UID ({uid_of(live)}) does not match service account {kind} ref claim ({claim.get('uid') or ''})"
        )


def _is_gone(live: Object, now: datetime) -> bool:
    deleted = live["metadata"].get("deletionTimestamp")
    return bool(deleted) and parse_time(deleted) < now - LEEWAY


def _moment(claims: Object, name: str) -> datetime:
    return datetime.fromtimestamp(claims[name], UTC)


def _extra(claims: Object, private: Object) -> dict[str, tuple[str, ...]]:
    extra: dict[str, tuple[str, ...]] = {}
    if jti := claims.get("jti"):
        extra[f"{_EXTRA}credential-id"] = (f"JTI={jti}",)
    for kind in ("pod", "node"):
        if bound := private.get(kind):
            extra[f"{_EXTRA}{kind}-name"] = (bound["name"],)
            if uid := bound.get("uid"):
                extra[f"{_EXTRA}{kind}-uid"] = (uid,)
    return extra


def _go_list(values: Iterable[str]) -> str:
    return "[" + " ".join(f'"{value}"' for value in values) + "]"
