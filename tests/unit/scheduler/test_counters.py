"""What counters of pods say after any changes, and how little a change of a pod has to look at."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.scheduler.clusters import cluster_of
from tests.unit.scheduler.objects import node, pod
from timonel.api.labels import NOTHING, parse_label_selector
from timonel.scheduler.core import counters, pods
from timonel.scheduler.core.counters import PodCounters, Question
from timonel.scheduler.core.framework import Attempt
from timonel.scheduler.core.pods import Pod, PodClasses
from timonel.scheduler.core.schedule import schedule
from timonel.scheduler.core.selectors import PodMatch

NAMESPACES = {"a": {"team": "x"}, "b": {"team": "y"}, "c": {}}
SELECTORS = [
    *map(parse_label_selector, ("", "app=web", "app in (web,db)", "app=web,tier=front", "tier", "!tier", "app!=db")),
    parse_label_selector("app in (web),tier in (front,back)"),
    NOTHING,
]


def labels() -> st.SearchStrategy[dict[str, str]]:
    return st.fixed_dictionaries(
        {}, optional={"app": st.sampled_from(("web", "db", "x")), "tier": st.sampled_from(("front", "back"))}
    )


def matches() -> st.SearchStrategy[PodMatch]:
    return st.builds(
        PodMatch,
        st.frozensets(st.sampled_from("abc")),
        st.sampled_from((None, *map(parse_label_selector, ("", "team=x", "team")))),
        st.sampled_from(SELECTORS),
    )


def questions() -> st.SearchStrategy[Question]:
    return st.builds(Question, st.lists(matches(), min_size=1, max_size=2).map(tuple), st.booleans())


def counted(question: Question, placed: Sequence[tuple[Pod, int]]) -> list[int]:
    """The documented rule, pod by pod."""
    found = [0] * 4
    for each, slot in placed:
        namespace, own = each.klass.namespace, each.klass.labels
        if (question.counts_terminating or not each.is_terminating) and all(
            (
                namespace in match.namespaces
                or (match.namespace_selector is not None and match.namespace_selector.matches(NAMESPACES[namespace]))
            )
            and match.selector.matches(own)
            for match in question.matches
        ):
            found[slot] += 1
    return found


@given(
    st.sampled_from((0, 1, 2, 256)),
    st.lists(questions(), min_size=1, max_size=6),
    st.lists(st.tuples(st.sampled_from("abc"), labels(), st.booleans(), st.integers(0, 3)), max_size=12),
    st.randoms(use_true_random=False),
)
def test_counts_are_those_of_all_pods_at_any_time(
    few: int, asked: list[Question], made: list[tuple[str, dict[str, str], bool, int]], rng: random.Random
) -> None:
    classes, known = PodClasses(), PodCounters(NAMESPACES)
    with patch.object(counters, "_FEW_NODES", few):
        _place_and_remove(classes, known, asked, made, rng)


def _place_and_remove(
    classes: PodClasses,
    known: PodCounters,
    asked: list[Question],
    made: list[tuple[str, dict[str, str], bool, int]],
    rng: random.Random,
) -> None:
    waiting = [
        (classes.pod(pod(f"p{number}", namespace=namespace, labels=own, deleting=deleting)), slot)
        for number, (namespace, own, deleting, slot) in enumerate(made)
    ]
    placed: list[tuple[Pod, int]] = []
    for _ in range(2 * len(waiting) + 2):
        if waiting and rng.random() < 0.6:
            placed.append(waiting.pop())
            known.change(*placed[-1], 1)
        elif placed:
            gone = placed.pop(rng.randrange(len(placed)))
            waiting.append(gone)
            known.change(*gone, -1)
        question = rng.choice(asked)
        assert known.counts(question, 4, iter(placed)).tolist() == counted(question, placed)
    for question in asked:
        assert known.counts(question, 4, iter(placed)).tolist() == counted(question, placed)


def test_counters_beyond_the_most_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "_MAX_COUNTERS", 2)
    classes, known = PodClasses(), PodCounters({})
    web = classes.pod(pod("p", labels={"app": "web"}))
    first, *others = (question(f"app={name}") for name in ("web", "db", "x"))

    def never() -> Iterator[tuple[Pod, int]]:
        raise AssertionError("a counter that is there was made again")
        yield

    known.counts(first, 4, iter(()))
    known.change(web, 1, 1)
    assert known.counts(first, 4, never())[1] == 1
    for other in others:
        known.counts(other, 4, iter(()))
    known.change(web, 2, 1)
    assert known.counts(first, 4, iter([(web, 1), (web, 2)])).tolist() == [0, 1, 1, 0]


def test_a_change_looks_at_the_counters_of_its_own_labels_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand workloads have a counter each; a pod of one is compared with that one."""
    classes, known = PodClasses(), PodCounters({})
    for number in range(400):
        known.counts(question(f"app=web{number}"), 4, iter(()))
    looks = 0

    def looked(match: PodMatch, *arguments: object) -> bool:
        nonlocal looks
        looks += 1
        return True

    monkeypatch.setattr(PodMatch, "matches", looked)
    known.change(classes.pod(pod("p", labels={"app": "web7"})), 1, 1)
    assert looks == 1


def test_masks_and_ratings_are_kept_for_the_classes_asked_about_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a thousand workloads in a cluster of five thousand nodes would keep 100 MB."""
    monkeypatch.setattr(pods, "_MEMOS", 3)
    cluster = cluster_of([node(f"n{number}") for number in range(3)])
    waiting = [cluster.parse_pod(pod(f"p{number}", labels={"app": str(number)})) for number in range(9)]
    for each in [*waiting, waiting[7]]:
        schedule(cluster, Attempt(each, None), random.Random(1))
    assert [each.key[1] for each in waiting if each.klass.memo] == ["p6", "p7", "p8"]


def question(selector: str) -> Question:
    return Question((PodMatch(frozenset(("default",)), None, parse_label_selector(selector)),), counts_terminating=True)
