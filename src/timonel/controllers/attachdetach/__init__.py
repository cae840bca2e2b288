"""Says which volumes of CSI drivers are to be attached to which nodes, by VolumeAttachments that the drivers act on."""

from timonel.controllers.attachdetach.controller import AttachDetachController

__all__ = ["AttachDetachController"]
