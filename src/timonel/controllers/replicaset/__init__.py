"""ReplicaSet and ReplicationController: as many pods of one template as asked for."""

from timonel.controllers.replicaset.controller import ReplicaSetController, ReplicationControllerController

__all__ = ["ReplicaSetController", "ReplicationControllerController"]
