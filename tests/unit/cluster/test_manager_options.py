"""kube-controller-manager's flags: read, checked, and brought to the controllers they are for."""

import dataclasses

import pytest

from tests.unit.controllers.cluster import Cluster
from timonel.cluster.config import parse_config
from timonel.cluster.errors import UserError
from timonel.cluster.foreign_flags import ELSEWHERE
from timonel.cluster.manager_options import (
    ManagerOptions,
    apply_options,
    changed,
    from_settings,
    left_out,
    parse_flags,
)
from timonel.controllers.manager import CONTROLLERS, ManagerConfig

# As `kube-controller-manager --help` of v1.36 tells them.
DEFAULTS = {
    "concurrent-deployment-syncs": 5, "concurrent-replicaset-syncs": 5, "concurrent-statefulset-syncs": 5,
    "concurrent-rc-syncs": 5, "concurrent-job-syncs": 5, "concurrent-cron-job-syncs": 5,
    "concurrent-endpoint-syncs": 5, "concurrent-service-endpoint-syncs": 5, "concurrent-namespace-syncs": 10,
    "concurrent-resource-quota-syncs": 5, "concurrent-gc-syncs": 20, "concurrent-serviceaccount-token-syncs": 5,
    "concurrent-ttl-after-finished-syncs": 5, "concurrent-horizontal-pod-autoscaler-syncs": 5,
    "concurrent-ephemeralvolume-syncs": 5, "mirroring-concurrent-service-endpoint-syncs": 5,
    "mirroring-max-endpoints-per-subset": 1000, "max-endpoints-per-slice": 100, "terminated-pod-gc-threshold": 12500,
    "node-eviction-rate": 0.1, "secondary-node-eviction-rate": 0.01, "unhealthy-zone-threshold": 0.55,
    "large-cluster-size-threshold": 50, "node-startup-grace-period": "1m0s", "secure-port": 10257,
    "horizontal-pod-autoscaler-sync-period": "15s", "horizontal-pod-autoscaler-tolerance": 0.1,
    "horizontal-pod-autoscaler-downscale-stabilization": "5m0s",
    "horizontal-pod-autoscaler-cpu-initialization-period": "5m0s",
    "horizontal-pod-autoscaler-initial-readiness-delay": "30s", "cluster-signing-duration": "8760h0m0s",
    "legacy-service-account-token-clean-up-period": "8760h0m0s", "controllers": ("*",),
}  # fmt: skip


@pytest.mark.parametrize(("flag", "default"), DEFAULTS.items())
def test_defaults_are_upstreams(flag, default):
    assert getattr(ManagerOptions(), flag.replace("-", "_")) == default


def applied(*flags):
    return apply_options(ManagerConfig(identity="a"), parse_flags(flags))


def test_every_default_is_what_the_controllers_have_by_themselves():
    """So that leaving a flag out is the same as giving its default."""
    plain = ManagerConfig(identity="a")
    for item in dataclasses.fields(ManagerOptions):
        target = item.metadata["target"]
        if target and target[0] != "workers":
            options = ManagerOptions()
            value = getattr(options, item.name)
            told = {f"--{item.name.replace('_', '-')}": value}
            found = plain
            for step in target:
                found = getattr(found, step)
            expected = from_text(value) if item.metadata.get("is_time") else value
            assert found == expected, told


def from_text(text):
    from timonel.api.durations import parse_duration

    return float(parse_duration(text))


def test_flags_reach_the_controllers_configuration():
    config = applied(
        "--concurrent-gc-syncs=3",
        "--node-eviction-rate", "0.5",
        "--large-cluster-size-threshold=7",
        "--horizontal-pod-autoscaler-sync-period=1m30s",
        "--terminated-pod-gc-threshold=5",
        "--node-cidr-mask-size-ipv4=26",
    )  # fmt: skip
    assert config.workers == {"garbage-collector": 3}
    assert (config.node_lifecycle.eviction.rate, config.node_lifecycle.eviction.large_zone) == (0.5, 7)
    assert config.node_lifecycle.eviction.secondary_rate == 0.01
    assert config.autoscaler.sync_period_seconds == 90
    assert config.pod_gc.terminated_threshold == 5
    assert config.node_ipam.node_prefix_ipv4 == 26


def test_targets_of_workers_are_controllers():
    names = {name for name, _, _ in CONTROLLERS}
    targets = [item.metadata["target"] for item in dataclasses.fields(ManagerOptions)]
    assert {target[1] for target in targets if target and target[0] == "workers"} <= names


