"""Why a pod fits nowhere, node by node, and the nearest change that would let it: worked out from each rule."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.scheduler.clusters import cluster_of
from tests.unit.scheduler.objects import node, pod
from tests.unit.scheduler.test_loop import running
from timonel.api.objects import Object
from timonel.scheduler.core.diagnosis import Diagnosis, diagnose, format_amount
from timonel.scheduler.core.framework import Attempt
from timonel.scheduler.core.plugins import DEFAULT_PROFILE
from timonel.scheduler.debugging import describe_diagnosis

ZONE = "topology.kubernetes.io/zone"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def of(wanted: Object, *nodes: Object, pods: tuple[Object, ...] = (), **more: Any) -> Diagnosis:
    cluster = cluster_of(nodes, pods)
    return diagnose(cluster, Attempt(cluster.parse_pod(wanted), object=wanted, **more), DEFAULT_PROFILE)


def tainted(name: str, key: str, value: str = "", effect: str = "NoSchedule") -> Object:
    made = node(name)
    made["spec"]["taints"] = [{"key": key, "value": value, "effect": effect}]
    return made


def test_where_it_fits_there_is_nothing_to_change() -> None:
    found = of(pod("x", "1"), node("small", cpu="500m"), node("large", cpu="4"))
    assert {each.node: each.fits for each in found.checks} == {"small": False, "large": True}
    assert (found.feasible, found.nearest(5), found.decision) == (1, [], None)


def test_the_first_failing_check_counts_and_all_are_told() -> None:
    cordoned = node("n1", cpu="1")
    cordoned["spec"]["unschedulable"] = True
    found = of(pod("x", "2"), cordoned)
    (check,) = found.checks
    assert (check.plugin, check.reasons) == ("NodeUnschedulable", ("node(s) were unschedulable",))
    assert [step.kind for step in check.steps] == ["uncordon", "requestLess"]
    assert check.text == "node n1 would fit with the node uncordoned and 1 cpu less requested"


def test_the_nearest_node_needs_the_least() -> None:
    """n3 lacks 300m of 1800m; n1 lacks more of it, n2 has a taint beside."""
    found = of(
        pod("x", "1800m"),
        node("n1", cpu="1"),
        tainted("n2", "gpu") | {"status": node("n2", cpu="1700m")["status"]},
        node("n3", cpu="1500m"),
    )
    assert [each.node for each in found.nearest(5)] == ["n3", "n1", "n2"]
    assert found.nearest(1)[0].text == "node n3 would fit with 300m cpu less requested"
    assert found.nearest(1)[0].steps[0].detail == {
        "resource": "cpu", "missing": 300, "requested": 1800, "allocatable": 1500, "used": 0,
    }  # fmt: skip


def affinity(*requirements: Object) -> Object:
    terms = [{"matchExpressions": [each]} for each in requirements]
    return {"affinity": {"nodeAffinity": {_REQUIRED: {"nodeSelectorTerms": terms}}}}


@pytest.mark.parametrize(
    ("wanted", "on", "kind", "text"),
    [
        (pod("x"), tainted("n", "gpu", "yes"), "removeTaint", "taint gpu=yes:NoSchedule removed or tolerated"),
        (pod("x"), tainted("n", "gone", "", "NoExecute"), "removeTaint", "taint gone:NoExecute removed or tolerated"),
        (pod("x", nodeSelector={"disk": "ssd"}), node("n"), "addLabel", "label disk=ssd"),
        (
            pod("x", nodeSelector={"disk": "ssd"}),
            node("n", labels={"disk": "hdd"}),
            "addLabel",
            "label disk=ssd instead of hdd",
        ),
        (pod("x", **affinity({"key": "a", "operator": "Exists"})), node("n"), "addLabel", "label a"),
        (
            pod("x", **affinity({"key": "a", "operator": "DoesNotExist"})),
            node("n", labels={"a": "b"}),
            "addLabel",
            "label a=b removed",
        ),
        (
            pod("x", **affinity({"key": "a", "operator": "Gt", "values": ["3"]})),
            node("n", labels={"a": "2"}),
            "addLabel",
            "label a > 3 instead of 2",
        ),
        (pod("x", memory="64Gi"), node("n", memory="63Gi"), "requestLess", "1024Mi memory less requested"),
    ],
)
def test_what_a_node_lacks(wanted: Object, on: Object, kind: str, text: str) -> None:
    ((step,),) = [check.steps for check in of(wanted, on).checks]
    assert (step.kind, step.text) == (kind, text)


def test_of_several_terms_the_nearest_is_told() -> None:
    terms = [
        {"matchExpressions": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}]},
        {
            "matchExpressions": [
                {"key": "a", "operator": "Exists"},
                {"key": "c", "operator": "In", "values": ["1", "2"]},
            ]
        },
    ]
    wanted = pod("x", affinity={"nodeAffinity": {_REQUIRED: {"nodeSelectorTerms": terms}}})
    ((step,),) = [check.steps for check in of(wanted, node("n", labels={"a": "1", "c": "3"})).checks]
    assert step.text == "label b"


def test_ports_spread_and_affinity() -> None:
    web = {"app": "web"}
    there = pod("there", on="a1", labels=web)
    there["spec"]["containers"][0]["ports"] = [{"hostPort": 80}]
    wanted = pod(
        "x",
        labels=web,
        topologySpreadConstraints=[
            {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
             "labelSelector": {"matchLabels": web}}
        ],
        affinity={"podAntiAffinity": {_REQUIRED: [
            {"topologyKey": ZONE, "labelSelector": {"matchLabels": web}}]}},
    )  # fmt: skip
    wanted["spec"]["containers"][0]["ports"] = [{"hostPort": 80}]
    empty = tainted("b1", "no")
    empty["metadata"]["labels"][ZONE] = "b"
    found = of(wanted, node("a1", labels={ZONE: "a"}), empty, node("none"), pods=(there,))
    steps = {check.node: [step.text for step in check.steps] for check in found.checks}
    assert steps == {
        "a1": [
            "host port 80/TCP free",
            f"maxSkew 2 instead of 1 over {ZONE}",
            "those pods gone that its anti-affinity avoids",
        ],
        "b1": ["taint no:NoSchedule removed or tolerated"],
        "none": [f"label {ZONE}"],
    }
    assert [each.node for each in found.nearest(2)] == ["b1", "none"]


def test_room_that_is_kept_for_others_is_told() -> None:
    cluster = cluster_of([node("n", cpu="2")])
    other = cluster.parse_pod(pod("other", "2", on="n", priority=10))
    wanted = pod("x", "1")
    attempt = Attempt(cluster.parse_pod(wanted), expected={"n": [other]}, object=wanted)
    (check,) = diagnose(cluster, attempt, DEFAULT_PROFILE).checks
    assert (check.fits, check.plugin) == (False, "DefaultPreemption")
    assert check.reasons == ("room is kept there for pods that others were evicted for",)


def test_a_pod_that_can_go_nowhere_at_all_says_so_of_every_node() -> None:
    wanted = pod("x", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "none"}}])
    found = of(wanted, node("n"))
    assert found.decision is not None
    (check,) = found.checks
    assert check.plugin == "VolumeBinding"
    assert 'persistentvolumeclaim "none" not found' in check.reasons[0]


def test_what_may_be_preempted_is_marked() -> None:
    found = of(
        pod("x", "2", priority=5), node("full", cpu="2"), node("tiny", cpu="1"), pods=(pod("p", "2", on="full"),)
    )
    assert {each.node: each.may_preempt for each in found.checks} == {"full": True, "tiny": False}


def test_as_data() -> None:
    told = describe_diagnosis(of(pod("x", "2"), node("n1", cpu="1"), tainted("n2", "gpu")))
    assert told["message"].startswith(
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s)."
    )
    assert told["reasons"] == {"Insufficient cpu": 1, "node(s) had untolerated taint(s)": 1}
    assert (told["feasible"], told["nodeCount"]) == (0, 2)
    assert told["nodes"][0] == {
        "name": "n1", "fits": False, "plugin": "NodeResourcesFit", "reasons": ["Insufficient cpu"], "mayPreempt": False,
        "changes": [{"kind": "requestLess", "text": "1 cpu less requested", "resource": "cpu", "missing": 1000,
                     "requested": 2000, "allocatable": 1000, "used": 0}],
    }  # fmt: skip
    assert [each["node"] for each in told["nearest"]] == ["n1", "n2"]
    assert told["nearest"][1]["changes"] == [
        {"kind": "removeTaint", "text": "taint gpu:NoSchedule removed or tolerated", "key": "gpu", "value": "",
         "effect": "NoSchedule"}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("resource", "amount", "text"),
    [
        ("cpu", 300, "300m"),
        ("cpu", 2000, "2"),
        ("memory", 1, "1Ki"),
        ("memory", 200_000_000, "191Mi"),
        ("hugepages-2Mi", 4 << 20, "4Mi"),
        ("example.com/gpu", 3, "3"),
    ],
)
def test_amounts_are_rounded_up(resource: str, amount: int, text: str) -> None:
    assert format_amount(resource, amount) == text


async def test_the_scheduler_tells_of_a_pod() -> None:
    async with running(node("node-1", cpu="1")) as world:
        await world.create(pod("big", "1200m"))
        await world.create(pod("small", "100m"))
        await world.create(pod("foreign", schedulerName="somebody"))
        told = world.scheduler.explain("default", "big") or {}
        assert (told["pod"]["name"], told["state"], told["attempts"]) == ("big", "unschedulable", 1)
        assert told["refusedBy"] == ["NodeResourcesFit"]
        assert told["nearest"][0]["text"] == "node node-1 would fit with 300m cpu less requested"
        placed = world.scheduler.explain("default", "small") or {}
        assert (placed["state"], placed["nodeName"], "nodes" in placed) == ("placed", "node-1", False)
        foreign = world.scheduler.explain("default", "foreign") or {}
        assert (foreign["state"], foreign["schedulerName"], "nodes" in foreign) == ("unknown", "", False)
        assert world.scheduler.explain("default", "nobody") is None
        assert len(world.scheduler.queue) == 1
