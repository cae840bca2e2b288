"""ResourceClaims of pods: made from templates, let go of when pods end, deleted when nobody needs them."""

from timonel.controllers.resourceclaims.controller import ResourceClaimController

__all__ = ["ResourceClaimController"]
