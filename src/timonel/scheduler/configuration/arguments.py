"""Plugins' arguments as the core takes them, from a document that was defaulted and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from timonel.api.durations import parse_duration
from timonel.api.objects import Object, get_path
from timonel.scheduler.core.arguments import (
    CoschedulingArgs,
    DefaultPreemptionArgs,
    DefaultSpread,
    DynamicResourcesArgs,
    InterPodAffinityArgs,
    NodeAffinityArgs,
    NodeResourcesBalancedAllocationArgs,
    NodeResourcesFitArgs,
    PodTopologySpreadArgs,
    ShapePoint,
    Strategy,
    VolumeBindingArgs,
    WeightedResource,
)
from timonel.scheduler.core.selectors import parse_node_term

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def parse_arguments(plugin: str, args: Object) -> Any:
    """An instance of the plugin's dataclass; what a plugin from elsewhere is told stays as it is."""
    parse = _PARSERS.get(plugin)
    return parse(args) if parse else args


def _fit(args: Object) -> NodeResourcesFitArgs:
    strategy = args["scoringStrategy"]
    return NodeResourcesFitArgs(
        ignored_resources=frozenset(args.get("ignoredResources") or ()),
        ignored_groups=frozenset(args.get("ignoredResourceGroups") or ()),
        strategy=Strategy(strategy["type"]),
        resources=tuple(WeightedResource(each.get("name") or "", each["weight"]) for each in strategy["resources"]),
        shape=tuple(
            ShapePoint(point.get("utilization") or 0, point.get("score") or 0)
            for point in get_path(strategy, "requestedToCapacityRatio", "shape", default=())
        ),
    )


def _balanced(args: Object) -> NodeResourcesBalancedAllocationArgs:
    return NodeResourcesBalancedAllocationArgs(tuple(each.get("name") or "" for each in args["resources"]))


def _node_affinity(args: Object) -> NodeAffinityArgs:
    added = args.get("addedAffinity") or {}
    required = added.get(_REQUIRED)
    return NodeAffinityArgs(
        None if required is None else tuple(parse_node_term(term) for term in required.get("nodeSelectorTerms") or ()),
        tuple((each["weight"], parse_node_term(each.get("preference") or {})) for each in added.get(_PREFERRED) or ()),
    )


def _spread(args: Object) -> PodTopologySpreadArgs:
    if args["defaultingType"] == "System":
        return PodTopologySpreadArgs()
    return PodTopologySpreadArgs(
        tuple(
            DefaultSpread(
                max_skew=each["maxSkew"],
                topology_key=each["topologyKey"],
                is_required=each["whenUnsatisfiable"] == "DoNotSchedule",
                min_domains=each.get("minDomains") or 1,
                honor_affinity=each.get("nodeAffinityPolicy") != "Ignore",
                honor_taints=each.get("nodeTaintsPolicy") == "Honor",
            )
            for each in args.get("defaultConstraints") or ()
        )
    )


def _interpod_affinity(args: Object) -> InterPodAffinityArgs:
    return InterPodAffinityArgs(args["hardPodAffinityWeight"], bool(args.get("ignorePreferredTermsOfExistingPods")))


def _preemption(args: Object) -> DefaultPreemptionArgs:
    return DefaultPreemptionArgs(args["minCandidateNodesPercentage"], args["minCandidateNodesAbsolute"])


def _dynamic_resources(args: Object) -> DynamicResourcesArgs:
    return DynamicResourcesArgs(
        float(parse_duration(args["filterTimeout"])), float(parse_duration(args["bindingTimeout"]))
    )


_PARSERS: Mapping[str, Callable[[Object], Any]] = {
    "Coscheduling": lambda args: CoschedulingArgs(float(args["permitWaitingTimeSeconds"])),
    "DefaultPreemption": _preemption,
    "DynamicResources": _dynamic_resources,
    "InterPodAffinity": _interpod_affinity,
    "NodeAffinity": _node_affinity,
    "NodeResourcesBalancedAllocation": _balanced,
    "NodeResourcesFit": _fit,
    "PodTopologySpread": _spread,
    "VolumeBinding": lambda args: VolumeBindingArgs(float(args["bindTimeoutSeconds"])),
}
