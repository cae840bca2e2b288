"""READY, STATUS and RESTARTS of pods, case by case as `kubectl get pods` shows them."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api import refs
from timonel.api.objects import Object

from .samples import ago, cells, pod

RUNNING = {"running": {"startedAt": ago(minutes=2)}}
READY = [{"type": "Ready", "status": "True"}]


def ended(code: int, reason: str = "", **more: Any) -> Object:
    return {"terminated": {"exitCode": code, "reason": reason, "finishedAt": ago(minutes=5), **more}}


def waiting(reason: str) -> Object:
    return {"waiting": {"reason": reason}}


def status(name: str, state: Object, *, ready: bool = False, restarts: int = 0, **more: Any) -> Object:
    return {"name": name, "state": state, "ready": ready, "restartCount": restarts, **more}


def shown(status: Object, *, deleted: bool = False, **spec: Any) -> tuple[str, str, str]:
    obj = pod(**spec)
    obj["status"] = status
    if deleted:
        obj["metadata"]["deletionTimestamp"] = ago(seconds=1)
    row = cells(refs.PODS, obj)
    return row["Ready"], row["Status"], row["Restarts"]


INIT = [{"name": "i1", "image": "x"}, {"name": "i2", "image": "x"}]
SIDECAR = [{"name": "s1", "image": "x", "restartPolicy": "Always"}, {"name": "i2", "image": "x"}]

CASES: dict[str, tuple[dict[str, Any], tuple[str, str, str]]] = {
    "pending": ({"status": {"phase": "Pending"}}, ("0/1", "Pending", "0")),
    "gated": (
        {"status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}},
        ("0/1", "SchedulingGated", "0"),
    ),
    "reason of the pod": ({"status": {"phase": "Failed", "reason": "Evicted"}}, ("0/1", "Evicted", "0")),
    "creating": (
        {"status": {"phase": "Pending", "containerStatuses": [status("app", waiting("ContainerCreating"))]}},
        ("0/1", "ContainerCreating", "0"),
    ),
    "running": (
        {"status": {"phase": "Running", "containerStatuses": [status("app", RUNNING, ready=True)]}},
        ("1/1", "Running", "0"),
    ),
    "restarted": (
        {
            "status": {
                "phase": "Running",
                "containerStatuses": [status("app", RUNNING, ready=True, restarts=2, lastState=ended(1))],
            }
        },
        ("1/1", "Running", "2 (5m ago)"),
    ),
    "crash loop": (
        {
            "status": {
                "phase": "Running",
                "containerStatuses": [status("app", waiting("CrashLoopBackOff"), restarts=4, lastState=ended(1))],
            }
        },
        ("0/1", "CrashLoopBackOff", "4 (5m ago)"),
    ),
    "completed": (
        {"status": {"phase": "Succeeded", "containerStatuses": [status("app", ended(0, "Completed"))]}},
        ("0/1", "Completed", "0"),
    ),
    "error": (
        {"status": {"phase": "Failed", "containerStatuses": [status("app", ended(1, "Error"))]}},
        ("0/1", "Error", "0"),
    ),
    "exit code": (
        {"status": {"phase": "Failed", "containerStatuses": [status("app", ended(3))]}},
        ("0/1", "ExitCode:3", "0"),
    ),
    "signal": (
        {"status": {"phase": "Failed", "containerStatuses": [status("app", ended(137, signal=9))]}},
        ("0/1", "Signal:9", "0"),
    ),
    "one of two completed, pod ready": (
        {
            "status": {
                "phase": "Running",
                "conditions": READY,
                "containerStatuses": [status("app", ended(0, "Completed")), status("b", RUNNING, ready=True)],
            },
            "containers": [{"name": "app"}, {"name": "b"}],
        },
        ("1/2", "Running", "0"),
    ),
    "one of two completed, pod not ready": (
        {
            "status": {
                "phase": "Running",
                "containerStatuses": [status("app", ended(0, "Completed")), status("b", RUNNING, ready=True)],
            },
            "containers": [{"name": "app"}, {"name": "b"}],
        },
        ("1/2", "NotReady", "0"),
    ),
    "one completed, one failed": (
        {
            "status": {
                "phase": "Running",
                "containerStatuses": [status("app", ended(0, "Completed")), status("b", ended(2, "Error"))],
            },
            "containers": [{"name": "app"}, {"name": "b"}],
        },
        ("0/2", "Error", "0"),
    ),
    "first init runs": (
        {"status": {"phase": "Pending", "initContainerStatuses": [status("i1", RUNNING)]}, "initContainers": INIT},
        ("0/1", "Init:0/2", "0"),
    ),
    "second init runs": (
        {
            "status": {
                "phase": "Pending",
                "initContainerStatuses": [
                    status("i1", ended(0, "Completed")),
                    status("i2", waiting("PodInitializing")),
                ],
            },
            "initContainers": INIT,
        },
        ("0/1", "Init:1/2", "0"),
    ),
    "init fails": (
        {
            "status": {
                "phase": "Pending",
                "initContainerStatuses": [status("i1", ended(1, "Error"), restarts=3, lastState=ended(1))],
            },
            "initContainers": INIT,
        },
        ("0/1", "Init:Error", "3 (5m ago)"),
    ),
    "init fails without reason": (
        {"status": {"phase": "Pending", "initContainerStatuses": [status("i1", ended(7))]}, "initContainers": INIT},
        ("0/1", "Init:ExitCode:7", "0"),
    ),
    "init waits": (
        {
            "status": {"phase": "Pending", "initContainerStatuses": [status("i1", waiting("ImagePullBackOff"))]},
            "initContainers": INIT,
        },
        ("0/1", "Init:ImagePullBackOff", "0"),
    ),
    "restarts of init containers are forgotten": (
        {
            "status": {
                "phase": "Running",
                "initContainerStatuses": [status("i1", ended(0, "Completed"), restarts=3)],
                "containerStatuses": [status("app", RUNNING, ready=True)],
            },
            "initContainers": INIT,
        },
        ("1/1", "Running", "0"),
    ),
    "sidecar counts": (
        {
            "status": {
                "phase": "Running",
                "initContainerStatuses": [
                    status("s1", RUNNING, ready=True, started=True, restarts=1, lastState=ended(1)),
                    status("i2", ended(0, "Completed")),
                ],
                "containerStatuses": [status("app", RUNNING, ready=True)],
            },
            "initContainers": SIDECAR,
        },
        ("2/2", "Running", "1 (5m ago)"),
    ),
    "sidecar starts": (
        {
            "status": {"phase": "Pending", "initContainerStatuses": [status("s1", RUNNING, started=False)]},
            "initContainers": SIDECAR,
        },
        ("0/2", "Init:0/2", "0"),
    ),
    "terminating": (
        {"status": {"phase": "Running", "containerStatuses": [status("app", RUNNING, ready=True)]}, "deleted": True},
        ("1/1", "Terminating", "0"),
    ),
    "deleted after its end": ({"status": {"phase": "Failed"}, "deleted": True}, ("0/1", "Failed", "0")),
    "lost": ({"status": {"phase": "Running", "reason": "NodeLost"}, "deleted": True}, ("0/1", "Unknown", "0")),
}


@pytest.mark.parametrize("case", CASES)
def test_shown_state(case: str) -> None:
    given, expected = CASES[case]
    assert shown(**given) == expected


def test_wide_columns() -> None:
    obj = pod(nodeName="n1", readinessGates=[{"conditionType": "a/b"}, {"conditionType": "c/d"}])
    obj["status"] = {"podIPs": [{"ip": "10.244.1.7"}], "conditions": [{"type": "a/b", "status": "True"}]}
    row = cells(refs.PODS, obj, wide=True)
    assert list(row) == [
        "Name", "Ready", "Status", "Restarts", "Age", "IP", "Node", "Nominated Node", "Readiness Gates",
    ]  # fmt: skip
    assert row["Age"] == "3m"
    assert [row[name] for name in ("IP", "Node", "Nominated Node", "Readiness Gates")] == [
        "10.244.1.7", "n1", "<none>", "1/2",
    ]  # fmt: skip
    assert cells(refs.PODS, pod(), wide=True)["IP"] == "<none>"
