"""The allocator against a slow one that tries everything in order and judges only what is complete."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

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
)
from timonel.api.objects import Object

Chosen = list[list[tuple[str, str, Object, Object]]]
"""For each claim: (request, name of the wish, wish, device)."""


def solve(devices: list[Object], claims: list[Object], taken: set[str], cards: dict[str, int]) -> Chosen | None:
    for chosen in itertools.product(*(list(of_claim(devices, each)) for each in claims)):
        if is_allowed(list(chosen), claims, devices, taken, cards):
            return list(chosen)
    return None


def of_claim(devices: list[Object], wanted: Object) -> Iterator[list[tuple[str, str, Object, Object]]]:
    options = []
    for each in wanted["spec"]["devices"]["requests"]:
        of_request = []
        for name, wish in wishes(each):
            fitting = [one for one in devices if matches(wish, one)]
            count = len(fitting) if wish["allocationMode"] == "All" else wish["count"]
            if count:
                for combination in itertools.combinations(fitting, count):
                    of_request.append([(each["name"], name, wish, one) for one in combination])
        options.append(of_request)
    for picks in itertools.product(*options):
        yield [pick for part in picks for pick in part]


def wishes(each: Object) -> list[tuple[str, Object]]:
    if "exactly" in each:
        return [(each["name"], each["exactly"])]
    return [(f"{each['name']}/{one['name']}", one) for one in each["firstAvailable"]]


def matches(wish: Object, one: Object) -> bool:
    kinds = {selector["cel"]["expression"][-2] for selector in wish.get("selectors", ())}
    return all(one["attributes"]["kind"]["string"] == kind for kind in kinds)


def is_allowed(
    chosen: Chosen, claims: list[Object], devices: list[Object], taken: set[str], cards: dict[str, int]
) -> bool:
    used = Counter[str]()
    for each in devices:
        if each["name"] in taken:
            used.update(counters(each))
    held: list[str] = []
    touched: set[str] = set()
    for picks, wanted in zip(chosen, claims, strict=True):
        for _, _, wish, one in picks:
            if one.get("taints") and not wish.get("tolerations"):
                return False
            if one["name"] in taken:
                return False
            held.append(one["name"])
            used.update(counters(one))
            touched |= counters(one).keys()
        for rule in wanted["spec"]["devices"].get("constraints", ()):
            kind = "matchAttribute" if "matchAttribute" in rule else "distinctAttribute"
            attribute = rule[kind].partition("/")[2]
            names_of_rule = rule.get("requests")
            values = [
                one["attributes"].get(attribute, {}).get("int")
                for base, name, _, one in picks
                if not names_of_rule or base in names_of_rule or name in names_of_rule
            ]
            if None in values or (kind == "matchAttribute" and len(set(values)) > 1):
                return False
            if kind == "distinctAttribute" and len(set(values)) < len(values):
                return False
    return len(set(held)) == len(held) and all(used[card] <= cards[card] for card in touched)


def counters(one: Object) -> dict[str, int]:
    return {each["counterSet"]: int(each["counters"]["slots"]["value"]) for each in one.get("consumesCounters", ())}


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Object], list[Object], set[str], dict[str, int]]:
    cards = {"card": draw(st.integers(1, 5))}
    devices = []
    for number in range(draw(st.integers(0, 5))):
        options: Any = {"kind": draw(st.sampled_from("ab"))}
        if draw(st.booleans()):
            options["numa"] = draw(st.integers(0, 1))
        if draw(st.integers(0, 4)) == 0:
            options["taints"] = [{"key": "k", "effect": "NoSchedule"}]
        if draw(st.booleans()):
            options["counters"] = {"card": {"slots": str(draw(st.integers(1, 3)))}}
        devices.append(device(f"d{number}", **options))

    def wish() -> Object:
        expressions = [f'device.attributes["{DRIVER}"].kind == "{draw(st.sampled_from("ab"))}"'] * draw(
            st.integers(0, 1)
        )
        more: Any = {"tolerations": [{"operator": "Exists"}]} if draw(st.booleans()) else {}
        if draw(st.integers(0, 5)) == 0:
            return exactly(*expressions, allocationMode="All", **more)
        return exactly(*expressions, count=draw(st.integers(1, 2)), **more)

    claims = []
    for number in range(draw(st.integers(1, 2))):
        requests = []
        for place in range(draw(st.integers(1, 2))):
            if draw(st.booleans()):
                requests.append(request(f"r{place}") | {"exactly": wish()})
            else:
                requests.append(either(f"r{place}", *(wish() for _ in range(draw(st.integers(1, 2))))))
        kind = draw(st.sampled_from(["matchAttribute", "distinctAttribute", ""]))
        takes_all = any(one["allocationMode"] == "All" for each in requests for _, one in wishes(each))
        rules: list[Object] = []
        if kind and not takes_all:  # all devices against a rule are a mistake that is told as one
            rules = [
                {kind: f"{DRIVER}/numa"} | draw(st.sampled_from([{}, {"requests": ["r0"]}, {"requests": ["r0/a"]}]))
            ]
        claims.append(claim(f"c{number}", *requests, constraints=rules))
    taken = {each["name"] for each in devices if draw(st.integers(0, 3)) == 0}
    return devices, claims, taken, cards


@settings(max_examples=300, deadline=None)
@given(situations())
def test_the_first_solution_in_order_is_found_if_there_is_any(
    situation: tuple[list[Object], list[Object], set[str], dict[str, int]],
) -> None:
    devices, claims, taken, cards = situation
    slices = [
        slice_of("a", on="n", pool="p", count=2, sharedCounters=[
            {"name": name, "counters": {"slots": {"value": str(size)}}} for name, size in cards.items()
        ]),
        slice_of("b", devices, on="n", pool="p", count=2),
    ]  # fmt: skip
    other = claim("other", status=allocated(*(f"p/{name}" for name in sorted(taken))))
    expected = solve(devices, claims, taken, cards)
    found = picked(slices, *claims, others=[other] if taken else [])
    if expected is None:
        assert found == "cannot allocate all claims"
    else:
        assert found == [[f"{name}=p/{one['name']}" for _, name, _, one in picks] for picks in expected]
