"""Which devices a claim gets, after kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from tests.unit.scheduler.devices.things import (
    DRIVER,
    allocated,
    claim,
    device,
    either,
    exactly,
    picked,
    request,
    slice_of,
    try_allocate,
)
from tests.unit.scheduler.objects import node
from timonel.api.objects import Object
from timonel.scheduler.core.devices.wishes import CannotAllocate

CANNOT = "cannot allocate all claims"
FOUR = [slice_of("s", [device(f"d{number}", index=number) for number in range(4)], on="n")]


def selecting(kind: str, key: str, value: str) -> Object:
    term = {kind: [{"key": key, "operator": "In", "values": [value]}]}
    return {"nodeSelector": {"nodeSelectorTerms": [term]}}


def attribute(name: str) -> str:
    return f'device.attributes["{DRIVER}"].{name}'


class TestExactCount:
    def test_the_first_that_are_free_in_order(self) -> None:
        assert picked(FOUR, claim("c", request("r", count=2))) == [["r=n/d0", "r=n/d1"]]

    def test_not_what_others_have(self) -> None:
        other = claim("o", request("r"), status=allocated("n/d0", "n/d2"))
        assert picked(FOUR, claim("c", request("r", count=2)), others=[other]) == [["r=n/d1", "r=n/d3"]]
        assert picked(FOUR, claim("c", request("r", count=3)), others=[other]) == CANNOT

    def test_every_claim_and_request_has_its_own(self) -> None:
        wanted = [claim("c", request("r"), request("s")), claim("d", request("r", count=2))]
        assert picked(FOUR, *wanted) == [["r=n/d0", "s=n/d1"], ["r=n/d2", "r=n/d3"]]
        assert picked(FOUR, *wanted, claim("e", request("r"))) == CANNOT

    def test_slices_go_by_name_and_pools_by_driver_and_name(self) -> None:
        slices = [
            slice_of("b", [device("x")], on="n", pool="p2"),
            slice_of("z", [device("y")], on="n", pool="p1", count=2),
            slice_of("a", [device("w")], on="n", pool="p1", count=2),
            slice_of("c", [device("v")], on="n", pool="p3", driver="a.example.com"),
        ]
        assert picked(slices, claim("c", request("r", count=4))) == [["r=p3/v", "r=p1/w", "r=p1/y", "r=p2/x"]]

    def test_no_more_than_a_status_can_hold(self) -> None:
        many = [slice_of("s", [device(f"d{number}") for number in range(64)], on="n")]
        assert len(picked(many, claim("c", request("r", count=32)))[0]) == 32
        with pytest.raises(CannotAllocate, match="number of requested devices 33 exceeds the claim limit of 32"):
            try_allocate(many, claim("c", request("r", count=32), request("s")))


class TestSelectors:
    def test_of_class_and_request_must_all_hold(self) -> None:
        wanted = claim("c", request("r", f"{attribute('index')} > 0", f"{attribute('index')} < 3"))
        assert picked(FOUR, wanted) == [["r=n/d1"]]
        assert picked(FOUR, wanted, classes={"gpu": [f"{attribute('index')} > 1"]}) == [["r=n/d2"]]
        assert picked(FOUR, wanted, classes={"gpu": [f"{attribute('index')} > 2"]}) == CANNOT

    def test_may_look_at_driver_and_capacity(self) -> None:
        slices = [
            slice_of(
                "s", [device("small", capacity={"memory": "8Gi"}), device("large", capacity={"memory": "80Gi"})], on="n"
            )
        ]
        text = f'device.driver == "{DRIVER}" && device.capacity["{DRIVER}"].memory.compareTo(quantity("40Gi")) > 0'
        assert picked(slices, claim("c", request("r", text))) == [["r=n/large"]]

    @pytest.mark.parametrize(
        ("classes", "expression", "why"),
        [
            ({"gpu": []}, attribute("missing"), "claim default/c: selector #0: CEL runtime error"),
            ({"gpu": [attribute("missing")]}, "true", "class gpu: selector #0: CEL runtime error"),
            ({"gpu": []}, "no such thing", "claim default/c: selector #0: CEL compile error"),
        ],
    )
    def test_one_that_cannot_be_evaluated_is_said(self, classes: Any, expression: str, why: str) -> None:
        with pytest.raises(CannotAllocate, match=why):
            try_allocate(FOUR, claim("c", request("r", expression)), classes=classes)

    def test_one_that_is_not_reached_does_no_harm(self) -> None:
        slices = [slice_of("s", [device("good", index=1), device("bad")], on="n")]
        wanted = request("r", f"{attribute('index')} == 1")
        assert picked(slices, claim("c", wanted)) == [["r=n/good"]]


class TestAll:
    def test_takes_every_one_that_is_picked(self) -> None:
        wanted = claim("c", request("r", f"{attribute('index')} % 2 == 1", allocationMode="All"))
        assert picked(FOUR, wanted) == [["r=n/d1", "r=n/d3"]]

    def test_needs_one_at_least_and_each_of_them(self) -> None:
        assert picked(FOUR, claim("c", request("r", "false", allocationMode="All"))) == CANNOT
        other = claim("o", request("r"), status=allocated("n/d3"))
        assert picked(FOUR, claim("c", request("r", allocationMode="All")), others=[other]) == CANNOT

    @pytest.mark.parametrize(
        ("more", "why"),
        [
            ({"count": 2}, "asks for all devices, but resource pool gpu.example.com/n is currently being updated"),
            (
                {"devices": [device("x"), device("x")]},
                "asks for all devices, but resource pool .* is currently invalid",
            ),
        ],
    )
    def test_must_know_what_all_is(self, more: Any, why: str) -> None:
        with pytest.raises(CannotAllocate, match=why):
            try_allocate(
                [slice_of("s", **{"devices": [], "on": "n"} | more)], claim("c", request("r", allocationMode="All"))
            )

    def test_a_rule_that_they_break_is_said(self) -> None:
        rule = {"matchAttribute": f"{DRIVER}/index"}
        with pytest.raises(CannotAllocate, match=r"cannot add device gpu.example.com/n/d1 because a claim constraint"):
            try_allocate(FOUR, claim("c", request("r", allocationMode="All"), constraints=[rule]))


class TestPools:
    def test_only_the_newest_generation_counts(self) -> None:
        slices = [slice_of("old", [device("x")], on="n"), slice_of("new", [device("y")], on="n", generation=2)]
        assert picked(slices, claim("c", request("r"))) == [["r=n/y"]]
        assert picked(slices, claim("c", request("r", count=2))) == CANNOT

    def test_nothing_is_taken_from_one_that_is_incomplete(self) -> None:
        slices = [slice_of("s", [device("x")], on="n", count=2), slice_of("t", [device("y")], on="n", pool="p")]
        assert picked(slices, claim("c", request("r"))) == [["r=p/y"]]
        assert picked(slices[:1], claim("c", request("r"))) == CANNOT

    def test_slices_of_other_nodes_count_for_completeness(self) -> None:
        slices = [
            slice_of("s", [device("x")], on="n", pool="p", count=2),
            slice_of("t", [device("y")], on="m", pool="p", count=2),
        ]
        assert picked(slices, claim("c", request("r")), nodes=[node("n"), node("m")]) == [["r=p/x"]]

    def test_one_that_is_being_replaced_from_another_node_is_left_alone(self) -> None:
        slices = [
            slice_of("s", [device("x")], on="n", pool="p", count=2),
            slice_of("t", [device("y")], on="m", pool="p", count=2, generation=2),
        ]
        assert picked(slices, claim("c", request("r")), nodes=[node("n"), node("m")]) == CANNOT

    def test_one_with_two_devices_of_a_name_is_invalid_and_that_is_said(self) -> None:
        bad = slice_of("s", [device("x"), device("x")], on="n")
        assert picked([bad], claim("c", request("r"))) == "invalid resource pools were encountered"
        assert picked([bad, slice_of("t", [device("y")], on="n", pool="p")], claim("c", request("r"))) == [["r=p/y"]]

    @pytest.mark.parametrize(
        ("reach", "reached"),
        [
            ({"allNodes": True}, {"n", "m"}),
            ({"nodeName": "m"}, {"m"}),
            (selecting("matchExpressions", "zone", "a"), {"n"}),
            (selecting("matchFields", "metadata.name", "m"), {"m"}),
            ({"nodeSelector": {"nodeSelectorTerms": []}}, set()),
            ({}, set()),
        ],
    )  # fmt: skip
    def test_who_reaches_a_slice(self, reach: Object, reached: set[str]) -> None:
        nodes = [node("n", labels={"zone": "a"}), node("m", labels={"zone": "b"})]
        slices = [slice_of("s", [device("x")], **reach)]
        one_by_one = [slice_of("s", [device("x", more=reach)], perDeviceNodeSelection=True)]
        for name in ("n", "m"):
            for each in (slices, one_by_one) if reach else (slices,):
                found = picked(each, claim("c", request("r")), on=name, nodes=nodes)
                assert (found != CANNOT) == (name in reached)

    def test_devices_may_be_of_different_nodes(self) -> None:
        devices = [
            device("x", more={"nodeName": "m"}),
            device("y", more={"allNodes": True}),
            device("z", more={"nodeName": "n"}),
        ]
        slices = [slice_of("s", devices, perDeviceNodeSelection=True)]
        nodes = [node("n"), node("m")]
        assert picked(slices, claim("c", request("r", count=2)), nodes=nodes) == [["r=shared/y", "r=shared/z"]]

    def test_devices_that_must_be_made_ready_come_last(self) -> None:
        slow = device("slow", more={"bindingConditions": ["ready"], "bindingFailureConditions": ["failed"]})
        slices = [slice_of("a", [slow], on="n", pool="a"), slice_of("b", [device("quick")], on="n", pool="b")]
        assert picked(slices, claim("c", request("r"))) == [["r=b/quick"]]


class TestAlternatives:
    def test_the_first_that_can_be_had(self) -> None:
        wanted = claim("c", either("r", exactly(count=5), exactly(count=3), exactly()))
        assert picked(FOUR, wanted) == [["r/b=n/d0", "r/b=n/d1", "r/b=n/d2"]]

    def test_a_later_request_may_make_a_lesser_one_necessary(self) -> None:
        wanted = claim("c", either("r", exactly(count=3), exactly(count=2)), request("s", count=2))
        assert picked(FOUR, wanted) == [["r/b=n/d0", "r/b=n/d1", "s=n/d2", "s=n/d3"]]

    def test_rules_can_name_a_request_or_an_alternative(self) -> None:
        slices = [slice_of("s", [device("x", kind="a"), device("y", kind="b"), device("z", kind="a")], on="n")]
        wanted = [either("r", exactly(), exactly()), request("s", count=1)]
        same = f"{DRIVER}/kind"
        for names, expected in (
            (["r", "s"], ["r/a=n/x", "s=n/z"]),
            (["r/a", "s"], ["r/a=n/x", "s=n/z"]),
            (["r/b", "s"], ["r/a=n/x", "s=n/y"]),
        ):
            rule = {"matchAttribute": same, "requests": names}
            assert picked(slices, claim("c", *wanted, constraints=[rule])) == [expected]


class TestRules:
    NUMA = (
        ("a", 0), ("b", 1), ("c", 0), ("d", 1), ("e", 1),
    )  # fmt: skip
    SLICES = (slice_of("s", [device(name, numa=numa) for name, numa in NUMA], on="n"),)

    def test_the_same_value(self) -> None:
        rule = {"matchAttribute": f"{DRIVER}/numa"}
        for count, expected in ((2, ["a", "c"]), (3, ["b", "d", "e"])):
            found = picked(self.SLICES, claim("c", request("r", count=count), constraints=[rule]))
            assert found == [[f"r=n/{name}" for name in expected]]
        assert picked(self.SLICES, claim("c", request("r", count=4), constraints=[rule])) == CANNOT

    def test_different_values(self) -> None:
        rule = {"distinctAttribute": f"{DRIVER}/numa"}
        assert picked(self.SLICES, claim("c", request("r", count=2), constraints=[rule])) == [["r=n/a", "r=n/b"]]
        assert picked(self.SLICES, claim("c", request("r", count=3), constraints=[rule])) == CANNOT

    def test_without_the_attribute_none_is_fulfilled(self) -> None:
        for kind in ("matchAttribute", "distinctAttribute"):
            assert picked(self.SLICES, claim("c", request("r"), constraints=[{kind: f"{DRIVER}/other"}])) == CANNOT

    def test_another_drivers_attribute_is_meant_by_its_full_name(self) -> None:
        slices = [
            slice_of("s", [device("x", **{"pci.example.com/root": "1"})], on="n", pool="p"),
            slice_of("t", [device("y", **{"pci.example.com/root": "2"}), device("z", **{"pci.example.com/root": "1"})],
                     on="n", pool="q", driver="nic.example.com"),
        ]  # fmt: skip
        classes = {"gpu": [f'device.driver == "{DRIVER}"'], "nic": ['device.driver == "nic.example.com"']}
        wanted = claim(
            "c", request("g"), request("n", of="nic"), constraints=[{"matchAttribute": "pci.example.com/root"}]
        )
        assert picked(slices, wanted, classes=classes) == [["g=p/x", "n=q/z"]]


class TestAdminAccess:
    def test_looks_on_at_what_others_use(self) -> None:
        other = claim("o", request("r"), status=allocated("n/d0"))
        wanted = claim("c", request("r", adminAccess=True, allocationMode="All"))
        assert picked(FOUR, wanted, others=[other]) == [[f"r=n/d{number}" for number in range(4)]]

    def test_takes_nothing_away(self) -> None:
        looking = allocated({"request": "r", "driver": DRIVER, "pool": "n", "device": "d0", "adminAccess": True})
        assert picked(FOUR, claim("c", request("r")), others=[claim("o", status=looking)]) == [["r=n/d0"]]

    def test_not_twice_at_the_same_in_one_claim(self) -> None:
        wanted = claim("c", *(request(f"r{number}", adminAccess=True) for number in range(5)))
        assert picked(FOUR, wanted) == CANNOT


class TestTaints:
    @pytest.mark.parametrize(
        ("effect", "tolerations", "is_allowed"),
        [
            ("NoSchedule", [], False),
            ("NoExecute", [], False),
            ("None", [], True),
            ("NoSchedule", [{"operator": "Exists"}], True),
            ("NoSchedule", [{"operator": "Exists", "key": "other"}], False),
            ("NoSchedule", [{"operator": "Equal", "key": "broken", "value": "yes"}], True),
            ("NoSchedule", [{"operator": "Equal", "key": "broken", "value": "no"}], False),
            ("NoSchedule", [{"operator": "Exists", "effect": "NoExecute"}], False),
            ("NoExecute", [{"operator": "Exists", "effect": "NoExecute"}], True),
        ],
    )
    def test_keep_claims_away_that_do_not_tolerate_them(self, effect: str, tolerations: Any, is_allowed: bool) -> None:
        slices = [slice_of("s", [device("x", taints=[{"key": "broken", "value": "yes", "effect": effect}])], on="n")]
        found = picked(slices, claim("c", request("r", tolerations=tolerations)))
        assert found == ([["r=n/x"]] if is_allowed else CANNOT)


class TestPartitions:
    """Devices that are parts of one card consume its counters."""

    COUNTERS: ClassVar[Object] = {
        "sharedCounters": [{"name": "card", "counters": {"memory": {"value": "40Gi"}, "slices": {"value": "4"}}}]
    }

    def slices(self, **sizes: int) -> list[Object]:
        devices = [
            device(name, counters={"card": {"memory": f"{10 * size}Gi", "slices": str(size)}})
            for name, size in sizes.items()
        ]
        return [
            slice_of("counters", pool="p", on="n", count=2, **self.COUNTERS),
            slice_of("devices", devices, pool="p", on="n", count=2),
        ]

    def test_as_many_as_the_counters_allow(self) -> None:
        slices = self.slices(whole=4, half=2, quarter=1, other=1)
        assert picked(slices, claim("c", request("r", count=1))) == [["r=p/whole"]]
        assert picked(slices, claim("c", request("r", count=3))) == [["r=p/half", "r=p/quarter", "r=p/other"]]
        assert picked(slices, claim("c", request("r", count=4))) == CANNOT

    def test_what_others_have_is_used_up(self) -> None:
        slices = self.slices(whole=4, half=2, quarter=1, other=2)
        other = claim("o", request("r"), status=allocated("p/quarter"))
        assert picked(slices, claim("c", request("r")), others=[other]) == [["r=p/half"]]
        assert picked(slices, claim("c", request("r", count=2)), others=[other]) == CANNOT

    def test_counters_must_exist(self) -> None:
        slices = self.slices(half=2)
        slices[0]["spec"]["sharedCounters"][0]["name"] = "other"
        assert picked(slices, claim("c", request("r"))) == "invalid resource pools were encountered"
        slices[0]["spec"]["sharedCounters"] *= 2
        assert picked(slices, claim("c", request("r"))) == "invalid resource pools were encountered"


class TestSharedDevices:
    """kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#consumable-capacity"""

    def nic(self, name: str = "nic", **policy: Any) -> Object:
        bandwidth: Object = {"value": "10Gi"} | ({"requestPolicy": policy} if policy else {})
        return device(name, capacity={"bandwidth": bandwidth}, more={"allowMultipleAllocations": True})

    def wanting(self, name: str, amount: str | None) -> Object:
        return claim(name, request("r", **({"capacity": {"requests": {"bandwidth": amount}}} if amount else {})))

    def part(self, amount: str, share: str) -> Object:
        return claim(
            f"o{share}",
            status=allocated(
                {"request": "r", "driver": DRIVER, "pool": "n", "device": "nic", "shareID": share,
                 "consumedCapacity": {"bandwidth": amount}}
            ),
        )  # fmt: skip

    def test_are_shared_until_they_are_used_up(self) -> None:
        slices = [slice_of("s", [self.nic()], on="n")]
        others = [self.part("4Gi", "1"), self.part("4Gi", "2")]
        assert picked(slices, self.wanting("c", "2Gi"), others=others) == [["r=n/nic"]]
        assert picked(slices, self.wanting("c", "3Gi"), others=others) == CANNOT
        both = [self.wanting("c", "1Gi"), self.wanting("d", "1Gi")]
        assert picked(slices, *both, others=others) == [["r=n/nic"], ["r=n/nic"]]
        assert picked(slices, *both, self.wanting("e", "1Gi"), others=others) == CANNOT

    def test_who_says_nothing_takes_all_or_the_default(self) -> None:
        assert (
            picked([slice_of("s", [self.nic()], on="n")], self.wanting("c", None), others=[self.part("1Gi", "1")])
            == CANNOT
        )
        slices = [slice_of("s", [self.nic(default="1Gi")], on="n")]
        found = try_allocate(slices, self.wanting("c", None), others=[self.part("1Gi", "1")])
        assert isinstance(found, tuple)
        assert found[0].picks[0].taken == {"bandwidth": "1Gi"}

    @pytest.mark.parametrize(
        ("policy", "asked", "taken"),
        [
            ({"default": "1Gi", "validRange": {"min": "1Gi"}}, "512Mi", "1Gi"),
            ({"default": "1Gi", "validRange": {"min": "1Gi", "step": "1Gi"}}, "1500Mi", "2Gi"),
            ({"default": "1Gi", "validRange": {"min": "1Gi", "step": "2Gi"}}, "2Gi", "3Gi"),
            ({"default": "1Gi", "validRange": {"min": "1Gi", "max": "4Gi"}}, "5Gi", None),
            ({"default": "1Gi", "validValues": ["1Gi", "2Gi", "4Gi"]}, "3Gi", "4Gi"),
            ({"default": "1Gi", "validValues": ["1Gi", "2Gi", "4Gi"]}, "5Gi", None),
            ({}, "1500Mi", "1500Mi"),
            ({}, "11Gi", None),
        ],
    )
    def test_requests_are_rounded_up_to_what_is_offered(self, policy: Any, asked: str, taken: str | None) -> None:
        found = try_allocate([slice_of("s", [self.nic(**policy)], on="n")], self.wanting("c", asked))
        assert (found[0].picks[0].taken if isinstance(found, tuple) else None) == (
            {"bandwidth": taken} if taken else None
        )

    def test_capacity_that_a_device_does_not_have_is_not_found_on_it(self) -> None:
        slices = [slice_of("s", [device("plain"), self.nic()], on="n")]
        assert picked(slices, self.wanting("c", "1Gi")) == [["r=n/nic"]]

    def test_a_device_of_one_claim_must_be_large_enough_too(self) -> None:
        slices = [
            slice_of(
                "s", [device("a", capacity={"bandwidth": "1Gi"}), device("b", capacity={"bandwidth": "9Gi"})], on="n"
            )
        ]
        assert picked(slices, self.wanting("c", "5Gi")) == [["r=n/b"]]


