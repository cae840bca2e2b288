"""Every namespace has a ServiceAccount "default".

Source: kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin
"""

from __future__ import annotations

from timonel.api.objects import Object, ObjectKey, is_deleting, name_of, namespace_of
from timonel.api.refs import NAMESPACES, SERVICE_ACCOUNTS
from timonel.client.controller import Controller, Keys, Result, Watch
from timonel.controllers.namespaces.content import create_once

DEFAULT = "default"


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
