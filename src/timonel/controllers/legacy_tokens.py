"""Tokens that came into Secrets by themselves, before v1.24, are marked and then deleted when nobody uses them.

Only Secrets that their account lists are meant: those made by hand are not listed, and stay.
Source: kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#legacy-serviceaccount-token-cleaner
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from timonel.api.clock import Clock, parse_time
from timonel.api.errors import Conflict, NotFound
from timonel.api.objects import Object, ObjectKey, get_path, is_deleting, name_of, namespace_of, uid_of
from timonel.api.objects import resource_version_of as version_of
from timonel.api.pod_references import secret_names
from timonel.api.refs import CONFIGMAPS, PODS, SECRETS, SERVICE_ACCOUNTS
from timonel.api.token_secrets import (
    INVALID_SINCE,
    LAST_USED,
    TRACKING,
    TRACKING_NAMESPACE,
    account_name_of,
    belongs_to,
    date_label,
    is_listed,
)
from timonel.client.controller import Controller, Result, Watch
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.token_secrets import TOKENS

log = logging.getLogger(__name__)

_DAY = timedelta(days=1)
_LOOK_AGAIN_SECONDS = 24 * 3600.0
"""At Secrets that are old enough, and that something else keeps."""


@dataclass(frozen=True, slots=True)
class LegacyTokenConfig:
    legacy_service_account_token_clean_up_period: float = 365 * 24 * 3600.0
    """Seconds that a token is not used before it is marked, and marked before it is deleted."""


def ripe_at(secret: Object, since: date, period: timedelta) -> datetime | None:
    """When the Secret may be marked or, once it is marked, deleted; None: what it says of itself cannot be read.

    `since` is the day from which uses are noted. Days count to their end.
    """
    try:
        used = date_label(secret, LAST_USED)
    except ValueError:
        return None
    moments = [parse_time(secret["metadata"]["creationTimestamp"]) + period, _end_of(since) + period]
    if used is not None:
        moments.append(_end_of(used) + period)
    if (marked := marked_since(secret)) is not None:
        moments.append(_end_of(marked) + period)
    return max(moments)


def marked_since(secret: Object) -> date | None:
    """None also for a mark that cannot be read, which is made anew."""
    try:
        return date_label(secret, INVALID_SINCE)
    except ValueError:
        return None


def _end_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC) + _DAY


class LegacyTokenCleaner(Controller):
    """Keys are Secrets with tokens."""

    name = "legacy-serviceaccount-token-cleaner-controller"
    workers = 1
    watches = (Watch(SECRETS, field_selector=TOKENS),)

    def __init__(
        self, *, client: ApiClient, informers: Informers, clock: Clock, config: LegacyTokenConfig | None = None
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock)
        seconds = (config or LegacyTokenConfig()).legacy_service_account_token_clean_up_period
        self._period = timedelta(seconds=seconds)
        self._since: date | None = None
        self.informer(SERVICE_ACCOUNTS)
        self.informer(PODS)

    async def prepare(self) -> None:
        for ref in (SERVICE_ACCOUNTS, PODS):
            await self.informer(ref).wait_synced()

    async def sync(self, key: ObjectKey) -> Result:
        secret = self.lister(SECRETS, field_selector=TOKENS).get(*key)
        if secret is None or is_deleting(secret) or not self._is_candidate(secret):
            return Result(requeue_after=_LOOK_AGAIN_SECONDS if secret is not None else None)
        since = await self._tracked_since()
        ripe = ripe_at(secret, since, self._period) if since is not None else None
        now = self.clock.now()
        if ripe is None or now < ripe:
            left = (ripe - now).total_seconds() if ripe is not None else _LOOK_AGAIN_SECONDS
            return Result(requeue_after=min(left, _LOOK_AGAIN_SECONDS))
        if self._is_mounted(secret):
            return Result(requeue_after=_LOOK_AGAIN_SECONDS)
        if marked_since(secret) is None:
            labels = {INVALID_SINCE: now.date().isoformat()}
            patch = {"metadata": {"uid": uid_of(secret), "labels": labels}}
            await self.client.patch(SECRETS, key.name, patch, key.namespace, type="merge")
            log.info("unused token was marked as invalid secret=%s", key)
            return Result(requeue_after=_LOOK_AGAIN_SECONDS)
        try:
            await self.client.delete(SECRETS, key.name, key.namespace, resource_version=version_of(secret))
        except (NotFound, Conflict):
            return Result(requeue_after=_LOOK_AGAIN_SECONDS)
        log.info("unused token was deleted secret=%s", key)
        return Result()

    def _is_candidate(self, secret: Object) -> bool:
        account = self.lister(SERVICE_ACCOUNTS).get(namespace_of(secret), account_name_of(secret))
        return account is not None and belongs_to(secret, account) and is_listed(name_of(secret), account)

    def _is_mounted(self, secret: Object) -> bool:
        wanted = ("secrets", name_of(secret))
        return any(wanted in secret_names(pod) for pod in self.lister(PODS).list(namespace_of(secret)))

    async def _tracked_since(self) -> date | None:
        if self._since is None:
            try:
                tracking = await self.client.get(CONFIGMAPS, TRACKING, TRACKING_NAMESPACE)
                self._since = date.fromisoformat(get_path(tracking, "data", "since", default=""))
            except (NotFound, ValueError) as error:
                log.warning("it is not known since when uses of tokens are noted error=%s", error)
        return self._since
