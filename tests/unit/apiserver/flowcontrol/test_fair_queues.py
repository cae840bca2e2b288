"""Fair queuing in virtual time. KEP-1040: each flow gets its share of the seats, however many requests others send."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timonel.apiserver.flowcontrol.dealing import Queuing
from timonel.apiserver.flowcontrol.queue_set import CANCELLED, CONCURRENCY_LIMIT, QUEUE_FULL, TIME_OUT
from timonel.apiserver.flowcontrol.tickets import Ticket
from timonel.apiserver.flowcontrol.work import ONE_SEAT, Work

from .worlds import GET, USER, Crowd, flow, level


def test_requests_that_find_a_seat_do_not_wait() -> None:
    crowd = Crowd(level(3))
    asking = flow(crowd.queue_set, "a")
    for _ in range(3):
        assert crowd.ask(asking, 1.0)
    assert crowd.waited["a"] == [0, 0, 0]
    fourth = crowd.ask(asking, 1.0)
    assert fourth is not None
    assert fourth.is_waiting
    assert crowd.step().flow is asking
    assert not fourth.is_waiting


def test_two_flows_share_equally_whatever_they_send() -> None:
    crowd = Crowd(level(4))
    many, few = flow(crowd.queue_set, "many"), flow(crowd.queue_set, "few")
    for _ in range(100):
        crowd.ask(many, 0.1)
    for _ in range(8):
        crowd.ask(few, 0.1)
    crowd.served.clear()
    for _ in range(400):
        ended = crowd.step()
        crowd.ask(ended.flow, 0.1)
    # `many` has up to six queues and `few` as well, but only as many as it has requests for: more than its share.
    assert crowd.served["few"] / crowd.served["many"] > 0.8


def test_long_requests_are_charged_by_their_length() -> None:
    crowd = Crowd(level(1, queues=2, hand_size=1))
    flows = {}
    number = 0
    while len(flows) < 2:  # two flows with a queue each
        each = flow(crowd.queue_set, f"flow-{number}")
        flows.setdefault(crowd.queue_set.dealer._hand(each)[0], each)
        number += 1
    long, short = flows[0], flows[1]
    for _ in range(20):
        crowd.ask(long, 0.5)
        crowd.ask(short, 0.05)
    for _ in range(300):
        ended = crowd.step()
        crowd.ask(ended.flow, 0.5 if ended.flow is long else 0.05)
    assert crowd.served[long.distinguisher] == pytest.approx(crowd.served[short.distinguisher], rel=0.1)


def test_wide_requests_are_charged_by_their_width() -> None:
    crowd = Crowd(level(8, queues=2, hand_size=1))
    flows = {}
    number = 0
    while len(flows) < 2:
        each = flow(crowd.queue_set, f"flow-{number}")
        flows.setdefault(crowd.queue_set.dealer._hand(each)[0], each)
        number += 1
    wide, narrow = flows[0], flows[1]
    four = Work(4)
    for _ in range(30):
        crowd.ask(wide, 0.1, four)
        crowd.ask(narrow, 0.1)
    for _ in range(400):
        ended = crowd.step()
        crowd.ask(ended.flow, 0.1, four if ended.flow is wide else ONE_SEAT)
    assert crowd.served[wide.distinguisher] == pytest.approx(crowd.served[narrow.distinguisher], rel=0.25)


def test_a_newcomer_is_not_behind_a_backlog() -> None:
    crowd = Crowd(level(2))
    noisy, quiet = flow(crowd.queue_set, "noisy"), flow(crowd.queue_set, "quiet")
    for _ in range(290):
        crowd.ask(noisy, 0.1)
    for _ in range(20):
        crowd.ask(crowd.step().flow, 0.1)
    crowd.ask(quiet, 0.1)
    while "quiet" not in crowd.waited:
        crowd.ask(crowd.step().flow, 0.1)
    # Six queues of the noisy flow may each go once before it: four rounds of 0.1 s.
    assert crowd.waited["quiet"][0] <= 0.4


def test_full_queues_refuse() -> None:
    crowd = Crowd(level(1, queues=4, hand_size=2, length_limit=3))
    asking = flow(crowd.queue_set, "a")
    for _ in range(1 + 2 * 3):
        assert crowd.ask(asking, 1.0)
    refused = crowd.queue_set.enqueue(asking, ONE_SEAT, GET, USER, 0.0, held=False)
    assert refused == QUEUE_FULL
    assert asking.stats.rejected == {QUEUE_FULL: 1}


def test_levels_without_queues_refuse_above_their_limit() -> None:
    crowd = Crowd(level(2, queues=0))
    asking = flow(crowd.queue_set, "a")
    assert crowd.ask(asking, 1.0)
    assert crowd.ask(asking, 1.0)
    assert crowd.ask(asking, 1.0) is None
    assert asking.stats.rejected == {CONCURRENCY_LIMIT: 1}
    # Held back by the event loop, no more than two are here at once.
    crowd.step()
    assert isinstance(crowd.queue_set.enqueue(asking, ONE_SEAT, GET, USER, 1.0, held=True), Ticket)
    assert crowd.queue_set.enqueue(asking, ONE_SEAT, GET, USER, 1.0, held=True) == CONCURRENCY_LIMIT


def test_a_request_wider_than_the_level_runs_alone() -> None:
    crowd = Crowd(level(3))
    asking = flow(crowd.queue_set, "a")
    crowd.ask(asking, 1.0)
    wide = crowd.ask(asking, 1.0, Work(10))
    assert wide is not None
    assert wide.is_waiting
    crowd.step()
    assert not wide.is_waiting
    after = crowd.ask(asking, 1.0)
    assert after is not None
    assert after.is_waiting


def test_a_level_without_seats_runs_nothing() -> None:
    crowd = Crowd(level(0))
    ticket = crowd.ask(flow(crowd.queue_set, "a"), 1.0)
    assert ticket is not None
    assert ticket.is_waiting


def test_seats_of_an_echo_stay_taken() -> None:
    queue_set = level(10)
    asking = flow(queue_set, "a")
    ticket = queue_set.begin(asking, Work(1, 4, 0.02), GET, USER, 0.0)
    assert ticket is not None
    assert queue_set.in_use == 4
    assert queue_set.finish(ticket, 0.001) == 0.02
    assert (queue_set.in_use, queue_set.executing) == (4, 0)
    assert asking.stats.executing_seats == 4
    queue_set.release(ticket, 0.021)
    assert queue_set.is_idle
    assert asking.stats.executing_seats == 0


def test_echoes_wider_than_the_level_get_longer() -> None:
    queue_set = level(2)
    ticket = queue_set.begin(flow(queue_set, "a"), Work(1, 2, 0.02), GET, USER, 0.0)
    assert ticket is not None
    queue_set.finish(ticket, 0.0)
    queue_set.release(ticket, 0.02)
    waiting = queue_set.enqueue(flow(queue_set, "a"), Work(1, 8, 0.01), GET, USER, 1.0, held=True)
    assert isinstance(waiting, Ticket)
    assert (waiting.work.final_seats, waiting.work.echo_seconds) == (2, pytest.approx(0.04))


def test_whoever_leaves_a_queue_is_counted() -> None:
    crowd = Crowd(level(1))
    asking = flow(crowd.queue_set, "a")
    crowd.ask(asking, 1.0)
    for reason in (TIME_OUT, CANCELLED):
        ticket = crowd.ask(asking, 1.0)
        assert ticket is not None
        crowd.queue_set.cancel(ticket, 0.5, reason)
    assert (crowd.queue_set.waiting, crowd.queue_set.timed_out, crowd.queue_set.cancelled) == (0, 1, 2)
    assert asking.stats.in_queue == 0


def test_surplus_queues_go_when_they_are_empty() -> None:
    crowd = Crowd(level(1, queues=8, hand_size=8))
    asking = flow(crowd.queue_set, "a")
    for _ in range(9):
        crowd.ask(asking, 1.0)
    crowd.queue_set.configure(Queuing(2, 1, 50))
    assert len(crowd.queue_set.queues) == 8
    for _ in range(9):
        crowd.step()
    assert len(crowd.queue_set.queues) == 2


def test_whoever_runs_alone_while_queues_go_keeps_its_own() -> None:
    crowd = Crowd(level(4, queues=8, hand_size=8))
    asking = flow(crowd.queue_set, "a")
    for _ in range(8):  # some of them in queues that are to go
        crowd.ask(asking, 1.0)
        crowd.step()
    asking.hand = (7,)
    crowd.ask(asking, 1.0)
    crowd.queue_set.configure(Queuing(2, 1, 50))
    crowd.ask(flow(crowd.queue_set, "b"), 1.0)
    assert crowd.queue_set.executing == 2
    crowd.step()
    crowd.step()
    assert (crowd.queue_set.busy, crowd.queue_set.in_use, len(crowd.queue_set.queues)) == (0, 0, 2)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 6),
    st.sampled_from([0, 1, 4]),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), max_size=120),
)
def test_counts_always_agree(limit: int, queues: int, events: list[tuple[int, int]]) -> None:
    queue_set = level(limit, queues=queues, hand_size=max(1, queues // 2), length_limit=3)
    flows = [flow(queue_set, name) for name in "abc"]
    works = [ONE_SEAT, ONE_SEAT, Work(3), Work(1, 2, 0.01)]
    running: list[Ticket] = []
    waiting: list[Ticket] = []
    echoing: list[Ticket] = []
    now = 0.0
    for what, which in events:
        now += 0.01
        if what < 5:
            asking, work = flows[which % 3], works[(what + which) % 4]
            begun = queue_set.begin(asking, work, GET, USER, now)
            if begun is not None:
                running.append(begun)
            else:
                found = queue_set.enqueue(asking, work, GET, USER, now, held=which % 2 == 0)
                if isinstance(found, Ticket):
                    waiting.append(found)
        elif what < 7 and running:
            ticket = running.pop(which % len(running))
            if queue_set.finish(ticket, now):
                echoing.append(ticket)
        elif what == 7 and echoing:
            queue_set.release(echoing.pop(), now)
        elif what == 8 and waiting:
            queue_set.cancel(waiting.pop(which % len(waiting)), now, CANCELLED)
        elif (ticket_or_none := queue_set.dispatch(now)) is not None:
            waiting.remove(ticket_or_none)
            running.append(ticket_or_none)
        held = sum(ticket.work.seats for ticket in (*running, *echoing))
        assert queue_set.in_use == held == sum(each.stats.executing_seats for each in flows)
        assert queue_set.executing == len(running) == sum(each.stats.executing for each in flows)
        assert queue_set.waiting == len(waiting) == sum(each.stats.in_queue for each in flows)
        assert set(queue_set.tickets()) == {*running, *waiting}
        seats = sum(ticket.work.seats for ticket in waiting)
        assert queue_set.waiting_seats == seats == sum(each.stats.seats_in_queue for each in flows)
        busy = sum(1 for queue in (queue_set.plain, *queue_set.queues) if queue.executing or queue.waiting)
        assert queue_set.busy == busy
        if limit and len(running) > 1:
            assert held <= limit
