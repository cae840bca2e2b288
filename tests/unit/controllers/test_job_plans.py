"""What a Job's planner decides, case by case; pods are counted exactly once whatever dies between two writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timonel.api.clock import format_time
from timonel.api.kinds.job.status import validate_job_status
from timonel.api.objects import Object, copy_object, uid_of
from timonel.controllers.job.backoff import Backoff, seconds_left_of_index
from timonel.controllers.job.indexes import IndexSet
from timonel.controllers.job.planner import NewPod, Verdict, completed, judge, plan_job
from timonel.controllers.job.pods import TRACKING, completion_index, finished_at, pod_for_job
from timonel.controllers.job.policies import judge_failure
from timonel.controllers.job.tracking import Outcome, plan_settlement, plan_tally
from timonel.controllers.job.view import View

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def job(status: Object | None = None, **spec: Any) -> Object:
    return {
        "kind": "Job", "apiVersion": "batch/v1",
        "metadata": {"name": "work", "namespace": "default", "uid": "job", "generation": 1},
        "spec": {
            "parallelism": 2, "completions": 4, "completionMode": "NonIndexed", "backoffLimit": 6,
            "podReplacementPolicy": "TerminatingOrFailed",
            "template": {"metadata": {}, "spec": {"restartPolicy": "Never", "containers": [{"name": "main"}]}},
            **spec,
        },
        "status": {"startTime": format_time(NOW - timedelta(minutes=5)), **(status or {})},
    }  # fmt: skip


def indexed(status: Object | None = None, **spec: Any) -> Object:
    return job(status, completionMode="Indexed", **spec)


def pod(
    name: str, phase: str = "Running", index: int | None = None, *, code: int | None = None, ended: float = 100,
    deleting: bool = False, tracked: bool = True, failures: int | None = None, ready: bool = False, **more: Any,
) -> Object:  # fmt: skip
    annotations = {}
    if index is not None:
        annotations["batch.kubernetes.io/job-completion-index"] = str(index)
    if failures is not None:
        annotations["batch.kubernetes.io/job-index-failure-count"] = str(failures)
    metadata: Object = {
        "name": name, "namespace": "default", "uid": name, "annotations": annotations,
        "creationTimestamp": format_time(NOW - timedelta(minutes=4)),
    }  # fmt: skip
    if tracked:
        metadata["finalizers"] = [TRACKING]
    if deleting:
        metadata |= {"deletionTimestamp": format_time(NOW), "deletionGracePeriodSeconds": 30}
    status: Object = {"phase": phase, "conditions": []}
    if ready:
        status["conditions"].append({"type": "Ready", "status": "True"})
    if phase in ("Succeeded", "Failed"):
        at = format_time(NOW - timedelta(seconds=ended))
        exit_code = code if code is not None else int(phase == "Failed")
        state = {"terminated": {"exitCode": exit_code, "finishedAt": at}}
        status["containerStatuses"] = [{"name": "main", "state": state, "restartCount": 0}]
    return {"metadata": metadata, "spec": {"nodeName": "node-1"}, "status": status | more}


def names(pods: Sequence[Object]) -> list[str]:
    return sorted(uid_of(item) for item in pods)


@pytest.mark.parametrize(
    ("indexes", "text"),
    [((), ""), ((3,), "3"), ((1, 2), "1,2"), ((1, 2, 3), "1-3"), ((7, 1, 5, 3, 4), "1,3-5,7"), ((0, 1, 3), "0,1,3")],
)  # fmt: skip
def test_indexes_are_written_short(indexes: tuple[int, ...], text: str) -> None:
    found = IndexSet.of(indexes)
    assert str(found) == text
    assert IndexSet.parse(text, 100) == found
    assert len(found) == len(indexes)


@given(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)), st.integers(0, 12), st.integers(0, 41))
def test_index_sets_are_sets(one: set[int], other: set[int], count: int, completions: int) -> None:
    a, b = IndexSet.of(one), IndexSet.of(other)
    assert a | b == IndexSet.of(one | other)
    assert a & b == IndexSet.of(one & other)
    assert {index for index in range(45) if index in a} == one
    assert IndexSet.parse(str(a), 41) == a
    assert a.missing(count, completions) == [index for index in range(completions) if index not in one][:count]


@pytest.mark.parametrize(
    ("text", "completions", "indexes"),
    [
        ("1-5", 4, {1, 2, 3}), ("4", 4, set()), ("x,2", 4, {2}), ("2-x", 4, set()), ("1,2-3", 4, {1, 2, 3}),
    ],
)  # fmt: skip
def test_what_is_read_of_indexes(text: str, completions: int, indexes: set[int]) -> None:
    assert IndexSet.parse(text, completions) == IndexSet.of(indexes)


@dataclass
class Case:
    job: Object
    pods: list[Object] = field(default_factory=list)
    create: int | list[NewPod] = 0
    give_up: list[str] = field(default_factory=list)
    requeue: float | None = None
    backoff: Backoff = field(default_factory=Backoff)


SCALING = {
    "as many as may run at once": Case(job(), create=2),
    "no more than are missing": Case(job({"succeeded": 3}), create=1),
    "those that run are counted": Case(job(), [pod("a")], create=1),
    "all there": Case(job(), [pod("a"), pod("b")]),
    "new successes are counted": Case(job(), [pod(name, "Succeeded") for name in "abc"], create=1),
    "too many, the less far goes": Case(
        job(parallelism=1), [pod("a", ready=True), pod("b", "Pending")], give_up=["b"]
    ),
    "none wanted": Case(job(parallelism=0), [pod("a")], give_up=["a"]),
    "suspended": Case(job(suspend=True), [pod("a"), pod("b", "Failed")], give_up=["a"]),
    "any success is enough, the rest may finish": Case(
        job(completions=None, parallelism=3), [pod("a", "Succeeded"), pod("b")]
    ),
    "without completions as many as may run": Case(job(completions=None, parallelism=3), [pod("b")], create=2),
    "after a failure it waits": Case(job(), [pod("a", "Failed", ended=4)], requeue=6),
    "twice as long after two": Case(job(), [pod("a", "Failed", ended=4), pod("b", "Failed", ended=5)], requeue=16),
    "a later success makes good": Case(
        job(), [pod("a", "Failed", ended=4), pod("b", "Succeeded", ended=2)], create=2
    ),
    "an earlier one does not": Case(
        job(), [pod("a", "Failed", ended=4), pod("b", "Succeeded", ended=5)], requeue=6
    ),
    "failures before are known": Case(
        job({"failed": 3}), requeue=35, backoff=Backoff(3, NOW - timedelta(seconds=5))
    ),
    "never longer than six minutes": Case(
        job({"failed": 6}, backoffLimit=90), requeue=360, backoff=Backoff(40, NOW)
    ),
    "a deleted pod is replaced": Case(job(), [pod("a", deleting=True), pod("b")], create=1),
    "not before it ended, if so asked": Case(
        job(podReplacementPolicy="Failed"), [pod("a", deleting=True), pod("b")]
    ),
    "each index one pod": Case(
        indexed({"completedIndexes": "1"}, parallelism=3), [pod("a", index=0)], create=[NewPod(2), NewPod(3)]
    ),
    "one pod of each index": Case(
        indexed(), [pod("a", index=0, ready=True), pod("b", index=0)], give_up=["b"]
    ),
    "no index, or one beyond the end": Case(indexed(), [pod("a"), pod("b", index=4)], give_up=["a", "b"]),
    "failed indexes are not tried again": Case(
        indexed({"failedIndexes": "0"}, backoffLimitPerIndex=0), create=[NewPod(1, (0, 0)), NewPod(2, (0, 0))]
    ),
    "the next pod knows of the failures": Case(
        indexed(backoffLimitPerIndex=3, parallelism=1),
        [pod("a", "Failed", 0, failures=1)],
        create=[NewPod(0, (2, 0))],
    ),
    "each index waits by itself": Case(
        indexed(backoffLimitPerIndex=3), [pod("a", "Failed", 0, failures=0, ended=4)], create=[NewPod(1, (0, 0))],
        requeue=6,
    ),
    "a deadline is looked forward to": Case(
        job(activeDeadlineSeconds=400), [pod("a"), pod("b")], requeue=100
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SCALING.values(), ids=SCALING.keys())
def test_which_pods_it_makes_and_gives_up(case: Case) -> None:
    plan = plan_job(View(case.job, case.pods, NOW, case.backoff))
    assert plan.verdict is None
    assert names(plan.give_up) == case.give_up
    wanted = (NewPod(),) * case.create if isinstance(case.create, int) else tuple(case.create)
    assert plan.create == wanted
    assert plan.requeue_after == (None if case.requeue is None else pytest.approx(case.requeue))


LIMIT = Verdict(False, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
DEADLINE = Verdict(False, "DeadlineExceeded", "Job was active longer than specified deadline")
FAILED_INDEXES = Verdict(False, "FailedIndexes", "Job has failed indexes")
MAX_INDEXES = Verdict(
    False, "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"
)


def rules(*given: Object) -> Object:
    return {"rules": list(given)}


EXIT_42 = {"operator": "In", "values": [42]}
JUDGED: dict[str, tuple[Object, list[Object], Verdict | None]] = {
    "as many failures as allowed": (job({"failed": 6}), [], None),
    "one more, not counted yet": (job({"failed": 6}), [pod("a", "Failed")], LIMIT),
    "one more, listed": (job({"failed": 6, "uncountedTerminatedPods": {"failed": ["a"]}}), [pod("a", "Failed")], LIMIT),
    "ignored ones do not count": (
        job({"failed": 6}, podFailurePolicy=rules({"action": "Ignore", "onExitCodes": EXIT_42})),
        [pod("a", "Failed", code=42)], None,
    ),
    "restarts in place count": (
        job(backoffLimit=2, template={"spec": {"restartPolicy": "OnFailure"}}),
        [pod("a", containerStatuses=[{"name": "main", "restartCount": 2}])], LIMIT,
    ),
    "one restart when none is allowed": (
        job(backoffLimit=0, template={"spec": {"restartPolicy": "OnFailure"}}),
        [pod("a", containerStatuses=[{"name": "main", "restartCount": 1}])], LIMIT,
    ),
    "past the deadline": (job(activeDeadlineSeconds=300), [], DEADLINE),
    "a deadline does not count while suspended": (job(activeDeadlineSeconds=300, suspend=True), [], None),
    "the policy goes before the limit": (
        job({"failed": 6}, podFailurePolicy=rules({"action": "FailJob", "onExitCodes": EXIT_42})),
        [pod("a", "Failed", code=42)],
        Verdict(False, "PodFailurePolicy",
                "Container main for pod default/a failed with exit code 42 matching FailJob rule at index 0"),
    ),
    "conditions of pods": (
        job(podFailurePolicy=rules(
            {"action": "Count", "onExitCodes": {"operator": "In", "values": [1]}},
            {"action": "FailJob", "onPodConditions": [{"type": "ConfigIssue", "status": "True"}]},
        )),
        [pod("a", "Failed", code=2, conditions=[{"type": "ConfigIssue", "status": "True"}])],
        Verdict(False, "PodFailurePolicy", "Pod default/a has condition ConfigIssue matching FailJob rule at index 1"),
    ),
    "an index over its limit, others left": (
        indexed(backoffLimitPerIndex=0), [pod("a", "Failed", 0, failures=0)], None,
    ),
    "all indexes ended, one failed": (
        indexed({"completedIndexes": "1-3"}, backoffLimitPerIndex=0), [pod("a", "Failed", 0, failures=0)],
        FAILED_INDEXES,
    ),
    "too many indexes failed": (
        indexed({"failedIndexes": "2"}, backoffLimitPerIndex=0, maxFailedIndexes=1),
        [pod("a", "Failed", 0, failures=0)], MAX_INDEXES,
    ),
    "an index is failed by the policy": (
        indexed({"completedIndexes": "1-3"}, backoffLimitPerIndex=5,
                podFailurePolicy=rules({"action": "FailIndex", "onExitCodes": EXIT_42})),
        [pod("a", "Failed", 0, code=42, failures=0)], FAILED_INDEXES,
    ),
    "enough of some indexes": (
        indexed({"completedIndexes": "1"}, successPolicy=rules(
            {"succeededIndexes": "0"}, {"succeededIndexes": "1-3", "succeededCount": 2},
        )),
        [pod("a", "Succeeded", 3)], Verdict(True, "SuccessPolicy", "Matched rules at index 1"),
    ),
    "enough of any": (
        indexed({"completedIndexes": "1"}, successPolicy=rules({"succeededCount": 1})), [],
        Verdict(True, "SuccessPolicy", "Matched rules at index 0"),
    ),
    "failure goes before success": (
        indexed({"completedIndexes": "1", "failed": 7}, successPolicy=rules({"succeededCount": 1})), [], LIMIT,
    ),
    "what was decided stands": (
        job({"failed": 9, "conditions": [
            {"type": "SuccessCriteriaMet", "status": "True", "reason": "SuccessPolicy", "message": "m"}]}),
        [], Verdict(True, "SuccessPolicy", "m"),
    ),
    "a failure, too": (
        job({"succeeded": 4, "conditions": [
            {"type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded", "message": "m"}]}),
        [], Verdict(False, "DeadlineExceeded", "m"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given_job", "pods", "expected"), JUDGED.values(), ids=JUDGED.keys())
def test_when_a_job_is_to_end(given_job: Object, pods: list[Object], expected: Verdict | None) -> None:
    assert judge(View(given_job, pods, NOW)) == expected


def test_exit_code_zero_is_never_a_failure() -> None:
    policy = rules({"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [1]}})
    assert judge_failure(job(podFailurePolicy=policy), pod("a", "Failed", code=0)).action == ""
    assert judge_failure(job(podFailurePolicy=policy), pod("a", "Failed", code=2)).action == "FailJob"
    assert judge_failure(job(podFailurePolicy=policy), pod("a", "Failed", code=1)).action == ""


def test_the_rules_of_other_containers_do_not_match() -> None:
    other = rules({"action": "FailJob", "onExitCodes": {"containerName": "b", "operator": "In", "values": [1]}})
    assert judge_failure(job(podFailurePolicy=other), pod("a", "Failed")).action == ""


@pytest.mark.parametrize(
    ("found", "seconds_ago"),
    [
        (pod("a", "Failed", ended=7), 7),
        (pod("a", conditions=[{"type": "Ready", "status": "False",
                               "lastTransitionTime": format_time(NOW - timedelta(seconds=9))}]), 9),
        (pod("a", deleting=True), 30),
        (pod("a"), 240),
    ],
)  # fmt: skip
def test_when_a_pod_ended(found: Object, seconds_ago: float) -> None:
    assert (NOW - finished_at(found)).total_seconds() == seconds_ago


def test_a_clock_that_was_set_back_makes_nobody_wait_longer() -> None:
    assert Backoff(1, NOW + timedelta(days=1)).seconds_left(NOW) == 10
    assert seconds_left_of_index(None, NOW) == 0


def test_pods_are_made_from_the_template() -> None:
    containers = [{"name": "a"}, {"name": "b", "env": [{"name": "JOB_COMPLETION_INDEX", "value": "mine"}]}]
    template = {"metadata": {"labels": {"x": "y"}, "finalizers": ["z"]}, "spec": {"containers": containers}}
    given_job = indexed(template=template)
    given_job["metadata"]["name"] = "n" * 60
    before = copy_object(given_job)
    made = pod_for_job(given_job, 12, (1, 2))
    assert made["metadata"]["generateName"] == "n" * 54 + "-12-"
    assert made["metadata"]["finalizers"] == ["z", TRACKING]
    assert made["metadata"]["labels"] == {"x": "y", "batch.kubernetes.io/job-completion-index": "12"}
    assert made["metadata"]["annotations"] == {
        "batch.kubernetes.io/job-completion-index": "12",
        "batch.kubernetes.io/job-index-failure-count": "1",
        "batch.kubernetes.io/job-index-ignored-failure-count": "2",
    }
    assert made["spec"]["containers"][1]["env"] == [{"name": "JOB_COMPLETION_INDEX", "value": "mine"}]
    assert given_job == before


def test_many_pods_are_counted_in_portions() -> None:
    pods = [pod(f"pod-{number}", "Succeeded") for number in range(700)]
    view = View(job(completions=700), pods, NOW)
    outcome = Outcome(completed(view, 0), 0, 0, 0)
    assert outcome.verdict is not None
    tally = plan_tally(view, outcome)
    assert (len(tally.release), len(tally.status["uncountedTerminatedPods"]["succeeded"])) == (500, 500)
    tracked = {uid_of(item) for item in pods} - {uid_of(item) for item in tally.release}
    status = plan_settlement(tally.status, tracked, tally, outcome, NOW)
    assert (status["succeeded"], status["uncountedTerminatedPods"]) == (500, {})
    # It is decided, but not over.
    assert [item["type"] for item in status["conditions"]] == ["SuccessCriteriaMet"]
    for item in tally.release:
        del item["metadata"]["finalizers"]
    view = View({**view.job, "status": status}, pods, NOW)
    tally = plan_tally(view, outcome)
    status = plan_settlement(tally.status, set(), tally, outcome, NOW)
    assert status["succeeded"] == 700
    assert [item["type"] for item in status["conditions"]] == ["SuccessCriteriaMet", "Complete"]


def test_what_ends_with_a_failed_job_counts_as_failed_and_with_a_successful_one_does_not() -> None:
    for success, counted in ((False, ["a", "b"]), (True, ["b"])):
        view = View(job(), [pod("a"), pod("b", "Failed")], NOW)
        tally = plan_tally(view, Outcome(Verdict(success, "R", "m"), 0, 0, 1))
        assert sorted(tally.status["uncountedTerminatedPods"]["failed"]) == counted
        assert len(tally.release) == 2
        status = plan_settlement(tally.status, set(), tally, Outcome(Verdict(success, "R", "m"), 0, 0, 1), NOW)
        assert len(status["conditions"]) == 1  # one pod is still ending


# Counting: a Job, its pods, and a controller that dies at any point, or whose cache is behind.


class Crash(Exception):
    pass


class World:
    """What is stored, and one pass of the controller over it, as its shell does it, in the same order of writes."""

    def __init__(self, spec: Object, *, per_index: bool) -> None:
        self.job = indexed(completions=4, parallelism=3, **spec) if per_index else job(
            completions=5, parallelism=3, **spec
        )  # fmt: skip
        self.job["spec"]["backoffLimit"] = 4
        self.per_index = per_index
        self.pods: dict[str, Object] = {}
        self.ended: Counter[str] = Counter()
        """Of every pod ever made: how it ended, when its finalizer went."""
        self.done: set[int | None] = set()
        """Indexes of pods that ever succeeded."""
        self.made = 0
        self.steps = 0
        self.now = NOW

    def view(self) -> View:
        return View(copy_object(self.job), [copy_object(item) for item in self.pods.values()], self.now)

    def write(self, crash_at: int) -> None:
        self.steps += 1
        if self.steps == crash_at:
            raise Crash

    def sync(self, crash_at: int) -> None:
        """Dies before its `crash_at`-th write."""
        if self.finished:
            return
        self.steps = 0
        self.now += timedelta(minutes=30)
        view = self.view()
        plan = plan_job(view)
        for new in plan.create:
            self.write(crash_at)
            self.made += 1
            name = f"pod-{self.made}"
            self.pods[name] = pod(name, index=new.index, failures=new.failures[0] if new.failures else None)
        for item in plan.end:
            self.write(crash_at)
            self.pods[uid_of(item)]["metadata"]["deletionTimestamp"] = format_time(self.now)
        for item in plan.give_up:
            self.write(crash_at)
            self.remove_finalizer(uid_of(item), counted=False)
            del self.pods[uid_of(item)]
        active = len(view.active) + len(plan.create) - len(plan.end) - len(plan.give_up)
        verdict = plan.verdict or completed(view, active)
        terminating = view.terminating + len(plan.end)
        outcome = Outcome(verdict, active, 0, terminating, managed=plan.managed)
        tally = plan_tally(view, outcome)
        self.write(crash_at)
        self.write_status(tally.status)
        for item in tally.release:
            self.write(crash_at)
            self.remove_finalizer(uid_of(item), counted=True)
        tracked = {uid_of(item) for item in view.tracked} - {uid_of(item) for item in tally.release}
        self.write(crash_at)
        self.write_status(plan_settlement(tally.status, tracked, tally, outcome, self.now))

    def write_status(self, status: Object) -> None:
        """As the API server takes it: by its rules."""
        new = {**self.job, "status": copy_object(status)}
        assert validate_job_status(new, self.job) == []
        self.job = new

    def remove_finalizer(self, name: str, *, counted: bool) -> None:
        item = self.pods[name]
        item["metadata"].pop("finalizers", None)
        if counted:
            phase = item["status"]["phase"]
            self.ended["succeeded" if phase == "Succeeded" else "failed"] += 1

    def kubelet(self) -> None:
        """Deleted pods end, and go once nothing holds them."""
        for name, item in list(self.pods.items()):
            if item["metadata"].get("deletionTimestamp"):
                if item["status"]["phase"] == "Running":
                    item["status"]["phase"] = "Failed"
                if not item["metadata"].get("finalizers"):
                    del self.pods[name]

    @property
    def finished(self) -> bool:
        kinds = {item["type"] for item in self.job["status"].get("conditions") or ()}
        return bool(kinds & {"Complete", "Failed"})

    def completed_indexes(self) -> list[int]:
        found = IndexSet.parse(self.job["status"].get("completedIndexes"), 4)
        return [index for index in range(4) if index in found]

    def count(self, kind: str) -> int:
        return self.job["status"].get(kind) or 0


@given(
    per_index=st.booleans(),
    policy=st.sampled_from(["TerminatingOrFailed", "Failed"]),
    life=st.lists(
        st.one_of(
            st.tuples(st.just("sync"), st.integers(1, 14)),
            st.tuples(st.sampled_from(["succeed", "fail", "delete", "kubelet", "suspend"]), st.integers(0, 7)),
        ),
        max_size=40,
    ),
)
@settings(max_examples=300, deadline=None)
def test_every_pod_is_counted_exactly_once(per_index: bool, policy: str, life: list[tuple[str, int]]) -> None:
    world = World({"podReplacementPolicy": policy}, per_index=per_index)
    for what, number in life:
        running = [item for item in world.pods.values() if item["status"]["phase"] == "Running"]
        if what == "sync":
            try:
                world.sync(number)
            except Crash:
                continue
        elif what == "kubelet":
            world.kubelet()
        elif what == "suspend":
            world.job["spec"]["suspend"] = number % 2 == 0
        elif running:
            item = running[number % len(running)]
            if what == "delete":
                item["metadata"]["deletionTimestamp"] = format_time(world.now)
            else:
                item["status"]["phase"] = "Succeeded" if what == "succeed" else "Failed"
                if what == "succeed":
                    world.done.add(completion_index(item))
        assert world.count("failed") <= sum(world.ended.values())
        if per_index:
            assert set(world.completed_indexes()) <= world.done
        else:
            assert world.count("succeeded") + world.count("failed") <= sum(world.ended.values())
    world.job["spec"]["suspend"] = False
    for _ in range(40):  # nobody dies any more, and every pod succeeds: it comes to an end
        for item in world.pods.values():
            if item["status"]["phase"] == "Running" and not item["metadata"].get("deletionTimestamp"):
                item["status"]["phase"] = "Succeeded"
                world.done.add(completion_index(item))
        world.kubelet()
        world.sync(10**6)
    assert world.finished
    assert not [item for item in world.pods.values() if item["metadata"].get("finalizers")]
    total = world.count("succeeded") + world.count("failed")
    if per_index:  # an index counts once, a failed pod as well
        assert world.count("succeeded") == len(world.completed_indexes())
        assert set(world.completed_indexes()) <= world.done
        assert total <= sum(world.ended.values()) <= world.made
    else:
        assert total == sum(world.ended.values()) <= world.made
    assert not any(world.job["status"]["uncountedTerminatedPods"].values())
