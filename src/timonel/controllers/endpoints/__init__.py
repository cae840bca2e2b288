"""Services' endpoints: EndpointSlices, the legacy Endpoints object beside them, slices of Endpoints made by hand."""

from timonel.controllers.endpoints.legacy import EndpointsConfig, EndpointsController
from timonel.controllers.endpoints.mirroring import EndpointSliceMirroringController, MirroringConfig
from timonel.controllers.endpoints.slices import EndpointSliceConfig, EndpointSliceController

__all__ = [
    "EndpointSliceConfig",
    "EndpointSliceController",
    "EndpointSliceMirroringController",
    "EndpointsConfig",
    "EndpointsController",
    "MirroringConfig",
]
