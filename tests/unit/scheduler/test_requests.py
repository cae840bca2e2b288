"""What a pod needs at any one time. Source: the documentation of init containers, sidecars, overhead, pod resources."""

from __future__ import annotations

import pytest

from tests.unit.scheduler.objects import container, pod
from timonel.api.objects import Object
from timonel.scheduler.core.requests import ASSUMED, pod_requests

MI = 1024 * 1024
SIDECAR = {"restartPolicy": "Always"}

CASES: list[tuple[str, Object, dict[str, int]]] = [
    ("containers are summed", {"containers": [container("2", "1Gi"), container("1", "1Gi")]},
     {"cpu": 3000, "memory": 2048 * MI}),
    ("init containers run one after the other: the largest counts, for each resource",
     {"initContainers": [container("2", "1Gi"), container("2", "3Gi")],
      "containers": [container("2", "1Gi"), container("1", "1Gi")]},
     {"cpu": 3000, "memory": 3072 * MI}),
    ("a sidecar runs beside the containers",
     {"initContainers": [container("1", **SIDECAR)], "containers": [container("2")]},
     {"cpu": 3000}),
    ("an init container runs beside the sidecars started before it, not those after",
     {"initContainers": [container("1", **SIDECAR), container("5"), container("2", **SIDECAR)],
      "containers": [container("1")]},
     {"cpu": 6000}),
    ("sidecars alone while they start", {"initContainers": [container("3", **SIDECAR)], "containers": [container("")]},
     {"cpu": 3000}),
    ("overhead comes on top", {"containers": [container("1", "1Gi")], "overhead": {"cpu": "250m", "memory": "120Mi"}},
     {"cpu": 1250, "memory": 1144 * MI}),
    ("requests of the whole pod replace the sum", {"containers": [container("1", "1Gi")],
      "resources": {"requests": {"cpu": "3"}}, "overhead": {"cpu": "1"}},
     {"cpu": 4000, "memory": 1024 * MI}),
    ("extended resources and storage", {"containers": [
        container(requests={"example.com/gpu": "2", "ephemeral-storage": "1Gi", "hugepages-2Mi": "4Mi"})]},
     {"example.com/gpu": 2, "ephemeral-storage": 1024 * MI, "hugepages-2Mi": 4 * MI}),
    ("parts of a thousandth are rounded up", {"containers": [container("0.0001", "1.5")]}, {"cpu": 1, "memory": 2}),
    ("nothing asked for", {"containers": [container()]}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("what", "spec", "expected"), CASES, ids=[case[0] for case in CASES])
def test_requests_of_a_pod(what: str, spec: Object, expected: dict[str, int]) -> None:
    assert pod_requests(spec) == expected


def test_scoring_assumes_something_of_containers_that_ask_for_nothing() -> None:
    spec = pod("x", containers=[container("1"), container("", "1Gi"), container()])["spec"]
    assert pod_requests(spec, ASSUMED) == {"cpu": 1000 + 100 + 100, "memory": (200 + 1024 + 200) * MI}


def test_a_huge_request_does_not_wrap_around() -> None:
    from tests.unit.scheduler.clusters import cluster_of, reasons
    from tests.unit.scheduler.objects import node

    huge = [pod(f"huge{n}", "9E", "9E", on="n") for n in range(40)]
    assert reasons(cluster_of([node("n")], huge), pod("x", "1m")) == {"Insufficient cpu": 1}
    assert reasons(cluster_of([node("n")]), pod("x", "9E")) == {"Insufficient cpu": 1}


def test_what_many_containers_ask_for_stays_within_what_a_node_can_sum_up() -> None:
    spec = {"containers": [container("1", "8E")] * 300}
    assert pod_requests(spec)["memory"] == 2**55  # times the pods of a node is less than 2**63
