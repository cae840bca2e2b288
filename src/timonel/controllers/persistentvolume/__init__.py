"""Binds claims to volumes, frees volumes whose claims are gone, and makes volumes that are directories of a node."""

from timonel.controllers.persistentvolume.controller import VolumeBinder
from timonel.controllers.persistentvolume.local import LocalVolumeProvisioner

__all__ = ["LocalVolumeProvisioner", "VolumeBinder"]
