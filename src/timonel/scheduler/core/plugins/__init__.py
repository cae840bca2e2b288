"""The plugins, in the order they are asked. A new one is a module and a row here (CONTRIBUTING.md)."""

from __future__ import annotations

from timonel.scheduler.core.arguments import (
    CoschedulingArgs,
    DefaultPreemptionArgs,
    DynamicResourcesArgs,
    InterPodAffinityArgs,
    NodeAffinityArgs,
    NodeResourcesBalancedAllocationArgs,
    NodeResourcesFitArgs,
    PodTopologySpreadArgs,
    VolumeBindingArgs,
)
from timonel.scheduler.core.framework import Filter, Score
from timonel.scheduler.core.plugins.dynamic_resources import DynamicResources
from timonel.scheduler.core.plugins.image_locality import ImageLocality
from timonel.scheduler.core.plugins.interpod_affinity import InterPodAffinity
from timonel.scheduler.core.plugins.node_affinity import NodeAffinity
from timonel.scheduler.core.plugins.node_ports import NodePorts
from timonel.scheduler.core.plugins.node_resources import NodeResourcesBalancedAllocation, NodeResourcesFit
from timonel.scheduler.core.plugins.node_unschedulable import NodeUnschedulable
from timonel.scheduler.core.plugins.taint_toleration import TaintToleration
from timonel.scheduler.core.plugins.topology_spread import PodTopologySpread
from timonel.scheduler.core.plugins.volumes import NodeVolumeLimits, VolumeBinding, VolumeRestrictions, VolumeZone
from timonel.scheduler.core.profile import PluginRow, Profile, default_profile

_FILTER = ("preFilter", "filter")
_BOTH = ("preFilter", "filter", "preScore", "score")

IN_TREE: tuple[PluginRow, ...] = (
    PluginRow("SchedulingGates", ("preEnqueue",)),
    PluginRow("PrioritySort", ("queueSort",)),
    PluginRow("NodeUnschedulable", ("filter",), lambda _: NodeUnschedulable()),
    PluginRow("NodeName", ("filter",)),  # a pod that names its node never comes here: it is placed already
    PluginRow("TaintToleration", ("filter", "preScore", "score"), lambda _: TaintToleration(), weight=3),
    PluginRow("NodeAffinity", _BOTH, NodeAffinity, NodeAffinityArgs, weight=2),
    PluginRow("NodePorts", _FILTER, lambda _: NodePorts()),
    PluginRow("NodeResourcesFit", _BOTH, NodeResourcesFit, NodeResourcesFitArgs),
    PluginRow("VolumeRestrictions", _FILTER, lambda _: VolumeRestrictions()),
    PluginRow("NodeVolumeLimits", _FILTER, lambda _: NodeVolumeLimits()),
    PluginRow("VolumeBinding", (*_BOTH, "reserve", "preBind"), lambda _: VolumeBinding(), VolumeBindingArgs),
    PluginRow("VolumeZone", _FILTER, lambda _: VolumeZone()),
    PluginRow("PodTopologySpread", _BOTH, PodTopologySpread, PodTopologySpreadArgs, weight=2),
    PluginRow("InterPodAffinity", _BOTH, InterPodAffinity, InterPodAffinityArgs, weight=2),
    PluginRow("DynamicResources",
              ("preEnqueue", "preFilter", "filter", "postFilter", "score", "reserve", "preBind"),
              DynamicResources, DynamicResourcesArgs, weight=2),
    PluginRow("DefaultPreemption", ("preEnqueue", "postFilter"), None, DefaultPreemptionArgs),
    PluginRow("NodeResourcesBalancedAllocation", ("preScore", "score"), NodeResourcesBalancedAllocation,
              NodeResourcesBalancedAllocationArgs),
    PluginRow("ImageLocality", ("score",), lambda _: ImageLocality()),
    PluginRow("DefaultBinder", ("bind",)),
    PluginRow("Coscheduling", ("preFilter", "postFilter", "permit"), None, CoschedulingArgs, is_default=False),
)  # fmt: skip
"""Those that come with the scheduler, in upstream's order, which is the order they are asked in."""

DEFAULT_PROFILE: Profile = default_profile(IN_TREE)

FILTERS: tuple[Filter, ...] = DEFAULT_PROFILE.filters
SCORES: tuple[Score, ...] = tuple(plugin for plugin, _ in DEFAULT_PROFILE.scores)
