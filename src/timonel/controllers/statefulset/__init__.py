"""StatefulSets: pods with lasting names and storage of their own, started and replaced in order."""

from timonel.controllers.statefulset.controller import StatefulSetController

__all__ = ["StatefulSetController"]
