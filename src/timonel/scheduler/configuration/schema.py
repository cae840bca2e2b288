"""Which fields there are and what they hold: tables, and the strict reading by them.

What the readers of plugins' arguments find in a document is told as upstream's decoder tells it.
Source: kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from timonel.api.durations import InvalidDuration, parse_duration
from timonel.scheduler.configuration.errors import InvalidConfiguration


@dataclass(frozen=True, slots=True)
class Struct:
    name: str
    fields: Mapping[str, Any]
    """Of each what it holds: a Struct, a List, or a scalar's name in Go."""


@dataclass(frozen=True, slots=True)
class List:
    of: Any


@dataclass(frozen=True, slots=True)
class Dictionary:
    """Of texts."""


ANYTHING = "runtime.RawExtension"
DURATION = "v1.Duration"
BYTES = "[]uint8"
_TYPE = {"apiVersion": "string", "kind": "string"}
_RANGES = {"int32": 31, "int64": 63}

_REQUIREMENT = Struct("NodeSelectorRequirement", {"key": "string", "operator": "string", "values": List("string")})
_NODE_TERM = Struct("NodeSelectorTerm", {"matchExpressions": List(_REQUIREMENT), "matchFields": List(_REQUIREMENT)})
_NODE_AFFINITY = Struct("NodeAffinity", {
    "requiredDuringSchedulingIgnoredDuringExecution": Struct("NodeSelector", {"nodeSelectorTerms": List(_NODE_TERM)}),
    "preferredDuringSchedulingIgnoredDuringExecution": List(
        Struct("PreferredSchedulingTerm", {"weight": "int32", "preference": _NODE_TERM})
    ),
})  # fmt: skip
_LABEL_REQUIREMENT = Struct(
    "LabelSelectorRequirement", {"key": "string", "operator": "string", "values": List("string")}
)
_SELECTOR = Struct("LabelSelector", {"matchLabels": Dictionary(), "matchExpressions": List(_LABEL_REQUIREMENT)})
_SPREAD = Struct("TopologySpreadConstraint", {
    "maxSkew": "int32", "topologyKey": "string", "whenUnsatisfiable": "string", "minDomains": "int32",
    "labelSelector": _SELECTOR,
    "nodeAffinityPolicy": "string", "nodeTaintsPolicy": "string", "matchLabelKeys": List("string"),
})  # fmt: skip
_RESOURCE = Struct("ResourceSpec", {"name": "string", "weight": "int64"})
_SHAPE = List(Struct("UtilizationShapePoint", {"utilization": "int32", "score": "int32"}))

_ARGUMENT_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "Coscheduling": {"permitWaitingTimeSeconds": "int64"},
    "DefaultPreemption": {"minCandidateNodesPercentage": "int32", "minCandidateNodesAbsolute": "int32"},
    "DynamicResources": {"filterTimeout": DURATION, "bindingTimeout": DURATION},
    "InterPodAffinity": {"hardPodAffinityWeight": "int32", "ignorePreferredTermsOfExistingPods": "bool"},
    "NodeAffinity": {"addedAffinity": _NODE_AFFINITY},
    "NodeResourcesBalancedAllocation": {"resources": List(_RESOURCE)},
    "NodeResourcesFit": {
        "ignoredResources": List("string"),
        "ignoredResourceGroups": List("string"),
        "scoringStrategy": Struct("ScoringStrategy", {
            "type": "string", "resources": List(_RESOURCE),
            "requestedToCapacityRatio": Struct("RequestedToCapacityRatioParam", {"shape": _SHAPE}),
        }),
    },
    "PodTopologySpread": {"defaultConstraints": List(_SPREAD), "defaultingType": "string"},
    "VolumeBinding": {"bindTimeoutSeconds": "int64", "shape": _SHAPE},
}  # fmt: skip
ARGUMENTS = {name: Struct(f"{name}Args", {**_TYPE, **fields}) for name, fields in _ARGUMENT_FIELDS.items()}
"""By plugin."""

