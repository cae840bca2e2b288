"""Jobs and CronJobs as people meet them: real containers that end, and kubectl that waits for it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.e2e.cluster import wait_until
from tests.e2e.kubectl import Kubectl, row_of

TRACKING = "batch.kubernetes.io/job-tracking"


def template(script: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "busybox:1.36", "command": ["sh", "-c", script]}
    return {"spec": {"restartPolicy": "Never", "containers": [container], "terminationGracePeriodSeconds": 1, **spec}}


def job(name: str, script: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": template(script), **spec},
    }


def wait(kubectl: Kubectl, name: str, condition: str) -> dict[str, Any]:
    kubectl("wait", f"--for=condition={condition}", f"job/{name}", "--timeout=60s", timeout=70)
    status: dict[str, Any] = kubectl.get("job", name)["status"]
    return status


def pods_of(kubectl: Kubectl, name: str) -> list[Any]:
    found: list[Any] = kubectl.get("pods", "-l", f"job-name={name}")["items"]
    return found


def reasons(kubectl: Kubectl, kind: str, name: str) -> set[str]:
    about = f"involvedObject.kind={kind},involvedObject.name={name}"
    return {event["reason"] for event in kubectl.get("events", f"--field-selector={about}")["items"]}


def conditions_of(status: dict[str, Any]) -> list[tuple[str, str]]:
    return [(item["type"], item["reason"]) for item in status["conditions"]]


def test_a_job_completes(kubectl: Kubectl) -> None:
    made = kubectl.run("create", "job", "hello", "--image=busybox:1.36", "--", "echo", "hello")
    assert made.stdout == "job.batch/hello created\n"
    assert made.stderr == ""
    status = wait(kubectl, "hello", "complete")
    assert (status["succeeded"], status.get("failed")) == (1, None)
    assert conditions_of(status)[-1] == ("Complete", "CompletionsReached")
    assert kubectl("logs", "job/hello") == "hello\n"
    assert "1/1" in row_of(kubectl("get", "job", "hello"), "hello")
    [pod] = pods_of(kubectl, "hello")
    assert TRACKING not in pod["metadata"].get("finalizers", [])
    wait_until("it is told", lambda: {"SuccessfulCreate", "Completed"} <= reasons(kubectl, "Job", "hello"))
    kubectl("delete", "job", "hello")
    wait_until("its pods go with it", lambda: pods_of(kubectl, "hello") == [], timeout=30)


def test_each_index_is_done_once(kubectl: Kubectl) -> None:
    script = "echo $JOB_COMPLETION_INDEX $(hostname)"
    kubectl.apply(job("indexed", script, completions=4, parallelism=2, completionMode="Indexed"))
    status = wait(kubectl, "indexed", "complete")
    assert (status["completedIndexes"], status["succeeded"]) == ("0-3", 4)
    pods = pods_of(kubectl, "indexed")
    assert sorted(kubectl("logs", pod["metadata"]["name"]) for pod in pods) == [
        f"{index} indexed-{index}\n" for index in range(4)
    ]
    kubectl("delete", "job", "indexed")


def test_a_job_fails_by_its_limit(kubectl: Kubectl) -> None:
    kubectl.apply(job("failing", "exit 3", backoffLimit=0))
    status = wait(kubectl, "failing", "failed")
    assert conditions_of(status) == [
        ("FailureTarget", "BackoffLimitExceeded"), ("Failed", "BackoffLimitExceeded"),
    ]  # fmt: skip
    assert (status["failed"], status.get("succeeded")) == (1, None)
    wait_until("it is told", lambda: "BackoffLimitExceeded" in reasons(kubectl, "Job", "failing"))
    kubectl("delete", "job", "failing")


def test_a_failure_policy_ends_a_job_at_once(kubectl: Kubectl) -> None:
    rules = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
        {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}},
    ]
    script = 'if [ "$JOB_COMPLETION_INDEX" = 1 ]; then exit 42; fi; sleep 3600'
    kubectl.apply(
        job("policy", script, completions=2, parallelism=2, completionMode="Indexed", podFailurePolicy={"rules": rules})
    )
    status = wait(kubectl, "policy", "failed")
    assert conditions_of(status) == [("FailureTarget", "PodFailurePolicy"), ("Failed", "PodFailurePolicy")]
    assert re.fullmatch(
        r"Container main for pod \S+/policy-1-\w+ failed with exit code 42 matching FailJob rule at index 1",
        status["conditions"][0]["message"],
    )
    kubectl("delete", "job", "policy")


def test_a_deleted_pod_is_replaced_when_it_has_ended(kubectl: Kubectl) -> None:
    script = "trap 'sleep 3; exit 1' TERM; while :; do sleep 0.2; done"
    slow = job("slow", script, podReplacementPolicy="Failed")
    slow["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 20
    kubectl.apply(slow)
    wait_until("it runs", lambda: kubectl.get("job", "slow").get("status", {}).get("ready") == 1, timeout=30)
    [first] = pods_of(kubectl, "slow")
    kubectl("delete", "pod", first["metadata"]["name"], "--wait=false")
    wait_until("it ends", lambda: kubectl.get("job", "slow")["status"]["terminating"] == 1, timeout=10)
    assert len(pods_of(kubectl, "slow")) == 1
    wait_until("it counts", lambda: kubectl.get("job", "slow")["status"].get("failed") == 1, timeout=30)
    wait_until("another runs", lambda: kubectl.get("job", "slow")["status"].get("ready") == 1, timeout=40)
    [second] = pods_of(kubectl, "slow")
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    kubectl("delete", "job", "slow", "--cascade=foreground", "--timeout=50s")
    assert pods_of(kubectl, "slow") == []


def test_an_index_may_fail_alone(kubectl: Kubectl) -> None:
    script = 'test "$JOB_COMPLETION_INDEX" != 1'
    kubectl.apply(job("alone", script, completions=3, parallelism=3, completionMode="Indexed", backoffLimitPerIndex=0))
    status = wait(kubectl, "alone", "failed")
    assert (status["completedIndexes"], status["failedIndexes"]) == ("0,2", "1")
    assert conditions_of(status)[-1] == ("Failed", "FailedIndexes")
    kubectl("delete", "job", "alone")


def test_suspended_and_resumed(kubectl: Kubectl) -> None:
    kubectl.apply(job("paused", "sleep 3600", parallelism=2, completions=2))
    wait_until("it runs", lambda: kubectl.get("job", "paused").get("status", {}).get("ready") == 2, timeout=30)
    kubectl("patch", "job", "paused", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    wait(kubectl, "paused", "suspended")
    wait_until("nothing runs", lambda: pods_of(kubectl, "paused") == [], timeout=30)
    assert "startTime" not in kubectl.get("job", "paused")["status"]
    kubectl("patch", "job", "paused", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    wait_until("it runs again", lambda: kubectl.get("job", "paused")["status"].get("ready") == 2, timeout=30)
    assert kubectl.get("job", "paused")["status"].get("failed") is None
    kubectl("delete", "job", "paused", "--timeout=40s")


def test_a_cron_job_is_started_by_hand_and_by_the_clock(kubectl: Kubectl) -> None:
    cron_job = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "minutely"},
        "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template("date")}}},
    }
    kubectl.apply(cron_job)
    if kubectl.minor >= 21:  # older ones read CronJobs as batch/v1beta1, and that is gone upstream, too
        kubectl("create", "job", "by-hand", "--from=cronjob/minutely")
        assert wait(kubectl, "by-hand", "complete")["succeeded"] == 1
        assert kubectl.get("job", "by-hand")["metadata"]["ownerReferences"][0]["name"] == "minutely"

    def scheduled() -> list[Any]:
        found = kubectl.get("jobs")["items"]
        return [item for item in found if re.fullmatch(r"minutely-\d{8}", item["metadata"]["name"])]

    [made] = wait_until("its minute comes", scheduled, timeout=70)[:1]
    name = made["metadata"]["name"]
    assert "batch.kubernetes.io/cronjob-scheduled-timestamp" in made["metadata"]["annotations"]
    wait(kubectl, name, "complete")
    wait_until("it is told", lambda: {"SuccessfulCreate", "SawCompletedJob"} <= reasons(kubectl, "CronJob", "minutely"))
    status = kubectl.get("cronjobs.v1.batch", "minutely")["status"]
    assert status["lastScheduleTime"].endswith(":00Z")
    assert status["lastSuccessfulTime"] > status["lastScheduleTime"]
    kubectl("delete", "cronjobs.v1.batch", "minutely")
    wait_until("its Jobs go with it", lambda: kubectl.get("jobs")["items"] == [], timeout=30)


def test_a_finished_job_goes_after_its_time(kubectl: Kubectl) -> None:
    kubectl.apply(job("brief", "true", ttlSecondsAfterFinished=3))
    kubectl("wait", "--for=condition=complete", "job/brief", "--timeout=60s", timeout=70)
    wait_until(
        "it is gone", lambda: kubectl("get", "job", "brief", "--ignore-not-found") == "", timeout=30
    )  # fmt: skip
    assert pods_of(kubectl, "brief") == []


def test_every_pod_is_counted_once_though_the_manager_dies(kubectl: Kubectl) -> None:
    kubectl.apply(job("steady", "sleep 1", completions=8, parallelism=4))
    for succeeded in (1, 4):
        wait_until(
            f"{succeeded} have succeeded",
            lambda least=succeeded: kubectl.get("job", "steady").get("status", {}).get("succeeded", 0) >= least,
        )
        pid = kubectl.cluster.kill("manager")
        kubectl.cluster.wait_part("manager", pid)
    status = wait(kubectl, "steady", "complete")
    assert (status["succeeded"], status.get("failed"), status["uncountedTerminatedPods"]) == (8, None, {})
    assert len(pods_of(kubectl, "steady")) == 8
    kubectl("delete", "job", "steady")


@pytest.mark.parametrize("way", ["kubectl", "a client that names no policy"])
def test_orphaned_pods_are_let_go(kubectl: Kubectl, way: str) -> None:
    kubectl.apply(job("parent", "sleep 3600"))
    wait_until("it runs", lambda: kubectl.get("job", "parent").get("status", {}).get("ready") == 1, timeout=30)
    if way == "kubectl":
        kubectl("delete", "job", "parent", "--cascade=orphan")
    else:
        kubectl("delete", "--raw", f"/apis/batch/v1/namespaces/{kubectl.namespace}/jobs/parent")
    wait_until("it is gone", lambda: kubectl("get", "job", "parent", "--ignore-not-found") == "", timeout=30)
    [pod] = wait_until(
        "it is let go",
        lambda: [pod for pod in pods_of(kubectl, "parent") if not pod["metadata"].get("finalizers")],
        timeout=30,
    )
    assert "ownerReferences" not in pod["metadata"]
    assert pod["status"]["phase"] == "Running"
    kubectl("delete", "pod", pod["metadata"]["name"])
    wait_until("it is gone, too", lambda: pods_of(kubectl, "parent") == [], timeout=30)