async def test_workers_are_as_many_as_told():
    config = dataclasses.replace(
        ManagerConfig(leader_election=False), workers={"deployment": 1, "garbage-collector": 2}
    )
    async with Cluster(config=config) as cluster:
        assert cluster.manager.components["deployment"].workers == 1
        assert cluster.manager.components["garbage-collector"].workers == 2
        assert cluster.manager.components["replicaset"].workers == 5


async def test_workers_are_as_many_as_the_defaults_say_without_being_told():
    wanted = {item.metadata["target"][1]: item.default for item in dataclasses.fields(ManagerOptions)
              if item.metadata["target"][:1] == ("workers",)}  # fmt: skip
    async with Cluster() as cluster:
        found = {name: component.workers for name, component in cluster.manager.components.items() if name in wanted}
    assert found == {name: wanted[name] for name in found}


@pytest.mark.parametrize(
    ("controllers", "expected"),
    [
        (("*",), set()),
        (("*", "-deployment-controller", "-podgc"), {"deployment", "pod-garbage-collector"}),
        (("*", "bootstrapsigner", "tokencleaner"), set()),
        (("*", "-root-ca-certificate-publisher-controller"), {"root-ca-cert-publisher"}),
    ],
)
def test_controllers_that_do_not_run(controllers, expected):
    assert left_out(controllers) == expected


def test_only_named_controllers_run():
    every = {name for name, _, _ in CONTROLLERS}
    assert every - left_out(("deployment", "replicaset-controller")) == {"deployment", "replicaset"}
    assert left_out(("-deployment",)) == every


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--concurent-gc-syncs=3"], "unknown flag --concurent-gc-syncs; there is --concurrent-gc-syncs"),
        (["--zzz=3"], "unknown flag --zzz"),
        (["--namespace-sync-period=5m"], "--namespace-sync-period is no setting here: controllers are woken by what"),
        (["--cluster-cidr=10.0.0.0/8"], "set network.pods in the configuration file"),
        (["--concurrent-gc-syncs=many"], "--concurrent-gc-syncs must be a whole number, not 'many'"),
        (["--concurrent-gc-syncs=0"], "--concurrent-gc-syncs must be at least 1, not 0"),
        (["--unhealthy-zone-threshold=2"], "must be between 0 and 1, not 2.0"),
        (["--node-startup-grace-period=soon"], 'time: invalid duration "soon"'),
        (["--node-startup-grace-period=-1s"], "must not be negative"),
        (["--controllers=*,-nobody"], "--controllers: 'nobody' is not the name of a controller"),
        (["--concurrent-gc-syncs"], "--concurrent-gc-syncs needs a value"),
        (["concurrent-gc-syncs=3"], "'concurrent-gc-syncs=3' is not a flag"),
    ],
)
def test_what_is_wrong_with_flags_is_named(flags, message):
    with pytest.raises(UserError) as caught:
        parse_flags(flags)
    assert message in str(caught.value)


def test_keys_of_the_configuration_file():
    config = parse_config("manager: {concurrentGcSyncs: 3, controllers: ['*', -podgc], nodeEvictionRate: 1}")
    assert changed(config.manager) == {
        "concurrent_gc_syncs": 3, "controllers": ("*", "-podgc"), "node_eviction_rate": 1.0,
    }  # fmt: skip
    stored = {
        name: list(value) if isinstance(value, tuple) else value for name, value in changed(config.manager).items()
    }
    assert from_settings(stored) == config.manager


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("concurentGcSyncs: 3", "c.yaml: unknown flag manager.concurentGcSyncs; there is manager.concurrent-gc-syncs"),
        ("nodeMonitorGracePeriod: 20s", "manager.nodeMonitorGracePeriod is no setting here: set node.monitorGraceSec"),
        ("kubeApiQps: 20", "is no setting here: the API server's priority levels see to it"),
        ("concurrentGcSyncs: 0", "c.yaml: manager.concurrentGcSyncs must be at least 1"),
        ("concurrentGcSyncs: many", "c.yaml: manager.concurrentGcSyncs must be a whole number, not text"),
    ],
)
def test_what_is_wrong_with_keys_is_named(text, message):
    with pytest.raises(UserError) as caught:
        parse_config(f"manager:\n  {text}", "c.yaml")
    assert message in str(caught.value)


def test_what_is_elsewhere_is_no_flag():
    assert not {flag.replace("-", "_") for flag in ELSEWHERE} & {
        item.name for item in dataclasses.fields(ManagerOptions)
    }
