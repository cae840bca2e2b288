"""EndpointSlice: up to a thousand addresses of one family behind a Service."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.kinds.columns import AGE, NAME
from timonel.api.resource import Resource, Strategy


class EndpointSliceStrategy(Strategy):
    pass


ENDPOINT_SLICES = Resource(
    ref=refs.ENDPOINT_SLICES,
    definition="io.k8s.api.discovery.v1.EndpointSlice",
    singular="endpointslice",
    strategy=EndpointSliceStrategy(),
    columns=(NAME, AGE),
    storage_prefix="/registry/endpointslices/",
)
