"""What to do for a pod. Source: concepts/workloads/pods/{pod-lifecycle,sidecar-containers}."""

from __future__ import annotations

import pytest

from tests.unit.kubelet.pods import container, pod, ran, sandbox, sidecar, view
from timonel.api.objects import Object
from timonel.kubelet.pods.plan import PodPlan, plan_pod
from timonel.kubelet.pods.view import CREATED, EXITED, RUNNING, PodProbes, PodView, ProbeState, make_view

C = container("c")
NOW = 1000.0


def plan(of: Object, what: PodView, probes: dict[str, ProbeState] | None = None, until: float | None = None) -> PodPlan:
    return plan_pod(of, what, PodProbes(probes or {}), now=NOW, back_off_until=lambda container, ended: until)


def started(of: PodPlan) -> list[tuple[str, int]]:
    return [(start.name, start.attempt) for start in of.starts]


def test_a_new_pod_gets_a_sandbox_first() -> None:
    made = plan(pod(C), PodView())
    assert (made.create_sandbox, made.restart_sandbox, made.attempt, made.starts) == (True, False, 0, [])


def test_all_main_containers_start_in_a_ready_sandbox() -> None:
    assert started(plan(pod(C, container("d")), view())) == [("c", 0), ("d", 0)]


def test_nothing_is_done_while_all_runs() -> None:
    made = plan(pod(C), view(ran(C)))
    assert made == PodPlan(sandbox_id="s0")


def test_init_containers_run_one_after_the_other() -> None:
    first, second = container("i1"), container("i2")
    of = pod(C, init=(first, second))
    assert started(plan(of, view())) == [("i1", 0)]
    assert started(plan(of, view(ran(first)))) == []
    done = ran(first, EXITED)
    assert started(plan(of, view(done))) == [("i2", 0)]
    assert started(plan(of, view(done, ran(second, EXITED, at=120)))) == [("c", 0)]


def test_a_failed_init_container_is_run_again() -> None:
    init = container("i")
    assert started(plan(pod(C, init=(init,)), view(ran(init, EXITED, exit_code=1)))) == [("i", 1)]


def test_a_failed_init_container_ends_a_pod_that_never_restarts() -> None:
    init = container("i")
    of = pod(C, init=(init,), restartPolicy="Never")
    made = plan(of, view(ran(init, EXITED, exit_code=1)))
    assert made.done
    assert not made.starts


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("Always", 0, True), ("Always", 1, True),
        ("OnFailure", 0, False), ("OnFailure", 1, True),
        ("Never", 0, False), ("Never", 1, False),
    ],
)  # fmt: skip
def test_restart_policy(policy: str, code: int, again: bool) -> None:
    made = plan(pod(C, restartPolicy=policy), view(ran(C, EXITED, exit_code=code)))
    assert started(made) == ([("c", 1)] if again else [])
    assert made.done == (not again)


def test_rules_of_a_container_come_before_the_policy() -> None:
    rules = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]
    special = container("c", restartPolicy="Never", restartPolicyRules=rules)
    assert started(plan(pod(special, restartPolicy="Never"), view(ran(special, EXITED, exit_code=42)))) == [("c", 1)]
    assert plan(pod(special, restartPolicy="Never"), view(ran(special, EXITED, exit_code=1))).done


def test_a_container_in_back_off_is_held() -> None:
    made = plan(pod(C), view(ran(C, EXITED, exit_code=1)), until=NOW + 7)
    assert not made.starts
    assert [(held.name, held.until) for held in made.held] == [("c", NOW + 7)]
    assert made.wake_at == NOW + 7
    assert not made.done


def test_a_sidecar_lets_the_next_start_once_it_has_started() -> None:
    side = sidecar("s", startupProbe={"exec": {"command": ["true"]}})
    of = pod(C, init=(side, container("i")))
    run = ran(side)
    assert started(plan(of, view(run), {run.id: ProbeState(startup=None)})) == []
    assert started(plan(of, view(run), {run.id: ProbeState(startup=True)})) == [("i", 0)]


