"""PriorityClass: a name for a pod priority."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.kinds.columns import AGE, NAME, field
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
        Column("Value", field("value", default=0), type="integer", description="The priority that pods get."),
        Column(
            "Global-Default",
            field("globalDefault", default=False),
            type="boolean",
            description="Whether pods that name no class get this one.",
        ),
        AGE,
        Column("PreemptionPolicy", field("preemptionPolicy"), description="Whether pods may evict lesser ones."),
    ),
    storage_prefix="/registry/priorityclasses/",
)
