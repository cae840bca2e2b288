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


def test_it_does_not_grow_without_end() -> None:
    share = SharedParts(most=3)
    first = share({"n": 0})
    for number in range(1, 4):
        share({"n": number})
    again = share({"n": 0})
    assert again == first
    assert again is not first
