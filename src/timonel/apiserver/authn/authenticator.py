"""From a request to its user: client certificate, then bearer token, then anonymous; then whom it impersonates."""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from timonel.api.errors import Unauthorized
from timonel.apiserver.authn.bootstrap_tokens import BootstrapTokens
from timonel.apiserver.authn.certificates import CertificateAuthenticator
from timonel.apiserver.authn.impersonation import impersonate, wants_impersonation
from timonel.apiserver.authn.legacy_tokens import LegacyTokens
from timonel.apiserver.authn.service_accounts import InvalidToken, ServiceAccountTokens
from timonel.apiserver.authn.static_tokens import StaticTokens
from timonel.apiserver.authn.user import (
    ANONYMOUS,
    ANONYMOUS_USER,
    AUTHENTICATED_GROUP,
    UNAUTHENTICATED_GROUP,
    UserInfo,
)
from timonel.apiserver.authz.attributes import Authorizer
from timonel.apiserver.heads import head_of

log = logging.getLogger(__name__)

IMPERSONATOR: web.RequestKey[UserInfo] = web.RequestKey("impersonator", UserInfo)
"""On the request: who really sent it, when it impersonates; the audit log wants both."""

TOKEN_NOTES: web.RequestKey[Mapping[str, str]] = web.RequestKey("token_notes", Mapping)
"""On the request: what the audit log is to say of a token from a Secret."""

_BEARER_PROTOCOL = "base64url.bearer.authorization.k8s.io."


class RequestAuthenticator:
    """Implements `Authenticator`. An authenticated user is also in the group system:authenticated."""

    def __init__(
        self,
        *,
        certificates: CertificateAuthenticator,
        tokens: ServiceAccountTokens | None,
        static_tokens: StaticTokens | None = None,
        bootstrap_tokens: BootstrapTokens | None = None,
        legacy_tokens: LegacyTokens | None = None,
        authorizer: Authorizer,
        anonymous: bool = True,
    ) -> None:
        self.certificates = certificates
        self._tokens = tokens
        self._static_tokens = static_tokens
        self._bootstrap_tokens = bootstrap_tokens
        self._legacy_tokens = legacy_tokens
        self._authorizer = authorizer
        self._anonymous = anonymous
        self._with_group: dict[int, tuple[UserInfo, UserInfo]] = {}

    async def authenticate(self, request: web.BaseRequest) -> UserInfo | None:
        head = head_of(request)
        if head.impersonates is None:
            head.certificate = self.certificates.shown_on(request.transport)
            head.token = None if head.certificate is not None else bearer_token(request)
            head.impersonates = wants_impersonation(head.headers)
        user = None
        if head.certificate is not None:
            user = self.certificates.check(head.certificate)
        elif head.token is not None:
            user = self.authenticate_token(head.token, request)
        if user is None:
            if not self._anonymous:
                return None
            user = ANONYMOUS
        else:
            user = self._authenticated(user)
        if head.impersonates:
            acting = await impersonate(user, request.headers, self._authorizer)
            if acting is not user:
                request[IMPERSONATOR] = user
                user = acting
        return user

    def authenticate_token(self, token: str, request: web.BaseRequest | None = None) -> UserInfo:
        """Notes on the request how a token from a Secret was used. Raises Unauthorized."""
        try:
            return self._find(token, None, request)[0]
        except InvalidToken as error:
            log.info("token was refused reason=%r", error.why)
            raise

    def review_token(self, token: str, audiences: tuple[str, ...]) -> tuple[UserInfo, tuple[str, ...]]:
        """The user, as a request would see it, and which of `audiences` the token is for.

        Raises InvalidToken, which says why, for our own tokens, and Unauthorized for unknown ones.
        """
        user, common = self._find(token, audiences)
        return self._authenticated(user), common

    def _find(
        self, token: str, audiences: tuple[str, ...] | None, request: web.BaseRequest | None = None
    ) -> tuple[UserInfo, tuple[str, ...]]:
        if self._tokens is not None and self._tokens.knows(token):
            return self._tokens.authenticate(token, audiences)  # what most requests carry
        for source in (self._static_tokens, self._bootstrap_tokens):
            user = source.authenticate(token) if source is not None else None
            if user is not None:
                common = self._own_audiences(audiences)
                if audiences is None or common:
                    return user, common
        if self._legacy_tokens is not None and self._legacy_tokens.is_ours(token):
            notes: dict[str, str] = {}
            if request is not None:
                request[TOKEN_NOTES] = notes
            user, common = self._legacy_tokens.authenticate(token, notes), self._own_audiences(audiences)
            if audiences is None or common:
                return user, common
        if self._tokens is not None and self._tokens.is_ours(token):
            return self._tokens.authenticate(token, audiences)
        raise Unauthorized

    def _own_audiences(self, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
        """Of tokens that name none: they are for this server."""
        own = self._tokens.audiences if self._tokens is not None else ()
        return own if wanted is None else tuple(item for item in own if item in wanted)

    def _authenticated(self, user: UserInfo) -> UserInfo:
        """The user with system:authenticated, made once per UserInfo object: those are cached upstream of here."""
        known = self._with_group.get(id(user))
        if known is not None and known[0] is user:
            return known[1]
        if user.name == ANONYMOUS_USER or AUTHENTICATED_GROUP in user.groups or UNAUTHENTICATED_GROUP in user.groups:
            full = user
        else:
            full = replace(user, groups=(*user.groups, AUTHENTICATED_GROUP))
        if len(self._with_group) > 8192:
            self._with_group.clear()
        self._with_group[id(user)] = (user, full)
        return full


def bearer_token(request: Any) -> str | None:
    """The token of `Authorization: Bearer`, or of the WebSocket subprotocol that browsers use instead."""
    header = request.headers.get("Authorization")
    if header:
        scheme, _, token = header.strip().partition(" ")
        return token.strip() or None if scheme.lower() == "bearer" else None
    for protocols in request.headers.getall("Sec-WebSocket-Protocol", ()):
        for protocol in protocols.split(","):
            encoded = protocol.strip()
            if encoded.startswith(_BEARER_PROTOCOL):
                encoded = encoded.removeprefix(_BEARER_PROTOCOL)
                try:
                    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
                except (binascii.Error, UnicodeDecodeError, ValueError):
                    raise Unauthorized from None
    return None
