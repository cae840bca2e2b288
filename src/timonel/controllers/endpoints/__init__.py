"""Services' endpoints: EndpointSlices, and the legacy Endpoints object beside them."""

from timonel.controllers.endpoints.legacy import EndpointsController
from timonel.controllers.endpoints.slices import EndpointSliceController

__all__ = ["EndpointSliceController", "EndpointsController"]
