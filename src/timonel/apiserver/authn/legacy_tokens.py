"""Tokens from Secrets: no expiry and no audience, good as long as the Secret holds them.

Each use is noted on the Secret, by the day, so that it can be seen which of them are still needed.
Source: kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64decode
from binascii import Error as Base64Error
from collections import OrderedDict
from datetime import timedelta
from hmac import compare_digest

import jwt

from timonel.api.clock import Clock
from timonel.api.errors import ApiError
from timonel.api.objects import Object, ObjectKey, is_deleting, key_of, labels_of, name_of, uid_of
from timonel.api.refs import SECRETS, SERVICE_ACCOUNTS
from timonel.api.token_secrets import (
    INVALID_SINCE,
    ISSUER,
    LAST_USED,
    NAME_CLAIM,
    NAMESPACE_CLAIM,
    SECRET_CLAIM,
    UID_CLAIM,
)
from timonel.apiserver.authn.keys import KeySet
from timonel.apiserver.authn.service_accounts import MAX_REMEMBERED_TOKENS, MAX_TOKEN_BYTES, InvalidToken
from timonel.apiserver.authn.user import UserInfo, service_account_groups, split_service_account_user
from timonel.apiserver.readers import Reader, Readers, Writer
from timonel.storage.protocol import StoreError

log = logging.getLogger(__name__)


class LegacyTokens:
    """`run` it beside the server: it notes the uses."""

    def __init__(self, *, keys: KeySet, readers: Readers, writer: Writer, clock: Clock) -> None:
        self._keys = keys
        self._accounts: Reader = readers.reader(SERVICE_ACCOUNTS)
        self._secrets: Reader = readers.reader(SECRETS)
        self._writer = writer
        self._clock = clock
        self._verified: OrderedDict[str, Object] = OrderedDict()
        self._used: dict[ObjectKey, str] = {}
        """Secrets whose use is yet to be noted -> uid."""
        self._has_used = asyncio.Event()

    def is_ours(self, token: str) -> bool:
        """Whether the token claims to be from a Secret; says nothing of its signature."""
        if token in self._verified:
            return True
        if len(token) > MAX_TOKEN_BYTES or token.count(".") != 2 or not token.isascii():
            return False
        try:
            return bool(jwt.decode(token, options={"verify_signature": False}).get("iss") == ISSUER)
        except (jwt.InvalidTokenError, ValueError, AttributeError, RecursionError):
            return False

    def authenticate(self, token: str) -> UserInfo:
        """Raises InvalidToken."""
        claims = self._verified.get(token)
        if claims is None:
            claims = self._verify(token)
            self._verified[token] = claims
            if len(self._verified) > MAX_REMEMBERED_TOKENS:
                self._verified.popitem(last=False)
        secret = self._check_objects(token, claims)
        if since := labels_of(secret).get(INVALID_SINCE):
            self._note(secret)
            namespace, account = claims[NAMESPACE_CLAIM], claims[NAME_CLAIM]
            log.info("invalidated token was used secret=%s since=%s", key_of(secret), since)
            raise InvalidToken(
                f"the token in secret {namespace}/{name_of(secret)} for service account {namespace}/{account} has been"
                " marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or"
                f" remove the '{INVALID_SINCE}' label from the secret to temporarily allow use of this token"
            )
        self._note(secret)
        return UserInfo(
            name=claims["sub"], uid=claims[UID_CLAIM], groups=service_account_groups(claims[NAMESPACE_CLAIM])
        )

    def _verify(self, token: str) -> Object:
        try:
            claims = self._keys.verify(token)
        except jwt.InvalidTokenError as error:
            raise InvalidToken(str(error)) from error
        if claims.get("iss") != ISSUER:
            raise InvalidToken(f'token issuer "{claims.get("iss")}" is invalid')
        for claim, called in (
            ("sub", "sub"),
            (NAMESPACE_CLAIM, "namespace"),
            (SECRET_CLAIM, "secretName"),
            (NAME_CLAIM, "serviceAccountName"),
            (UID_CLAIM, "serviceAccountUID"),
        ):
            if not claims.get(claim) or not isinstance(claims[claim], str):
                raise InvalidToken(f"{called} claim is missing")
        if split_service_account_user(claims["sub"]) != (claims[NAMESPACE_CLAIM], claims[NAME_CLAIM]):
            raise InvalidToken("sub claim is invalid")
        return claims

    def _check_objects(self, token: str, claims: Object) -> Object:
        """The Secret the token is in."""
        namespace, name = claims[NAMESPACE_CLAIM], claims[NAME_CLAIM]
        secret = self._secrets.get(namespace, claims[SECRET_CLAIM])
        if secret is None or is_deleting(secret):
            raise InvalidToken("Token has been invalidated")
        if not compare_digest(_token_in(secret), token.encode()):
            raise InvalidToken("Token does not match server's copy")
        account = self._accounts.get(namespace, name)
        if account is None:
            raise InvalidToken(f'serviceaccounts "{name}" not found')
        if is_deleting(account):
            raise InvalidToken(f"ServiceAccount {namespace}/{name} has been deleted")
        if uid_of(account) != claims[UID_CLAIM]:
            raise InvalidToken(f"ServiceAccount UID ({uid_of(account)}) does not match claim ({claims[UID_CLAIM]})")
        return secret

    # Noting uses

    def _note(self, secret: Object) -> None:
        today = self._clock.now().date()
        # Another server's clock may be past midnight already.
        if labels_of(secret).get(LAST_USED) in (today.isoformat(), (today + timedelta(days=1)).isoformat()):
            return
        self._used[key_of(secret)] = uid_of(secret)
        self._has_used.set()

    async def run(self) -> None:
        """Labels the Secrets whose tokens were used, until cancelled."""
        while True:
            await self._has_used.wait()
            self._has_used.clear()
            while self._used:
                key, uid = self._used.popitem()
                await self._label(key, uid)

    async def _label(self, key: ObjectKey, uid: str) -> None:
        today = self._clock.now().date().isoformat()

        def labelled(live: Object) -> Object:
            if uid_of(live) != uid:
                return live  # another one of the same name
            return live | {"metadata": live["metadata"] | {"labels": {**labels_of(live), LAST_USED: today}}}

        try:
            await self._writer.update(SECRETS, key.namespace, key.name, labelled)
        except (ApiError, StoreError) as error:
            log.warning("use of a token was not noted secret=%s error=%s", key, error)


def _token_in(secret: Object) -> bytes:
    try:
        return b64decode((secret.get("data") or {}).get("token") or "")
    except Base64Error:
        return b""