class TestHostileInput:
    def test_claims_that_cannot_be_had_of_many_equal_devices_are_found_out_fast(self) -> None:
        many = [slice_of("s", [device(f"d{number}", kind="a") for number in range(128)], on="n")]
        wanted = [claim(f"c{number}", request("r", count=30)) for number in range(4)]
        never = claim("d", request("r", f"{attribute('kind')} == 'b'"))
        assert picked(many, *wanted, never, steps=20_000) == CANNOT

    def test_a_search_without_end_is_given_up(self) -> None:
        many = [slice_of("s", [device(f"d{number}", index=number) for number in range(128)], on="n")]
        rule = {"matchAttribute": f"{DRIVER}/index", "requests": ["y", "z"]}
        wanted = claim("c", request("x", count=8), request("y"), request("z"), constraints=[rule])
        assert picked(many, wanted, steps=20_000) == "timed out trying to allocate devices"

    def test_the_cost_of_expressions_counts(self) -> None:
        many = [slice_of("s", [device(f"d{number}", index=number) for number in range(128)], on="n")]
        costly = (
            "[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, [1,2,3,4,5,6,7,8,9].all(c, a + b + c > 0))) && false"
        )
        assert picked(many, claim("c", request("r", costly)), steps=1_000) == "timed out trying to allocate devices"

    def test_more_devices_than_python_has_frames(self) -> None:
        many = [
            slice_of(f"s{pool}", [device(f"d{number}") for number in range(128)], on="n", pool=f"p{pool}")
            for pool in range(16)
        ]
        wanted = [claim(f"c{number}", request("r", count=32)) for number in range(64)]
        found = try_allocate(many, *wanted, steps=1_000_000)
        assert isinstance(found, tuple)
        assert len({pick.device.id for one in found for pick in one.picks}) == 64 * 32
