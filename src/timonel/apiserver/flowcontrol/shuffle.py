"""Shuffle sharding: every flow gets a few of a level's queues, so that two flows seldom share all of theirs.

Source: kubernetes.io/docs/concepts/cluster-administration/flow-control ("Queuing"), KEP-1040 "Shuffle Sharding".
"""

from __future__ import annotations

from hashlib import sha256


def flow_hash(schema: str, distinguisher: str) -> int:
    """64 bits that stay the same for one flow in every server: of its FlowSchema's name and what tells flows apart."""
    return int.from_bytes(sha256(f"{schema}\0{distinguisher}".encode()).digest()[:8], "little")


def deal_hand(entropy: int, *, queues: int, hand_size: int) -> tuple[int, ...]:
    """`hand_size` different numbers below `queues`, as cards dealt from a shuffled deck.

    Digit i of `entropy` in the mixed radix (queues, queues - 1, …) picks among the cards not dealt yet.
    """
    left = list(range(queues)) if queues <= 1024 else None
    hand: list[int] = []
    for dealt in range(hand_size):
        entropy, pick = divmod(entropy, queues - dealt)
        if left is not None:
            hand.append(left.pop(pick))
            continue
        for card in sorted(hand):  # a deck too large to lay out: step over what is gone
            if card <= pick:
                pick += 1
        hand.append(pick)
    return tuple(hand)