PLUGIN_POINTS = (
    "preEnqueue", "queueSort", "preFilter", "filter", "postFilter", "preScore", "score", "reserve", "permit", "preBind",
    "bind", "postBind", "multiPoint", "placementGenerate", "placementScore",
)  # fmt: skip
_PLUGINS = List(Struct("Plugin", {"name": "string", "weight": "int32"}))
_PLUGIN_SET = Struct("PluginSet", {"enabled": _PLUGINS, "disabled": _PLUGINS})
_PROFILE = Struct("KubeSchedulerProfile", {
    "schedulerName": "string", "percentageOfNodesToScore": "int32",
    "plugins": Struct("Plugins", dict.fromkeys(PLUGIN_POINTS, _PLUGIN_SET)),
    "pluginConfig": List(Struct("PluginConfig", {"name": "string", "args": ANYTHING})),
})  # fmt: skip
_EXTENDER = Struct("Extender", {
    "urlPrefix": "string", "filterVerb": "string", "preemptVerb": "string", "prioritizeVerb": "string",
    "weight": "int64", "bindVerb": "string", "enableHTTPS": "bool", "httpTimeout": DURATION,
    "nodeCacheCapable": "bool", "ignorable": "bool",
    "tlsConfig": Struct("ExtenderTLSConfig", {
        "insecure": "bool", "serverName": "string", "certFile": "string", "keyFile": "string", "caFile": "string",
        "certData": BYTES, "keyData": BYTES, "caData": BYTES,
    }),
    "managedResources": List(Struct("ExtenderManagedResource", {"name": "string", "ignoredByScheduler": "bool"})),
})  # fmt: skip
CONFIGURATION = Struct("KubeSchedulerConfiguration", {
    **_TYPE, "parallelism": "int32", "percentageOfNodesToScore": "int32", "podInitialBackoffSeconds": "int64",
    "podMaxBackoffSeconds": "int64", "profiles": List(_PROFILE), "extenders": List(_EXTENDER),
    "delayCacheUntilActive": "bool", "enableProfiling": "bool", "enableContentionProfiling": "bool",
    "leaderElection": Struct("LeaderElectionConfiguration", {
        "leaderElect": "bool", "leaseDuration": DURATION, "renewDeadline": DURATION, "retryPeriod": DURATION,
        "resourceLock": "string", "resourceName": "string", "resourceNamespace": "string",
    }),
    "clientConnection": Struct("ClientConnectionConfiguration", {
        "kubeconfig": "string", "acceptContentTypes": "string", "contentType": "string", "qps": "float32",
        "burst": "int32",
    }),
})  # fmt: skip


def unknown_fields(document: Any, struct: Struct) -> list[str]:
    """Paths of fields that the tables do not have, in order. Raises InvalidConfiguration for wrong types."""
    found: list[str] = []
    _check(document, struct, "", struct, found)
    return found


def _check(value: Any, kind: Any, path: str, owner: Struct, found: list[str]) -> None:
    if value is None or kind == ANYTHING:
        return
    match kind:
        case Struct():
            if not isinstance(value, dict):
                raise _mismatch(value, owner, path, f"v1.{kind.name}")
            for key in sorted(value):
                where = f"{path}.{key}" if path else key
                if key in kind.fields:
                    _check(value[key], kind.fields[key], where, kind, found)
                else:
                    found.append(where)
        case List():
            if not isinstance(value, list):
                raise _mismatch(value, owner, path, f"[]{_go_type(kind.of)}")
            for index, item in enumerate(value):
                _check(item, kind.of, f"{path}[{index}]", owner, found)
        case Dictionary():
            if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
                raise _mismatch(value, owner, path, "map[string]string")
        case _:
            _check_scalar(value, kind, path, owner)


def _check_scalar(value: Any, kind: str, path: str, owner: Struct) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    match kind:
        case "string":
            fits = isinstance(value, str)
        case "bool":
            fits = isinstance(value, bool)
        case "float32":
            fits = is_number
        case "v1.Duration":
            fits = isinstance(value, str)
            if fits:
                try:
                    parse_duration(value)
                except InvalidDuration as exc:
                    raise InvalidConfiguration(f"{path}: {exc}") from None
        case "[]uint8":
            fits = isinstance(value, str)
            if fits:
                try:
                    base64.b64decode(value, validate=True)
                except binascii.Error:
                    raise InvalidConfiguration(f"{path}: illegal base64 data") from None
        case _:
            limit = 1 << _RANGES[kind]
            fits = is_number and float(value).is_integer() and -limit <= value < limit
    if not fits:
        raise _mismatch(value, owner, path, kind)


def _go_type(kind: Any) -> str:
    return f"v1.{kind.name}" if isinstance(kind, Struct) else str(kind)


def _mismatch(value: Any, owner: Struct, path: str, kind: str) -> InvalidConfiguration:
    shown = {dict: "object", list: "array", str: "string", bool: "bool"}.get(type(value), f"number {value}")
    return InvalidConfiguration(
        f"json: cannot unmarshal {shown} into Go struct field {owner.name}.{path} of type {kind}"
    )
