"""Every namespace has a ServiceAccount "default"; token Secrets of accounts that are gone go too.

Source: kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin
"""

from __future__ import annotations

from timonel.api.clock import Clock
from timonel.api.errors import NotFound
from timonel.api.objects import Object, ObjectKey, annotations_of, is_deleting, name_of, namespace_of, uid_of
from timonel.api.refs import NAMESPACES, SECRETS, SERVICE_ACCOUNTS
from timonel.client.controller import Controller, Keys, Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.namespaces.content import create_once

DEFAULT = "default"
TOKEN_TYPE = "kubernetes.io/service-account-token"
_ACCOUNT_NAME = "kubernetes.io/service-account.name"
_ACCOUNT_UID = "kubernetes.io/service-account.uid"
_TOKENS = f"type={TOKEN_TYPE}"


class ServiceAccountController(Controller):
    """Keys are namespaces."""

    name = "serviceaccount"
    watches = (Watch(NAMESPACES), Watch(SERVICE_ACCOUNTS, key=lambda account: _namespace_key(account)))

    async def sync(self, key: ObjectKey) -> Result:
        namespace = self.lister(NAMESPACES).get(*key)
        if namespace is None or is_deleting(namespace) or self.lister(SERVICE_ACCOUNTS).get(key.name, DEFAULT):
            return Result()
        account = {
            "kind": "ServiceAccount",
            "apiVersion": "v1",
            "metadata": {"name": DEFAULT, "namespace": key.name},
        }
        await create_once(self.client, SERVICE_ACCOUNTS, account)
        return Result()


def _namespace_key(account: Object) -> Keys:
    return ObjectKey("", namespace_of(account)) if name_of(account) == DEFAULT else None


class TokenCleaner(Controller):
    """Deletes Secrets that hold a token of an account which no longer exists. Keys are Secrets."""

    name = "serviceaccount-token"
    workers = 1

    def __init__(
        self, *, client: ApiClient, informers: Informers, clock: Clock, recorder: EventRecorder | None = None
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self.watches = (
            Watch(SECRETS, field_selector=_TOKENS),
            Watch(SERVICE_ACCOUNTS, key=self._tokens_of, changed=lambda old, new: uid_of(old) != uid_of(new)),
        )

    def _tokens_of(self, account: Object) -> Keys:
        return [
            ObjectKey(namespace_of(secret), name_of(secret))
            for secret in self.lister(SECRETS, field_selector=_TOKENS).list(namespace_of(account))
            if annotations_of(secret).get(_ACCOUNT_NAME) == name_of(account)
        ]

    async def sync(self, key: ObjectKey) -> Result:
        secret = self.lister(SECRETS, field_selector=_TOKENS).get(*key)
        if secret is None or is_deleting(secret):
            return Result()
        account_name = annotations_of(secret).get(_ACCOUNT_NAME, "")
        account_uid = annotations_of(secret).get(_ACCOUNT_UID, "")
        account = self.lister(SERVICE_ACCOUNTS).get(key.namespace, account_name)
        if not account_name or (account is not None and account_uid in ("", uid_of(account))):
            return Result()
        if account is None and not account_uid:
            return Result()  # not filled in yet: the account may be made after its Secret
        try:
            # The cache may lag behind; only the server knows.
            live = await self.client.get(SERVICE_ACCOUNTS, account_name, key.namespace)
            if uid_of(live) == account_uid:
                return Result()
        except NotFound:
            pass
        try:
            await self.client.delete(SECRETS, key.name, key.namespace, uid=uid_of(secret))
        except NotFound:
            pass
        return Result()
