"""The kinds of storage: volumes, claims, classes, and what CSI drivers tell of themselves and their nodes."""

from __future__ import annotations

from timonel.api.kinds.storage.capacity import CSI_STORAGE_CAPACITIES
from timonel.api.kinds.storage.classes import STORAGE_CLASSES, VOLUME_ATTRIBUTES_CLASSES
from timonel.api.kinds.storage.drivers import CSI_DRIVERS, CSI_NODES
from timonel.api.kinds.storage.persistentvolume import PERSISTENT_VOLUMES
from timonel.api.kinds.storage.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIMS
from timonel.api.kinds.storage.volumeattachment import VOLUME_ATTACHMENTS

STORAGE_ROWS = (
    PERSISTENT_VOLUMES,
    PERSISTENT_VOLUME_CLAIMS,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
    VOLUME_ATTRIBUTES_CLASSES,
    CSI_DRIVERS,
    CSI_NODES,
    CSI_STORAGE_CAPACITIES,
)

__all__ = ["STORAGE_ROWS"]
