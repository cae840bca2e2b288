"""What may change in a pod, and what its status may not do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from timonel.api import refs
from timonel.api.kinds.pod.status import should_restart
from timonel.api.objects import Object, copy_object

from .samples import created, pod, strategy, update_findings

UPDATABLE = (
    "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
    "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
)
OLD = pod(
    activeDeadlineSeconds=100,
    tolerations=[{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
    initContainers=[{"name": "i", "image": "x"}],
)


def set_at(*path: Any, value: Any) -> Callable[[Object], None]:
    def change(obj: Object) -> None:
        for step in path[:-1]:
            obj = obj[step]
        obj[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        set_at("spec", "containers", 0, "image", value="nginx:2"),
        set_at("spec", "initContainers", 0, "image", value="y"),
        set_at("spec", "activeDeadlineSeconds", value=50),
        set_at("spec", "tolerations", 0, "tolerationSeconds", value=9),
        lambda obj: obj["spec"]["tolerations"].append({"key": "b", "operator": "Exists"}),
        set_at("metadata", "labels", value={"a": "b"}),
        set_at("spec", "imagePullSecrets", value=[]),
    ],
)
def test_allowed(change: Callable[[Object], Any]) -> None:
    assert update_findings(refs.PODS, OLD, change) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            set_at("spec", "activeDeadlineSeconds", value=101),
            ["spec.activeDeadlineSeconds: Invalid value: 101: must be less than or equal to previous value"],
        ),
        (
            lambda obj: obj["spec"].pop("activeDeadlineSeconds"),
            [
                "spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value"
            ],
        ),
        (
            set_at("spec", "tolerations", value=[]),
            [
                "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
            ],
        ),
        (
            lambda obj: obj["spec"]["containers"].append({"name": "new", "image": "x"}),
            ["spec.containers: Forbidden: pod updates may not add or remove containers"],
        ),
        (
            set_at("spec", "schedulingGates", value=[{"name": "a/b"}]),
            [
                "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate "
                "'a/b'"
            ],
        ),
        (
            set_at("spec", "containers", 0, "image", value=""),
            ["spec.containers[0].image: Required value", "spec.containers[0].image: Required value"],
        ),
    ],
)  # fmt: skip
def test_refused(change: Callable[[Object], Any], expected: list[str]) -> None:
    assert update_findings(refs.PODS, OLD, change) == expected


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (set_at("spec", "nodeName", value="n2"), "spec.nodeName"),
        (set_at("spec", "terminationGracePeriodSeconds", value=1), "spec.terminationGracePeriodSeconds"),
        (set_at("spec", "containers", 0, "command", value=["sh"]), "spec.containers[0].command"),
        (set_at("spec", "priority", value=5), "spec.priority"),
    ],
)
def test_everything_else_is_fixed(change: Callable[[Object], Any], named: str) -> None:
    (finding,) = update_findings(refs.PODS, OLD, change)
    assert finding.startswith(UPDATABLE)
    assert f"  {named}:\n" in finding


def test_negative_grace_period_may_become_one() -> None:
    change = set_at("spec", "terminationGracePeriodSeconds", value=1)
    assert update_findings(refs.PODS, pod(terminationGracePeriodSeconds=-3), change) == []


def test_gated_pods_may_be_narrowed() -> None:
    gated = pod(schedulingGates=[{"name": "a/b"}], nodeSelector={"a": "b"})
    assert update_findings(refs.PODS, gated, set_at("spec", "schedulingGates", value=[])) == []
    assert update_findings(refs.PODS, gated, set_at("spec", "nodeSelector", value={"a": "b", "c": "d"})) == []
    assert update_findings(refs.PODS, gated, set_at("spec", "nodeSelector", value={"a": "x"})) == [
        'spec.nodeSelector: Invalid value: {"a":"x"}: only additions to spec.nodeSelector are allowed (no mutations '
        "or deletions)"
    ]
    terms = [{"matchExpressions": [{"key": "z", "operator": "Exists"}]}]
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    assert update_findings(refs.PODS, gated, set_at("spec", "affinity", value=affinity)) == []


def status_findings(old: Object, new: Object, **spec: Any) -> list[str]:
    before = created(refs.PODS, pod(**spec))
    before["status"].update(old)
    after = copy_object(before)
    after["status"] = copy_object(new)
    strategy(refs.PODS).prepare_status_update(after, before)
    return [str(error) for error in strategy(refs.PODS).validate_status_update(after, before)]


ENDED = {"containerStatuses": [{"name": "app", "state": {"terminated": {"exitCode": 1}}}]}
RUNS = {"containerStatuses": [{"name": "app", "state": {"running": {}}}]}


@pytest.mark.parametrize(("policy", "allowed"), [("Always", True), ("OnFailure", True), ("Never", False)])
def test_ended_containers_stay_ended(policy: str, allowed: bool) -> None:
    expected = [] if allowed else [
        "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"
    ]  # fmt: skip
    assert status_findings(ENDED, RUNS, restartPolicy=policy) == expected


def test_status_keeps_its_class() -> None:
    assert status_findings({}, {"phase": "Running"}) == []
    assert status_findings({}, {"phase": "Running", "qosClass": "Guaranteed"}) == [
        'status.qosClass: Invalid value: "Guaranteed": field is immutable'
    ]


def test_status_addresses() -> None:
    assert status_findings({}, {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}) == []
    assert status_findings({}, {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]}) == [
        'status.podIPs: Invalid value: [{"ip":"10.0.0.1"},{"ip":"10.0.0.2"}]: may specify no more than one IP for each '
        "IP family"
    ]
    assert status_findings({}, {"hostIPs": [{"ip": "10.0.0.1"}], "hostIP": "10.0.0.2"}) == [
        'status.hostIPs[0].ip: Invalid value: "10.0.0.1": must be equal to `hostIP`'
    ]


def test_pod_ip_fills_pod_ips() -> None:
    obj = pod()
    obj["status"] = {"podIP": "10.0.0.1"}
    strategy(refs.PODS).default(obj)
    assert obj["status"]["podIPs"] == [{"ip": "10.0.0.1"}]


@pytest.mark.parametrize(
    ("container", "exit_code", "expected"),
    [
        ({}, 0, True),
        ({"restartPolicy": "Never"}, 1, False),
        ({"restartPolicy": "OnFailure"}, 0, False),
        ({"restartPolicy": "OnFailure"}, 2, True),
        (
            {
                "restartPolicy": "Never",
                "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}],
            },
            42,
            True,
        ),
        (
            {
                "restartPolicy": "Never",
                "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}],
            },
            1,
            False,
        ),
    ],
)
def test_restart_rules(container: Object, exit_code: int, expected: bool) -> None:
    assert should_restart(container, {"restartPolicy": "Always"}, exit_code) is expected
