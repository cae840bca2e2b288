"""Which kinds can be owned and collected, kept current: looked at anew when a CustomResourceDefinition or an APIService
changes, never by the clock. Part of the API that does not answer keeps the kinds it had, and holds up no other.

Source: kubernetes.io/docs/concepts/architecture/garbage-collection
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from timonel.api.clock import Clock
from timonel.api.errors import ApiError
from timonel.api.objects import Object
from timonel.api.refs import API_SERVICES, CUSTOM_RESOURCE_DEFINITIONS, EVENTS, EVENTS_V1, ResourceRef
from timonel.client.backoff import Backoff
from timonel.client.discovery import Discovery, discover_available
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient

log = logging.getLogger(__name__)

_IGNORED = {EVENTS, EVENTS_V1}
"""Too many, too short-lived, never owned."""
_NEEDED_VERBS = frozenset({"list", "watch", "delete"})
_DEBOUNCE_SECONDS = 0.5
"""What is installed together comes together; and a definition is accepted a moment before it is served."""

Kinds = Mapping[tuple[str, str], ResourceRef]
"""By (group, plural)."""


def plan_kinds(known: Kinds, found: Discovery) -> dict[tuple[str, str], ResourceRef]:
    """The kinds to watch: those found, and those known whose group did not answer."""
    kinds = {
        (row.ref.group, row.ref.plural): row.ref
        for row in found.resources
        if row.ref not in _IGNORED and row.verbs >= _NEEDED_VERBS
    }
    silent = {group_version.rpartition("/")[0] for group_version in found.failed}
    return {key: ref for key, ref in known.items() if key[0] in silent} | kinds


class CollectableKinds:
    """Tells `on_change(appeared, vanished)`."""

    def __init__(
        self,
        *,
        client: ApiClient,
        informers: Informers,
        clock: Clock,
        on_change: Callable[[list[ResourceRef], list[ResourceRef]], None],
    ) -> None:
        self._client = client
        self._informers = informers
        self._clock = clock
        self._on_change = on_change
        self._kinds: dict[tuple[str, str], ResourceRef] = {}
        self._doubt = asyncio.Event()
        self._is_partial = False
        """Some group did not answer when it was last asked."""

    async def discover(self) -> None:
        """Until the groups could be read, and then whatever of them answered."""
        backoff = Backoff()
        while not await self._look():
            await self._clock.sleep(backoff.next_delay())

    async def run(self) -> None:
        """Looks again whenever there is a reason, until cancelled."""

        is_listed = False

        def doubt(*_: Object) -> None:
            if is_listed:
                self._doubt.set()

        for ref in (CUSTOM_RESOURCE_DEFINITIONS, API_SERVICES):
            if (ref.group, ref.plural) in self._kinds:
                informer = self._informers.of(ref, metadata_only=True)
                await informer.wait_synced()  # what was there at first is discovered already
                informer.add_handler(on_add=doubt, on_update=doubt, on_delete=doubt)
        is_listed = True
        if self._is_partial:
            self._doubt.set()
        backoff = Backoff()
        while True:
            await self._doubt.wait()
            await self._clock.sleep(_DEBOUNCE_SECONDS)
            self._doubt.clear()
            if await self._look() and not self._is_partial:
                backoff.reset()
            else:
                await self._clock.sleep(backoff.next_delay())
                self._doubt.set()

    async def _look(self) -> bool:
        try:
            found = await discover_available(self._client)
        except ApiError as exc:
            log.info("discovery failed error=%s", exc)
            return False
        self._is_partial = bool(found.failed)
        for group_version, error in found.failed.items():
            log.info("part of the API did not answer group_version=%s error=%s", group_version, error)
        before, self._kinds = self._kinds, plan_kinds(self._kinds, found)
        old, new = set(before.values()), set(self._kinds.values())
        if old != new:
            self._on_change([ref for ref in self._kinds.values() if ref not in old], list(old - new))
        return True
