"""ReplicaSet: keeps a number of equal pods alive."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.kinds.columns import AGE, NAME
from timonel.api.kinds.subresources import SCALE, STATUS
from timonel.api.resource import Resource, Strategy


class ReplicaSetStrategy(Strategy):
    pass


REPLICA_SETS = Resource(
    ref=refs.REPLICA_SETS,
    definition="io.k8s.api.apps.v1.ReplicaSet",
    singular="replicaset",
    short_names=("rs",),
    categories=("all",),
    subresources=(SCALE, STATUS),
    strategy=ReplicaSetStrategy(),
    columns=(NAME, AGE),
    storage_prefix="/registry/replicasets/",
    has_status=True,
)
