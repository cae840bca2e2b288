"""Endpoints: the addresses behind a Service in the old, unsliced shape."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.kinds.columns import AGE, NAME
from timonel.api.resource import Resource, Strategy


class EndpointsStrategy(Strategy):
    create_on_update = True
    tracks_generation = False


ENDPOINTS = Resource(
    ref=refs.ENDPOINTS,
    definition="io.k8s.api.core.v1.Endpoints",
    singular="endpoints",
    short_names=("ep",),
    strategy=EndpointsStrategy(),
    columns=(NAME, AGE),
    storage_prefix="/registry/services/endpoints/",
)
