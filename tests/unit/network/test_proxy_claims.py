"""Two that want one address and port: the second waits and does not spoil the transaction."""

from __future__ import annotations

from timonel.api.objects import ObjectKey
from timonel.network.proxy.claims import Claims, Identity
from timonel.network.proxy.fragments import EMPTY, Element, Fragment

PORT: Element = ("hostports", "tcp . 8080")
OTHER: Element = ("hostports", "tcp . 9090")
FIRST: Identity = ("pod", ObjectKey("default", "a"))
SECOND: Identity = ("pod", ObjectKey("default", "b"))


def wanting(*elements: Element) -> Fragment:
    return Fragment(elements=dict.fromkeys(elements, "goto somewhere"))


def never(identity: Identity) -> Fragment:
    raise AssertionError(identity)


def test_the_first_holds_it_and_the_second_keeps_the_rest() -> None:
    claims = Claims()
    assert claims.settle({SECOND: wanting(PORT)}, never) == {SECOND: wanting(PORT)}
    assert claims.settle({FIRST: wanting(PORT, OTHER)}, never) == {FIRST: wanting(OTHER)}
    assert claims.settle({SECOND: wanting(PORT)}, never) == {SECOND: wanting(PORT)}


def test_the_second_gets_its_turn_when_the_first_goes() -> None:
    claims = Claims()
    claims.settle({FIRST: wanting(PORT), SECOND: wanting(PORT, OTHER)}, never)
    granted = claims.settle({FIRST: EMPTY}, {SECOND: wanting(PORT, OTHER)}.__getitem__)
    assert granted == {FIRST: EMPTY, SECOND: wanting(PORT, OTHER)}


def test_in_one_change_what_leaves_leaves_first() -> None:
    claims = Claims()
    claims.settle({SECOND: wanting(PORT)}, never)
    granted = claims.settle({FIRST: wanting(PORT), SECOND: wanting(OTHER)}, never)
    assert granted == {FIRST: wanting(PORT), SECOND: wanting(OTHER)}


def test_one_that_no_longer_wants_it_is_not_given_it() -> None:
    claims = Claims()
    claims.settle({FIRST: wanting(PORT), SECOND: wanting(PORT)}, never)
    claims.settle({SECOND: wanting(OTHER)}, never)
    # Nor asked again: pods that came and went while another held the port would otherwise be remembered for good.
    assert claims.settle({FIRST: EMPTY}, never) == {FIRST: EMPTY}
