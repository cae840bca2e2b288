"""Bootstrap tokens: expired ones are deleted, and those for signing sign what new nodes read of the cluster.

Whoever knows a token can tell by the signature in kube-public/cluster-info, which anybody may read, that the address
and the authority in it are those of the cluster that gave out the token.
Source: kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from timonel.api.bootstrap_tokens import (
    CLUSTER_INFO,
    CLUSTER_INFO_NAMESPACE,
    KUBECONFIG,
    NAMESPACE,
    SECRET_TYPE,
    SIGNATURE_PREFIX,
    expires_at,
    sign_detached,
    signing_token,
)
from timonel.api.errors import Conflict, NotFound
from timonel.api.objects import Object, ObjectKey, is_deleting, name_of, uid_of
from timonel.api.refs import CONFIGMAPS, SECRETS
from timonel.client.controller import Controller, Result, Watch

log = logging.getLogger(__name__)

TOKENS = f"metadata.namespace={NAMESPACE},type={SECRET_TYPE}"
_INFO = f"metadata.namespace={CLUSTER_INFO_NAMESPACE},metadata.name={CLUSTER_INFO}"
_INFO_KEY = ObjectKey(CLUSTER_INFO_NAMESPACE, CLUSTER_INFO)


def plan_signatures(info: Object, tokens: Sequence[Object], now: datetime) -> dict[str, str] | None:
    """The data of cluster-info with a signature for every token that signs, and no other; None: as it is."""
    data = info.get("data") or {}
    content = data.get(KUBECONFIG)
    if content is None:
        return None
    wanted = {key: value for key, value in data.items() if not key.startswith(SIGNATURE_PREFIX)}
    for secret in sorted(tokens, key=name_of):
        token = signing_token(secret, now)
        if token is not None:
            wanted[SIGNATURE_PREFIX + token[0]] = sign_detached(content, *token)
    return wanted if wanted != data else None


class BootstrapSigner(Controller):
    """The one key is cluster-info."""

    name = "bootstrap-signer-controller"
    workers = 1
    watches = (
        Watch(CONFIGMAPS, field_selector=_INFO),
        Watch(SECRETS, key=lambda secret: _INFO_KEY, field_selector=TOKENS),
    )

    async def sync(self, key: ObjectKey) -> Result:
        info = self.lister(CONFIGMAPS, field_selector=_INFO).get(*key)
        if info is None or is_deleting(info):
            return Result()
        tokens = self.lister(SECRETS, field_selector=TOKENS).list(NAMESPACE)
        data = plan_signatures(info, tokens, self.clock.now())
        if data is not None:
            await self.client.update(CONFIGMAPS, info | {"data": data})
            log.info("cluster description was signed signatures=%d", len(data) - 1)
        return Result()


class BootstrapTokenCleaner(Controller):
    name = "token-cleaner-controller"
    workers = 1
    watches = (Watch(SECRETS, field_selector=TOKENS),)

    async def sync(self, key: ObjectKey) -> Result:
        secret = self.lister(SECRETS, field_selector=TOKENS).get(*key)
        expires = expires_at(secret) if secret is not None and not is_deleting(secret) else None
        if secret is None or expires is None:
            return Result()
        left = (expires - self.clock.now()).total_seconds()
        if left > 0:
            return Result(requeue_after=left)
        try:
            await self.client.delete(SECRETS, key.name, key.namespace, uid=uid_of(secret))
        except (NotFound, Conflict):
            return Result()
        log.info("expired bootstrap token was deleted name=%s", key.name)
        return Result()
