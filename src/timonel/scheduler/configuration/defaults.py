"""What holds where a configuration says nothing: the document with every default in it.

Source: kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1, "Default" of each field
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from timonel.api.objects import Object, copy_object
from timonel.scheduler.configuration.schema import ARGUMENTS, PLUGIN_POINTS
from timonel.scheduler.core.profile import DEFAULT_SCHEDULER, PluginRow

_CPU_AND_MEMORY = ({"name": "cpu", "weight": 1}, {"name": "memory", "weight": 1})
_TOP: Object = {
    "parallelism": 16, "percentageOfNodesToScore": 0, "podInitialBackoffSeconds": 1, "podMaxBackoffSeconds": 10,
    "enableProfiling": True, "profiles": [], "extenders": [],
}  # fmt: skip
_LEADER_ELECTION: Object = {
    "leaderElect": True, "leaseDuration": "15s", "renewDeadline": "10s", "retryPeriod": "2s", "resourceLock": "leases",
    "resourceName": "kube-scheduler", "resourceNamespace": "kube-system",
}  # fmt: skip
_CLIENT: Object = {"contentType": "application/vnd.kubernetes.protobuf", "qps": 50.0, "burst": 100}


def with_defaults(document: Object, rows: Mapping[str, PluginRow]) -> Object:
    """A copy; `rows` are the plugins there are, in the order of their default."""
    made = copy_object(document)
    _fill(made, _TOP)
    made["leaderElection"] = _filled(made.get("leaderElection"), _LEADER_ELECTION)
    made["clientConnection"] = _filled(made.get("clientConnection"), _CLIENT)
    _fill(made, {"enableContentionProfiling": bool(made["enableProfiling"])})
    if not made["profiles"]:
        made["profiles"] = [{}]
    # Where there is one, it is the default one; several must be told apart, and are checked for that.
    if len(made["profiles"]) == 1 and made["profiles"][0].get("schedulerName") is None:
        made["profiles"][0]["schedulerName"] = DEFAULT_SCHEDULER
    for profile in made["profiles"]:
        _complete_profile(profile, rows)
    return made


def _complete_profile(profile: Object, rows: Mapping[str, PluginRow]) -> None:
    default = {"multiPoint": [_default_plugin(row) for row in rows.values() if row.is_default]}
    custom = profile.get("plugins") or {}
    profile["plugins"] = {point: _merged(default.get(point, []), custom.get(point) or {}) for point in PLUGIN_POINTS}
    configs = profile["pluginConfig"] = list(profile.get("pluginConfig") or ())
    for config in configs:
        if config.get("name") in ARGUMENTS:
            config["args"] = default_arguments(config["name"], config.get("args") or {})
    present = {config.get("name") for config in configs}
    for name in sorted(_named(profile["plugins"].values())):
        if name in ARGUMENTS and name in rows and name not in present:
            configs.append({"name": name, "args": default_arguments(name, {})})


def _default_plugin(row: PluginRow) -> Object:
    return {"name": row.name, "weight": row.weight} if "score" in row.points else {"name": row.name}


def _named(plugin_sets: Iterable[Object]) -> set[str]:
    return {plugin.get("name", "") for each in plugin_sets for plugin in each["enabled"]}


def _merged(default: list[Object], custom: Object) -> Object:
    """The default plugins without those disabled, told anew where `custom` enables them too; then the others."""
    disabled = [{"name": each.get("name", "")} for each in custom.get("disabled") or ()]
    without = {each["name"] for each in disabled}
    enabled: list[Object] = custom.get("enabled") or []
    by_name = {each.get("name"): each for each in enabled}  # of several, the last
    kept = [] if "*" in without else [each for each in default if each["name"] not in without]
    replaced = [by_name[each["name"]] for each in kept if each["name"] in by_name]
    first = [by_name.get(each["name"], each) for each in kept]
    return {
        "enabled": first + [each for each in enabled if not any(each is other for other in replaced)],
        "disabled": disabled,
    }


def default_arguments(plugin: str, args: Object) -> Object:
    """A plugin's arguments with their defaults."""
    made = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": f"{plugin}Args",
        **{key: value for key, value in args.items() if value is not None},
    }
    match plugin:
        case "DefaultPreemption":
            _fill(made, {"minCandidateNodesPercentage": 10, "minCandidateNodesAbsolute": 100})
        case "Coscheduling":
            _fill(made, {"permitWaitingTimeSeconds": 60})
        case "InterPodAffinity":
            _fill(made, {"hardPodAffinityWeight": 1})
        case "VolumeBinding":
            _fill(made, {"bindTimeoutSeconds": 600})
        case "PodTopologySpread":
            made["defaultingType"] = made.get("defaultingType") or "System"
        case "DynamicResources":
            _fill(made, {"filterTimeout": "10s", "bindingTimeout": "10m0s"})
        case "NodeResourcesBalancedAllocation":
            made["resources"] = _weighted(made.get("resources"))
        case "NodeResourcesFit":
            strategy = made["scoringStrategy"] = dict(made.get("scoringStrategy") or {"type": "LeastAllocated"})
            strategy["resources"] = _weighted(strategy.get("resources"))
    return made


def _weighted(resources: list[Object] | None) -> list[Object]:
    """A weight of zero is one that was not set."""
    return [{**each, "weight": each.get("weight") or 1} for each in resources or _CPU_AND_MEMORY]


def _filled(part: Object | None, defaults: Mapping[str, Any]) -> Object:
    made = dict(part or {})
    _fill(made, defaults)
    for key, value in defaults.items():
        if not isinstance(value, bool) and not made[key]:  # zero and "" are not set either
            made[key] = value
    return made


def _fill(target: Object, defaults: Mapping[str, Any]) -> None:
    for key, value in defaults.items():
        if target.get(key) is None:
            target[key] = (
                copy_object(value) if isinstance(value, dict) else list(value) if isinstance(value, list) else value
            )
