"""kube-controller-manager's flags: as keys of `manager` in the configuration file and as flags of `timonel manager`.

Names are upstream's, and so are defaults, but that as many DaemonSets are synced at once as other workloads. What
upstream has and means nothing here is refused with what does the same.
Source: kubernetes.io/docs/reference/command-line-tools-reference/kube-controller-manager
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from timonel.api.durations import InvalidDuration, parse_duration
from timonel.cluster.errors import UserError
from timonel.cluster.foreign_flags import ELSEWHERE

if TYPE_CHECKING:
    from timonel.controllers.manager import ManagerConfig

_WORKERS = "workers"


def _workers(count: int, controller: str) -> Any:
    return field(default=count, metadata={"target": (_WORKERS, controller), "least": 1})


def _number(default: float, *target: str, least: float = 0, most: float | None = None) -> Any:
    return field(default=default, metadata={"target": target, "least": least, "most": most})


def _time(default: str, *target: str) -> Any:
    return field(default=default, metadata={"target": target, "is_time": True})


def _own(default: Any) -> Any:
    """Used in the manager's process itself."""
    return field(default=default, metadata={"target": ()})


@dataclass(frozen=True, slots=True)
class ManagerOptions:
    """Each field is the flag of the same name; lengths of time are texts such as "1m30s"."""

    controllers: tuple[str, ...] = _own(("*",))
    """"*" is all, "-name" all but that one; names as upstream has them."""
    bind_address: str = _own("127.0.0.1")
    """Of the ports for /metrics and health."""
    secure_port: int = _number(10257, most=65535)
    """0: none."""
    scheduler_secure_port: int = _number(10259, most=65535)
    """kube-scheduler's --secure-port."""
    scheduler_config: str = _own("")
    """A KubeSchedulerConfiguration: kube-scheduler's --config."""
    concurrent_deployment_syncs: int = _workers(5, "deployment")
    concurrent_replicaset_syncs: int = _workers(5, "replicaset")
    concurrent_statefulset_syncs: int = _workers(5, "statefulset")
    concurrent_daemonset_syncs: int = _workers(5, "daemonset")
    concurrent_rc_syncs: int = _workers(5, "replicationcontroller")
    concurrent_job_syncs: int = _workers(5, "job")
    concurrent_cron_job_syncs: int = _workers(5, "cronjob")
    concurrent_ttl_after_finished_syncs: int = _workers(5, "ttl-after-finished")
    concurrent_service_endpoint_syncs: int = _workers(5, "endpointslice")
    concurrent_endpoint_syncs: int = _workers(5, "endpoint")
    concurrent_namespace_syncs: int = _workers(10, "namespace")
    concurrent_serviceaccount_token_syncs: int = _workers(5, "serviceaccount-token-controller")
    concurrent_resource_quota_syncs: int = _workers(5, "resourcequota")
    concurrent_ephemeralvolume_syncs: int = _workers(5, "ephemeral-volume")
    concurrent_resourceclaim_syncs: int = _workers(10, "resourceclaim-controller")
    concurrent_device_taint_eviction_syncs: int = _workers(8, "device-taint-eviction-controller")
    concurrent_horizontal_pod_autoscaler_syncs: int = _workers(5, "horizontal-pod-autoscaler")
    concurrent_gc_syncs: int = _workers(20, "garbage-collector")
    mirroring_concurrent_service_endpoint_syncs: int = _workers(5, "endpointslice-mirroring-controller")
    mirroring_max_endpoints_per_subset: int = _number(
        1000, "mirroring", "mirroring_max_endpoints_per_subset", least=1, most=1000
    )
    mirroring_endpointslice_updates_batch_period: str = _time(
        "0s", "mirroring", "mirroring_endpointslice_updates_batch_period"
    )
    max_endpoints_per_slice: int = _number(100, "endpoint_slices", "max_endpoints_per_slice", least=1, most=1000)
    endpointslice_updates_batch_period: str = _time("0s", "endpoint_slices", "endpointslice_updates_batch_period")
    endpoint_updates_batch_period: str = _time("0s", "endpoints", "endpoint_updates_batch_period")
    node_startup_grace_period: str = _time("1m0s", "node_lifecycle", "startup_grace_seconds")
    """Silence after which a node that never reported is lost."""
    node_eviction_rate: float = _number(0.1, "node_lifecycle", "eviction", "rate")
    """Lost nodes per second and zone whose pods are sent away."""
    secondary_node_eviction_rate: float = _number(0.01, "node_lifecycle", "eviction", "secondary_rate")
    """The same in a large zone that is unhealthy."""
    unhealthy_zone_threshold: float = _number(0.55, "node_lifecycle", "eviction", "unhealthy_threshold", most=1)
    """The part of a zone's nodes that makes it unhealthy when they are lost."""
    large_cluster_size_threshold: int = _number(50, "node_lifecycle", "eviction", "large_zone")
    """From smaller zones that are unhealthy nobody is sent away."""
    terminated_pod_gc_threshold: int = _number(12500, "pod_gc", "terminated_threshold")
    """Ended pods that are kept; 0: all."""
    node_cidr_mask_size_ipv4: int = _number(24, "node_ipam", "node_prefix_ipv4", least=8, most=30)
    node_cidr_mask_size_ipv6: int = _number(64, "node_ipam", "node_prefix_ipv6", least=16, most=126)
    cluster_signing_duration: str = _time("8760h0m0s", "signing", "cluster_signing_duration")
    """The longest time for which certificates are signed."""
    legacy_service_account_token_clean_up_period: str = _time(
        "8760h0m0s", "legacy_tokens", "legacy_service_account_token_clean_up_period"
    )
    horizontal_pod_autoscaler_sync_period: str = _time("15s", "autoscaler", "sync_period_seconds")
    horizontal_pod_autoscaler_tolerance: float = _number(0.1, "autoscaler", "tolerance")
    horizontal_pod_autoscaler_downscale_stabilization: str = _time(
        "5m0s", "autoscaler", "downscale_stabilization_seconds"
    )
    horizontal_pod_autoscaler_cpu_initialization_period: str = _time(
        "5m0s", "autoscaler", "cpu_initialization_period_seconds"
    )
    horizontal_pod_autoscaler_initial_readiness_delay: str = _time(
        "30s", "autoscaler", "initial_readiness_delay_seconds"
    )


