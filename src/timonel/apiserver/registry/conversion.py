"""Resources served in another shape than they are stored in: one storage, one cache, two views.

Events: events.k8s.io/v1 over core/v1. Autoscalers: autoscaling/v1 over autoscaling/v2. Everything behind the HTTP edge
works on the stored shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import orjson

from timonel.api.kinds.autoscaler import to_v1, to_v2
from timonel.api.kinds.events import from_core, to_core
from timonel.api.managed_fields.views import View
from timonel.api.objects import Object
from timonel.api.refs import EVENTS_V1, HORIZONTAL_POD_AUTOSCALERS_V1, ResourceRef
from timonel.api.resource import Resource
from timonel.storage.cached_object import CachedObject


@dataclass(frozen=True, slots=True)
class Conversion:
    to_stored: Callable[[Object], Object]
    to_served: Callable[[Object], Object]

    def serve(self, cached: CachedObject) -> bytes:
        return orjson.dumps(self.to_served(cached.obj))


def views_of(row: Resource, rows: Iterable[Resource]) -> dict[str, View]:
    """The other shapes that objects of a row are served in, by apiVersion."""
    views = {}
    for other in rows:
        if other.storage_prefix == row.storage_prefix and other.ref != row.ref:
            views[other.ref.api_version] = View(other.definition, to=_way(row, other), back=_way(other, row))
    return views


def _way(row: Resource, other: Resource) -> Callable[[Object], Object]:
    source, target = CONVERSIONS.get(row.ref), CONVERSIONS.get(other.ref)

    def shape(obj: Object) -> Object:
        stored = obj if source is None else source.to_stored(obj)
        return stored if target is None else target.to_served(stored)

    return shape


CONVERSIONS: dict[ResourceRef, Conversion] = {
    EVENTS_V1: Conversion(to_core, from_core),
    HORIZONTAL_POD_AUTOSCALERS_V1: Conversion(to_v2, to_v1),
}
