"""ControllerRevisions: the past templates of StatefulSets and DaemonSets, by which they are rolled back."""

from timonel.controllers.history.recorder import History
from timonel.controllers.history.revisions import REVISION_HASH, template_of

__all__ = ["REVISION_HASH", "History", "template_of"]