_FIELDS = {each.name: each for each in dataclasses.fields(ManagerOptions)}
_ALIASES = {
    "attachdetach": "persistentvolume-attach-detach", "bootstrapsigner": "bootstrap-signer",
    "csrapproving": "certificatesigningrequest-approving", "csrcleaner": "certificatesigningrequest-cleaner",
    "csrsigning": "certificatesigningrequest-signing", "endpoints": "endpoint",
    "endpointslicemirroring": "endpointslice-mirroring", "garbagecollector": "garbage-collector",
    "horizontalpodautoscaling": "horizontal-pod-autoscaler", "nodeipam": "node-ipam",
    "nodelifecycle": "node-lifecycle", "podgc": "pod-garbage-collector", "pv-protection": "persistentvolume-protection",
    "pvc-protection": "persistentvolumeclaim-protection", "resource-claim": "resourceclaim",
    "root-ca-certificate-publisher": "root-ca-cert-publisher", "tokencleaner": "token-cleaner",
    "legacy-service-account-token-cleaner": "legacy-serviceaccount-token-cleaner",
}  # fmt: skip
"""Other names of controllers, without "-controller": older ones, and where upstream's differs from ours."""


def check_options(options: ManagerOptions, spell: Callable[[str], str]) -> None:
    """`spell` gives what a field is called where it was set. Raises UserError with one line."""
    for name, item in _FIELDS.items():
        value, told = getattr(options, name), spell(name)
        if item.metadata.get("is_time"):
            _seconds(value, told)
        elif "least" in item.metadata:
            least, most = item.metadata["least"], item.metadata.get("most")
            if value < least or (most is not None and value > most):
                limits = f"at least {least}" if most is None else f"between {least} and {most}"
                raise UserError(f"{told} must be {limits}, not {value}")
    left_out(options.controllers, spell("controllers"))


