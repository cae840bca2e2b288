"""Claims of a StatefulSet's pods: made once, owned by whoever's end shall be theirs. By KEP-1847's table."""

import pytest

from timonel.controllers.statefulset.claims import is_stale, plan_pod_claims

SET_OWNER = ("StatefulSet", "web", "set")
POD_OWNER = ("Pod", "web-0", "p0")


def stateful_set(deleted="Retain", scaled="Retain", replicas=1):
    template = {"metadata": {"name": "data", "labels": {"tier": "db"}}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    return {
        "metadata": {"name": "web", "namespace": "default", "uid": "set"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "volumeClaimTemplates": [{**template, "status": {"phase": "Pending"}}],
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": deleted, "whenScaled": scaled},
        },
    }


def reference(kind, name, uid, controller=True):
    version = "apps/v1" if kind == "StatefulSet" else "v1"
    made = {"apiVersion": version, "kind": kind, "name": name, "uid": uid}
    return {**made, "controller": True, "blockOwnerDeletion": True} if controller else made


def claim(*owners, **metadata):
    references = [reference(*owner) for owner in owners]
    return {"metadata": {"name": "data-web-0", "namespace": "default", "ownerReferences": references, **metadata}}


POD = {"metadata": {"name": "web-0", "namespace": "default", "uid": "p0"}, "spec": {}}


def plan(the_set, *claims, pod=POD):
    return plan_pod_claims(the_set, pod, {item["metadata"]["name"]: item for item in claims}.get)


def owners_after(the_set, *owners):
    """None: left as it is."""
    made = plan(the_set, claim(*owners))
    if not made.update:
        return None
    return [(item["kind"], item["name"], item["uid"]) for item in made.update[0]["metadata"]["ownerReferences"]]


def test_a_missing_claim_is_made_from_the_template():
    [made] = plan(stateful_set()).create
    assert made == {
        "kind": "PersistentVolumeClaim",
        "apiVersion": "v1",
        "metadata": {"name": "data-web-0", "namespace": "default", "labels": {"tier": "db", "app": "web"}},
        "spec": {"accessModes": ["ReadWriteOnce"]},
    }
    [owned] = plan(stateful_set(deleted="Delete")).create
    assert owned["metadata"]["ownerReferences"] == [reference(*SET_OWNER)]


@pytest.mark.parametrize(
    ("deleted", "scaled", "replicas", "expected"),
    [
        ("Retain", "Retain", 1, []),
        ("Retain", "Retain", 0, []),
        ("Delete", "Retain", 1, [SET_OWNER]),
        ("Delete", "Retain", 0, [SET_OWNER]),
        ("Retain", "Delete", 1, []),
        ("Retain", "Delete", 0, [POD_OWNER]),
        ("Delete", "Delete", 1, [SET_OWNER]),
        ("Delete", "Delete", 0, [POD_OWNER]),
    ],
)
@pytest.mark.parametrize("before", [(), (SET_OWNER,), (POD_OWNER,), (SET_OWNER, POD_OWNER)])
def test_who_owns_a_claim(deleted, scaled, replicas, expected, before):
    after = owners_after(stateful_set(deleted, scaled, replicas), *before)
    assert after == (None if list(before) == expected else expected)


def test_owners_of_another_kind_stay():
    other = ("ConfigMap", "c", "c1", False)
    assert owners_after(stateful_set("Delete"), other) == [("ConfigMap", "c", "c1"), SET_OWNER]


def test_another_controller_is_not_overruled():
    other = ("StatefulSet", "other", "o1")
    assert owners_after(stateful_set("Delete"), other) is None
    assert owners_after(stateful_set("Delete"), other, SET_OWNER) == [other]
    assert plan(stateful_set("Delete"), claim(other)).contested == ("data-web-0",)
    assert plan(stateful_set(), claim(other)).contested == ()


def test_an_owner_that_does_not_control_is_made_one():
    loose = (*SET_OWNER, False)
    made = plan(stateful_set("Delete"), claim(loose))
    assert made.update[0]["metadata"]["ownerReferences"] == [reference(*SET_OWNER)]


def test_what_belongs_to_a_pod_that_is_gone_is_left_to_the_garbage_collector():
    left = claim(("Pod", "web-0", "before"))
    for the_set in (stateful_set(), stateful_set("Delete", "Delete")):
        assert plan(the_set, left).update == ()
    find = {"data-web-0": left}.get
    assert is_stale(stateful_set(scaled="Delete"), POD, find)
    assert not is_stale(stateful_set(), POD, find)
    assert not is_stale(stateful_set(scaled="Delete"), POD, {"data-web-0": claim(POD_OWNER)}.get)


def test_a_claim_that_is_going_is_named():
    assert plan(stateful_set(), claim(deletionTimestamp="2026-01-01T00:00:00Z")).deleting == ("data-web-0",)
