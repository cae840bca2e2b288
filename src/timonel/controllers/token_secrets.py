"""Secrets for tokens of service accounts, made by hand, get their token; they go with the account.

Source: kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin
"""

from __future__ import annotations

import logging
from base64 import b64encode
from typing import Protocol

from timonel.api.clock import Clock
from timonel.api.errors import Conflict, NotFound
from timonel.api.objects import (
    Object,
    ObjectKey,
    annotations_of,
    is_deleting,
    key_of,
    name_of,
    namespace_of,
    resource_version_of,
    uid_of,
)
from timonel.api.refs import SECRETS, SERVICE_ACCOUNTS
from timonel.api.token_secrets import (
    ACCOUNT_NAME,
    ACCOUNT_UID,
    TOKEN_TYPE,
    account_name_of,
    belongs_to,
    is_listed,
    token_claims,
)
from timonel.client.controller import Controller, Keys, Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient

log = logging.getLogger(__name__)

TOKENS = f"type={TOKEN_TYPE}"


def missing_data(secret: Object, root_ca: str) -> dict[str, str]:
    """Of what the controller fills in beside the token, that which is not there or is another CA: base64."""
    data = secret.get("data") or {}
    wanted: dict[str, str] = {}
    authority = _encoded(root_ca)
    if root_ca and data.get("ca.crt") != authority:
        wanted["ca.crt"] = authority
    if not data.get("namespace"):
        wanted["namespace"] = _encoded(namespace_of(secret))
    return wanted


class ClaimsSigner(Protocol):
    """`api.token_keys.TokenSigner`, or what makes one when it is needed."""

    def sign(self, claims: Object) -> str: ...


def fill_secret(secret: Object, account: Object, root_ca: str, signer: ClaimsSigner) -> Object | None:
    """The Secret with its token, CA and namespace; None when nothing is missing."""
    data = missing_data(secret, root_ca)
    if not (secret.get("data") or {}).get("token"):
        data["token"] = _encoded(signer.sign(token_claims(account, secret)))
    if not data:
        return None
    annotations = {**annotations_of(secret), ACCOUNT_NAME: name_of(account), ACCOUNT_UID: uid_of(account)}
    metadata = secret["metadata"] | {"annotations": annotations}
    return secret | {"metadata": metadata, "data": {**(secret.get("data") or {}), **data}}


def _encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


class TokenSecretController(Controller):
    """Keys are Secrets. Without a `signer` they are not filled, but still go with their account."""

    name = "serviceaccount-token-controller"

    def __init__(
        self,
        *,
        client: ApiClient,
        informers: Informers,
        clock: Clock,
        recorder: EventRecorder | None = None,
        root_ca: str = "",
        signer: ClaimsSigner | None = None,
    ) -> None:
        """`root_ca` is PEM."""
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self._root_ca = root_ca
        self._signer = signer
        self._accounts: dict[ObjectKey, str] = {}
        """Whose token each Secret was, to be known when it is gone."""
        self.watches = (
            Watch(SECRETS, field_selector=TOKENS),
            Watch(SERVICE_ACCOUNTS, key=self._tokens_of, changed=lambda old, new: uid_of(old) != uid_of(new)),
        )

    def _tokens_of(self, account: Object) -> Keys:
        return [
            key_of(secret)
            for secret in self.lister(SECRETS, field_selector=TOKENS).list(namespace_of(account))
            if account_name_of(secret) == name_of(account)
        ]

    async def sync(self, key: ObjectKey) -> Result:
        secret = self.lister(SECRETS, field_selector=TOKENS).get(*key)
        if secret is None:
            await self._forget(key)
            return Result()
        name = account_name_of(secret)
        if is_deleting(secret) or not name:
            return Result()
        account = await self._account_of(secret, name)
        if account is None:
            await self._delete(secret)
            return Result()
        self._accounts[key] = name
        if self._signer is None or fill_secret(secret, account, self._root_ca, self._signer) is None:
            return Result()
        # A token is a heavy thing to make twice; the cache may be behind what was written a moment ago.
        live = await self.client.get(SECRETS, key.name, key.namespace)
        if resource_version_of(live) != resource_version_of(secret):
            return Result()  # the event that tells of it brings us back
        filled = fill_secret(live, account, self._root_ca, self._signer)
        if filled is not None:
            await self.client.update(SECRETS, filled)
            log.info("token was put into its secret secret=%s account=%s", key, name)
        return Result()

    async def _account_of(self, secret: Object, name: str) -> Object | None:
        """The account of the cache, or of the server where that has none: it may be younger than its Secret."""
        account = self.lister(SERVICE_ACCOUNTS).get(namespace_of(secret), name)
        if account is not None and belongs_to(secret, account):
            return account
        try:
            account = await self.client.get(SERVICE_ACCOUNTS, name, namespace_of(secret))
        except NotFound:
            return None
        return account if belongs_to(secret, account) else None

    async def _delete(self, secret: Object) -> None:
        try:
            await self.client.delete(SECRETS, name_of(secret), namespace_of(secret), uid=uid_of(secret))
        except (NotFound, Conflict):
            return
        log.info("token was deleted, its account is gone secret=%s", key_of(secret))

    async def _forget(self, key: ObjectKey) -> None:
        """The account does not list a Secret that is gone."""
        name = self._accounts.get(key)
        account = self.lister(SERVICE_ACCOUNTS).get(key.namespace, name) if name else None
        if account is not None and is_listed(key.name, account):
            try:
                live = await self.client.get(SERVICE_ACCOUNTS, name_of(account), key.namespace)
                left = [item for item in live.get("secrets") or () if item.get("name") != key.name]
                if uid_of(live) == uid_of(account) and is_listed(key.name, live):
                    await self.client.update(SERVICE_ACCOUNTS, live | {"secrets": left})
            except NotFound:
                pass
        self._accounts.pop(key, None)
