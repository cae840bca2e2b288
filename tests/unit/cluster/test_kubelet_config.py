"""KubeletConfiguration: what is acted on, what is refused, what is warned of.

Source: kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from timonel.cluster import kubelet_config
from timonel.cluster.errors import UserError
from timonel.cluster.kubelet_config import checked_document, configure, parse_document
from timonel.kubelet.config import KubeletConfig
from timonel.kubelet.eviction.thresholds import MEMORY, NODE_BYTES, Amount

BASE = KubeletConfig(node_name="n1", node_ips=("192.0.2.1",))
HEAD = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}


def configured(**fields: Any) -> KubeletConfig:
    return configure(BASE, parse_document({**HEAD, **fields}, "f"), "f")


def test_nothing_changes_nothing() -> None:
    assert configure(BASE, parse_document({}, "f"), "f") == BASE
    assert configured() == BASE


@pytest.mark.parametrize(
    ("fields", "field", "value"),
    [
        ({"staticPodPath": "/etc/pods"}, "static_pod_path", "/etc/pods"),
        ({"fileCheckFrequency": "1m"}, "static_pod_check_seconds", 60.0),
        ({"clusterDNS": ["10.96.0.53"]}, "cluster_dns", ("10.96.0.53",)),
        ({"maxPods": 30}, "max_pods", 30),
        ({"maxPods": 0}, "max_pods", 110),
        ({"podPidsLimit": 100}, "pod_pids_limit", 100),
        ({"resolvConf": ""}, "resolv_conf", "/dev/null"),
        ({"registerNode": False}, "register", False),
        ({"containerLogMaxSize": "1Mi"}, "log_max_bytes", 1 << 20),
        ({"nodeStatusUpdateFrequency": "0s"}, "status_seconds", 10.0),
        ({"serializeImagePulls": True}, "max_parallel_pulls", 1),
        ({"maxParallelImagePulls": 7}, "max_parallel_pulls", 7),
        (
            {"systemReserved": {"cpu": "200m", "memory": "1Gi"}, "kubeReserved": {"cpu": "1"}},
            "reserved_cpu_milli",
            1200,
        ),
        ({"systemReserved": {"memory": "1Gi"}, "kubeReserved": {"memory": "1Gi"}}, "reserved_memory_bytes", 2 << 30),
        ({"crashLoopBackOff": {"maxContainerRestartPeriod": "5s"}}, "restart_back_off_seconds", 5.0),
        ({"cpuManagerPolicy": "static", "kubeReserved": {"cpu": "500m"}}, "cpu_policy", "static"),
        ({"reservedSystemCPUs": "0,2-3", "kubeReserved": {"cpu": "9"}}, "reserved_cpu_milli", 3000),
        ({"enableSystemLogQuery": True}, "answers_log_queries", True),
    ],
)
def test_fields_that_are_acted_on(fields: dict[str, Any], field: str, value: Any) -> None:
    assert getattr(configured(**fields), field) == value


def test_images() -> None:
    policy = configured(
        imageGCHighThresholdPercent=70, imageGCLowThresholdPercent=60, imageMinimumGCAge="1m", imageMaximumGCAge="1h"
    ).image_policy
    assert (policy.high_percent, policy.low_percent) == (70, 60)
    assert (policy.minimum_age_seconds, policy.maximum_age_seconds) == (60.0, 3600.0)


def test_evictions() -> None:
    made = configured(
        evictionHard={MEMORY: "1Gi"},
        evictionSoft={NODE_BYTES: "20%"},
        evictionSoftGracePeriod={NODE_BYTES: "2m"},
        evictionPressureTransitionPeriod="30s",
        evictionMaxPodGracePeriod=60,
    ).eviction
    assert [(each.signal, each.value, each.grace_seconds) for each in made.thresholds] == [
        (MEMORY, Amount(1 << 30), 0.0),
        (NODE_BYTES, Amount(share=0.2), 120.0),
        ("allocatableMemory.available", Amount(1 << 30), 0.0),
    ]
    assert (made.transition_seconds, made.maximum_grace_seconds) == (30.0, 60)
    merged = configured(evictionHard={MEMORY: "1Gi"}, mergeDefaultEvictionSettings=True, enforceNodeAllocatable=[])
    assert [each.signal for each in merged.eviction.thresholds] == [
        MEMORY, "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ([], "must be a mapping"),
        ({"kind": "KubeletConfiguration"}, "apiVersion and kind must be"),
        ({**HEAD, "maxPod": 3}, 'unknown field "maxPod"'),
        ({**HEAD, "crashLoopBackOff": {"max": "1s"}}, 'unknown field "crashLoopBackOff.max"'),
        ({**HEAD, "crashLoopBackOff": {"maxContainerRestartPeriod": "10m"}}, "between 1s and 300s"),
        ({**HEAD, "maxPods": "many"}, "maxPods: must be a whole number, not 'many'"),
        ({**HEAD, "maxPods": True}, "maxPods: must be a whole number"),
        ({**HEAD, "fileCheckFrequency": "soon"}, "fileCheckFrequency: must be a length of time"),
        ({**HEAD, "clusterDNS": "10.0.0.1"}, "clusterDNS: must be a list of texts"),
        ({**HEAD, "evictionHard": {"memory": "1Gi"}}, "unsupported eviction signal memory"),
        ({**HEAD, "evictionSoft": {MEMORY: "1Gi"}}, "grace period must be specified"),
        ({**HEAD, "imageGCLowThresholdPercent": 90}, "must be less than imageGCHighThresholdPercent"),
        ({**HEAD, "imageMaximumGCAge": "1m"}, "must be greater than imageMinimumGCAge"),
        ({**HEAD, "cpuManagerPolicy": "static"}, "the static policy requires"),
        ({**HEAD, "cpuManagerPolicy": "mine"}, "must be none or static"),
        ({**HEAD, "reservedSystemCPUs": "0-"}, "reservedSystemCPUs: must be a list of CPUs"),
        ({**HEAD, "systemReserved": {"pid": "10"}}, "only cpu and memory can be reserved, not pid"),
        ({**HEAD, "serializeImagePulls": True, "maxParallelImagePulls": 3}, "cannot be larger than 1"),
    ],
)
def test_what_cannot_be_is_refused_by_name(document: Any, text: str) -> None:
    with pytest.raises(UserError, match=re.escape(text)):
        configure(BASE, parse_document(document, "f"), "f")


def test_what_is_not_acted_on_is_warned_of_unless_it_asks_for_what_is_so() -> None:
    # What kubeadm writes.
    kubeadm = {
        "cgroupDriver": "cgroupfs", "cpuManagerReconcilePeriod": "0s", "memorySwap": {}, "rotateCertificates": True,
        "logging": {}, "syncFrequency": "0s",
    }  # fmt: skip
    assert parse_document({**HEAD, **kubeadm}, "f").warnings == ()
    found = parse_document({**HEAD, "cgroupDriver": "systemd", "featureGates": {"X": True}, "failSwapOn": True}, "f")
    assert found.warnings == tuple(
        f"f: {name} is not acted on by this kubelet" for name in ("cgroupDriver", "featureGates", "failSwapOn")
    )


def test_the_file(tmp_path: Path) -> None:
    assert checked_document("") == {}
    file = tmp_path / "kubelet.yaml"
    with pytest.raises(UserError, match="cannot be read"):
        checked_document(str(file))
    file.write_text("a: [b")
    with pytest.raises(UserError, match="not valid YAML"):
        checked_document(str(file))
    file.write_text("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 5\n")
    assert checked_document(str(file))["maxPods"] == 5
    file.write_text("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPodz: 5\n")
    with pytest.raises(UserError, match=r'kubelet.yaml: unknown field "maxPodz"'):
        checked_document(str(file))


def test_no_field_is_in_two_lists_and_the_page_names_those_acted_on() -> None:
    honoured = kubelet_config._HONOURED.keys()
    assert not honoured & kubelet_config._AS_IT_IS.keys()
    assert not kubelet_config._NOT_HONOURED & (honoured | kubelet_config._AS_IT_IS.keys())
    page = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()
    assert {name for name in honoured if f"`{name}`" not in page} == set()
