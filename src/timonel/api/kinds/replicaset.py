"""ReplicaSet: keeps a number of equal pods alive."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.kinds.columns import AGE, NAME, TEMPLATE_COLUMNS, field
from timonel.api.kinds.subresources import SCALE, STATUS
from timonel.api.kinds.workload import SELECTOR_COLUMN
from timonel.api.resource import Column, Resource, Strategy


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
    columns=(
        NAME,
        Column("Desired", field("spec", "replicas", default=0), type="integer", description="Pods wanted."),
        Column("Current", field("status", "replicas", default=0), type="integer", description="Pods there are."),
        Column(
            "Ready", field("status", "readyReplicas", default=0), type="integer", description="Pods that are ready."
        ),
        AGE,
        *TEMPLATE_COLUMNS,
        SELECTOR_COLUMN,
    ),
    storage_prefix="/registry/replicasets/",
    has_status=True,
)
