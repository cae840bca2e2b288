"""What endpoints carry beside addresses: hints for traffic distribution, times, owners, shares of what fits."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.controllers.test_endpoint_slices import pod, service
from timonel.api.objects import Object, ObjectKey, annotations_of, copy_object
from timonel.controllers.endpoints.slice_plan import plan_slices
from timonel.controllers.endpoints.subsets import repack, truncate
from timonel.controllers.endpoints.trigger_times import TRIGGER_TIME, TriggerTimes

ZONE, NODE = {"forZones": [{"name": "zone-a"}]}, {"forNodes": [{"name": "n1"}]}


@pytest.mark.parametrize(
    ("distribution", "zone", "ready", "hints"),
    [
        (None, "zone-a", True, None),
        ("PreferClose", "zone-a", True, ZONE),
        ("PreferSameZone", "zone-a", True, ZONE),
        ("PreferSameNode", "zone-a", True, {**ZONE, **NODE}),
        ("PreferSameNode", "", True, NODE),
        ("PreferSameZone", "", True, None),
        ("PreferSameZone", "zone-a", False, None),
    ],
)
def test_hints_by_traffic_distribution(distribution: str | None, zone: str, ready: bool, hints: Object | None) -> None:
    """kubernetes.io/docs/concepts/services-networking/service/#traffic-distribution"""
    spec = {"trafficDistribution": distribution} if distribution else {}
    plan = plan_slices(service(**spec), [pod(1, ready=ready)], {"n1": zone}, [])
    assert plan.create[0]["endpoints"][0].get("hints") == hints


def test_hints_go_with_the_wish() -> None:
    pods, zones = [pod(1)], {"n1": "zone-a"}
    close = service(trafficDistribution="PreferClose")
    (made,) = plan_slices(close, pods, zones, []).create
    made["metadata"]["name"] = "web-1"
    assert plan_slices(close, pods, zones, [made]).update == ()
    (updated,) = plan_slices(service(), pods, zones, [made]).update
    assert "hints" not in updated["endpoints"][0]


def test_slices_of_an_earlier_service_are_replaced() -> None:
    (made,) = plan_slices(service(), [pod(1)], {"n1": ""}, []).create
    made["metadata"]["name"] = "web-1"
    again = service()
    again["metadata"]["uid"] = "s2"
    plan = plan_slices(again, [pod(1)], {"n1": ""}, [made])
    assert [len(plan.create), len(plan.update), len(plan.delete)] == [1, 0, 1]


def test_only_what_is_written_gets_a_time() -> None:
    moment = "2026-01-01T00:00:00Z"
    (made,) = plan_slices(service(), [pod(1)], {"n1": ""}, [], trigger_time=moment).create
    assert annotations_of(made) == {TRIGGER_TIME: moment}
    made["metadata"]["name"] = "web-1"
    assert plan_slices(service(), [pod(1)], {"n1": ""}, [made], trigger_time="2026-01-02T00:00:00Z").update == ()
    (updated,) = plan_slices(service(), [pod(1), pod(2)], {"n1": ""}, [made]).update
    assert annotations_of(updated) == {}


def at(moment: str, number: int = 1) -> Object:
    made: Object = copy_object(pod(number))
    made["status"]["conditions"][0]["lastTransitionTime"] = moment
    return made


def test_the_time_is_that_of_the_earliest_change() -> None:
    times, key, owner = TriggerTimes(), ObjectKey("default", "web"), service()
    owner["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    first, second, third = (f"2026-01-01T00:00:0{n}Z" for n in (1, 2, 3))
    assert times.next(key, owner, [at(first)]) == "2026-01-01T00:00:00Z"
    assert times.next(key, owner, [at(first)]) == ""
    assert times.next(key, owner, [at(second), at(third, 2)]) == second
    assert times.next(key, owner, [at(second)]) == ""
    times.forget(key)
    assert times.next(key, owner, [at(second)]) == "2026-01-01T00:00:00Z"


HTTP, HTTPS, OTHER = ({"name": name, "port": port} for name, port in (("http", 80), ("https", 443), ("https", 8443)))


def ready(*addresses: str, ports: Any = (HTTP,)) -> Object:
    return {"addresses": [{"ip": each} for each in addresses], "ports": list(ports)}


@pytest.mark.parametrize(
    ("subsets", "canonical"),
    [
        ([ready("b"), ready("a")], [ready("a", "b")]),
        ([ready("a"), ready("a", ports=[HTTPS])], [ready("a", ports=[HTTP, HTTPS])]),
        # Pods that have one port in common and another not: http is one subset, each https its own.
        ([ready("a", ports=[HTTP, HTTPS]), ready("b", ports=[HTTP, OTHER])],
         [ready("a", "b"), ready("a", ports=[HTTPS]), ready("b", ports=[OTHER])]),
        ([{"notReadyAddresses": [{"ip": "a"}], "ports": [HTTP]}, ready("a")],
         [{"notReadyAddresses": [{"ip": "a"}], "ports": [HTTP]}]),
        ([{"addresses": [{"ip": "a"}]}], [{"addresses": [{"ip": "a"}]}]),
        ([{"ports": [HTTP]}], []),
    ],
)  # fmt: skip
def test_the_canonical_form(subsets: list[Object], canonical: list[Object]) -> None:
    assert repack(subsets) == canonical
    assert repack(canonical) == canonical


def sizes(subsets: list[Object]) -> list[tuple[int, int]]:
    return [(len(each.get("addresses", ())), len(each.get("notReadyAddresses", ()))) for each in subsets]


def subset(ready_count: int, not_ready: int) -> Object:
    return {
        "addresses": [{"ip": str(n)} for n in range(ready_count)],
        "notReadyAddresses": [{"ip": str(n)} for n in range(not_ready)],
    }


@pytest.mark.parametrize(
    ("given", "kept", "cut"),
    [
        ([(5, 5)], [(5, 5)], False),
        ([(8, 5)], [(8, 2)], True),
        ([(12, 5)], [(10, 0)], True),
        ([(6, 0), (12, 3)], [(4, 0), (6, 0)], True),  # a third of ten rounded up, and what is left
        ([(2, 6), (2, 3)], [(2, 4), (2, 2)], True),
    ],
)
def test_each_subset_gets_its_share(given: list[Any], kept: list[Any], cut: bool) -> None:
    made, was_cut = truncate([subset(*each) for each in given], 10)
    assert (sizes(made), was_cut) == (kept, cut)
