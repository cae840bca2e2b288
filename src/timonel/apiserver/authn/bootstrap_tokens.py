"""Bearers of bootstrap tokens: nodes that are about to join.

Source: kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens
"""

from __future__ import annotations

import logging
from hmac import compare_digest

from timonel.api.bootstrap_tokens import (
    AUTHENTICATION,
    NAMESPACE,
    PREFIX,
    SECRET_TYPE,
    USER_PREFIX,
    groups_of,
    has_expired,
    parse_token,
    value_of,
)
from timonel.api.clock import Clock
from timonel.api.objects import Object, is_deleting
from timonel.api.refs import SECRETS
from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.readers import Reader, Readers

log = logging.getLogger(__name__)


class BootstrapTokens:
    def __init__(self, *, readers: Readers, clock: Clock) -> None:
        self._secrets: Reader = readers.reader(SECRETS)
        self._clock = clock

    def authenticate(self, token: str) -> UserInfo | None:
        """The bearer; None when it is no bootstrap token, or not one that is good."""
        parsed = parse_token(token)
        if parsed is None:
            return None
        token_id, token_secret = parsed
        secret = self._secrets.get(NAMESPACE, PREFIX + token_id)
        if secret is None:
            return None
        problem = self._problem(secret, token_id, token_secret)
        if problem:
            log.info("bootstrap token was refused id=%s reason=%r", token_id, problem)
            return None
        try:
            return UserInfo(USER_PREFIX + token_id, groups=groups_of(secret))
        except ValueError as error:
            log.info("bootstrap token was refused id=%s reason=%r", token_id, str(error))
            return None

    def _problem(self, secret: Object, token_id: str, token_secret: str) -> str:
        if is_deleting(secret):
            return "its Secret is being deleted"
        if secret.get("type") != SECRET_TYPE:
            return f"its Secret is not of type {SECRET_TYPE}"
        if not compare_digest(value_of(secret, "token-secret").encode(), token_secret.encode()):
            return "token-secret differs"
        if value_of(secret, "token-id") != token_id:
            return "token-id differs"
        if has_expired(secret, self._clock.now()):
            return "it has expired"
        return "" if value_of(secret, AUTHENTICATION) == "true" else f"{AUTHENTICATION} is not true"
