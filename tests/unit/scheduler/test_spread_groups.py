"""Which pods a pod spreads among when it does not say itself.

Source: kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints, cluster-level default constraints:
the constraints' selectors are calculated from the Services, ReplicaSets, StatefulSets or ReplicationControllers that
the pod belongs to.
"""

from __future__ import annotations

import pytest

from tests.unit.scheduler.objects import node, pod
from tests.unit.scheduler.test_loop import running
from timonel.api.objects import Object

WEB = {"app": "web"}


def owned(kind: str, version: str) -> Object:
    made = pod("x", labels={**WEB, "pod": "x"})
    made["metadata"]["ownerReferences"] = [{"apiVersion": version, "kind": kind, "name": "web", "controller": True}]
    return made


def workload(kind: str, version: str, selector: Object) -> Object:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": "web", "namespace": "default", "uid": f"uid-{kind}"},
        "spec": {"selector": selector},
    }


@pytest.mark.parametrize(
    ("kind", "version", "selector"),
    [
        ("ReplicaSet", "apps/v1", {"matchLabels": WEB}),
        ("StatefulSet", "apps/v1", {"matchLabels": WEB}),
        ("ReplicationController", "v1", WEB),
    ],
)
async def test_the_pods_of_its_workload(kind: str, version: str, selector: Object) -> None:
    async with running(node("n1"), workload(kind, version, selector)) as world:
        found = world.scheduler._groups.selector_of(owned(kind, version))
        assert found is not None
        assert found.matches({**WEB, "pod": "other"})
        assert not found.matches({"app": "other"})


async def test_those_of_its_services_as_well() -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s", "namespace": "default", "uid": "s"},
        "spec": {"selector": {"pod": "x"}},
    }
    async with running(node("n1"), service, workload("StatefulSet", "apps/v1", {"matchLabels": WEB})) as world:
        found = world.scheduler._groups.selector_of(owned("StatefulSet", "apps/v1"))
        assert found is not None
        assert found.matches({**WEB, "pod": "x"})
        assert not found.matches(WEB)


async def test_one_that_belongs_to_nothing_has_no_group() -> None:
    async with running(node("n1")) as world:
        assert world.scheduler._groups.selector_of(pod("x", labels=WEB)) is None
        assert world.scheduler._groups.selector_of(owned("Job", "batch/v1")) is None
