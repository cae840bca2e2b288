"""Deployment: a number of equal pods, replaced a few at a time when their template changes."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.kinds.columns import AGE, NAME
from timonel.api.kinds.subresources import SCALE, STATUS
from timonel.api.resource import Resource, Strategy


class DeploymentStrategy(Strategy):
    pass


DEPLOYMENTS = Resource(
    ref=refs.DEPLOYMENTS,
    definition="io.k8s.api.apps.v1.Deployment",
    singular="deployment",
    short_names=("deploy",),
    categories=("all",),
    subresources=(SCALE, STATUS),
    strategy=DeploymentStrategy(),
    columns=(NAME, AGE),
    storage_prefix="/registry/deployments/",
    has_status=True,
)
