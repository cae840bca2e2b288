"""The loop's side of the history: adopts, records, renumbers and deletes ControllerRevisions."""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence

from timonel.api.errors import AlreadyExists, NotFound
from timonel.api.labels import Selector
from timonel.api.objects import Object, key_of, name_of, namespace_of, uid_of
from timonel.api.refs import CONTROLLER_REVISIONS, ResourceRef
from timonel.client.informer import Informer
from timonel.client.protocol import ApiClient
from timonel.controllers.history.revisions import new_revision, patch_of, plan_history, surplus
from timonel.controllers.own_writes import OwnWrites
from timonel.controllers.ownership import (
    CONTROLLER_INDEX,
    apply_claims,
    controller_index,
    is_controlled_by,
    orphans_of,
    plan_claims,
)

log = logging.getLogger(__name__)


class History:
    """The revisions of all owners of one kind. `label` is the key of the hash label on revisions."""

    def __init__(self, client: ApiClient, informer: Informer, own: OwnWrites, owner: ResourceRef, label: str) -> None:
        self._client = client
        self._informer = informer
        self._own = own
        self._owner = owner
        self._label = label
        informer.add_index(CONTROLLER_INDEX, controller_index)

    async def of(self, owner: Object, selector: Selector) -> Sequence[Object]:
        """The owner's revisions, orphans that its selector matches adopted. Raises Conflict when one changed meanwhile.

        Costs nothing but a look into the cache when there is nothing to adopt or release.
        """
        lister = self._informer.lister
        candidates = [
            *lister.by_index(CONTROLLER_INDEX, uid_of(owner)),
            *lister.by_index(CONTROLLER_INDEX, orphans_of(namespace_of(owner))),
        ]
        claims = plan_claims(owner, selector, candidates)
        return await apply_claims(self._client, owner, self._owner, CONTROLLER_REVISIONS, claims)

    async def record(self, owner: Object, revisions: Sequence[Object]) -> tuple[Object, int]:
        """The revision of the owner's present template, now the last one, and the count of collisions so far."""
        collisions: int = (owner.get("status") or {}).get("collisionCount") or 0
        plan = plan_history(owner, revisions)
        key = key_of(owner)
        if plan.present is not None:
            if plan.is_done:
                return plan.present, collisions
            written = await self._client.update(CONTROLLER_REVISIONS, plan.present | {"revision": plan.number})
            self._own.wrote(key, self._informer, written)
            return written, collisions
        while True:
            revision = new_revision(owner, self._owner, plan.number, collisions, self._label)
            try:
                created = await self._client.create(CONTROLLER_REVISIONS, revision)
            except AlreadyExists:
                present = await self._client.get(CONTROLLER_REVISIONS, name_of(revision), namespace_of(owner))
                if present.get("data") == patch_of(owner) and is_controlled_by(present, owner):
                    self._own.wrote(key, self._informer, present)
                    return present, collisions
                collisions += 1
                log.info("hash collision resolved owner=%s collisions=%d", key, collisions)
                continue
            self._own.wrote(key, self._informer, created)
            return created, collisions

    async def truncate(self, owner: Object, revisions: Sequence[Object], live: Container[str]) -> None:
        """Keeps as many as the owner's revisionHistoryLimit says, beside those whose names are `live`."""
        limit = owner["spec"].get("revisionHistoryLimit")
        key = key_of(owner)
        for revision in surplus(revisions, live, 10 if limit is None else limit):
            try:
                await self._client.delete(
                    CONTROLLER_REVISIONS, name_of(revision), namespace_of(revision), uid=uid_of(revision)
                )
            except NotFound:
                continue
            self._own.deleted(key, self._informer, revision)
