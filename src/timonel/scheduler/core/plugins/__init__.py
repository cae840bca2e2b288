"""The plugins, in the order they are asked. A new one is a module and a line here (CONTRIBUTING.md)."""

from __future__ import annotations

from timonel.scheduler.core.framework import Filter, Score
from timonel.scheduler.core.plugins.image_locality import ImageLocality
from timonel.scheduler.core.plugins.interpod_affinity import InterPodAffinity
from timonel.scheduler.core.plugins.node_affinity import NodeAffinity
from timonel.scheduler.core.plugins.node_ports import NodePorts
from timonel.scheduler.core.plugins.node_resources import NodeResourcesBalancedAllocation, NodeResourcesFit
from timonel.scheduler.core.plugins.node_unschedulable import NodeUnschedulable
from timonel.scheduler.core.plugins.taint_toleration import TaintToleration
from timonel.scheduler.core.plugins.topology_spread import PodTopologySpread
from timonel.scheduler.core.plugins.volumes import NodeVolumeLimits, VolumeBinding, VolumeRestrictions, VolumeZone

_TAINTS = TaintToleration()
_AFFINITY = NodeAffinity()
_FIT = NodeResourcesFit()
_SPREAD = PodTopologySpread()
_INTERPOD = InterPodAffinity()

FILTERS: tuple[Filter, ...] = (
    NodeUnschedulable(),
    _TAINTS,
    _AFFINITY,
    NodePorts(),
    _FIT,
    VolumeRestrictions(),
    NodeVolumeLimits(),
    VolumeBinding(),
    VolumeZone(),
    _SPREAD,
    _INTERPOD,
)
"""The first that refuses a node gives the reason. A pod that names its node never comes here: it is placed already."""

SCORES: tuple[Score, ...] = (
    _TAINTS,
    _AFFINITY,
    _FIT,
    _SPREAD,
    _INTERPOD,
    NodeResourcesBalancedAllocation(),
    ImageLocality(),
)