def test_a_sidecar_restarts_whatever_the_policy() -> None:
    side = sidecar("s")
    of = pod(C, init=(side,), restartPolicy="Never")
    assert started(plan(of, view(ran(side, EXITED), ran(C, at=120)))) == [("s", 1)]


def test_sidecars_do_not_keep_a_finished_pod_alive() -> None:
    side = sidecar("s")
    of = pod(C, init=(side,), restartPolicy="Never")
    assert plan(of, view(ran(side), ran(C, EXITED, at=120))).done
    ended = plan(of, view(ran(side, EXITED), ran(C, EXITED, at=120)))
    assert ended.done
    assert not ended.starts


@pytest.mark.parametrize("which", ["liveness", "startup"])
def test_a_failed_probe_kills_and_says_so(which: str) -> None:
    run = ran(C)
    made = plan(pod(C), view(run), {run.id: ProbeState(**{which: False})})
    assert [kill.message for kill in made.kills] == [f"Container c failed {which} probe, will be restarted"]
    never = plan(pod(C, restartPolicy="Never"), view(run), {run.id: ProbeState(**{which: False})})
    assert [kill.message for kill in never.kills] == [f"Container c failed {which} probe"]


def test_a_probe_may_have_its_own_grace() -> None:
    probed = container("c", livenessProbe={"terminationGracePeriodSeconds": 3})
    run = ran(probed)
    made = plan(pod(probed), view(run), {run.id: ProbeState(liveness=False)})
    assert [kill.grace_seconds for kill in made.kills] == [3]


def test_a_changed_image_replaces_the_container() -> None:
    made = plan(pod(container("c", image="other"), restartPolicy="Never"), view(ran(C)))
    assert [kill.message for kill in made.kills] == ["Container c definition changed, will be restarted"]


def test_a_container_that_was_never_started_is_made_again_with_the_same_number() -> None:
    """The agent was killed between create and start: that run must not count."""
    made = plan(pod(C), view(ran(C, CREATED, attempt=2)))
    assert [(start.name, start.attempt, start.replaces) for start in made.starts] == [("c", 2, "c2")]


def test_a_lost_sandbox_is_replaced() -> None:
    made = plan(pod(C), view(ran(C, EXITED, exit_code=137), box=sandbox(ready=False)))
    assert (made.create_sandbox, made.restart_sandbox, made.attempt) == (True, True, 1)


def test_a_lost_sandbox_of_a_finished_pod_is_not_replaced() -> None:
    made = plan(pod(C, restartPolicy="Never"), view(ran(C, EXITED), box=sandbox(ready=False)))
    assert made.done
    assert not made.create_sandbox


def test_a_sandbox_without_an_address_is_replaced() -> None:
    assert plan(pod(C), view(box=sandbox(ips=()))).create_sandbox


def test_init_containers_run_again_in_a_new_sandbox() -> None:
    init = container("i")
    of = pod(C, init=(init,))
    old = [ran(init, EXITED), ran(C, EXITED, exit_code=137, at=120)]
    both = make_view([sandbox(0, ready=False), sandbox(1)], old)
    assert started(plan(of, both)) == [("i", 1)]


def test_ephemeral_containers_start_once_and_never_again() -> None:
    debug = container("debug")
    of = pod(C, ephemeralContainers=[debug])
    assert started(plan(of, view(ran(C)))) == [("debug", 0)]
    assert started(plan(of, view(ran(C), ran(debug, EXITED, exit_code=1, at=150)))) == []


def test_the_plan_of_running_containers_is_stable() -> None:
    side = sidecar("s")
    of = pod(C, init=(side,))
    assert plan(of, view(ran(side, RUNNING), ran(C, RUNNING, at=120))) == PodPlan(sandbox_id="s0")
