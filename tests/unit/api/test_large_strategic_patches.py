"""Patches as large as a request may be: whoever may patch one object must not be able to stop the server with it.

With work that grows with the square of the items, each of these would take minutes.
"""

from __future__ import annotations

from timonel.api.objects import Object
from timonel.api.patch.strategic import apply_strategic_patch

POD = "io.k8s.api.core.v1.Pod"
COUNT = 50_000


def owners(prefix: str, **more: str) -> list[Object]:
    return [{"uid": f"{prefix}{number}", **more} for number in range(COUNT)]


def patched(field: str, there: list[Object] | list[str], patch: Object) -> list[Object] | list[str]:
    found: list[Object] | list[str] = apply_strategic_patch({"metadata": {field: there}}, {"metadata": patch}, POD)[
        "metadata"
    ][field]
    return found


def test_many_items_are_added_and_merged() -> None:
    known, new = owners("a"), owners("b")
    changed = [{**each, "name": "n"} for each in known]
    assert patched("ownerReferences", known, {"ownerReferences": changed + new}) == changed + new


def test_an_item_that_comes_twice_is_merged_with_itself() -> None:
    twice = [{"uid": "a", "name": "n"}, {"uid": "a", "kind": "K"}]
    assert patched("ownerReferences", [{"uid": "z"}], {"ownerReferences": twice}) == [
        {"uid": "a", "name": "n", "kind": "K"},
        {"uid": "z"},
    ], "what only the server has comes after what is new"


def test_many_items_are_taken_out() -> None:
    known = owners("a")
    gone = [{**each, "$patch": "delete"} for each in (*known[1:], *owners("b"))]
    assert patched("ownerReferences", known, {"ownerReferences": gone}) == known[:1]


def test_many_values_are_taken_out() -> None:
    known = [f"example.com/{number}" for number in range(COUNT)]
    gone = {"$deleteFromPrimitiveList/finalizers": [*known[1:], *(f"example.org/{number}" for number in range(COUNT))]}
    assert patched("finalizers", known, gone) == known[:1]


def test_the_last_of_many_keeps_its_place() -> None:
    known = owners("a")
    changed = {**known[-1], "name": "n"}
    assert patched("ownerReferences", known, {"ownerReferences": [changed]}) == [*known[:-1], changed]
