"""The kubelet's own configuration file, upstream's `KubeletConfiguration` of kubelet.config.k8s.io/v1beta1.

Read strictly: an unknown field, or a value of the wrong shape, is refused by its name. What this kubelet does not act
on is taken, so that files of other clusters can be used, and named in a warning; unless it asks for what is so anyway.
Source: kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from timonel.api.durations import parse_duration
from timonel.api.objects import Object
from timonel.api.quantity import int_value, milli_value
from timonel.cluster.errors import UserError
from timonel.kubelet.config import KubeletConfig
from timonel.kubelet.cpus.topology import parse_cpus
from timonel.kubelet.eviction.settings import EvictionConfig
from timonel.kubelet.eviction.thresholds import DEFAULT_HARD, parse_thresholds
from timonel.kubelet.images.garbage import ImagePolicy

API_VERSION, KIND = "kubelet.config.k8s.io/v1beta1", "KubeletConfiguration"


class _Wrong(ValueError):
    """What a value should have been."""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Wrong("a text")
    return value


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _Wrong("a whole number")
    return value


def _natural(value: Any) -> int:
    if _integer(value) < 0:
        raise _Wrong("not negative")
    return int(value)


def _percent(value: Any) -> int:
    if not 0 <= _integer(value) <= 100:
        raise _Wrong("a percentage from 0 to 100")
    return int(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Wrong("true or false")
    return value


def _seconds(value: Any) -> float:
    try:
        return float(parse_duration(_text(value)))
    except ValueError:
        raise _Wrong('a length of time such as "1m30s"') from None


def _size(value: Any) -> int:
    try:
        return int_value(_text(value))
    except ValueError:
        raise _Wrong('a quantity such as "10Mi"') from None


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _Wrong("a list of texts")
    return tuple(value)


def _map(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for pair in value.items() for item in pair):
        raise _Wrong("a mapping of texts to texts")
    return value


def _cpus(value: Any) -> frozenset[int]:
    try:
        return parse_cpus(_text(value))
    except ValueError:
        raise _Wrong('a list of CPUs such as "0-1,4"') from None


def _taints(value: Any) -> tuple[Mapping[str, str], ...]:
    if not isinstance(value, list) or not all(
        isinstance(item, dict) and isinstance(item.get("key"), str) and isinstance(item.get("effect"), str)
        for item in value
    ):
        raise _Wrong("a list of taints with key and effect")
    return tuple(value)


def _anything(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class _Field:
    read: Callable[[Any], Any]
    target: str = ""
    """Field of KubeletConfig; "": put together with others, below."""
    zero_is_default: bool = False
    """0 and "" mean that it was not set, as in files that upstream's tools write."""


