"""A hollow pod's life, step by step in virtual time: what its status says when, and when it is looked at again.

The rules are Kubernetes' own: kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle and …/init-containers.
"""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timonel.api.clock import format_time
from timonel.api.objects import copy_object, find_by
from timonel.simulation.behaviour import Behaviour
from timonel.simulation.pod_plan import plan_hollow_pod

START = datetime(2026, 1, 1, tzinfo=UTC)


class Life:
    """Carries plans out, as the API would."""

    def __init__(self, behaviour=None, *, containers=None, init=(), **spec):
        self.behaviour = behaviour or Behaviour()
        self.seconds = 0.0
        self.writes = 0
        self.gone = False
        self.pod = {
            "metadata": {"name": "web", "namespace": "default", "uid": "u-1", "generation": 1},
            "spec": {"containers": containers or [{"name": "main", "image": "nginx"}], **spec},
            "status": {"phase": "Pending"},
        }
        if init:
            self.pod["spec"]["initContainers"] = list(init)

    def step(self):
        """One look; the seconds until the next."""
        before = copy_object(self.pod)
        now = START + timedelta(seconds=self.seconds)
        plan = plan_hollow_pod(self.pod, self.behaviour, now, host_ips=("192.0.2.1",), pod_ip="10.244.0.2")
        assert self.pod == before, "a plan changes nothing itself"
        if plan.status is not None:
            self.pod["status"] = copy_object(plan.status)
            self.writes += 1
        self.gone |= plan.delete
        return plan.wake_after

    def run(self, seconds=0.0):
        """Until then, waking whenever asked to."""
        end = self.seconds + seconds
        while True:
            wake = self.step()
            if self.gone or wake is None or self.seconds + wake > end:
                self.seconds = end
                return wake
            self.seconds += wake

    def delete(self, grace=30, **metadata):
        at = START + timedelta(seconds=self.seconds + grace)
        self.pod["metadata"] |= {"deletionTimestamp": format_time(at), "deletionGracePeriodSeconds": grace, **metadata}

    @property
    def status(self):
        return self.pod["status"]

    def container(self, name="main", field="containerStatuses"):
        return find_by(self.status[field], "name", name)

    def condition(self, kind):
        return find_by(self.status["conditions"], "type", kind)["status"]


