"""Annotations of pods, and chance."""

import pytest

from timonel.simulation.behaviour import Behaviour, Chance, InvalidAnnotation, behaviour_of

NO_CHANCE = Chance()


def pod(name="web", **annotations):
    given = {f"hollow.timonel/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return {"metadata": {"name": name, "namespace": "default", "annotations": given}}


def test_a_pod_without_annotations_behaves_as_all_do() -> None:
    defaults = Behaviour(start_seconds=2.0)
    assert behaviour_of(pod(), defaults, NO_CHANCE) is defaults


def test_annotations_say_otherwise() -> None:
    told = pod(start_seconds="0.5", run_seconds="30", exit_code="3", failure="never-ready")
    assert behaviour_of(told, Behaviour(stop_seconds=9.0), NO_CHANCE) == Behaviour(
        start_seconds=0.5, run_seconds=30.0, exit_code=3, failure="never-ready", stop_seconds=9.0
    )


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ({"failure": "explode"}, "'explode' is none of crash, never-ready, image-pull, none"),
        ({"start_seconds": "soon"}, "'soon' is no number of seconds"),
        ({"start_seconds": "-1"}, "'-1' is no number of seconds"),
        ({"run_seconds": "nan"}, "'nan' is no number of seconds"),
        ({"exit_code": "256"}, "'256' is no number from 0 to 255"),
        ({"colour": "red"}, "annotation hollow.timonel/colour is unknown"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(annotations, message) -> None:
    with pytest.raises(InvalidAnnotation, match=message):
        behaviour_of(pod(**annotations), Behaviour(), NO_CHANCE)


def test_about_as_many_fail_as_asked_for_and_in_every_way() -> None:
    chance = Chance(rate=0.25, seed=7)
    drawn = [chance.draw(pod(f"web-{number}")) for number in range(4000)]
    failed = [failure for failure in drawn if failure]
    assert 800 < len(failed) < 1200
    assert {failure: failed.count(failure) > 200 for failure in set(failed)} == {
        "crash": True, "never-ready": True, "image-pull": True
    }  # fmt: skip


def test_the_same_seed_fails_the_same_pods() -> None:
    pods = [pod(f"web-{number}") for number in range(200)]
    first, again, other = (
        [Chance(rate=0.3, seed=seed).draw(each) for each in pods] for seed in (1, 1, 2)
    )  # fmt: skip
    assert first == again != other


def test_an_annotation_spares_a_pod_from_chance() -> None:
    assert behaviour_of(pod(failure="none"), Behaviour(), Chance(rate=1.0)).failure == "none"


def test_everybody_and_nobody() -> None:
    assert all(Chance(rate=1.0, failures=("crash",)).draw(pod(f"{n}")) == "crash" for n in range(50))
    assert not any(Chance(rate=0.0).draw(pod(f"{n}")) for n in range(50))
