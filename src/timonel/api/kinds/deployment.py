"""Deployment: a number of equal pods, replaced a few at a time when their template changes."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.kinds.columns import AGE, NAME, TEMPLATE_COLUMNS, field, plain
from timonel.api.kinds.subresources import SCALE, STATUS
from timonel.api.kinds.workload import SELECTOR_COLUMN
from timonel.api.objects import Object, get_path
from timonel.api.resource import Column, Resource, Strategy


class DeploymentStrategy(Strategy):
    pass


def _ready(deployment: Object) -> str:
    ready = get_path(deployment, "status", "readyReplicas", default=0)
    return f"{ready}/{get_path(deployment, 'spec', 'replicas', default=0)}"


DEPLOYMENTS = Resource(
    ref=refs.DEPLOYMENTS,
    definition="io.k8s.api.apps.v1.Deployment",
    singular="deployment",
    short_names=("deploy",),
    categories=("all",),
    subresources=(SCALE, STATUS),
    strategy=DeploymentStrategy(),
    columns=(
        NAME,
        Column("Ready", plain(_ready), description="Ready pods, of those wanted."),
        Column(
            "Up-to-date", field("status", "updatedReplicas", default=0), description="Pods of the current template."
        ),
        Column("Available", field("status", "availableReplicas", default=0), description="Pods ready for long enough."),
        AGE,
        *TEMPLATE_COLUMNS,
        SELECTOR_COLUMN,
    ),
    storage_prefix="/registry/deployments/",
    has_status=True,
)
