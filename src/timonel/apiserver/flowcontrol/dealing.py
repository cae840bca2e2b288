"""Which queue a request goes to, and which queue is next: shuffle sharding and the order of turns, after KEP-1040."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from timonel.apiserver.flowcontrol.shuffle import deal_hand, flow_hash
from timonel.apiserver.flowcontrol.tickets import Flow, Queue

Marks = tuple[float, float, float, float]
"""At a dispatch: the meter, the queue's mark, least and most of all waiting queues' marks."""


@dataclass(frozen=True, slots=True)
class Queuing:
    """`queues` 0: no request waits for a seat, what finds none is refused."""

    queues: int = 0
    hand_size: int = 1
    length_limit: int = 0

    @property
    def places(self) -> int:
        return self.queues * self.length_limit


class Dealer:
    """The queues of one level. `plain` is that of an exempt level, or one without queues."""

    def __init__(self, *, exempt: bool) -> None:
        self.queuing = Queuing()
        self.queues: list[Queue] = []
        self.plain = Queue(-1)
        self._exempt = exempt
        self._dealt = 0

    def configure(self, queuing: Queuing) -> None:
        """New queues begin at once; surplus ones take no new requests and go when they are empty."""
        self.queuing = queuing
        for index in range(len(self.queues), queuing.queues):
            self.queues.append(Queue(index))
        self.drop_surplus()

    def drop_surplus(self) -> None:
        """From the end, so that no queue changes its number."""
        queues = self.queues
        while len(queues) > self.queuing.queues and not queues[-1].executing and not queues[-1].waiting:
            queues.pop()

    def next_of(self, flow: Flow) -> Queue:
        """Where the flow's next request goes while nobody waits anywhere: its queues in turn."""
        if self._exempt or not self.queuing.queues:
            return self.plain
        hand = flow.hand or self._hand(flow)
        self._dealt += 1
        return self.queues[hand[self._dealt % len(hand)]]

    def shortest_of(self, flow: Flow) -> Queue:
        """Of the flow's queues the one with the least work waiting; the first look goes round."""
        hand = flow.hand or self._hand(flow)
        self._dealt += 1
        first = self._dealt % len(hand)
        queues = self.queues
        return min((queues[index] for index in (*hand[first:], *hand[:first])), key=_waiting_charge)

    def _hand(self, flow: Flow) -> tuple[int, ...]:
        queuing = self.queuing
        if queuing.queues > 1:
            entropy = flow_hash(flow.schema, flow.distinguisher)
            flow.hand = deal_hand(entropy, queues=queuing.queues, hand_size=queuing.hand_size)
        else:
            flow.hand = (0,)
        return flow.hand


def pick_queue(pending: Iterable[Queue], *, r: float, count: int, last: int) -> tuple[Queue, Marks]:
    """Of queues where somebody waits, the one that would be furthest behind with its next request done.

    Of equals the next one round, after number `last` of `count`. `pending` is not empty.
    """
    robin = last + 1
    best: Queue | None = None
    best_finish = least = most = 0.0
    best_order = 0
    for queue in pending:
        mark = queue.next_r
        finish = mark + queue.waiting[0].work.charge
        if best is None:
            best, best_finish, least, most = queue, finish, mark, mark
            best_order = (queue.index - robin) % count
            continue
        if finish <= best_finish:
            order = (queue.index - robin) % count
            if finish < best_finish or order < best_order:
                best, best_finish, best_order = queue, finish, order
        least, most = min(least, mark), max(most, mark)
    assert best is not None
    return best, (r, best.next_r, least, most)


def _waiting_charge(queue: Queue) -> float:
    return queue.waiting_charge
