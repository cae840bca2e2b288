"""The loop: a Deployment, its pods and their figures in memory, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
import pytest

from timonel.api.clock import format_time
from timonel.api.errors import Conflict, InternalError
from timonel.api.objects import Object, find_by
from timonel.api.refs import DEPLOYMENTS, EVENTS, HORIZONTAL_POD_AUTOSCALERS, POD_METRICS, PODS
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.controllers.horizontalpodautoscaler import HorizontalPodAutoscalerController
from timonel.testing.clock import VirtualClock, settle
from timonel.testing.fake_client import FakeClient

from .objects import DOWN, NOW, UP, autoscaler, cpu, pod, rules


class Client(FakeClient):
    """Serves documents of other metrics APIs as well: path -> document."""

    def __init__(self, *objects: Object, **settings: Any) -> None:
        super().__init__(*objects, **settings)
        self.documents: dict[str, Object] = {}
        self.params: dict[str, Mapping[str, str]] = {}

    async def raw(self, method: str, path: str, **options: Any) -> tuple[int, Mapping[str, str], bytes]:
        self.params[path] = options.get("params") or {}
        if path in self.documents:
            return 200, {}, orjson.dumps(self.documents[path])
        return await super().raw(method, path, **options)


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock(NOW)
        self.client = Client(clock=self.clock)
        self.client.add(
            {
                "kind": "Deployment",
                "apiVersion": "apps/v1",
                "metadata": {"name": "web", "namespace": "default"},
                "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}},
                "status": {"replicas": 2},
            }
        )
        self.used: int | None = -1
        """Thousandths of a core by each pod; None: there are no figures."""
        self.informers = Informers(self.client, clock=self.clock)
        self.recorder = EventRecorder(self.client, component="horizontal-pod-autoscaler", clock=self.clock)
        self.controller = HorizontalPodAutoscalerController(
            client=self.client, informers=self.informers, clock=self.clock, recorder=self.recorder
        )

    @property
    def replicas(self) -> int:
        return int(self.client.objects(DEPLOYMENTS)[0]["spec"]["replicas"])

    def set_replicas(self, count: int) -> None:
        self.client.change(DEPLOYMENTS, "web", "default", lambda obj: obj["spec"].update(replicas=count))

    def tell(self, used: int | None) -> None:
        """As many pods as are wanted, each using so much of its core."""
        self.used = used
        for ref in (PODS, POD_METRICS):
            for obj in self.client.objects(ref):
                self.client.remove(ref, obj["metadata"]["name"], "default")
        self.client.change(DEPLOYMENTS, "web", "default", lambda obj: obj["status"].update(replicas=self.replicas))
        for number in range(self.replicas):
            self.client.add(pod(f"p{number}"))
            if used is not None:
                self.client.add(self.pod_metrics(f"p{number}", used))

    def pod_metrics(self, name: str, used: int) -> Object:
        return {
            "kind": "PodMetrics",
            "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
            "timestamp": format_time(self.clock.now()),
            "window": "15s",
            "containers": [{"name": "main", "usage": {"cpu": f"{used}m", "memory": f"{used}Mi"}}],
        }

    async def run(self, seconds: float, used: int | None) -> None:
        """Time passes while every pod uses so much."""
        await settle()
        for _ in range(int(seconds)):
            if len(self.client.objects(PODS)) != self.replicas or used != self.used:
                self.tell(used)
            await self.clock.advance(1)
            await settle()

    @property
    def status(self) -> Object:
        status: Object = self.client.objects(HORIZONTAL_POD_AUTOSCALERS)[0].get("status") or {}
        return status

    def condition(self, kind: str) -> tuple[str, str, str]:
        found = find_by(self.status["conditions"], "type", kind)
        assert found is not None
        return found["status"], found["reason"], found["message"]

    def events(self) -> list[tuple[str, str, str]]:
        return [(e["type"], e["reason"], e["message"]) for e in self.client.objects(EVENTS)]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    tasks = [asyncio.create_task(work) for work in (made.informers.run(), made.recorder.run(), made.controller.run())]
    await settle()
    yield made
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_load_doubles_replicas_and_says_so(world: World) -> None:
    world.tell(1000)
    world.client.add(autoscaler(cpu(50)))
    await world.run(1, 1000)
    assert world.replicas == 4
    assert world.status["currentReplicas"] == 2
    assert world.status["desiredReplicas"] == 4
    assert world.status["lastScaleTime"] == "2026-01-01T12:00:00Z"
    assert world.status["currentMetrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 100, "averageValue": "1"}}}
    ]
    assert world.condition("AbleToScale") == (
        "True", "SucceededRescale", "the HPA controller was able to update the target scale to 4",
    )  # fmt: skip
    assert world.condition("ScalingActive") == (
        "True", "ValidMetricFound",
        "the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of "
        "request)",
    )  # fmt: skip
    assert world.condition("ScalingLimited")[:2] == ("False", "DesiredWithinRange")
    await world.run(2, 1000)
    reason = "New size: 4; reason: cpu resource utilization (percentage of request) above target"
    assert world.events() == [("Normal", "SuccessfulRescale", reason)]


async def test_it_looks_every_quarter_minute_and_writes_only_news(world: World) -> None:
    world.tell(500)
    world.client.add(autoscaler(cpu(50)))
    await world.run(5, 500)
    assert world.condition("AbleToScale")[1] == "ReadyForNewScale"
    written = len(world.client.written())
    asked = world.client.reads.count(("list", POD_METRICS))
    await world.run(150, 500)
    assert world.client.reads.count(("list", POD_METRICS)) == asked + 10
    assert len(world.client.written()) == written


async def test_without_autoscalers_nothing_is_asked(world: World) -> None:
    await world.run(60, 1000)
    assert ("list", POD_METRICS) not in world.client.reads


async def test_going_down_waits_five_minutes(world: World) -> None:
    world.set_replicas(8)
    world.tell(100)
    world.client.add(autoscaler(cpu(50)))
    await world.run(298, 100)
    assert world.replicas == 8
    assert world.condition("AbleToScale")[1] == "ScaleDownStabilized"
    await world.run(20, 100)
    assert world.replicas == 2
    assert ("Normal", "SuccessfulRescale", "New size: 2; reason: All metrics below target") in world.events()


async def test_behaviour(world: World) -> None:
    """One pod a minute upwards, nothing downwards."""
    up, down = rules(("Pods", 1, 60), window=0), rules(("Percent", 100, 15), select="Disabled", window=0)
    world.tell(1000)
    world.client.add(autoscaler(cpu(50), behavior={"scaleUp": up, "scaleDown": down}))
    await world.run(50, 1000)
    assert world.replicas == 3
    assert world.condition("ScalingLimited")[:2] == ("True", "ScaleUpLimit")
    await world.run(30, 1000)
    assert world.replicas == 4
    await world.run(120, 1)
    assert world.replicas == 4
    assert world.condition("ScalingLimited")[:2] == ("True", "ScaleDownLimit")


async def test_tolerance_of_its_own(world: World) -> None:
    world.tell(270)
    behavior = {"scaleUp": {**UP, "tolerance": "50m"}, "scaleDown": DOWN}
    world.client.add(autoscaler(cpu(25), behavior=behavior))
    await world.run(1, 270)
    assert world.replicas == 3


@pytest.mark.parametrize(
    ("replicas", "after", "reason"),
    [
        (12, 10, "New size: 10; reason: Current number of replicas above Spec.MaxReplicas"),
        (1, 3, "New size: 3; reason: Current number of replicas below Spec.MinReplicas"),
    ],
)
async def test_bounds_need_no_metrics(world: World, replicas: int, after: int, reason: str) -> None:
    world.set_replicas(replicas)
    world.client.add(autoscaler(fewest=3))
    await world.run(3, None)
    assert world.replicas == after
    assert world.events()[0] == ("Normal", "SuccessfulRescale", reason)


async def test_a_target_that_was_switched_off_stays_off(world: World) -> None:
    world.set_replicas(0)
    world.client.add(autoscaler())
    await world.run(20, None)
    assert world.replicas == 0
    assert world.condition("ScalingActive") == (
        "False", "ScalingDisabled", "scaling is disabled since the replica count of the target is zero",
    )  # fmt: skip


async def test_no_figures(world: World) -> None:
    world.client.add(autoscaler(cpu(50)))
    await world.run(3, None)
    failed = "failed to get cpu utilization: unable to get metrics for resource cpu: no metrics returned from resource "
    assert world.condition("ScalingActive") == (
        "False", "FailedGetResourceMetric",
        f"the HPA was unable to compute the replica count: {failed}metrics API",
    )  # fmt: skip
    assert world.status["currentMetrics"] == [{"type": ""}]
    told = f"failed to get cpu resource metric value: {failed}metrics API"
    assert world.events() == [
        ("Warning", "FailedGetResourceMetric", f"{failed}metrics API"),
        ("Warning", "FailedComputeMetricsReplicas", f"invalid metrics (1 invalid out of 1), first error is: {told}"),
    ]


async def test_a_metric_that_fails_beside_one_that_says_more(world: World) -> None:
    """Upwards one is enough; downwards none may be missing."""
    memory = {"type": "Resource", "resource": {"name": "disk", "target": {"type": "Value", "averageValue": "1"}}}
    world.tell(1000)
    world.client.add(autoscaler(memory, cpu(50)))
    await world.run(1, 1000)
    assert world.replicas == 4
    await world.run(400, 10)
    assert world.replicas == 4
    assert world.condition("ScalingActive")[:2] == ("False", "FailedGetResourceMetric")


async def test_one_container_of_each_pod(world: World) -> None:
    target = {"type": "Utilization", "averageUtilization": 50}
    source = {"name": "cpu", "container": "main", "target": target}
    world.tell(1000)
    world.client.add(autoscaler({"type": "ContainerResource", "containerResource": source}))
    await world.run(1, 1000)
    assert world.replicas == 4
    current = {"averageUtilization": 100, "averageValue": "1"}
    shown = {"name": "cpu", "container": "main", "current": current}
    assert world.status["currentMetrics"] == [{"type": "ContainerResource", "containerResource": shown}]


async def test_memory_by_value(world: World) -> None:
    source = {"name": "memory", "target": {"type": "AverageValue", "averageValue": "100Mi"}}
    world.tell(200)
    world.client.add(autoscaler({"type": "Resource", "resource": source}))
    await world.run(1, 200)
    assert world.replicas == 4
    assert world.status["currentMetrics"][0]["resource"]["current"] == {"averageValue": "200Mi"}


CUSTOM = "/apis/custom.metrics.k8s.io"


def custom(*values: tuple[str, str]) -> Object:
    return {
        "kind": "MetricValueList",
        "items": [
            {"describedObject": {"name": name}, "timestamp": "2026-01-01T12:00:00Z", "value": value}
            for name, value in values
        ],
    }


async def test_a_metric_of_pods(world: World) -> None:
    world.tell(None)
    world.client.documents[CUSTOM] = {"versions": [{"version": "v1beta1"}, {"version": "v1beta2"}]}
    path = f"{CUSTOM}/v1beta2/namespaces/default/pods/*/requests"
    world.client.documents[path] = custom(("p0", "20"), ("p1", "10500m"))
    metric = {"name": "requests", "selector": {"matchLabels": {"verb": "GET"}}}
    source = {"metric": metric, "target": {"type": "AverageValue", "averageValue": "5"}}
    world.client.add(autoscaler({"type": "Pods", "pods": source}))
    await world.run(1, None)
    assert world.replicas == 4  # 15.25 each, of 5: 7, of which twice two at once
    assert world.client.params[path] == {"labelSelector": "app=web", "metricLabelSelector": "verb=GET"}
    assert world.status["currentMetrics"] == [
        {"type": "Pods", "pods": {"metric": metric, "current": {"averageValue": "15250m"}}}
    ]


async def test_a_metric_of_an_object(world: World) -> None:
    world.tell(None)
    world.client.documents[CUSTOM] = {"versions": [{"version": "v1beta1"}]}
    path = f"{CUSTOM}/v1beta1/namespaces/default/ingresses.networking.k8s.io/main/hits"
    world.client.documents[path] = custom(("main", "3k"))
    described = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "main"}
    source = {"metric": {"name": "hits"}, "describedObject": described, "target": {"type": "Value", "value": "2k"}}
    world.client.add(autoscaler({"type": "Object", "object": source}))
    await world.run(1, None)
    assert world.replicas == 3
    assert world.condition("ScalingActive")[2].endswith("from Ingress metric hits")
    assert world.status["currentMetrics"][0]["object"]["current"] == {"value": "3k"}


@pytest.mark.parametrize(
    ("item", "why"),
    [
        ({"describedObject": {"name": "default"}}, "missing field 'value'"),
        ({"value": "many"}, "quantities must match the regular expression"),
        ({"value": None}, "quantities must match the regular expression"),
        ("3k", "string indices must be integers"),
    ],
)
async def test_an_adapter_that_answers_nonsense_is_told_about(world: World, item: Object | str, why: str) -> None:
    world.tell(None)
    world.client.documents[CUSTOM] = {"versions": [{"version": "v1beta1"}]}
    path = f"{CUSTOM}/v1beta1/namespaces/default/metrics/hits"
    world.client.documents[path] = {"kind": "MetricValueList", "items": [item]}
    described = {"apiVersion": "v1", "kind": "Namespace", "name": "default"}
    source = {"metric": {"name": "hits"}, "describedObject": described, "target": {"type": "Value", "value": "2k"}}
    world.client.add(autoscaler({"type": "Object", "object": source}))
    await world.run(1, None)
    status, reason, message = world.condition("ScalingActive")
    assert (status, reason) == ("False", "FailedGetObjectMetric")
    assert "unable to read what the custom metrics API answered: " in message
    assert why in message


async def test_no_custom_metrics(world: World) -> None:
    described = {"apiVersion": "v1", "kind": "Namespace", "name": "default"}
    source = {"metric": {"name": "hits"}, "describedObject": described, "target": {"type": "Value", "value": "2k"}}
    world.client.add(autoscaler({"type": "Object", "object": source}))
    await world.run(1, None)
    assert world.condition("ScalingActive") == (
        "False", "FailedGetObjectMetric",
        "the HPA was unable to compute the replica count: unable to get metric hits: unable to fetch metrics from "
        "custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered on Namespace default/default",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("target", "replicas", "current"),
    [
        ({"type": "AverageValue", "averageValue": "10"}, 3, {"averageValue": "15"}),
        ({"type": "Value", "value": "15"}, 4, {"value": "30"}),
    ],
)
async def test_a_metric_from_outside(world: World, target: Object, replicas: int, current: Object) -> None:
    world.tell(None)
    path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/queue"
    world.client.documents[path] = custom(("a", "10"), ("b", "20"))
    world.client.add(autoscaler({"type": "External", "external": {"metric": {"name": "queue"}, "target": target}}))
    await world.run(1, None)
    assert world.replicas == replicas
    assert world.status["currentMetrics"][0]["external"]["current"] == current


async def test_no_metric_from_outside(world: World) -> None:
    target = {"type": "Value", "value": "15"}
    world.client.add(autoscaler({"type": "External", "external": {"metric": {"name": "queue"}, "target": target}}))
    await world.run(1, None)
    assert world.condition("ScalingActive")[2] == (
        "the HPA was unable to compute the replica count: unable to get external metric default/queue/nil: unable to "
        "fetch metrics from external metrics API: the server could not find the requested resource (get "
        "queue.external.metrics.k8s.io)"
    )


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"apiVersion": "apps/v1", "kind": "Deployment", "name": "no"}, 'deployments.apps "no" not found'),
        ({"apiVersion": "apps/v1", "kind": "Nothing", "name": "web"}, 'no matches for kind "Nothing" in group "apps"'),
        ({"apiVersion": "a/b/c", "kind": "Deployment", "name": "web"}, "unexpected GroupVersion string: a/b/c"),
    ],
)
async def test_a_target_that_is_not_there(world: World, reference: Object, message: str) -> None:
    world.client.add(autoscaler(scaleTargetRef=reference))
    await world.run(3, None)
    assert world.condition("AbleToScale") == (
        "False", "FailedGetScale", f"the HPA controller was unable to get the target's current scale: {message}",
    )  # fmt: skip
    assert world.events() == [("Warning", "FailedGetScale", message)]


async def test_two_autoscalers_of_the_same_pods_do_nothing(world: World) -> None:
    world.tell(1000)
    world.client.add(autoscaler(cpu(50), name="a", most=2))
    world.client.add(autoscaler(cpu(50), name="b", most=2))
    await world.run(20, 1000)
    why = "pods by selector app=web are controlled by multiple HPAs: [{a default} {b default}]"
    for hpa in world.client.objects(HORIZONTAL_POD_AUTOSCALERS):
        found = find_by(hpa["status"]["conditions"], "type", "ScalingActive")
        assert found is not None
        assert (found["status"], found["reason"], found["message"]) == ("False", "AmbiguousSelector", why)
    world.client.remove(HORIZONTAL_POD_AUTOSCALERS, "a", "default")
    await world.run(20, 1000)
    assert world.condition("ScalingActive")[1] == "ValidMetricFound"


async def test_a_write_in_between_is_no_obstacle(world: World) -> None:
    world.tell(1000)
    world.client.fail(Conflict("the object has been modified"), verb="update", ref=DEPLOYMENTS, times=2)
    world.client.add(autoscaler(cpu(50)))
    await world.run(1, 1000)
    assert world.replicas == 4


async def test_a_resize_that_is_refused(world: World) -> None:
    world.tell(1000)
    world.client.fail(InternalError("no"), verb="update", ref=DEPLOYMENTS)
    world.client.add(autoscaler(cpu(50)))
    await world.run(3, 1000)
    assert world.condition("AbleToScale") == (
        "False", "FailedUpdateScale", "the HPA controller was unable to update the target scale: no",
    )  # fmt: skip
    reason = "cpu resource utilization (percentage of request) above target; error: no"
    assert ("Warning", "FailedRescale", f"New size: 4; reason: {reason}") in world.events()


async def test_a_change_of_the_autoscaler_is_acted_on_at_once(world: World) -> None:
    world.tell(500)
    world.client.add(autoscaler(cpu(50)))
    await world.run(5, 500)

    def change(obj: Object) -> None:
        obj["spec"]["minReplicas"] = 5

    world.client.change(HORIZONTAL_POD_AUTOSCALERS, "web", "default", change)
    await world.run(1, 500)
    assert world.replicas == 5


async def test_one_of_the_same_name_has_lived_through_nothing(world: World) -> None:
    world.set_replicas(8)
    world.tell(100)
    world.client.add(autoscaler(cpu(50)))
    await world.run(280, 100)
    world.client.remove(HORIZONTAL_POD_AUTOSCALERS, "web", "default")
    world.client.add(autoscaler(cpu(50)))
    await world.run(100, 100)
    assert world.replicas == 8
