"""Services' endpoints: EndpointSlices, the legacy Endpoints object beside them, slices of Endpoints made by hand."""

from timonel.controllers.endpoints.legacy import EndpointsController
from timonel.controllers.endpoints.mirroring import EndpointSliceMirroringController, MirroringConfig
from timonel.controllers.endpoints.slices import EndpointSliceController

__all__ = ["EndpointSliceController", "EndpointSliceMirroringController", "EndpointsController", "MirroringConfig"]