def left_out(controllers: Sequence[str], where: str = "controllers") -> frozenset[str]:
    """Names, as the table has them, of those not to run. Raises UserError for one that does not exist."""
    if tuple(controllers) == ("*",):
        return frozenset()
    from timonel.controllers.manager import CONTROLLERS  # the command line has no need of all controllers

    known = {_plain(name): name for name, _, _ in CONTROLLERS}
    named: dict[str, bool] = {}
    runs_all = False
    for item in controllers:
        if item == "*":
            runs_all = True
            continue
        wanted = _plain(item.removeprefix("-"))
        if wanted not in known:
            raise UserError(f"{where}: {item.removeprefix('-')!r} is not the name of a controller")
        named[known[wanted]] = not item.startswith("-")
    return frozenset(name for name in known.values() if not named.get(name, runs_all))


def parse_flags(arguments: Iterable[str]) -> ManagerOptions:
    """What stands on a command line: "--name=value", or "--name value". Raises UserError with one line."""
    values: dict[str, Any] = {}
    rest = iter(arguments)
    for argument in rest:
        name, equals, text = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or not name:
            raise UserError(f"{argument!r} is not a flag")
        item = _FIELDS.get(name.replace("-", "_"))
        if item is None:
            raise UserError(unknown(name, f"--{name}", "--{}"))
        value = text if equals else next(rest, None)
        if value is None:
            raise UserError(f"--{name} needs a value")
        values[item.name] = _parse(item, value, f"--{name}")
    options = ManagerOptions(**values)
    check_options(options, lambda name: f"--{name.replace('_', '-')}")
    return options


def unknown(flag: str, told: str, shape: str) -> str:
    """Why there is no such flag. `told` is how it was written, `shape` how others are."""
    if flag in ELSEWHERE:
        return f"{told} is no setting here: {ELSEWHERE[flag]}"
    near = difflib.get_close_matches(flag, [name.replace("_", "-") for name in _FIELDS], n=1)
    return f"unknown flag {told}" + (f"; there is {shape.format(near[0])}" if near else "")


def changed(options: ManagerOptions) -> dict[str, Any]:
    """Those that differ from the defaults, for a settings file."""
    return {name: getattr(options, name) for name, item in _FIELDS.items() if getattr(options, name) != item.default}


def from_settings(values: Mapping[str, Any]) -> ManagerOptions:
    given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return ManagerOptions(**given)


def apply_options(config: ManagerConfig, options: ManagerOptions) -> ManagerConfig:
    """The controllers' configuration with what differs from the defaults."""
    workers = dict(config.workers)
    for name, value in changed(options).items():
        item = _FIELDS[name]
        target = item.metadata["target"]
        if target[:1] == (_WORKERS,):
            workers[target[1]] = value
        elif target:
            config = _set(config, target, _seconds(value, name) if item.metadata.get("is_time") else value)
    without = config.without | left_out(options.controllers)
    return dataclasses.replace(config, workers=workers, without=without)


def _set(config: Any, path: tuple[str, ...], value: Any) -> Any:
    head, *rest = path
    inner = _set(getattr(config, head), tuple(rest), value) if rest else value
    return dataclasses.replace(config, **{head: inner})


def _parse(item: dataclasses.Field[Any], text: str, told: str) -> Any:
    if isinstance(item.default, tuple):
        return tuple(part for part in text.split(",") if part)
    if isinstance(item.default, str):
        return text
    kind = int if isinstance(item.default, int) else float
    try:
        return kind(text)
    except ValueError:
        raise UserError(f"{told} must be {'a whole number' if kind is int else 'a number'}, not {text!r}") from None


def _seconds(text: str, told: str) -> float:
    try:
        seconds = float(parse_duration(text))
    except InvalidDuration as error:
        raise UserError(f"{told}: {error}") from None
    if seconds < 0:
        raise UserError(f"{told} must not be negative")
    return seconds


def _plain(name: str) -> str:
    short = name.removesuffix("-controller")
    return _ALIASES.get(short, short)
