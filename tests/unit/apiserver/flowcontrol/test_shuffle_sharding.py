"""KEP-1040: "shuffle sharding … deals a hand of queues" by successive remainders of the flow's hash."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from timonel.apiserver.flowcontrol.shuffle import deal_hand, flow_hash


def test_digits_of_the_hash_pick_cards() -> None:
    # 8 queues: 5 = 5 + 8 * (0 + 7 * 0); the deck is then 0 1 2 3 4 6 7.
    assert deal_hand(5, queues=8, hand_size=3) == (5, 0, 1)
    # 2 + 8 * (2 + 7 * 5): card 2, then the third of those left, then the sixth of those left.
    assert deal_hand(2 + 8 * (2 + 7 * 5), queues=8, hand_size=3) == (2, 3, 7)


@given(
    st.integers(0, 2**64 - 1), st.integers(1, 3000).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, min(n, 8))))
)
def test_hands_are_different_queues(entropy: int, sizes: tuple[int, int]) -> None:
    queues, hand_size = sizes
    hand = deal_hand(entropy, queues=queues, hand_size=hand_size)
    assert len(set(hand)) == hand_size
    assert all(0 <= queue < queues for queue in hand)


@given(st.integers(0, 2**60), st.integers(2, 6))
def test_large_decks_are_dealt_as_small_ones(entropy: int, hand_size: int) -> None:
    left, expected, rest = list(range(2000)), [], entropy
    for dealt in range(hand_size):
        rest, pick = divmod(rest, 2000 - dealt)
        expected.append(left.pop(pick))
    assert deal_hand(entropy, queues=2000, hand_size=hand_size) == tuple(expected)


def test_flows_are_told_apart_by_schema_and_distinguisher() -> None:
    hashes = {flow_hash(schema, who) for schema, who in (("a", "b"), ("ab", ""), ("", "ab"), ("a", "c"), ("b", "a"))}
    assert len(hashes) == 5
    assert all(0 <= each < 2**64 for each in hashes)
