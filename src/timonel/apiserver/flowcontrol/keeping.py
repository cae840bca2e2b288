"""Keeps the suggested and mandatory configuration objects as this version wants them.

Mandatory ones always get their spec back. Suggested ones do as long as their annotation `autoupdate-spec` says "true",
or says nothing and nobody has changed the spec since it was made; the annotation then says so. Objects annotated "true"
that this version does not know are of another version, and go.
Source: kubernetes.io/docs/concepts/cluster-administration/flow-control ("Maintenance of the mandatory and suggested
configuration objects").
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from timonel.api.clock import Clock
from timonel.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from timonel.api.kinds.flowcontrol.mandatory import EXEMPT, MANDATORY_FLOW_SCHEMAS, MANDATORY_PRIORITY_LEVELS
from timonel.api.objects import Object, annotations_of, copy_object, name_of
from timonel.api.refs import FLOW_SCHEMAS, PRIORITY_LEVEL_CONFIGURATIONS, ResourceRef
from timonel.apiserver.flowcontrol.suggested import (
    AUTO_UPDATE,
    FLOW_SCHEMA_NAMES,
    PRIORITY_LEVEL_NAMES,
    SUGGESTED_FLOW_SCHEMAS,
    SUGGESTED_PRIORITY_LEVELS,
    bootstrap_object,
)
from timonel.apiserver.readers import Readers
from timonel.storage.protocol import StoreError

log = logging.getLogger(__name__)

_PERIOD_SECONDS = 60.0
"""How long a change may stand before it is looked at: long enough to change a spec first and its annotation then."""
_TRUE, _FALSE = (
    frozenset({"1", "t", "T", "true", "TRUE", "True"}),
    frozenset({"0", "f", "F", "false", "FALSE", "False"}),
)


class Objects(Readers, Protocol):
    """The registry, writing as the server itself under a field manager's name."""

    async def create(self, ref: ResourceRef, obj: Object) -> object: ...

    async def update(
        self, ref: ResourceRef, name: str, transform: Callable[[Object], Object], *, subresource: str = ""
    ) -> object: ...

    async def apply_status(self, ref: ResourceRef, name: str, status: Object) -> object: ...

    async def delete(self, ref: ResourceRef, name: str) -> object: ...


class ConfigurationKeeper:
    """`ensure` once at start, then `run`, which looks again a minute after something has changed."""

    def __init__(self, *, objects: Objects, clock: Clock) -> None:
        self._objects = objects
        self._clock = clock
        self._changed = asyncio.Event()
        self.has_ensured = False

    async def run(self) -> None:
        for ref in (FLOW_SCHEMAS, PRIORITY_LEVEL_CONFIGURATIONS):
            self._objects.reader(ref).subscribe(self._look)
        if not self.has_ensured:
            self._changed.set()
        while True:
            await self._changed.wait()
            await self._clock.sleep(_PERIOD_SECONDS)
            self._changed.clear()
            try:
                await self.ensure()
            except (ApiError, StoreError) as error:
                log.warning("flow control objects could not be restored, will retry error=%s", error)
                self._changed.set()

    async def ensure(self) -> None:
        """Levels before the schemas that lead to them, and at last what is unknown. Raises ApiError, StoreError."""
        kinds = (
            (PRIORITY_LEVEL_CONFIGURATIONS, SUGGESTED_PRIORITY_LEVELS, MANDATORY_PRIORITY_LEVELS),
            (FLOW_SCHEMAS, SUGGESTED_FLOW_SCHEMAS, MANDATORY_FLOW_SCHEMAS),
        )
        for ref, suggested, mandatory in kinds:
            await asyncio.gather(
                *(self._keep(ref, name, spec, mandatory=False) for name, spec in suggested.items()),
                *(self._keep(ref, name, spec, mandatory=True) for name, spec in mandatory.items()),
            )
        for ref, known in ((FLOW_SCHEMAS, FLOW_SCHEMA_NAMES), (PRIORITY_LEVEL_CONFIGURATIONS, PRIORITY_LEVEL_NAMES)):
            for obj in list(self._objects.reader(ref).list()):
                if name_of(obj) not in known and annotations_of(obj).get(AUTO_UPDATE) in _TRUE:
                    await self._remove(ref, name_of(obj))
        self.has_ensured = True

    async def _keep(self, ref: ResourceRef, name: str, spec: Object, *, mandatory: bool) -> None:
        live = self._objects.reader(ref).get("", name)
        if live is None:
            try:
                await self._objects.create(ref, copy_object(bootstrap_object(name, spec)))
                log.info("flow control object was created resource=%s name=%s", ref.group_resource, name)
            except AlreadyExists:
                log.info("flow control object was there already resource=%s name=%s", ref.group_resource, name)
            return
        if revised(live, spec, mandatory=mandatory) is None:
            return
        try:
            await self._objects.update(
                ref, name, lambda old: revised(old, spec, mandatory=mandatory) or copy_object(old)
            )
            log.info("flow control object was restored resource=%s name=%s", ref.group_resource, name)
        except (Conflict, NotFound):
            log.info("flow control object changed meanwhile resource=%s name=%s", ref.group_resource, name)

    async def _remove(self, ref: ResourceRef, name: str) -> None:
        try:
            await self._objects.delete(ref, name)
            log.info("flow control object of another version was deleted resource=%s name=%s", ref.group_resource, name)
        except NotFound:
            return

    def _look(self, old: Object | None, new: Object | None) -> None:
        if (
            old is None
            or new is None
            or old.get("spec") != new.get("spec")
            or annotations_of(old) != annotations_of(new)
        ):
            self._changed.set()


def revised(live: Object, spec: Object, *, mandatory: bool) -> Object | None:
    """The object as it should be, or None when it is so already. Pure."""
    said = annotations_of(live).get(AUTO_UPDATE)
    if mandatory:
        updates = True
    elif said in _TRUE or said in _FALSE:
        updates = said in _TRUE
    else:
        updates = live["metadata"].get("generation") == 1  # nobody has changed it since it was made
    annotated = (said in _TRUE) if updates else (said in _FALSE)
    differs = updates and not _same_spec(live, spec)
    if annotated and not differs:
        return None
    made = copy_object(live)
    if differs:
        made["spec"] = copy_object(spec)
    if not annotated:
        made["metadata"].setdefault("annotations", {})[AUTO_UPDATE] = "true" if updates else "false"
    return made


def _same_spec(live: Object, spec: Object) -> bool:
    actual = live.get("spec") or {}
    if name_of(live) == EXEMPT and "exempt" in spec:
        # How much the exempt level lends is the administrator's to say.
        return bool(actual.get("exempt")) and {**actual, "exempt": None} == {**spec, "exempt": None}
    return bool(actual == spec)
