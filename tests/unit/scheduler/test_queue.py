"""Which pod is next, and what brings a waiting one back. Times are in seconds."""

from __future__ import annotations

from typing import Any

from tests.unit.scheduler.objects import pod
from timonel.scheduler.core.framework import Change
from timonel.scheduler.core.pods import Pod, PodClasses
from timonel.scheduler.core.queue import SchedulingQueue, Waiting

CLASSES = PodClasses()
HELPED_BY = {
    "Fit": frozenset({Change.NODE_ADDED, Change.POD_GONE}),
    "Taints": frozenset({Change.NODE_ADDED, Change.NODE_TAINTS}),
}
FIT, TAINTS = frozenset({"Fit"}), frozenset({"Taints"})


def make(name: str, priority: int = 0, **spec: Any) -> Pod:
    return CLASSES.pod(pod(name, priority=priority, **spec))


class Queue(SchedulingQueue):
    def __init__(self) -> None:
        super().__init__(HELPED_BY)

    def add(self, name: str, now: float = 0.0, priority: int = 0) -> Pod:
        made = make(name, priority)
        self.put(made, is_gated=False, now=now)
        return made

    def next(self, now: float) -> str | None:
        taken = self.take(now)
        return taken.pod.key[1] if taken else None

    def taken(self, now: float) -> Waiting:
        waiting = self.take(now)
        assert waiting is not None
        return waiting


def test_by_priority_then_by_time() -> None:
    queue = Queue()
    queue.add("early", 1.0)
    queue.add("late", 2.0)
    queue.add("important", 3.0, priority=10)
    assert [queue.next(4.0) for _ in range(4)] == ["important", "early", "late", None]


def test_a_refused_pod_waits_for_a_change_that_helps_it() -> None:
    queue = Queue()
    queue.add("x")
    queue.refused(queue.taken(0.0), TAINTS, 0.0)
    queue.changed([Change.POD_GONE, Change.POD_PLACED], 5.0)
    assert queue.next(5.0) is None
    queue.changed([Change.NODE_TAINTS], 6.0)
    assert queue.next(6.0) == "x"


def test_after_a_change_it_waits_out_its_backoff_behind_those_that_are_ready() -> None:
    queue = Queue()
    queue.add("x", priority=5)
    queue.refused(queue.taken(0.0), FIT, 0.0)
    queue.add("ready")
    queue.changed([Change.POD_GONE], 0.5)
    assert queue.next(0.5) == "ready"
    assert queue.next(0.5) == "x"  # nobody else is waiting: no reason to let it wait longer


def test_the_backoff_doubles_from_one_to_ten_seconds() -> None:
    queue = Queue()
    queue.add("x")
    now, delays = 0.0, []
    for _ in range(6):
        queue.failed(queue.taken(now), now)
        due = queue.next_event()
        assert due is not None
        delays.append(due - now)
        assert queue.next(due - 0.1) is None  # an error, unlike a refusal, is never tried early
        now = due
    assert delays == [1, 2, 4, 8, 10, 10]


def test_pods_that_failed_together_go_by_priority_again() -> None:
    queue = Queue()
    queue.add("low", 0.0)
    queue.add("high", 0.1, priority=1)
    for now in (0.2, 0.3):
        waiting = queue.taken(now)
        queue.refused(waiting, FIT, now)
    queue.changed([Change.NODE_ADDED], 0.4)
    assert [queue.next(2.0), queue.next(2.0)] == ["high", "low"]


def test_everything_is_tried_again_after_five_minutes() -> None:
    queue = Queue()
    queue.add("x")
    queue.refused(queue.taken(10.0), frozenset({"NotBuilt"}), 10.0)
    assert queue.next_event() == 310.0
    assert queue.next(309.0) is None
    assert queue.next(310.0) == "x"


def test_gated_pods_are_not_taken() -> None:
    queue = Queue()
    gated = make("x")
    queue.put(gated, is_gated=True, now=0.0)
    queue.changed([Change.NODE_ADDED], 1.0)
    assert queue.next(1000.0) is None
    queue.put(gated, is_gated=False, now=1000.0)
    assert queue.next(1000.0) == "x"


def test_a_pod_that_changes_is_tried_again_and_one_that_only_reports_is_not() -> None:
    queue = Queue()
    original = pod("x")
    queue.put(CLASSES.pod(original), is_gated=False, now=0.0)
    queue.refused(queue.taken(0.0), FIT, 0.0)
    original["status"]["message"] = "something else"
    queue.put(CLASSES.pod(original), is_gated=False, now=20.0)
    assert queue.next(20.0) is None
    original["metadata"]["labels"] = {"new": "label"}
    queue.put(CLASSES.pod(original), is_gated=False, now=21.0)
    assert queue.next(21.0) == "x"


def test_removed_pods_never_come_back() -> None:
    queue = Queue()
    first, second = queue.add("first"), queue.add("second")
    queue.remove(first.uid)
    taken = queue.taken(0.0)
    assert taken.pod is second
    queue.remove(second.uid)
    queue.refused(taken, FIT, 0.0)
    queue.failed(taken, 0.0)
    queue.changed([Change.NODE_ADDED], 100.0)
    assert (queue.next(1000.0), len(queue)) == (None, 0)


def test_where_pods_are() -> None:
    queue = Queue()
    for name in ("a", "b", "c"):
        queue.add(name)
    queue.refused(queue.taken(0.0), FIT, 0.0)
    queue.failed(queue.taken(0.0), 0.0)
    queue.put(make("d"), is_gated=True, now=0.0)
    assert queue.counts() == {"active": 1, "backoff": 1, "unschedulable": 1, "gated": 1}


def test_what_happens_during_an_attempt_counts_if_it_helps() -> None:
    queue = Queue()
    queue.changed([Change.NODE_TAINTS], 0.0)
    queue.add("x")
    waiting = queue.taken(1.0)
    assert not queue.missed(waiting, TAINTS)
    queue.changed([Change.POD_GONE], 2.0)
    assert queue.missed(waiting, FIT)
    assert not queue.missed(waiting, TAINTS)
    queue.refused(waiting, FIT, 3.0)
    queue.reconsider(waiting.pod.uid, 3.0)
    assert queue.next(3.0) == "x"


def test_a_pod_that_changes_during_its_attempt_has_missed_that() -> None:
    queue = Queue()
    obj = pod("x")
    queue.put(CLASSES.pod(obj), is_gated=False, now=0.0)
    waiting = queue.taken(0.0)
    queue.put(CLASSES.pod(obj), is_gated=False, now=1.0)
    assert not queue.missed(waiting, FIT)
    changed = obj | {"spec": obj["spec"] | {"nodeSelector": {"disk": "ssd"}}}
    queue.put(CLASSES.pod(changed), is_gated=False, now=2.0)
    assert queue.missed(waiting, FIT)
    queue.refused(waiting, FIT, 3.0)
    queue.reconsider(waiting.pod.uid, 3.0)
    assert not queue.missed(queue.taken(20.0), FIT)
