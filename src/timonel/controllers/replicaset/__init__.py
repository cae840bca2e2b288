"""ReplicaSet: keeps as many pods of one template as asked for."""

from timonel.controllers.replicaset.controller import ReplicaSetController

__all__ = ["ReplicaSetController"]
