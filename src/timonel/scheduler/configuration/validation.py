"""What is wrong with a configuration that could be read and has its defaults: findings with upstream's words.

Source: kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from timonel.api.durations import parse_duration
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, duplicate, forbidden, invalid, not_supported, required
from timonel.api.names import validate_qualified_name
from timonel.api.objects import Object
from timonel.scheduler.configuration.schema import PLUGIN_POINTS

VERSION = "kubescheduler.config.k8s.io/v1"
Errors = list[FieldError]

_REMOVED = frozenset({"AzureDiskLimits", "CinderLimits", "EBSLimits", "GCEPDLimits"})
_STRATEGIES = ("LeastAllocated", "MostAllocated", "RequestedToCapacityRatio")
_ACTIONS = ("DoNotSchedule", "ScheduleAnyway")


def findings(document: Object) -> Errors:
    """`document` as `with_defaults` made it."""
    errors: Errors = []
    if document["clientConnection"]["burst"] < 0:
        errors.append(invalid(Path("clientConnection.burst"), document["clientConnection"]["burst"],
                              "must be non-negative"))  # fmt: skip
    _check_leader_election(errors, Path("leaderElection"), document["leaderElection"])
    if document["parallelism"] <= 0:
        why = "should be an integer value greater than zero"
        errors.append(invalid(Path("parallelism"), document["parallelism"], why))
    _check_profiles(errors, Path("profiles"), document["profiles"])
    _check_percentage(errors, Path(), document)
    first, longest = document["podInitialBackoffSeconds"], document["podMaxBackoffSeconds"]
    if first <= 0:
        errors.append(invalid(Path("podInitialBackoffSeconds"), first, "must be greater than 0"))
    if longest < first:
        why = "must be greater than or equal to PodInitialBackoffSeconds"
        errors.append(invalid(Path("podMaxBackoffSeconds"), longest, why))
    _check_extenders(errors, Path("extenders"), document["extenders"])
    return errors


def _check_leader_election(errors: Errors, path: Path, election: Object) -> None:
    if not election["leaderElect"]:
        return
    seconds = {key: parse_duration(election[key]) for key in ("leaseDuration", "renewDeadline", "retryPeriod")}
    for key, value in seconds.items():
        if value <= 0:
            errors.append(invalid(path / key, election[key], "must be greater than zero"))
    if seconds["leaseDuration"] <= seconds["renewDeadline"]:
        errors.append(
            invalid(path / "leaseDuration", election["renewDeadline"], "must be greater than `RenewDeadline`")
        )
    if election["resourceLock"] != "leases":
        errors.append(invalid(path / "resourceLock", election["resourceLock"], 'resourceLock value must be "leases"'))


def _check_percentage(errors: Errors, path: Path, holder: Object) -> None:
    value = holder.get("percentageOfNodesToScore")
    if value is not None and not 0 <= value <= 100:
        errors.append(invalid(path / "percentageOfNodesToScore", value, "not in valid range [0-100]"))


# Profiles


def _check_profiles(errors: Errors, path: Path, profiles: list[Object]) -> None:
    seen: dict[str, int] = {}
    for index, profile in enumerate(profiles):
        here = path[index]
        name = profile.get("schedulerName") or ""
        if not name:
            errors.append(required(here / "schedulerName"))
        _check_percentage(errors, here, profile)
        _check_plugins(errors, here / "plugins", profile["plugins"])
        _check_plugin_config(errors, here / "pluginConfig", profile["pluginConfig"])
        if name in seen:
            errors.append(duplicate(here / "schedulerName", str(path[seen[name]] / "schedulerName")))
        seen[name] = index
    _check_queue_sort(errors, path, profiles)


def _check_plugins(errors: Errors, path: Path, plugins: Mapping[str, Object]) -> None:
    for point in PLUGIN_POINTS:
        for index, plugin in enumerate(plugins[point]["enabled"]):
            if plugin.get("name") in _REMOVED:
                errors.append(_removed((path / point / "enabled")[index], plugin["name"]))


def _removed(path: Path, plugin: str) -> FieldError:
    return invalid(path, plugin, f'was invalid in version "v1" (KubeSchedulerConfiguration is version "{VERSION}")')


def _check_queue_sort(errors: Errors, path: Path, profiles: list[Object]) -> None:
    first = profiles[0]["plugins"]["queueSort"]
    if len(first["enabled"]) > 1:
        where = path[0] / "plugins" / "queueSort" / "Enabled"
        errors.append(invalid(where, len(first["enabled"]), "only one queue sort plugin can be enabled"))
    for index, profile in enumerate(profiles):
        other = profile["plugins"]["queueSort"]
        if other != first:
            where = path[index] / "plugins" / "queueSort"
            errors.append(invalid(where, other, "must be the same for all profiles"))


def _check_plugin_config(errors: Errors, path: Path, configs: list[Object]) -> None:
    seen = set()
    for index, config in enumerate(configs):
        name = config.get("name") or ""
        if name in seen:
            errors.append(duplicate(path[index], name))
        seen.add(name)
        if name in _REMOVED:
            errors.append(_removed(path[index], name))
        elif name in _CHECKS:
            _CHECKS[name](errors, path[index] / "args", config.get("args") or {})


# Arguments of plugins


def _check_preemption(errors: Errors, path: Path, args: Object) -> None:
    percentage, absolute = args["minCandidateNodesPercentage"], args["minCandidateNodesAbsolute"]
    if not 0 <= percentage <= 100:
        errors.append(invalid(path / "minCandidateNodesPercentage", percentage, "not in valid range [0, 100]"))
    if absolute < 0:
        errors.append(invalid(path / "minCandidateNodesAbsolute", absolute, "not in valid range [0, inf)"))
    if percentage == 0 and absolute == 0:
        for key, other in (("Percentage", "Absolute"), ("Absolute", "Percentage")):
            why = f"cannot be zero at the same time as minCandidateNodes{other}"
            errors.append(invalid(path / f"minCandidateNodes{key}", 0, why))


def _check_interpod_affinity(errors: Errors, path: Path, args: Object) -> None:
    weight = args["hardPodAffinityWeight"]
    if not 0 <= weight <= 100:
        errors.append(invalid(path / "hardPodAffinityWeight", weight, "not in valid range [0, 100]"))


def _check_node_affinity(errors: Errors, path: Path, args: Object) -> None:
    if args.get("addedAffinity"):
        # Imported where it is needed: the rules of pods weigh megabytes.
        from timonel.api.kinds.pod.scheduling import check_affinity

        found: Errors = []
        check_affinity(found, Path(), {"nodeAffinity": args["addedAffinity"]})
        prefix = str(path / "addedAffinity")
        errors += [
            FieldError(each.reason, each.field.replace("nodeAffinity", prefix, 1), each.message) for each in found
        ]


def _check_balanced(errors: Errors, path: Path, args: Object) -> None:
    seen = set()
    for index, resource in enumerate(args["resources"]):
        name, here = resource.get("name") or "", (path / "resources")[index]
        if name in seen:
            errors.append(duplicate(here / "name", name))
        seen.add(name)
        if resource["weight"] != 1:
            errors.append(invalid(here / "weight", resource["weight"], "must be 1"))


def _check_fit(errors: Errors, path: Path, args: Object) -> None:
    for key in ("ignoredResources", "ignoredResourceGroups"):
        for index, name in enumerate(args.get(key) or ()):
            here = (path / key)[index]
            if key == "ignoredResourceGroups" and "/" in name:
                errors.append(invalid(here, name, "resource group name can't contain '/'"))
            errors += [invalid(here, name, why) for why in validate_qualified_name(name)]
    strategy, path = args["scoringStrategy"], path / "scoringStrategy"
    kind, ratio = strategy.get("type") or "", strategy.get("requestedToCapacityRatio")
    if kind not in _STRATEGIES:
        errors.append(not_supported(path / "type", kind, _STRATEGIES))
    for index, resource in enumerate(strategy["resources"]):
        if not 0 < resource["weight"] <= 100:
            why = f"resource weight of {resource.get('name') or ''} not in valid range (0, 100]"
            errors.append(invalid((path / "resources")[index] / "weight", resource["weight"], why))
    where = path / "requestedToCapacityRatio"
    if kind == "RequestedToCapacityRatio":
        if ratio is None:
            errors.append(required(where, "must be specified when type is RequestedToCapacityRatio"))
        else:
            _check_shape(errors, where / "shape", ratio.get("shape") or [])
    elif ratio is not None:
        errors.append(forbidden(where, "must be nil when type is not RequestedToCapacityRatio"))


def _check_shape(errors: Errors, path: Path, shape: list[Object]) -> None:
    if not shape:
        errors.append(required(path, "at least one point must be specified"))
    utilizations = [point.get("utilization") or 0 for point in shape]
    for index in range(1, len(shape)):
        if utilizations[index - 1] >= utilizations[index]:
            why = "values must be sorted in increasing order"
            errors.append(invalid(path[index] / "utilization", utilizations[index], why))
            break
    for index, point in enumerate(shape):
        for key, most in (("utilization", 100), ("score", 10)):
            value = point.get(key) or 0
            if not 0 <= value <= most:
                errors.append(invalid(path[index] / key, value, f"not in valid range [0, {most}]"))


def _check_spread(errors: Errors, path: Path, args: Object) -> None:
    kind, constraints = args["defaultingType"], args.get("defaultConstraints") or []
    if kind not in ("System", "List"):
        errors.append(not_supported(path / "defaultingType", kind, ("System", "List")))
    elif kind == "System" and constraints:
        errors.append(invalid(path / "defaultingType", kind, "when .defaultConstraints are not empty"))
    seen = set()
    for index, constraint in enumerate(constraints):
        here = (path / "defaultConstraints")[index]
        key, action = constraint.get("topologyKey") or "", constraint.get("whenUnsatisfiable") or ""
        if (constraint.get("maxSkew") or 0) <= 0:
            errors.append(invalid(here / "maxSkew", constraint.get("maxSkew") or 0, "not in valid range (0, inf)"))
        if not key:
            errors.append(required(here / "topologyKey", "can not be empty"))
        errors += [invalid(here / "topologyKey", key, why) for why in validate_qualified_name(key) if key]
        if not action:
            errors.append(required(here / "whenUnsatisfiable", "can not be empty"))
        elif action not in _ACTIONS:
            errors.append(not_supported(here / "whenUnsatisfiable", action, _ACTIONS))
        if constraint.get("labelSelector") is not None:
            why = "constraint must not define a selector, as they deduced for each pod"
            errors.append(forbidden(here / "labelSelector", why))
        if (key, action) in seen:
            errors.append(duplicate(here, f"{{{key}, {action}}}"))
        seen.add((key, action))


def _check_volume_binding(errors: Errors, path: Path, args: Object) -> None:
    if args["bindTimeoutSeconds"] < 0:
        why = "invalid BindTimeoutSeconds, should not be a negative value"
        errors.append(invalid(path / "bindTimeoutSeconds", args["bindTimeoutSeconds"], why))
    if args.get("shape") is not None:
        why = "unexpected field `shape`, remove it or turn on the feature gate StorageCapacityScoring"
        errors.append(invalid(path / "shape", args["shape"], why))


def _check_dynamic_resources(errors: Errors, path: Path, args: Object) -> None:
    for key, least, why in (
        ("filterTimeout", 0, "must be zero or positive"), ("bindingTimeout", 1, "must be at least 1 second"),
    ):  # fmt: skip
        if parse_duration(args[key]) < least:
            errors.append(invalid(path / key, args[key], why))


def _check_coscheduling(errors: Errors, path: Path, args: Object) -> None:
    if args["permitWaitingTimeSeconds"] <= 0:
        here = path / "permitWaitingTimeSeconds"
        errors.append(invalid(here, args["permitWaitingTimeSeconds"], "must be greater than zero"))


_CHECKS: Mapping[str, Callable[[Errors, Path, Object], None]] = {
    "Coscheduling": _check_coscheduling,
    "DefaultPreemption": _check_preemption,
    "DynamicResources": _check_dynamic_resources,
    "InterPodAffinity": _check_interpod_affinity,
    "NodeAffinity": _check_node_affinity,
    "NodeResourcesBalancedAllocation": _check_balanced,
    "NodeResourcesFit": _check_fit,
    "PodTopologySpread": _check_spread,
    "VolumeBinding": _check_volume_binding,
}


# Extenders


def _check_extenders(errors: Errors, path: Path, extenders: list[Object]) -> None:
    managed: set[Any] = set()
    for index, extender in enumerate(extenders):
        weight = extender.get("weight") or 0
        if extender.get("prioritizeVerb") and weight <= 0:
            errors.append(invalid(path[index] / "weight", weight, "must have a positive weight applied to it"))
        for number, resource in enumerate(extender.get("managedResources") or ()):
            name, here = resource.get("name") or "", (path[index] / "managedResources")[number] / "name"
            wrong = validate_qualified_name(name)
            errors += [invalid(here, name, why) for why in wrong]
            if not wrong and not _is_extended(name):
                errors.append(invalid(here, name, "is an invalid extended resource name"))
            if name in managed:
                errors.append(invalid(here, name, "duplicate extender managed resource name"))
            managed.add(name)
    binders = sum(bool(each.get("bindVerb")) for each in extenders)
    if binders > 1:
        errors.append(
            invalid(path, f"found {binders} extenders implementing bind", "only one extender can implement bind")
        )


def _is_extended(name: str) -> bool:
    if "/" not in name or "kubernetes.io/" in name or name.startswith("requests."):
        return False
    return not validate_qualified_name(f"requests.{name}")