def test_without_delays_a_pod_is_ready_in_one_write() -> None:
    life = Life()
    assert life.run() is None
    assert life.writes == 1
    assert life.status["phase"] == "Running"
    assert (life.status["podIP"], life.status["hostIP"]) == ("10.244.0.2", "192.0.2.1")
    assert life.status["startTime"] == "2026-01-01T00:00:00Z"
    for kind in ("PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"):
        assert life.condition(kind) == "True"
    assert life.container()["state"] == {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    assert life.container()["ready"] is True
    life.run(3600)
    assert life.writes == 1


@pytest.mark.parametrize("seconds", [0.1, 0.7, 1.3, 1763934629.123457 % 1, 0.000001])
def test_without_delays_it_is_ready_at_once_whatever_the_time(seconds) -> None:
    life = Life()
    life.seconds = seconds
    life.run()
    assert (life.condition("Ready"), life.writes) == ("True", 1)


def test_delays_show() -> None:
    life = Life(Behaviour(start_seconds=2, ready_seconds=3))
    assert life.run() == 2
    assert (life.status["phase"], life.container()["state"]) == (
        "Pending",
        {"waiting": {"reason": "ContainerCreating"}},
    )
    assert life.run(2) == 3
    assert (life.status["phase"], life.condition("Ready")) == ("Running", "False")
    assert life.run(3) is None
    assert life.condition("Ready") == "True"
    assert life.writes == 3


def test_a_readiness_probe_is_first_asked_after_its_delay() -> None:
    probe = {"httpGet": {"port": 80}, "initialDelaySeconds": 4}
    life = Life(containers=[{"name": "main", "image": "nginx", "readinessProbe": probe}])
    assert life.run() == 4
    assert life.condition("Ready") == "False"
    life.run(4)
    assert life.condition("Ready") == "True"


def test_a_host_network_pod_has_the_address_of_its_node() -> None:
    life = Life(hostNetwork=True)
    life.run()
    assert life.status["podIP"] == "192.0.2.1"


def test_init_containers_run_in_order_and_to_their_end() -> None:
    first = {"name": "first", "image": "busybox", "command": ["sleep", "2"]}
    second = {"name": "second", "image": "busybox", "command": ["sh", "-c", "sleep 3"]}
    life = Life(init=[first, second])
    assert life.run() == 2
    assert life.condition("Initialized") == "False"
    assert "running" in life.container("first", "initContainerStatuses")["state"]
    assert life.container("second", "initContainerStatuses")["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert life.run(2) == 3
    assert life.container("first", "initContainerStatuses")["state"]["terminated"]["exitCode"] == 0
    life.run(3)
    assert (life.status["phase"], life.condition("Initialized"), life.condition("Ready")) == ("Running", "True", "True")


def test_a_sidecar_runs_beside_and_ends_with_a_job() -> None:
    sidecar = {"name": "proxy", "image": "envoy", "restartPolicy": "Always"}
    work = {"name": "main", "image": "busybox", "command": ["sleep", "5"]}
    life = Life(init=[sidecar], containers=[work], restartPolicy="Never")
    life.run()
    assert "running" in life.container("proxy", "initContainerStatuses")["state"]
    life.run(5)
    assert life.status["phase"] == "Succeeded"
    assert "terminated" in life.container("proxy", "initContainerStatuses")["state"]


@pytest.mark.parametrize(("command", "phase", "code"), [("sleep 5", "Succeeded", 0), ("sleep 5; exit 3", "Failed", 3)])
def test_pods_that_are_not_restarted_end(command, phase, code) -> None:
    work = {"name": "main", "image": "busybox", "command": ["sh", "-c", command]}
    life = Life(containers=[work], restartPolicy="Never")
    assert life.run() == 5
    assert life.run(5) is None
    assert life.status["phase"] == phase
    ended = life.container()["state"]["terminated"]
    assert (ended["exitCode"], ended["startedAt"], ended["finishedAt"]) == (
        code, "2026-01-01T00:00:00Z", "2026-01-01T00:00:05Z"
    )  # fmt: skip
    writes = life.writes
    life.run(1000)
    assert life.writes == writes, "a settled pod stays as it is"


def test_a_job_whose_command_tells_nothing_takes_the_usual_time() -> None:
    life = Life(Behaviour(job_seconds=7), restartPolicy="OnFailure")
    assert life.run() == 7
    life.run(7)
    assert life.status["phase"] == "Succeeded"


def test_crashes_wait_longer_each_time() -> None:
    """At once, then after 10 s, 20 s, 40 s."""
    life = Life(Behaviour(failure="crash", run_seconds=1))
    starts = []
    while life.seconds < 75:
        wake = life.step()
        if "running" in life.container()["state"]:
            starts.append(life.seconds)
        assert wake is not None
        life.seconds += wake
    assert starts == [0, 1, 12, 33, 74]
    assert life.container()["restartCount"] == 4
    life.run()
    assert life.container()["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert life.container()["lastState"]["terminated"]["exitCode"] == 1
    assert life.condition("Ready") == "False"
    assert life.status["phase"] == "Running"


def test_images_that_cannot_be_pulled() -> None:
    life = Life(Behaviour(failure="image-pull"))
    life.run()
    assert life.container()["state"]["waiting"]["reason"] == "ErrImagePull"
    life.run(60)
    assert life.container()["state"]["waiting"]["reason"] == "ImagePullBackOff"
    assert life.status["phase"] == "Pending"


def test_never_ready() -> None:
    life = Life(Behaviour(failure="never-ready"))
    life.run(3600)
    assert (life.status["phase"], life.condition("Ready")) == ("Running", "False")


def test_the_deadline_of_a_pod() -> None:
    life = Life(activeDeadlineSeconds=60)
    assert life.run() == 60
    life.run(60)
    assert (life.status["phase"], life.status["reason"]) == ("Failed", "DeadlineExceeded")


def test_a_deleted_pod_takes_its_time_but_no_more_than_its_grace_period() -> None:
    life = Life(Behaviour(stop_seconds=5))
    life.run()
    life.delete()
    assert life.run() == 5
    assert not life.gone
    life.run(5)
    assert life.gone
    hasty = Life(Behaviour(stop_seconds=50))
    hasty.run()
    hasty.delete(grace=2)
    assert hasty.run() == 2


def test_a_pod_that_a_finalizer_keeps_says_how_it_ended() -> None:
    life = Life(restartPolicy="Never", containers=[{"name": "main", "image": "x", "command": ["sleep", "99"]}])
    life.run()
    life.delete(finalizers=["batch.kubernetes.io/job-tracking"])
    life.run()
    assert life.gone
    assert life.status["phase"] == "Failed"
    assert life.container()["state"]["terminated"]["exitCode"] == 143


def test_a_pod_that_never_started_goes_at_once() -> None:
    life = Life(Behaviour(start_seconds=60, stop_seconds=20))
    life.delete()
    life.step()
    assert life.gone


def test_a_new_image_starts_the_container_again() -> None:
    life = Life()
    life.run()
    life.pod["spec"]["containers"] = [{"name": "main", "image": "nginx:2"}]
    life.seconds += 5
    life.run()
    assert (life.container()["image"], life.container()["restartCount"]) == ("nginx:2", 1)


def test_conditions_of_others_stay() -> None:
    life = Life(readinessGates=[{"conditionType": "example.com/ok"}])
    life.run()
    assert life.condition("Ready") == "False"
    life.status["conditions"].append({"type": "example.com/ok", "status": "True"})
    life.run()
    assert (life.condition("Ready"), life.condition("example.com/ok")) == ("True", "True")


times = st.integers(0, 40).map(float)
behaviours = st.builds(
    Behaviour,
    start_seconds=times,
    ready_seconds=times,
    run_seconds=st.none() | times,
    exit_code=st.integers(0, 3),
    stop_seconds=times,
    failure=st.sampled_from(["", "crash", "never-ready", "image-pull"]),
)


@given(behaviour=behaviours, policy=st.sampled_from(["Always", "OnFailure", "Never"]), deleted_at=st.integers(0, 200))
def test_every_life_is_orderly(behaviour, policy, deleted_at) -> None:
    """Phases only go forward, nothing is looked at without end, and a deleted pod is gone within its grace period."""
    order = {"Pending": 0, "Running": 1, "Succeeded": 2, "Failed": 2}
    life = Life(behaviour, restartPolicy=policy)
    phase, looks = "Pending", 0
    while life.seconds < deleted_at:
        wake = life.step()
        looks += 1
        assert order[life.status["phase"]] >= order[phase]
        phase = life.status["phase"]
        repeated = plan_hollow_pod(
            life.pod, behaviour, START + timedelta(seconds=life.seconds), host_ips=("192.0.2.1",), pod_ip="10.244.0.2"
        )
        assert repeated.status is None, "what was written is not written again"
        if wake is None:
            break
        life.seconds += max(wake, 0.001)
    assert looks < 300
    life.seconds = max(life.seconds, float(deleted_at))
    life.delete(grace=30)
    life.run(31)
    assert life.gone