_HONOURED: dict[str, _Field] = {
    "staticPodPath": _Field(_text, "static_pod_path"),
    "fileCheckFrequency": _Field(_seconds, "static_pod_check_seconds", True),
    "podLogsDir": _Field(_text, "pod_logs_dir", True),
    "port": _Field(_natural, "port", True),
    "clusterDomain": _Field(_text, "cluster_domain", True),
    "clusterDNS": _Field(_texts, "cluster_dns", True),
    "resolvConf": _Field(_text, "resolv_conf"),
    "nodeStatusUpdateFrequency": _Field(_seconds, "status_seconds", True),
    "nodeStatusReportFrequency": _Field(_seconds, "report_seconds", True),
    "nodeLeaseDurationSeconds": _Field(_natural, "lease_seconds", True),
    "nodeStatusMaxImages": _Field(_integer, "status_max_images"),
    "maxPods": _Field(_natural, "max_pods", True),
    "podPidsLimit": _Field(_integer, "pod_pids_limit"),
    "registerNode": _Field(_flag, "register"),
    "registerWithTaints": _Field(_taints, "node_taints"),
    "containerLogMaxSize": _Field(_size, "log_max_bytes", True),
    "containerLogMaxFiles": _Field(_natural, "log_max_files", True),
    "containerLogMonitorInterval": _Field(_seconds, "log_check_seconds", True),
    "enableSystemLogHandler": _Field(_flag, "serves_node_logs"),
    "enableSystemLogQuery": _Field(_flag, "answers_log_queries"),
    "seccompDefault": _Field(_flag, "default_seccomp"),
    "allowedUnsafeSysctls": _Field(_texts, "allowed_unsafe_sysctls"),
    "maxParallelImagePulls": _Field(_natural),
    "serializeImagePulls": _Field(_flag),
    "imageMinimumGCAge": _Field(_seconds, "", True),
    "imageMaximumGCAge": _Field(_seconds),
    "imageGCHighThresholdPercent": _Field(_percent),
    "imageGCLowThresholdPercent": _Field(_percent),
    "evictionHard": _Field(_map),
    "evictionSoft": _Field(_map),
    "evictionSoftGracePeriod": _Field(_map),
    "evictionMinimumReclaim": _Field(_map),
    "evictionPressureTransitionPeriod": _Field(_seconds, "", True),
    "evictionMaxPodGracePeriod": _Field(_integer),
    "mergeDefaultEvictionSettings": _Field(_flag),
    "enforceNodeAllocatable": _Field(_texts),
    "cpuManagerPolicy": _Field(_text, "", True),
    "reservedSystemCPUs": _Field(_cpus, "", True),
    "systemReserved": _Field(_map),
    "kubeReserved": _Field(_map),
    "crashLoopBackOff": _Field(_anything),
}

_AS_IT_IS: dict[str, Any] = {
    "enableServer": True, "readOnlyPort": 0, "cgroupDriver": "cgroupfs", "cgroupsPerQOS": True, "cpuCFSQuota": True,
    "memoryManagerPolicy": "None", "topologyManagerPolicy": "none", "failSwapOn": False,
    "enableControllerAttachDetach": True, "rotateCertificates": True, "localStorageCapacityIsolation": True,
    "enableDebuggingHandlers": True, "kernelMemcgNotification": False, "protectKernelDefaults": False,
    "configMapAndSecretChangeDetectionStrategy": "Watch", "failCgroupV1": False, "runOnce": False,
    "contentType": "application/json", "makeIPTablesUtilChains": False, "serverTLSBootstrap": False,
}  # fmt: skip
"""What is so in any case: asking for it needs no warning."""

