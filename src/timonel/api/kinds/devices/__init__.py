"""The kinds of resource.k8s.io: devices that nodes have, classes of them, and claims for them.

Source: kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation. CEL selectors are not compiled
here; whether a claim's namespace may have administrative access is for whoever serves claims to ask.
"""

from __future__ import annotations

from timonel.api.kinds.devices.claims import RESOURCE_CLAIM_TEMPLATES, RESOURCE_CLAIMS
from timonel.api.kinds.devices.classes import DEVICE_CLASSES
from timonel.api.kinds.devices.slices import RESOURCE_SLICES

RESOURCE_ROWS = (DEVICE_CLASSES, RESOURCE_CLAIMS, RESOURCE_CLAIM_TEMPLATES, RESOURCE_SLICES)

__all__ = ["RESOURCE_ROWS"]
