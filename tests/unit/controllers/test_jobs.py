"""Jobs among the other controllers, in virtual time, with pods that end as a test says."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tests.unit.controllers.cluster import Cluster, node
from timonel.api.clock import format_time
from timonel.api.errors import Forbidden, ServiceUnavailable, conflict
from timonel.api.objects import Object, annotations_of, get_path, is_deleting, labels_of, name_of, uid_of
from timonel.api.refs import EVENTS, JOBS, PODS
from timonel.controllers.pods import is_terminal
from timonel.controllers.slim import slim_pod
from timonel.testing.fake_client import FakeClient

OTHERS = (
    "root-ca-cert-publisher", "serviceaccount", "namespace", "garbage-collector", "pod-garbage-collector",
    "deployment", "replicaset", "endpointslice", "endpoint",
)  # fmt: skip
TRACKING = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
Ending = tuple[str, int] | None
"""(phase, exit code) of a pod that has ended."""


def job(name: str = "work", **spec: Any) -> Object:
    """As the API server stores it, defaults and generated selector included."""
    pod_spec = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]}
    limited = spec.get("backoffLimitPerIndex") is not None
    replacement = "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed"
    return {
        "kind": "Job", "apiVersion": "batch/v1",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "parallelism": 1, "completions": 1, "completionMode": "NonIndexed", "suspend": False,
            "backoffLimit": 2**31 - 1 if limited else 6, "podReplacementPolicy": replacement,
            "selector": {"matchLabels": {"job": name}},
            "template": {"metadata": {"labels": {"job": name}}, "spec": pod_spec},
            **spec,
        },
    }  # fmt: skip


class Jobs(Cluster):
    """`ending` says what became of a pod, by its age in seconds."""

    def __init__(self, *objects: Object, ending: Callable[[Object, float], Ending] | None = None, **more: Any) -> None:
        super().__init__(node("node-1"), *objects, without=more.pop("without", OTHERS), **more)
        self.ending = ending or (lambda pod, age: ("Succeeded", 0) if age >= 2 else None)
        self.seen: dict[str, Object] = {}

    def step_kubelet(self) -> None:
        for pod in self.pods:
            self.seen[uid_of(pod)] = pod
        super().step_kubelet()
        for pod in self.pods:
            started = self._started.get(uid_of(pod))
            if started is None or is_terminal(pod):
                continue
            found = self.ending(pod, self.clock.monotonic() - started)
            if found is not None:
                self.end(pod, *found)

    def _start(self, pod: Object, ready: bool) -> None:
        if not is_terminal(pod):
            super()._start(pod, ready)

    def end(self, pod: Object, phase: str, code: int) -> None:
        def change(obj: Object) -> None:
            state = {"terminated": {"exitCode": code, "finishedAt": format_time(self.clock.now())}}
            obj["status"]["phase"] = phase
            obj["status"]["containerStatuses"] = [{"name": "main", "state": state, "restartCount": 0}]
            obj["status"]["conditions"] = [{"type": "Ready", "status": "False"}]

        self.client.change(PODS, name_of(pod), "default", change)

    @property
    def job(self) -> Object:
        return self.client.objects(JOBS)[0]

    @property
    def status(self) -> Object:
        status: Object = self.job["status"]
        return status

    def counts(self) -> tuple[int, int, int]:
        return tuple(self.status.get(field) or 0 for field in ("active", "succeeded", "failed"))  # type: ignore[return-value]

    def conditions(self) -> list[tuple[str, str]]:
        return [(item["type"], item["reason"]) for item in self.status.get("conditions") or ()]

    def set_job(self, **spec: Any) -> None:
        def change(obj: Object) -> None:
            obj["spec"].update(spec)
            obj["metadata"]["generation"] += 1

        self.client.change(JOBS, "work", "default", change)

    def reasons(self) -> list[str]:
        return [reason for kind, reason, _ in self.events() if kind == "Job"]

    def held(self) -> list[Object]:
        return [pod for pod in self.pods if TRACKING in (pod["metadata"].get("finalizers") or ())]


def test_slim_pods_of_jobs_keep_how_their_containers_ended() -> None:
    state = {"terminated": {"exitCode": 42}}
    for kind, kept in (("Job", True), ("ReplicaSet", False)):
        pod = {
            "metadata": {"ownerReferences": [{"kind": kind}]},
            "status": {"containerStatuses": [{"name": "main", "state": state, "imageID": "x"}]},
        }
        [status] = slim_pod(pod)["status"]["containerStatuses"]
        assert status == {"name": "main"} | ({"state": state} if kept else {})


async def test_runs_one_pod_and_is_complete() -> None:
    async with Jobs(job()) as cluster:
        await cluster.run(1)
        [pod] = cluster.pods
        assert pod["metadata"]["finalizers"] == [TRACKING]
        assert pod["metadata"]["ownerReferences"][0]["name"] == "work"
        await cluster.run(6)
        assert cluster.counts() == (0, 1, 0)
        assert cluster.conditions() == [
            ("SuccessCriteriaMet", "CompletionsReached"), ("Complete", "CompletionsReached"),
        ]  # fmt: skip
        assert cluster.status["completionTime"] >= cluster.status["startTime"]
        assert cluster.status["uncountedTerminatedPods"] == {}
        assert (cluster.status["ready"], cluster.status["terminating"]) == (0, 0)
        assert cluster.reasons() == ["SuccessfulCreate", "Completed"]
        assert not cluster.held()
        before = len(cluster.client.written())
        await cluster.run(60)
        assert len(cluster.client.written()) == before


async def test_runs_as_many_at_once_as_it_may() -> None:
    async with Jobs(job(completions=5, parallelism=2)) as cluster:
        most = 0

        def observe() -> None:
            nonlocal most
            most = max(most, sum(not is_terminal(pod) for pod in cluster.pods))

        cluster.observe = observe
        await cluster.run(30)
        assert (most, len(cluster.pods), cluster.counts()) == (2, 5, (0, 5, 0))
        writes = [write for write in cluster.client.written() if write.ref in (JOBS, PODS)]
        assert len(writes) <= 6 * 5


async def test_many_short_pods_cost_few_writes() -> None:
    async with Jobs(job(completions=120, parallelism=40)) as cluster:
        await cluster.run(30)
        assert cluster.counts() == (0, 120, 0)
        writes = [write for write in cluster.client.written() if write.ref in (JOBS, PODS)]
        # Each pod is made and freed; the status is written a few times for all of them together.
        assert len(writes) <= 2.3 * 120


async def test_without_completions_one_success_is_enough() -> None:
    spec = job(parallelism=3)
    del spec["spec"]["completions"]
    first = {"000": 2.0}
    async with Jobs(
        spec,
        ending=lambda pod, age: (
            ("Succeeded", 0) if age >= first.setdefault(uid_of(pod), 2.0 + 3 * len(first)) else None
        ),
    ) as cluster:
        await cluster.run(40)
        assert cluster.counts() == (0, 3, 0)
        assert len(cluster.pods) == 3


async def test_indexed_pods_know_their_index() -> None:
    async with Jobs(job(completions=4, parallelism=2, completionMode="Indexed")) as cluster:
        await cluster.run(20)
        assert cluster.status["completedIndexes"] == "0-3"
        assert cluster.counts() == (0, 4, 0)
        pods = sorted(cluster.pods, key=lambda pod: annotations_of(pod)[INDEX])
        assert [labels_of(pod)[INDEX] for pod in pods] == ["0", "1", "2", "3"]
        assert [pod["spec"]["hostname"] for pod in pods] == ["work-0", "work-1", "work-2", "work-3"]
        assert name_of(pods[2]).startswith("work-2-")
        [variable] = pods[2]["spec"]["containers"][0]["env"]
        assert variable["name"] == "JOB_COMPLETION_INDEX"
        assert variable["valueFrom"] == {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}


async def test_fails_after_so_many_failures_and_waits_longer_each_time() -> None:
    made: dict[str, float] = {}
    async with Jobs(job(backoffLimit=2), ending=lambda pod, age: ("Failed", 1) if age >= 1 else None) as cluster:

        def observe() -> None:
            for pod in cluster.pods:
                made.setdefault(uid_of(pod), cluster.clock.monotonic())

        cluster.observe = observe
        await cluster.run(60)
        times = sorted(made.values())
        assert len(times) == 3
        # 10 s and 20 s after the failure, which comes a second after the start and is told in whole seconds.
        first, second = (later - earlier for earlier, later in pairwise(times))
        assert 10 <= first <= 11.5
        assert 20 <= second <= 21.5
        assert cluster.counts() == (0, 0, 3)
        assert cluster.conditions() == [
            ("FailureTarget", "BackoffLimitExceeded"), ("Failed", "BackoffLimitExceeded"),
        ]  # fmt: skip
        assert cluster.reasons()[-1] == "BackoffLimitExceeded"
        assert not cluster.held()


async def test_limits_per_index_fail_an_index_and_let_the_others_finish() -> None:
    def ending(pod: Object, age: float) -> Ending:
        if age < 1:
            return None
        return ("Failed", 3) if annotations_of(pod)[INDEX] == "1" else ("Succeeded", 0)

    spec = job(completions=3, parallelism=3, completionMode="Indexed", backoffLimitPerIndex=1)
    async with Jobs(spec, ending=ending) as cluster:
        await cluster.run(30)
        assert (cluster.status["completedIndexes"], cluster.status["failedIndexes"]) == ("0,2", "1")
        assert cluster.conditions()[-1] == ("Failed", "FailedIndexes")
        assert cluster.counts() == (0, 2, 2)
        counts = [
            annotations_of(pod)["batch.kubernetes.io/job-index-failure-count"]
            for pod in cluster.pods
            if annotations_of(pod)[INDEX] == "1"
        ]
        assert sorted(counts) == ["0", "1"]
        assert not cluster.held()


async def test_too_many_failed_indexes_end_the_job() -> None:
    spec = job(completions=4, parallelism=2, completionMode="Indexed", backoffLimitPerIndex=0, maxFailedIndexes=1)
    async with Jobs(spec, ending=lambda pod, age: ("Failed", 1) if age >= 1 else None) as cluster:
        await cluster.run(20)
        assert cluster.conditions()[-1] == ("Failed", "MaxFailedIndexesExceeded")
        assert cluster.status["failedIndexes"] == "0,1"
        assert len(cluster.pods) == 2


@pytest.mark.parametrize(
    ("action", "code", "reason", "failed"),
    [("FailJob", 42, "PodFailurePolicy", 1), ("Count", 42, "BackoffLimitExceeded", 2), ("Ignore", 42, None, 0)],
)
async def test_failure_policies(action: str, code: int, reason: str | None, failed: int) -> None:
    rule = {"action": action, "onExitCodes": {"operator": "In", "values": [42]}}
    spec = job(backoffLimit=1, podFailurePolicy={"rules": [rule]})
    async with Jobs(spec, ending=lambda pod, age: ("Failed", code) if age >= 1 else None) as cluster:
        await cluster.run(25)
        assert cluster.counts()[2] == failed
        if reason is None:
            assert cluster.conditions() == []
            assert len(cluster.pods) >= 2
            return
        assert cluster.conditions()[-1] == ("Failed", reason)
        if action == "FailJob":
            [pod] = cluster.pods
            [target, _] = cluster.status["conditions"]
            why = f"Container main for pod default/{name_of(pod)} failed with exit code 42"
            assert target["message"] == f"{why} matching FailJob rule at index 0"


async def test_success_policy_ends_the_rest() -> None:
    def ending(pod: Object, age: float) -> Ending:
        return ("Succeeded", 0) if annotations_of(pod)[INDEX] == "0" and age >= 2 else None

    policy = {"rules": [{"succeededIndexes": "0"}]}
    spec = job(completions=3, parallelism=3, completionMode="Indexed", successPolicy=policy)
    async with Jobs(spec, ending=ending) as cluster:
        await cluster.run(5)
        assert cluster.conditions() == [("SuccessCriteriaMet", "SuccessPolicy")]
        await cluster.run(10)
        assert cluster.conditions()[-1] == ("Complete", "SuccessPolicy")
        assert cluster.counts() == (0, 1, 0)
        assert [annotations_of(pod)[INDEX] for pod in cluster.pods] == ["0"]


async def test_deadline_ends_it() -> None:
    async with Jobs(job(activeDeadlineSeconds=5), ending=lambda pod, age: None) as cluster:
        await cluster.run(4)
        assert cluster.counts() == (1, 0, 0)
        await cluster.run(10)
        assert cluster.conditions() == [("FailureTarget", "DeadlineExceeded"), ("Failed", "DeadlineExceeded")]
        assert cluster.counts() == (0, 0, 1)
        assert cluster.pods == []


async def test_suspended_and_resumed() -> None:
    async with Jobs(job(suspend=True), ending=lambda pod, age: None) as cluster:
        await cluster.run(3)
        assert cluster.pods == []
        assert cluster.conditions() == [("Suspended", "JobSuspended")]
        assert "startTime" not in cluster.status
        cluster.set_job(suspend=False)
        await cluster.run(4)
        assert cluster.conditions() == [("Suspended", "JobResumed")]
        assert cluster.status["startTime"] == "2026-01-01T00:00:03Z"
        assert cluster.counts() == (1, 0, 0)
        cluster.set_job(suspend=True)
        await cluster.run(6)
        assert (cluster.pods, cluster.counts()) == ([], (0, 0, 0))
        assert "startTime" not in cluster.status
        told = {event["reason"]: event["count"] for event in cluster.client.objects(EVENTS)}
        assert (told["Suspended"], told["Resumed"], told["SuccessfulDelete"]) == (2, 1, 1)


@pytest.mark.parametrize(("policy", "during", "failed"), [("TerminatingOrFailed", 2, 1), ("Failed", 1, 0)])
async def test_when_deleted_pods_are_replaced(policy: str, during: int, failed: int) -> None:
    spec = job(podReplacementPolicy=policy)
    async with Jobs(spec, ending=lambda pod, age: None, grace=25.0) as cluster:
        await cluster.run(3)
        await cluster.client.delete(PODS, name_of(cluster.pods[0]), "default")
        await cluster.run(15)
        assert len(cluster.pods) == during
        assert (cluster.status["terminating"], cluster.counts()[2]) == (1, failed)


async def test_elastic_indexed_jobs_shrink() -> None:
    spec = job(completions=3, parallelism=3, completionMode="Indexed")
    async with Jobs(spec, ending=lambda pod, age: ("Succeeded", 0) if age >= 12 else None) as cluster:
        await cluster.run(3)
        cluster.set_job(completions=2, parallelism=2)
        await cluster.run(5)
        assert sorted(annotations_of(pod)[INDEX] for pod in cluster.pods) == ["0", "1"]
        await cluster.run(15)
        assert cluster.status["completedIndexes"] == "0,1"
        assert cluster.conditions()[-1][0] == "Complete"
        assert cluster.counts() == (0, 2, 0)


async def test_managed_elsewhere_is_left_alone() -> None:
    async with Jobs(job(managedBy="example.com/other")) as cluster:
        await cluster.run(5)
        assert cluster.pods == []
        assert "status" not in cluster.job


async def test_pods_of_a_job_that_is_gone_are_freed() -> None:
    async with Jobs(job(), ending=lambda pod, age: None) as cluster:
        await cluster.run(3)
        assert cluster.held()
        cluster.client.remove(JOBS, "work", "default")
        await cluster.run(2)
        assert not cluster.held()


@pytest.mark.parametrize(("policy", "left"), [("Foreground", 0), ("Background", 0), ("Orphan", 3)])
async def test_a_deleted_job_lets_go_of_its_pods(policy: str, left: int) -> None:
    others = tuple(name for name in OTHERS if name != "garbage-collector")
    spec = job(completions=3, parallelism=3)
    async with Jobs(spec, ending=lambda pod, age: None, without=others) as cluster:
        await cluster.run(4)
        await cluster.client.delete(JOBS, "work", "default", propagation_policy=policy)
        await cluster.run(8)
        assert cluster.client.objects(JOBS) == []
        assert (len(cluster.pods), cluster.held()) == (left, [])
        assert not [pod for pod in cluster.pods if pod["metadata"].get("ownerReferences")]


async def test_orphans_are_adopted_counted_and_released() -> None:
    orphan = {
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"name": "lost", "namespace": "default", "labels": {"job": "work"}},
        "spec": {"containers": [{"name": "main"}], "nodeName": "node-1"}, "status": {"phase": "Running"},
    }  # fmt: skip
    async with Jobs(job(), orphan, ending=lambda pod, age: None) as cluster:
        await cluster.run(3)
        [pod] = cluster.pods
        assert name_of(pod) == "lost"
        assert pod["metadata"]["ownerReferences"][0]["uid"] == uid_of(cluster.job)
        assert pod["metadata"]["finalizers"] == [TRACKING]
        cluster.client.change(PODS, "lost", "default", lambda obj: obj["metadata"].update(labels={}))
        await cluster.run(3)
        [lost] = [pod for pod in cluster.pods if name_of(pod) == "lost"]
        assert "ownerReferences" not in lost["metadata"]
        assert not lost["metadata"].get("finalizers")
        assert len(cluster.pods) == 2


async def test_a_refused_pod_costs_few_requests() -> None:
    asked = 0

    def refuse(verb: str, ref: Any, name: str) -> Any:
        nonlocal asked
        if verb == "create" and ref == PODS:
            asked += 1
            return Forbidden("exceeded quota")
        return None

    cluster = Jobs(job(completions=50, parallelism=50))
    cluster.client._failures.append(refuse)
    async with cluster:
        await cluster.run(60)
        assert 5 <= asked <= 8  # after 1, 2, 4, … seconds
        assert cluster.reasons() == ["FailedCreate"]
        cluster.client._failures.clear()
        await cluster.run(60)
        assert cluster.counts() == (0, 50, 0)


async def test_nothing_is_lost_when_writes_fail() -> None:
    async with Jobs(job(completions=6, parallelism=3)) as cluster:
        for verb, ref in (("update", JOBS), ("patch", PODS), ("update", JOBS), ("patch", PODS)):
            cluster.client.fail(ServiceUnavailable("away"), verb=verb, ref=ref, times=2)
        await cluster.run(90)
        assert cluster.counts() == (0, 6, 0)
        assert len(cluster.seen) == 6
        assert not cluster.held()


async def test_a_new_manager_goes_on_where_the_old_one_stopped() -> None:
    client: FakeClient | None = None
    clock = None
    seen: set[str] = set()
    for life in range(12):
        cluster = Jobs(job(completions=5, parallelism=2), client=client, clock=clock)
        client, clock = cluster.client, cluster.clock
        async with cluster:
            await cluster.run(1.5 if life < 11 else 20)
        seen |= {uid_of(pod) for pod in client.objects(PODS)}
    status = client.objects(JOBS)[0]["status"] if client else {}
    assert (status["succeeded"], len(seen)) == (5, 5)
    assert get_path(status, "conditions", 1, "type") == "Complete"


async def test_a_new_manager_writes_nothing_that_is_already_so() -> None:
    made = [job(f"job-{number}", completions=2, parallelism=2) for number in range(3)]
    # One ends, the others run on.
    first = Jobs(job(), *made, ending=lambda pod, age: ("Succeeded", 0) if name_of(pod) > "work" else None)
    async with first:
        await first.run(8)
    before = [write for write in first.client.written() if write.ref in (JOBS, PODS)]
    async with Jobs(client=first.client, clock=first.clock, ending=lambda pod, age: None) as second:
        second._started = first._started
        await second.run(8)
        assert [write for write in second.client.written() if write.ref in (JOBS, PODS)] == before


async def test_lost_watches_and_conflicts_lose_no_pod() -> None:
    async with Jobs(job(completions=12, parallelism=4)) as cluster:
        for _ in range(5):
            cluster.client.fail(conflict(JOBS, "work"), verb="update", ref=JOBS)
            cluster.client.expire_history()
            await cluster.run(2)
        await cluster.run(60, step=1)
        assert cluster.counts() == (0, 12, 0)
        assert len(cluster.seen) == 12
        assert not cluster.held()


async def test_another_job_of_the_same_name_has_its_own_pods() -> None:
    async with Jobs(job(), ending=lambda pod, age: None) as cluster:
        await cluster.run(3)
        [old] = cluster.pods
        cluster.client.remove(JOBS, "work", "default")
        fresh = job(backoffLimit=0)
        fresh["spec"]["selector"] = {"matchLabels": {"job": "another"}}
        fresh["spec"]["template"]["metadata"]["labels"] = {"job": "another"}
        cluster.client.add(fresh)
        await cluster.run(5)
        assert len(cluster.pods) == 2
        assert cluster.counts() == (1, 0, 0)
        assert [uid_of(pod) for pod in cluster.held()] != [uid_of(old)]
        assert len(cluster.held()) == 1


async def test_finished_jobs_go_after_their_time() -> None:
    async with Jobs(job(ttlSecondsAfterFinished=30)) as cluster:
        await cluster.run(8)
        assert cluster.conditions()[-1][0] == "Complete"
        await cluster.run(20)
        assert not is_deleting(cluster.job)
        await cluster.run(10)
        assert is_deleting(cluster.job)  # in the foreground: the garbage collector ends it