_NOT_HONOURED = frozenset({
    "syncFrequency", "httpCheckFrequency", "staticPodURL", "staticPodURLHeader", "address", "tlsCertFile",
    "tlsPrivateKeyFile", "tlsCipherSuites", "tlsCurvePreferences", "tlsMinVersion", "authentication", "authorization",
    "registryPullQPS", "registryBurst", "imagePullCredentialsVerificationPolicy",
    "preloadedImagesVerificationAllowlist", "eventRecordQPS", "eventBurst", "enableContentionProfiling",
    "healthzPort", "healthzBindAddress", "oomScoreAdj", "streamingConnectionIdleTimeout", "volumeStatsAggPeriod",
    "kubeletCgroups", "systemCgroups", "cgroupRoot", "singleProcessOOMKill", "cpuManagerPolicyOptions",
    "cpuManagerReconcilePeriod", "topologyManagerScope", "topologyManagerPolicyOptions", "qosReserved",
    "runtimeRequestTimeout", "hairpinMode", "podCIDR", "cpuCFSQuotaPeriod", "maxOpenFiles", "kubeAPIQPS",
    "kubeAPIBurst", "podsPerCore", "iptablesMasqueradeBit", "iptablesDropBit", "featureGates", "memorySwap",
    "containerLogMaxWorkers", "showHiddenMetricsForVersion", "systemReservedCgroup",
    "kubeReservedCgroup", "volumePluginDir", "providerID", "logging",
    "shutdownGracePeriod", "shutdownGracePeriodCriticalPods",
    "shutdownGracePeriodByPodPriority", "reservedMemory", "enableProfilingHandler", "enableDebugFlagsHandler",
    "memoryThrottlingFactor", "memoryReservationPolicy", "tracing", "containerRuntimeEndpoint",
    "imageServiceEndpoint", "userNamespaces",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class KubeletFile:
    """`values` by field of the file, read; `warnings` are whole sentences."""

    values: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def checked_document(path: str) -> Object:
    """What `up` hands to agents: the file as plain values; {} without one. Raises UserError with one line."""
    if not path:
        return {}
    try:
        data = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"kubelet configuration {path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"kubelet configuration {path}: not valid YAML: {error}") from error
    document: Object = {} if data is None else data
    configure(KubeletConfig(node_name="", node_ips=()), parse_document(document, f"kubelet configuration {path}"), path)
    return document


def parse_document(document: Any, source: str) -> KubeletFile:
    """Raises UserError, which names the field."""
    if not isinstance(document, dict):
        raise UserError(f"{source}: must be a mapping")
    if not document:
        return KubeletFile()
    if (document.get("apiVersion"), document.get("kind")) != (API_VERSION, KIND):
        raise UserError(f"{source}: apiVersion and kind must be {API_VERSION} and {KIND}")
    values: dict[str, Any] = {}
    warnings = []
    for name, value in document.items():
        if name in ("apiVersion", "kind"):
            continue
        known = _HONOURED.get(name)
        if known is not None:
            if value is None:
                continue
            try:
                read = known.read(value)
            except _Wrong as wrong:
                raise UserError(f"{source}: {name}: must be {wrong}, not {value!r}") from None
            if read or not known.zero_is_default:
                values[name] = read
        elif name in _AS_IT_IS or name in _NOT_HONOURED:
            if value != _AS_IT_IS.get(name) and not _says_nothing(value):
                warnings.append(f"{source}: {name} is not acted on by this kubelet")
        else:
            raise UserError(f'{source}: unknown field "{name}"')
    return KubeletFile(values, tuple(warnings))


def _says_nothing(value: Any) -> bool:
    """Zero values, which upstream's tools write for what was not set."""
    return value is None or (not isinstance(value, bool) and value in (0, "", "0s", [], {}))


def configure(config: KubeletConfig, file: KubeletFile, source: str) -> KubeletConfig:
    """`config` with what the file says instead. Raises UserError."""
    values = file.values
    changes: dict[str, Any] = {
        known.target: values[name] for name, known in _HONOURED.items() if known.target and name in values
    }
    if "resolv_conf" in changes and not changes["resolv_conf"]:
        changes["resolv_conf"] = "/dev/null"  # "": nothing of the node's
    if values.get("serializeImagePulls"):
        changes["max_parallel_pulls"] = 1
    if values.get("maxParallelImagePulls"):
        if values.get("serializeImagePulls") and values["maxParallelImagePulls"] > 1:
            raise UserError(
                f"{source}: maxParallelImagePulls: cannot be larger than 1 unless serializeImagePulls is false"
            )
        changes["max_parallel_pulls"] = values["maxParallelImagePulls"]
    changes["image_policy"] = _image_policy(config.image_policy, values, source)
    changes["eviction"] = _eviction(config.eviction, values, source)
    changes |= _reserved(values, source)
    changes |= _own_cpus(values, changes.get("reserved_cpu_milli", config.reserved_cpu_milli), source)
    most = _crash_loop(values.get("crashLoopBackOff"), source)
    if most is not None:
        changes["restart_back_off_seconds"] = most
    return dataclasses.replace(config, **changes)


def _image_policy(before: ImagePolicy, values: Mapping[str, Any], source: str) -> ImagePolicy:
    made = ImagePolicy(
        high_percent=values.get("imageGCHighThresholdPercent", before.high_percent),
        low_percent=values.get("imageGCLowThresholdPercent", before.low_percent),
        minimum_age_seconds=values.get("imageMinimumGCAge", before.minimum_age_seconds),
        maximum_age_seconds=values.get("imageMaximumGCAge", before.maximum_age_seconds),
    )
    if made.low_percent >= made.high_percent:
        raise UserError(f"{source}: imageGCLowThresholdPercent must be less than imageGCHighThresholdPercent")
    if made.maximum_age_seconds and made.maximum_age_seconds <= made.minimum_age_seconds:
        raise UserError(f"{source}: imageMaximumGCAge must be greater than imageMinimumGCAge")
    return made


def _eviction(before: EvictionConfig, values: Mapping[str, Any], source: str) -> EvictionConfig:
    hard = values.get("evictionHard", DEFAULT_HARD)
    if values.get("mergeDefaultEvictionSettings"):
        hard = {**DEFAULT_HARD, **hard}
    try:
        thresholds = parse_thresholds(
            hard,
            values.get("evictionSoft"),
            values.get("evictionSoftGracePeriod"),
            values.get("evictionMinimumReclaim"),
            for_pods_as_well="pods" in values.get("enforceNodeAllocatable", ("pods",)),
        )
    except ValueError as error:
        raise UserError(f"{source}: {error}") from error
    return dataclasses.replace(
        before,
        thresholds=thresholds,
        transition_seconds=values.get("evictionPressureTransitionPeriod", before.transition_seconds),
        maximum_grace_seconds=values.get("evictionMaxPodGracePeriod", before.maximum_grace_seconds),
    )


def _reserved(values: Mapping[str, Any], source: str) -> dict[str, int]:
    cpu = memory = 0
    for name in ("systemReserved", "kubeReserved"):
        for resource, text in values.get(name, {}).items():
            try:
                if resource == "cpu":
                    cpu += milli_value(text)
                elif resource == "memory":
                    memory += int_value(text)
                else:
                    raise UserError(f"{source}: {name}: only cpu and memory can be reserved, not {resource}")
            except ValueError as error:
                raise UserError(f"{source}: {name}.{resource}: {error}") from error
    found = {}
    if cpu:
        found["reserved_cpu_milli"] = cpu
    if memory:
        found["reserved_memory_bytes"] = memory
    return found


def _own_cpus(values: Mapping[str, Any], reserved_milli: int, source: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    named = values.get("reservedSystemCPUs")
    if named:
        found = {"reserved_cpus": named, "reserved_cpu_milli": 1000 * len(named)}
    policy = values.get("cpuManagerPolicy", "none")
    if policy not in ("none", "static"):
        raise UserError(f"{source}: cpuManagerPolicy: must be none or static, not {policy!r}")
    if policy == "static" and not named and not reserved_milli:
        raise UserError(
            f"{source}: cpuManagerPolicy: the static policy requires systemReserved.cpu + kubeReserved.cpu to be "
            "greater than zero, or reservedSystemCPUs"
        )
    return {**found, "cpu_policy": policy}


def _crash_loop(value: Any, source: str) -> float | None:
    if value is None:
        return None
    where = f"{source}: crashLoopBackOff"
    if not isinstance(value, dict):
        raise UserError(f"{where}: must be a mapping")
    if unknown := value.keys() - {"maxContainerRestartPeriod"}:
        raise UserError(f'{source}: unknown field "crashLoopBackOff.{min(unknown)}"')
    text = value.get("maxContainerRestartPeriod")
    if text is None:
        return None
    try:
        seconds = _seconds(text)
    except _Wrong as wrong:
        raise UserError(f"{where}.maxContainerRestartPeriod: must be {wrong}, not {text!r}") from None
    if not 1 <= seconds <= 300:
        raise UserError(f"{where}.maxContainerRestartPeriod: must be between 1s and 300s")
    return seconds
