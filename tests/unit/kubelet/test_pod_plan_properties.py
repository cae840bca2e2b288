"""What no plan may ever do, whatever is found on the node; and that following plans gets a pod to its end."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.kubelet.pods import container, pod, ran, sandbox, sidecar
from timonel.api.objects import Object
from timonel.kubelet.pods.plan import PodPlan, plan_pod
from timonel.kubelet.pods.spec import Kind
from timonel.kubelet.pods.view import CREATED, EXITED, RUNNING, ContainerView, PodProbes, PodView, ProbeState, make_view

INITS = (container("i"), sidecar("s"))
MAINS = (container("a"), container("b"))
STATES = st.sampled_from([None, CREATED, RUNNING, EXITED])
POLICIES = st.sampled_from(["Always", "OnFailure", "Never"])
PROBES = st.sampled_from(
    [ProbeState(), ProbeState(liveness=False), ProbeState(startup=None), ProbeState(startup=False)]
)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Object, PodView, PodProbes]:
    of = pod(*MAINS, init=INITS, restartPolicy=draw(POLICIES))
    runs: list[ContainerView] = []
    probes: dict[str, ProbeState] = {}
    for at, spec in enumerate((*INITS, *MAINS)):
        state = draw(STATES)
        if state is not None:
            run = ran(spec, state, exit_code=draw(st.sampled_from([0, 1])), at=100 + at)
            runs.append(run)
            probes[run.id] = draw(PROBES)
    return of, make_view([sandbox(ready=draw(st.booleans()))], runs), PodProbes(probes)


def plan(of: Object, view: PodView, probes: PodProbes) -> PodPlan:
    return plan_pod(of, view, probes, now=1000, back_off_until=lambda spec, ended: None)


@given(situations())
def test_never(situation: tuple[Object, PodView, PodProbes]) -> None:
    of, view, probes = situation
    made = plan(of, view, probes)
    running = {run.name for run in view.running}
    names = [start.name for start in made.starts]
    assert len(names) == len(set(names)), "nothing is started twice"
    assert not running.intersection(names), "nothing that runs is started"
    assert {kill.name for kill in made.kills} <= running, "only what runs is killed"
    assert not (made.done and made.starts), "a pod that is done starts nothing"
    assert not (made.create_sandbox and made.starts), "nothing starts in a sandbox that is not there"
    initialised = any(run.name in ("a", "b") for run in view.containers)
    if not initialised and any(start.kind is Kind.MAIN for start in made.starts):
        init = view.latest("i")
        later = view.latest("s") is not None
        assert later if init is None else (init.state, init.exit_code) == (EXITED, 0), "initialisation comes first"


@given(POLICIES, st.dictionaries(st.sampled_from(["i", "a", "b"]), st.integers(0, 1)))
def test_plans_that_are_followed_bring_a_pod_to_rest(policy: str, codes: dict[str, int]) -> None:
    """Every container that is started ends at once with its code; failures pass the second time."""
    of = pod(*MAINS, init=INITS, restartPolicy=policy)
    view = make_view([sandbox()], [])
    for step in range(20):
        made = plan(of, view, PodProbes())
        if made.done:
            assert policy != "Always" or not view.running
            return
        if not made.starts:
            break
        runs = list(view.containers)
        for start in made.starts:
            spec = next(c for c in (*INITS, *MAINS) if c["name"] == start.name)
            code = codes.get(start.name, 0) if start.attempt == 0 else 0
            state = RUNNING if start.name == "s" or (policy == "Always" and start.attempt) else EXITED
            if start.name == "i":
                state = EXITED
            run = ran(spec, state, exit_code=code if state == EXITED else 0, attempt=start.attempt, at=200 + step)
            runs.append(replace(run, id=f"{start.name}{step}"))
        view = make_view([sandbox()], runs)
    assert policy == "Always", "only a pod that restarts for ever comes to rest without being done"
    assert {run.name for run in view.running} == {"s", "a", "b"}
