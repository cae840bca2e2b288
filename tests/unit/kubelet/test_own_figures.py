"""The kubelet's figures of itself: what it asked of the runtime, how its pods started, what its probes found."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.exposition import generate_latest

from timonel.kubelet.metrics import KubeletMetrics, ProbeMetrics, operation_name
from timonel.kubelet.stats.node_stats import claim_of

from .node import Node
from .pods import container, pod


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("/runtime.v1.RuntimeService/RunPodSandbox", "run_podsandbox"),
        ("/runtime.v1.RuntimeService/ListContainerStats", "list_container_stats"),
        ("/runtime.v1.RuntimeService/Version", "version"),
        ("/runtime.v1.ImageService/ImageFsInfo", "image_fs_info"),
    ],
)
def test_operations_have_upstreams_names(method: str, name: str) -> None:
    assert operation_name(method) == name


def test_operations_are_counted() -> None:
    metrics = KubeletMetrics(node_name="n1")
    metrics.operation("/x/PullImage", 2.0, False)
    metrics.operation("/x/PullImage", 1.0, True)
    text = generate_latest(metrics.registry).decode()
    assert 'kubelet_runtime_operations_total{operation_type="pull_image"} 2.0' in text
    assert 'kubelet_runtime_operations_errors_total{operation_type="pull_image"} 1.0' in text
    assert 'kubelet_runtime_operations_duration_seconds_sum{operation_type="pull_image"} 3.0' in text
    assert 'kubelet_node_name{node="n1"} 1.0' in text
    assert "process_start_time_seconds" in text


def test_probes_are_counted_and_forgotten_with_their_pod() -> None:
    metrics = ProbeMetrics()
    for name in ("a", "b"):
        observed = {"metadata": {"name": name, "namespace": "default", "uid": f"u-{name}"}}
        metrics.observe(observed, "main", "readiness", True, 0.5)
        metrics.observe(observed, "main", "readiness", False, 0.5)
        metrics.observe(observed, "main", "liveness", None, 0.5)
    metrics.forget("u-b")
    text = generate_latest(metrics.registry).decode()
    labels = 'container="main",namespace="default",pod="a",pod_uid="u-a"'
    assert f'prober_probe_total{{{labels},probe_type="Readiness",result="successful"}} 1.0' in text
    assert f'prober_probe_total{{{labels},probe_type="Readiness",result="failed"}} 1.0' in text
    assert f'prober_probe_total{{{labels},probe_type="Liveness",result="unknown"}} 1.0' in text
    timed = 'container="main",namespace="default",pod="a",probe_type="Readiness"'
    assert f"prober_probe_duration_seconds_count{{{timed}}} 2.0" in text
    assert "u-b" not in text
    assert 'pod="b"' not in text


def test_claims_behind_volumes() -> None:
    web = pod(container("main"), name="web")
    assert claim_of(web, {"name": "a", "persistentVolumeClaim": {"claimName": "data"}}) == "data"
    assert claim_of(web, {"name": "a", "ephemeral": {"volumeClaimTemplate": {}}}) == "web-a"
    assert claim_of(web, {"name": "a", "emptyDir": {}}) == ""


async def test_a_kubelet_counts_what_it_runs(tmp_path: Path) -> None:
    node = Node(tmp_path)
    async with node.running() as kubelet:
        probe = {"exec": {"command": ["true"]}, "periodSeconds": 5}
        node.client.add(pod(container("main", readinessProbe=probe)))
        await node.until(lambda: node.is_ready("web"), seconds=10)
        text = generate_latest(kubelet.metrics.registry).decode()
        assert "kubelet_running_pods 1.0" in text
        assert 'kubelet_running_containers{container_state="running"} 1.0' in text
        assert "kubelet_pod_start_duration_seconds_count 1.0" in text
        assert 'result="successful"' in generate_latest(kubelet.probe_metrics.registry).decode()
        source = next(kubelet.stats.sources())
        assert (source.namespace, source.name, source.containers[0].name) == ("default", "web", "main")
        assert source.cgroup.endswith(f"/pod{source.uid}")
