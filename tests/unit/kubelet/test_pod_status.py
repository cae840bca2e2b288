"""Statuses, phases and conditions. Source: concepts/workloads/pods/pod-lifecycle."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.unit.kubelet.pods import container, pod, ran, sidecar, view
from timonel.api.objects import Object, find_by
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.pods.reader import container_view
from timonel.kubelet.pods.status import StatusInput, build_status
from timonel.kubelet.pods.statuses import status_patch
from timonel.kubelet.pods.view import EXITED, PodProbes, PodView, ProbeState, Waiting

NOW = datetime(2026, 1, 1, tzinfo=UTC)
C = container("c")


def status(of: Object, what: PodView, previous: Object | None = None, **more: Any) -> Object:
    probes = PodProbes(more.pop("probes", {}))
    return build_status(of, previous or {}, StatusInput(what, probes, NOW, ("192.0.2.1",), **more))


def conditions(of: Object) -> dict[str, str]:
    return {entry["type"]: entry["status"] for entry in of["conditions"]}


def test_a_pod_being_made() -> None:
    made = status(pod(C), PodView())
    assert made["phase"] == "Pending"
    assert made["hostIP"] == "192.0.2.1"
    assert made["startTime"] == "2026-01-01T00:00:00Z"
    assert made["qosClass"] == "BestEffort"
    assert made["observedGeneration"] == 1
    assert made["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert conditions(made) == {
        "PodReadyToStartContainers": "False", "Initialized": "True", "Ready": "False", "ContainersReady": "False",
        "PodScheduled": "True",
    }  # fmt: skip
    ready = find_by(made["conditions"], "type", "Ready")
    assert ready is not None
    assert (ready["reason"], ready["message"]) == ("ContainersNotReady", "containers with unready status: [c]")


def test_a_running_pod_is_ready() -> None:
    made = status(pod(C), view(ran(C)))
    assert made["phase"] == "Running"
    assert (made["podIP"], made["podIPs"]) == ("10.244.0.2", [{"ip": "10.244.0.2"}])
    entry = made["containerStatuses"][0]
    assert (entry["ready"], entry["started"], entry["containerID"]) == (True, True, "containerd://c0")
    assert set(conditions(made).values()) == {"True"}


def test_readiness_and_startup_decide() -> None:
    run = ran(C)
    unready = status(pod(C), view(run), probes={run.id: ProbeState(readiness=False)})
    assert (unready["containerStatuses"][0]["ready"], unready["containerStatuses"][0]["started"]) == (False, True)
    starting = status(pod(C), view(run), probes={run.id: ProbeState(startup=None)})
    assert (starting["containerStatuses"][0]["ready"], starting["containerStatuses"][0]["started"]) == (False, False)
    assert starting["phase"] == "Running"


def test_a_crash_loop_is_shown_with_its_last_end() -> None:
    waiting = {"c": Waiting("CrashLoopBackOff", "back-off 10s")}
    made = status(pod(C), view(ran(C, EXITED, exit_code=3, attempt=2)), waiting=waiting)
    entry = made["containerStatuses"][0]
    assert entry["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    assert entry["lastState"]["terminated"]["exitCode"] == 3
    assert entry["restartCount"] == 2
    assert made["phase"] == "Running"


def test_phases_of_pods_that_end() -> None:
    never = pod(C, container("d"), restartPolicy="Never")
    good, bad = ran(C, EXITED), ran(container("d"), EXITED, exit_code=1)
    assert status(never, view(good, bad))["phase"] == "Failed"
    assert status(never, view(good, ran(container("d"), EXITED)))["phase"] == "Succeeded"
    assert status(never, view(good, ran(container("d"))))["phase"] == "Running"
    assert status(pod(C), view(good))["phase"] == "Running"
    assert status(pod(C), view(good), ended=True)["phase"] == "Succeeded"


def test_a_deadline_fails_the_pod_once_nothing_runs() -> None:
    why = {"reason": "DeadlineExceeded", "message": "too long"}
    assert status(pod(C), view(ran(C)), **why)["phase"] == "Running"
    made = status(pod(C), view(ran(C, EXITED)), ended=True, **why)
    assert (made["phase"], made["reason"], made["message"]) == ("Failed", "DeadlineExceeded", "too long")
    assert find_by(made["conditions"], "type", "Ready")["reason"] == "PodFailed"  # type: ignore[index]


def test_initialisation() -> None:
    init, side = container("i"), sidecar("s")
    of = pod(C, init=(init, side))
    made = status(of, view(ran(init)))
    assert made["phase"] == "Pending"
    entry = find_by(made["conditions"], "type", "Initialized")
    assert entry is not None
    assert (entry["status"], entry["reason"]) == ("False", "ContainersNotInitialized")
    assert entry["message"] == "containers with incomplete status: [i s]"
    assert made["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"
    done = status(of, view(ran(init, EXITED), ran(side, at=120), ran(C, at=130)))
    assert done["phase"] == "Running"
    assert conditions(done)["Initialized"] == "True"


def test_a_running_pod_stays_initialised_while_a_sidecar_restarts() -> None:
    side = sidecar("s")
    made = status(pod(C, init=(side,)), view(ran(side, EXITED), ran(C, at=120)))
    assert made["phase"] == "Running"
    assert conditions(made)["Initialized"] == "True"


def test_readiness_gates() -> None:
    of = pod(C, readinessGates=[{"conditionType": "example.com/ok"}])
    closed = find_by(status(of, view(ran(C)))["conditions"], "type", "Ready")
    assert closed is not None
    assert closed["reason"] == "ReadinessGatesNotReady"
    assert closed["message"] == 'corresponding condition of pod readiness gate "example.com/ok" does not exist.'
    gate = {"conditions": [{"type": "example.com/ok", "status": "True"}]}
    made = status(of, view(ran(C)), gate)
    assert conditions(made)["Ready"] == "True"
    assert gate["conditions"][0] in made["conditions"]


def test_times_of_conditions_change_only_with_their_status() -> None:
    first = status(pod(C), view(ran(C)))
    for entry in first["conditions"]:
        entry["lastTransitionTime"] = "2025-12-31T00:00:00Z"
    again = status(pod(C), view(ran(C)), first)
    assert {entry["lastTransitionTime"] for entry in again["conditions"]} == {"2025-12-31T00:00:00Z"}
    ended = status(pod(C), view(ran(C, EXITED, exit_code=1)), first)
    assert find_by(ended["conditions"], "type", "Ready")["lastTransitionTime"] == "2026-01-01T00:00:00Z"  # type: ignore[index]


def test_a_container_lost_without_a_trace() -> None:
    before = status(pod(C), view(ran(C)))
    made = status(pod(C, restartPolicy="Never"), PodView(), before, ended=True)
    assert made["containerStatuses"][0]["state"]["terminated"]["reason"] == "ContainerStatusUnknown"
    assert made["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137


def test_a_settled_phase_stays() -> None:
    assert status(pod(C), view(ran(C)), {"phase": "Failed"})["phase"] == "Failed"


def test_patches_hold_only_what_differs() -> None:
    old = status(pod(C), PodView())
    new = status(pod(C), view(ran(C)), old)
    patch = status_patch(old, new)
    assert "hostIP" not in patch
    assert patch["phase"] == "Running"
    assert status_patch(new, new) == {}
    ready = find_by(patch["conditions"], "type", "Ready")
    assert ready is not None
    assert (ready["reason"], ready["message"]) == (None, None)  # merged field by field: what is gone must be named


def test_patches_leave_conditions_of_others_alone_and_drop_old_addresses() -> None:
    old = {"conditions": [{"type": "PodScheduled", "status": "True"}], "podIPs": [{"ip": "10.0.0.1"}]}
    patch = status_patch(old, {"conditions": [], "podIPs": [{"ip": "10.0.0.2"}]})
    assert patch == {"podIPs": [{"ip": "10.0.0.2"}, {"ip": "10.0.0.1", "$patch": "delete"}]}


def test_a_container_lost_with_its_machine_counts_one_restart() -> None:
    """It is about to be started again: its last state says how it ended, the pod stays Running."""
    before = status(pod(C), view(ran(C, attempt=2)))
    lost = status(pod(C), PodView(), before, lost_when_gone=True)
    for _ in range(3):  # however often it is looked at
        entry = lost["containerStatuses"][0]
        assert entry["restartCount"] == 3
        assert entry["state"] == {"waiting": {"reason": "ContainerCreating"}}
        ended = entry["lastState"]["terminated"]
        assert (ended["exitCode"], ended["reason"]) == (137, "ContainerStatusUnknown")
        assert lost["phase"] == "Running"
        lost = status(pod(C), PodView(), lost, lost_when_gone=True)
    again = status(pod(C), view(ran(C, attempt=3, at=200)), lost, lost_when_gone=True)["containerStatuses"][0]
    assert again["restartCount"] == 3
    assert again["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"


def test_a_pod_that_never_restarts_fails_with_its_lost_container() -> None:
    of = pod(C, restartPolicy="Never")
    lost = status(of, PodView(), status(of, view(ran(C))), lost_when_gone=True)
    assert lost["phase"] == "Failed"
    entry = lost["containerStatuses"][0]
    assert entry["restartCount"] == 0
    assert entry["state"]["terminated"]["reason"] == "ContainerStatusUnknown"


def test_what_the_runtime_calls_unknown_was_lost() -> None:
    """containerd's words for a container whose process it does not find after a restart: kubectl would show Unknown."""
    found = cri.ContainerStatus(id="c0", state=cri.CONTAINER_EXITED, exit_code=255, reason="Unknown")
    found.metadata.name = "c"
    made = container_view(found, "s0")
    assert (made.exit_code, made.reason) == (137, "ContainerStatusUnknown")
    assert made.message == "The container could not be located when the pod was terminated"
