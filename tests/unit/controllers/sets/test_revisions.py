"""The history of templates: numbers, names, what comes back, what goes."""

from timonel.api.refs import STATEFUL_SETS
from timonel.controllers.history.revisions import (
    HASH,
    new_revision,
    patch_of,
    plan_history,
    surplus,
    template_of,
)


def owner(image, **annotations):
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    return {
        "metadata": {"name": "web", "namespace": "default", "uid": "u1", "annotations": annotations},
        "spec": {"template": template},
    }


def recorded(image, number, collisions=0):
    return new_revision(owner(image), STATEFUL_SETS, number, collisions, HASH)


def test_a_revision_is_the_patch_that_brings_the_template_back():
    made = new_revision(owner("a:1", **{"kubernetes.io/change-cause": "why"}), STATEFUL_SETS, 3, 0, HASH)
    template = owner("a:1")["spec"]["template"]
    assert made["data"] == {"spec": {"template": {**template, "$patch": "replace"}}}
    assert template_of(made) == template
    assert made["revision"] == 3
    suffix = made["metadata"]["labels"][HASH]
    assert made["metadata"]["name"] == f"web-{suffix}"
    assert made["metadata"]["labels"] == {"app": "web", HASH: suffix}
    assert made["metadata"]["annotations"] == {"kubernetes.io/change-cause": "why"}
    [reference] = made["metadata"]["ownerReferences"]
    assert (reference["kind"], reference["uid"], reference["controller"]) == ("StatefulSet", "u1", True)


def test_names_follow_the_template_and_the_collisions_and_stay_short_enough():
    assert recorded("a:1", 1)["metadata"]["name"] == recorded("a:1", 9)["metadata"]["name"]
    names = {recorded(image, 1, collisions)["metadata"]["name"] for image in ("a", "b") for collisions in range(3)}
    assert len(names) == 6
    long = owner("a")
    long["metadata"]["name"] = "w" * 253
    assert len(new_revision(long, STATEFUL_SETS, 1, 0, HASH)["metadata"]["name"]) <= 253


def test_numbers():
    assert plan_history(owner("a"), []).number == 1
    first, second = recorded("a", 1), recorded("b", 2)
    new = plan_history(owner("c"), [second, first])
    assert (new.present, new.number) == (None, 3)
    same = plan_history(owner("b"), [second, first])
    assert same.is_done
    assert same.present is second
    back = plan_history(owner("a"), [second, first])
    assert (back.present, back.number, back.is_done) == (first, 3, False)


def test_of_two_revisions_with_the_same_template_the_newer_is_meant():
    first, second = recorded("a", 1), recorded("a", 2, collisions=1)
    plan = plan_history(owner("a"), [second, first])
    assert plan.is_done
    assert plan.present is second


def test_a_default_that_is_new_does_not_make_a_new_revision():
    """The template was recorded before the field existed; nobody changed it."""
    present = owner("a:1")
    from timonel.api.kinds.pod.defaults import default_pod_template

    default_pod_template(present["spec"]["template"])
    old = recorded("a:1", 4)
    assert old["data"] != patch_of(present)
    plan = plan_history(present, [old])
    assert plan.is_done
    assert plan.present is old


def test_what_is_over_the_limit_goes_oldest_first_and_live_ones_stay():
    revisions = [recorded(f"i:{number}", number) for number in range(1, 6)]
    names = [revision["metadata"]["name"] for revision in revisions]
    live = {names[0], names[4]}
    assert surplus(list(reversed(revisions)), live, 1) == revisions[1:3]
    assert surplus(revisions, live, 0) == revisions[1:4]
    assert surplus(revisions, live, 3) == []
    assert surplus(revisions, live, -1) == []
