"""Equal parts of cached objects are one object."""

from timonel.client.sharing import SharedParts


def test_equal_values_are_one() -> None:
    share = SharedParts()
    first = share({"app": "web", "ports": [80]})
    assert share({"app": "web", "ports": [80]}) is first
    assert share({"app": "web", "ports": [81]}) == {"app": "web", "ports": [81]}
    assert share(1) == 1
    assert share(True) is True
    assert share(None) is None


def test_it_does_not_grow_without_end_and_keeps_what_is_in_use() -> None:
    share = SharedParts(most=3)
    once, often = share({"n": 0}), share({"n": "often"})
    for number in range(1, 12):
        share({"n": number})
        assert share({"n": "often"}) is often
    again = share({"n": 0})
    assert again == once
    assert again is not once


def test_fields_and_items_of_an_object_are_shared_in_place() -> None:
    share = SharedParts()
    one, two = ({"labels": {"a": "b"}, "name": name, "conditions": [{"type": "Ready"}, {"x": name}]} for name in "ab")
    for each in (one, two):
        share.fields(each, ("labels", "missing"))
        share.items(each, "conditions", "images")
    assert one == {"labels": {"a": "b"}, "name": "a", "conditions": [{"type": "Ready"}, {"x": "a"}]}
    assert one["labels"] is two["labels"]
    assert one["conditions"][0] is two["conditions"][0]
    assert one["conditions"][1] == {"x": "a"}
