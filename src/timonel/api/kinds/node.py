"""Node: what a kubelet reports of its host, and where the scheduler may place pods."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.kinds.columns import AGE, NAME
from timonel.api.kinds.fields import flag_at
from timonel.api.kinds.subresources import PROXY_VERBS, STATUS
from timonel.api.resource import Resource, Strategy, Subresource


class NodeStrategy(Strategy):
    tracks_generation = False


NODES = Resource(
    ref=refs.NODES,
    definition="io.k8s.api.core.v1.Node",
    singular="node",
    short_names=("no",),
    subresources=(Subresource("proxy", verbs=PROXY_VERBS, kind="NodeProxyOptions"), STATUS),
    strategy=NodeStrategy(),
    columns=(NAME, AGE),
    selectable_fields={"spec.unschedulable": flag_at("spec", "unschedulable")},
    storage_prefix="/registry/minions/",
    has_status=True,
)
