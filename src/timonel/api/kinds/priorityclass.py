"""PriorityClass: a name for a pod priority."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.kinds.columns import AGE, NAME, cell_at
from timonel.api.resource import Column, Resource, Strategy


class PriorityClassStrategy(Strategy):
    pass


PRIORITY_CLASSES = Resource(
    ref=refs.PRIORITY_CLASSES,
    definition="io.k8s.api.scheduling.v1.PriorityClass",
    singular="priorityclass",
    short_names=("pc",),
    strategy=PriorityClassStrategy(),
    columns=(
        NAME,
        Column("Value", cell_at("value", default=0), type="integer", description="The priority that pods get."),
        Column(
            "Global-Default",
            cell_at("globalDefault", default=False),
            type="boolean",
            description="Whether pods that name no class get this one.",
        ),
        AGE,
        Column("PreemptionPolicy", cell_at("preemptionPolicy"), description="Whether pods may evict lesser ones."),
    ),
    storage_prefix="/registry/priorityclasses/",
)
