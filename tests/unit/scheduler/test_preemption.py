"""Who is evicted for whom, after kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scheduler.clusters import cluster_of, decide
from tests.unit.scheduler.objects import near, node, pod
from timonel.api.labels import parse_label_selector
from timonel.api.objects import Object
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import Attempt
from timonel.scheduler.core.nominations import Nominations
from timonel.scheduler.core.pods import Pod
from timonel.scheduler.core.preemption import Budget, NoVictims, Preemption, VictimSearch, find_victims
from timonel.scheduler.core.schedule import NoFit, Placement, schedule


def preempt(
    cluster: Cluster, of: Object, *, budgets: Sequence[Budget] = (), started: dict[str, float] | None = None
) -> Preemption | NoVictims:
    decision = decide(cluster, of)
    assert isinstance(decision, NoFit)
    return find_victims(
        cluster,
        Attempt(cluster.parse_pod(of)),
        decision.slots,
        budgets=budgets,
        started=lambda victim: (started or {}).get(victim.key[1], 0.0),
        rng=random.Random(1),
    )


def chosen(cluster: Cluster, of: Object, **options: Any) -> tuple[str, list[str]]:
    found = preempt(cluster, of, **options)
    assert isinstance(found, Preemption)
    return found.node, [victim.key[1] for victim in found.victims]


IMPORTANT = pod("important", "2", priority=100)


def test_only_less_important_pods_go() -> None:
    cluster = cluster_of([node("n", cpu="2")], [pod("equal", "1", on="n", priority=100), pod("less", "1", on="n")])
    assert preempt(cluster, IMPORTANT) == NoVictims({"Insufficient cpu": 1})
    assert chosen(cluster, pod("x", "1", priority=100)) == ("n", ["less"])


def test_no_more_go_than_must() -> None:
    """Of those that could go, the more important ones are let off first."""
    there = [pod(name, "1", on="n", priority=priority) for name, priority in (("a", 3), ("b", 1), ("c", 2))]
    cluster = cluster_of([node("n", cpu="3")], there)
    assert chosen(cluster, pod("x", "1", priority=100)) == ("n", ["b"])
    assert chosen(cluster, IMPORTANT) == ("n", ["c", "b"])


def test_of_equal_ones_the_longest_running_stays() -> None:
    cluster = cluster_of([node("n", cpu="2")], [pod("old", "1", on="n"), pod("young", "1", on="n")])
    assert chosen(cluster, pod("x", "1", priority=1), started={"old": 10.0, "young": 20.0}) == ("n", ["young"])


def budget(text: str, allowed: int, counted: Sequence[str] = ()) -> Budget:
    return Budget("default", parse_label_selector(text), allowed, frozenset(counted))


def test_a_node_where_no_budget_is_broken_is_preferred() -> None:
    nodes = [node("kept", cpu="2"), node("free", cpu="2")]
    there = [pod("k", "2", on="kept", labels={"app": "kept"}), pod("f", "2", on="free", priority=50)]
    assert chosen(cluster_of(nodes, there), IMPORTANT, budgets=[budget("app=kept", 0)]) == ("free", ["f"])
    # It counts for more than the priority of the victim, which decides without the budget.
    assert chosen(cluster_of(nodes, there), IMPORTANT) == ("kept", ["k"])


def test_a_budget_is_broken_when_nothing_else_helps() -> None:
    cluster = cluster_of([node("n", cpu="2")], [pod("k", "2", on="n", labels={"app": "kept"})])
    found = preempt(cluster, IMPORTANT, budgets=[budget("app=kept", 0)])
    assert isinstance(found, Preemption)
    assert found.violations == 1


def test_those_that_a_budget_guards_are_let_off_first() -> None:
    there = [pod("guarded", "1", on="n", labels={"app": "kept"}), pod("free", "1", on="n", priority=5)]
    cluster = cluster_of([node("n", cpu="2")], there)
    wanting = pod("x", "1", priority=100)
    assert chosen(cluster, wanting, budgets=[budget("app=kept", 0)]) == ("n", ["free"])
    assert chosen(cluster, wanting, budgets=[budget("app=kept", 1)]) == ("n", ["guarded"])
    # One that is counted already does not count again.
    assert chosen(cluster, wanting, budgets=[budget("app=kept", 0, ["guarded"])]) == ("n", ["guarded"])


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        # victims as (cpu, priority, started)
        ([("2", 1, 0)], [("2", 2, 0)]),
        ([("1", 5, 0), ("1", 1, 0)], [("1", 5, 0), ("1", 2, 0)]),
        ([("2", 5, 0)], [("1", 5, 0), ("1", -7, 0)]),
        ([("2", 5, 20)], [("2", 5, 10)]),
    ],
    ids=["lowest highest priority", "smallest sum", "fewest", "shortest running"],
)
def test_which_node_is_chosen(better: list[Any], worse: list[Any]) -> None:
    pods, started = [], {}
    for name, victims in (("better", better), ("worse", worse)):
        for number, (cpu, priority, since) in enumerate(victims):
            pods.append(pod(f"{name}-{number}", cpu, on=name, priority=priority))
            started[f"{name}-{number}"] = float(since)
    for nodes in itertools.permutations([node("better", cpu="2"), node("worse", cpu="2")]):
        assert chosen(cluster_of(nodes, pods), IMPORTANT, started=started)[0] == "better"


def test_a_host_port_is_freed() -> None:
    ports = [{"containerPort": 80, "hostPort": 80}]
    taken = pod("taken", on="n", containers=[{"name": "c", "image": "i", "ports": ports}])
    wanting = pod("x", priority=1, containers=[{"name": "c", "image": "i", "ports": ports}])
    assert chosen(cluster_of([node("n")], [taken, pod("bystander", "1", on="n")]), wanting) == ("n", ["taken"])


def test_those_it_wants_to_be_away_from_go() -> None:
    there = [pod("loud", on="n", labels={"app": "loud"}), pod("quiet", on="n", labels={"app": "quiet"})]
    cluster = cluster_of([node("n")], there)
    away = pod("x", priority=1, affinity=near("kubernetes.io/hostname", {"app": "loud"}, kind="podAntiAffinity"))
    assert chosen(cluster, away) == ("n", ["loud"])
    assert cluster.pod(there[0]["metadata"]["uid"]) is not None, "what was tried has left no trace"


def test_nodes_that_will_not_have_it_are_left_alone() -> None:
    nodes = [node("tainted", cpu="2", taints=["a=b:NoSchedule"]), node("small", cpu="1")]
    decision = decide(cluster_of(nodes, [pod("t", "2", on="tainted"), pod("s", "1", on="small")]), IMPORTANT)
    assert isinstance(decision, NoFit)
    assert decision.slots == ()


def test_a_pod_that_never_preempts() -> None:
    there = [pod("t", "2", on="n")]
    decision = decide(cluster_of([node("n", cpu="2")], there), pod("x", "2", priority=1, preemptionPolicy="Never"))
    assert isinstance(decision, NoFit)
    assert decision.slots == ()


def beside(cluster: Cluster, nominations: Nominations, of: Object) -> bool:
    """Whether it fits while room is kept for others."""
    parsed = cluster.parse_pod(of)
    attempt = Attempt(parsed, expected=nominations.expected_by(parsed))
    return isinstance(schedule(cluster, attempt, random.Random(1)), Placement)


class TestRoomThatIsKept:
    def test_is_not_given_to_less_important_ones(self) -> None:
        cluster = cluster_of([node("n", cpu="2")])
        nominations = Nominations()
        nominations.put(cluster.parse_pod(IMPORTANT), "n")
        for priority, fits in ((0, False), (100, False), (101, True)):
            assert beside(cluster, nominations, pod("other", "1", priority=priority)) == fits

    def test_is_there_for_the_pod_itself(self) -> None:
        cluster = cluster_of([node("n", cpu="2")])
        nominations = Nominations()
        nominations.put(cluster.parse_pod(IMPORTANT), "n")
        assert beside(cluster, nominations, IMPORTANT)
        assert not cluster.nodes.requested.any(), "what is expected is on no node yet"

    def test_a_pod_must_not_count_on_one_that_may_never_come(self) -> None:
        """Fitting only beside a nominated pod is not enough: it may go elsewhere in the end."""
        cluster = cluster_of([node("n")])
        nominations = Nominations()
        nominations.put(cluster.parse_pod(pod("leader", priority=100, labels={"app": "leader"})), "n")
        follower = pod("follower", affinity=near("kubernetes.io/hostname", {"app": "leader"}))
        assert not beside(cluster, nominations, follower)

    def test_a_pod_that_wants_to_be_away_from_an_expected_one_goes_elsewhere(self) -> None:
        nodes = [node("kept"), node("free")]
        away = pod("x", affinity=near("kubernetes.io/hostname", {"app": "loud"}, kind="podAntiAffinity"))
        for loud, shy in (
            (pod("loud", priority=1, labels={"app": "loud"}), away),
            (away | {"spec": away["spec"] | {"priority": 1}}, pod("loud", labels={"app": "loud"})),
        ):
            cluster, nominations = cluster_of(nodes), Nominations()
            nominations.put(cluster.parse_pod(loud), "kept")
            parsed = cluster.parse_pod(shy)
            attempt = Attempt(parsed, expected=nominations.expected_by(parsed))
            assert schedule(cluster, attempt, random.Random(1)) == Placement("free", 1)

    def test_each_node_is_judged_with_its_own_expected_pods_only(self) -> None:
        """One expected on another node of the zone keeps nobody away from here."""
        zone = "topology.kubernetes.io/zone"
        nodes = [node(name, labels={zone: "z"}) for name in ("a", "b")]
        cluster, nominations = cluster_of(nodes), Nominations()
        nominations.put(cluster.parse_pod(pod("loud", priority=1, labels={"app": "loud"})), "a")
        away = cluster.parse_pod(pod("x", affinity=near(zone, {"app": "loud"}, kind="podAntiAffinity")))
        attempt = Attempt(away, expected=nominations.expected_by(away))
        assert schedule(cluster, attempt, random.Random(1)) == Placement("b", 1)

    def test_is_not_taken_by_evicting_others_beside_it(self) -> None:
        cluster = cluster_of([node("n", cpu="3")], [pod("small", "1", on="n")])
        rival = cluster.parse_pod(pod("rival", "2", priority=200))
        wanting = cluster.parse_pod(IMPORTANT)
        found = find_victims(
            cluster,
            Attempt(wanting, expected={"n": [replace(rival, node="n")]}),
            (cluster.nodes.slots["n"],),
            budgets=(),
            started=lambda _: 0.0,
            rng=random.Random(1),
        )
        assert found == NoVictims({"Insufficient cpu": 1})


class TestASearchInSteps:
    NODES = tuple(node(f"n{number}", cpu="2") for number in range(4))

    def search(self, cluster: Cluster) -> VictimSearch:
        wanting = cluster.parse_pod(IMPORTANT)
        slots = tuple(cluster.nodes.slots[each["metadata"]["name"]] for each in self.NODES)
        return VictimSearch(cluster, Attempt(wanting), slots, budgets=(), started=lambda _: 0.0, rng=random.Random(1))

    def there(self) -> list[Object]:
        return [pod(f"p{number}", "2", on=f"n{number}", priority=number) for number in range(4)]

    def test_finds_the_same(self) -> None:
        cluster = cluster_of(self.NODES, self.there())
        search = self.search(cluster)
        assert len(list(search.steps(lambda: True))) == 4
        found = search.result()
        assert isinstance(found, Preemption)
        assert [victim.key[1] for victim in found.victims] == ["p0"]

    def test_does_not_choose_what_is_gone_by_then(self) -> None:
        there = self.there()
        cluster = cluster_of(self.NODES, there)
        search = self.search(cluster)
        for _ in search.steps(lambda: True):
            pass
        cluster.remove_pod(there[0]["metadata"]["uid"])
        cluster.remove_node("n1")
        found = search.result()
        assert isinstance(found, Preemption)
        assert [victim.key[1] for victim in found.victims] == ["p2"]


AMOUNTS = st.sampled_from(["", "500m", "1", "2", "3"])


@st.composite
def crowded(draw: st.DrawFn) -> tuple[list[Object], list[Object], Object, list[Budget]]:
    nodes = [node(f"n{number}", cpu=draw(st.sampled_from(["2", "4"]))) for number in range(draw(st.integers(1, 3)))]
    labels = st.sampled_from([{}, {"app": "a"}, {"app": "b"}])
    there = [
        pod(
            f"p{number}",
            draw(AMOUNTS),
            on=f"n{draw(st.integers(0, len(nodes) - 1))}",
            priority=draw(st.integers(0, 3)),
            labels=draw(labels),
        )
        for number in range(draw(st.integers(0, 8)))
    ]
    affinity = near("kubernetes.io/hostname", {"app": "a"}, kind="podAntiAffinity")
    more: dict[str, Any] = draw(st.sampled_from([{}, {"affinity": affinity}]))
    wanting = pod("x", draw(AMOUNTS), priority=draw(st.integers(0, 4)), **more)
    return nodes, there, wanting, [budget("app=b", draw(st.integers(0, 2)))]


@settings(max_examples=150, deadline=None)
@given(crowded())
def test_what_is_evicted_is_enough_needed_and_less_important(
    case: tuple[list[Object], list[Object], Object, list[Budget]],
) -> None:
    nodes, there, wanting, budgets = case
    cluster = cluster_of(nodes, there)
    before = cluster.nodes.requested.copy()
    decision = decide(cluster, wanting)
    if isinstance(decision, Placement):
        return
    found = preempt(cluster, wanting, budgets=budgets) if decision.slots else NoVictims()
    assert (cluster.nodes.requested == before).all(), "what was tried has left no trace"

    def fits_without(gone: Sequence[Pod], on: str) -> bool:
        uids = {each.uid for each in gone}
        left = cluster_of(nodes, [each for each in there if each["metadata"]["uid"] not in uids])
        for name, slot in left.nodes.slots.items():
            left.nodes.unschedulable[slot] = name != on
        return isinstance(decide(left, wanting), Placement)

    if isinstance(found, NoVictims):
        mine = wanting["spec"]["priority"]
        for each in nodes:
            name = each["metadata"]["name"]
            on_node = [cluster.parse_pod(one) for one in there if one["spec"]["nodeName"] == name]
            assert not fits_without([one for one in on_node if one.klass.priority < mine], name)
        return
    assert all(victim.klass.priority < wanting["spec"]["priority"] for victim in found.victims)
    assert all(victim.node == found.node for victim in found.victims)
    assert fits_without(found.victims, found.node)
    for victim in found.victims:
        assert not fits_without([other for other in found.victims if other is not victim], found.node)
