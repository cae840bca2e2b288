"""What the binder decides. Source: kubernetes.io/docs/concepts/storage/persistent-volumes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.controllers.volumes.objects import claim, reference, storage_class, volume
from timonel.api.objects import annotations_of
from timonel.api.volumes import (
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    PROVISIONED_BY,
    SELECTED_NODE,
    bound_volume,
    matching_volumes,
)
from timonel.controllers.persistentvolume import binding
from timonel.controllers.persistentvolume.planner import ClaimView, plan_claim, plan_volume


def view(*volumes, classes=(), default="", pods=()):
    named = {each["metadata"]["name"]: each for each in volumes}
    return ClaimView(
        volume=named.get,
        candidates=list(volumes),
        classes={each["metadata"]["name"]: each for each in classes},
        default_class=default,
        waiting_pods=pods,
    )


def chosen(asked, *volumes, **more):
    plan = plan_claim(asked, view(*volumes, classes=[storage_class()], **more))
    return plan.bind["metadata"]["name"] if plan.bind else None


@pytest.mark.parametrize(
    ("asked", "volumes", "expected"),
    [
        pytest.param(claim(), [volume("big", "9Gi"), volume("small", "2Gi")], "small", id="the smallest that fits"),
        pytest.param(claim(size="3Gi"), [volume("small", "2Gi")], None, id="none is large enough"),
        pytest.param(claim(), [volume(storage_class="slow")], None, id="another class"),
        pytest.param(claim(storage_class=""), [volume(storage_class="")], "v1", id="no class on either side"),
        pytest.param(claim(modes=["ReadWriteMany"]), [volume()], None, id="access modes"),
        pytest.param(
            claim(),
            [volume("shared", "1Gi", modes=["ReadWriteOnce", "ReadWriteMany"]), volume("single", "2Gi")],
            "single",
            id="no more access modes than asked for, if it can be",
        ),
        pytest.param(claim(volumeMode="Block"), [volume()], None, id="volume mode"),
        pytest.param(claim(), [volume(phase="Released")], None, id="a released volume is not free"),
        pytest.param(
            claim(selector={"matchLabels": {"disk": "ssd"}}),
            [volume("hdd", labels={"disk": "hdd"}), volume("ssd", labels={"disk": "ssd"})],
            "ssd",
            id="selector",
        ),
        pytest.param(
            claim(),
            [volume("free"), volume("kept", "9Gi", storage_class="slow", claimRef=reference())],
            "kept",
            id="one that is reserved for the claim goes first, whatever its class",
        ),
        pytest.param(claim(), [volume(claimRef=reference("other"))], None, id="reserved for another"),
        pytest.param(claim(), [volume(claimRef=reference(uid="x"))], None, id="bound to an earlier claim of the name"),
        pytest.param(claim(volumeName="v1"), [volume(), volume("v2")], "v1", id="the claim names the volume"),
        pytest.param(claim(volumeName="v9"), [volume()], None, id="the named volume does not exist"),
        pytest.param(claim(volumeAttributesClassName="gold"), [volume()], None, id="attributes class"),
    ],
)
def test_which_volume_a_claim_gets(asked, volumes, expected):
    assert chosen(asked, *volumes) == expected


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (volume(size="1Mi"), "requested PV is too small"),
        (volume(storage_class="slow"), "storageClassName does not match"),
        (volume(volumeMode="Block"), "incompatible volumeMode"),
        (volume(modes=["ReadOnlyMany"]), "incompatible accessMode"),
    ],
)
def test_a_named_volume_that_does_not_fit(found, why):
    plan = plan_claim(claim(volumeName="v1"), view(found))
    assert plan.bind is None
    assert plan.phase == "Pending"
    assert (plan.event.type, plan.event.reason) == ("Warning", "VolumeMismatch")
    assert plan.event.message == f'Cannot bind to requested volume "v1": {why}'


def test_a_named_volume_of_somebody_else():
    plan = plan_claim(claim(volumeName="v1"), view(volume(claimRef=reference("other", "x"))))
    assert (plan.event.reason, plan.event.message) == (
        "FailedBinding", 'volume "v1" already bound to a different claim.',
    )  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "classes", "reason", "message"),
    [
        (
            claim(storage_class=""), [], "FailedBinding",
            "no persistent volumes available for this claim and no storage class is set",
        ),
        (claim(), [], "ProvisioningFailed", 'storageclass.storage.k8s.io "fast" not found'),
        (
            claim(), [storage_class(provisioner="kubernetes.io/no-provisioner")], "ProvisioningFailed",
            "no volume plugin matched name: kubernetes.io/no-provisioner",
        ),
        (
            claim(), [storage_class(mode="WaitForFirstConsumer")], "WaitForFirstConsumer",
            "waiting for first consumer to be created before binding",
        ),
    ],
)  # fmt: skip
def test_why_a_claim_stays_open(asked, classes, reason, message):
    plan = plan_claim(asked, view(classes=classes))
    assert (plan.event.reason, plan.event.message) == (reason, message)
    assert not plan.provisioner


def test_a_consumer_that_is_not_placed_is_named():
    plan = plan_claim(claim(), view(classes=[storage_class(mode="WaitForFirstConsumer")], pods=["db-0"]))
    assert (plan.event.reason, plan.event.message) == ("WaitForPodScheduled", "waiting for pod db-0 to be scheduled")


def test_waiting_for_a_consumer_leaves_free_volumes_to_the_scheduler():
    waiting = storage_class(mode="WaitForFirstConsumer")
    assert plan_claim(claim(), view(volume(), classes=[waiting])).bind is None
    assert plan_claim(claim(), view(volume(claimRef=reference()), classes=[waiting])).bind is not None
    placed = claim(annotations={SELECTED_NODE: "n1"})
    assert plan_claim(placed, view(classes=[waiting])).provisioner == "example.com/disks"


def test_immediate_provisioning_is_asked_of_the_class():
    plan = plan_claim(claim(), view(classes=[storage_class()]))
    assert plan.provisioner == "example.com/disks"
    assert plan.event.reason == "ExternalProvisioning"
    asked = binding.asked_form(claim(), plan.provisioner)
    assert annotations_of(asked) == {
        "volume.kubernetes.io/storage-provisioner": "example.com/disks",
        "volume.beta.kubernetes.io/storage-provisioner": "example.com/disks",
    }
    assert binding.asked_form(asked, plan.provisioner) is None


def test_a_claim_without_class_gets_the_default_later():
    assert plan_claim(claim(storage_class=None), view(default="fast")).default_class == "fast"
    assert plan_claim(claim(storage_class=""), view(default="fast")).default_class == ""
    free = volume(storage_class="")
    assert plan_claim(claim(storage_class=None), view(free, default="fast")).bind is free


def test_bound_claims_that_lost_their_volume():
    done = {BIND_COMPLETED: "yes"}
    gone = plan_claim(claim(annotations=done, volumeName="v1"), view())
    assert (gone.phase, gone.when_changed.reason) == ("Lost", "ClaimLost")
    assert gone.when_changed.message == "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
    nameless = plan_claim(claim(annotations=done), view())
    assert nameless.when_changed.message == (
        "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
    )
    taken = plan_claim(claim(annotations=done, volumeName="v1"), view(volume(claimRef=reference("other", "x"))))
    assert (taken.phase, taken.when_changed.reason) == ("Lost", "ClaimMisbound")


@pytest.mark.parametrize(
    ("found", "of", "phase"),
    [
        pytest.param(volume(phase="Pending"), None, "Available", id="new"),
        pytest.param(volume(claimRef=reference()), None, "Available", id="reserved"),
        pytest.param(volume(claimRef=reference(uid="u")), claim(uid="u", volumeName="v1"), "Bound", id="bound"),
        pytest.param(volume(claimRef=reference(uid="u"), phase="Bound"), None, "Released", id="its claim is gone"),
        pytest.param(volume(claimRef=reference(uid="u"), phase="Released"), None, "", id="released before"),
        pytest.param(
            volume(claimRef=reference(uid="u"), phase="Bound", policy="Delete", annotations={PROVISIONED_BY: "x"}),
            None, "Released", id="the provisioner deletes it",
        ),
        pytest.param(
            volume(claimRef=reference(uid="u"), phase="Bound", policy="Delete"), None, "Failed",
            id="nobody can delete it",
        ),
        pytest.param(
            volume(claimRef=reference(uid="u"), phase="Bound", policy="Recycle"), None, "Failed", id="recycling",
        ),
        pytest.param(
            volume(claimRef=reference(uid="u")), claim(uid="u", volumeName="v2"), "Available",
            id="the claim took another",
        ),
        pytest.param(
            volume(claimRef=reference(uid="u"), policy="Delete", annotations={PROVISIONED_BY: "x"}),
            claim(uid="u", volumeName="v2"), "Released", id="made in vain",
        ),
    ],
)  # fmt: skip
def test_phases_of_volumes(found, of, phase):
    assert plan_volume(found, of).phase == phase


def test_a_claim_that_is_not_bound_yet_is_looked_at():
    plan = plan_volume(volume(claimRef=reference(uid="u")), claim(uid="u"))
    assert plan.asks_claim
    mismatched = plan_volume(volume(claimRef=reference(uid="u"), volumeMode="Block"), claim(uid="u"))
    assert not mismatched.asks_claim
    assert mismatched.claim_event.reason == "VolumeMismatch"


def test_binding_and_freeing_by_the_controller():
    bound = bound_volume(volume(), claim())
    assert bound["spec"]["claimRef"] == {
        "kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": "default", "name": "data",
        "uid": "uid-data", "resourceVersion": "5",
    }  # fmt: skip
    assert annotations_of(bound) == {BOUND_BY_CONTROLLER: "yes"}
    assert bound_volume(bound, claim()) is None
    freed = binding.freed_form(bound)
    assert "claimRef" not in freed["spec"]
    assert annotations_of(freed) == {}


def test_what_was_reserved_by_hand_stays_reserved():
    bound = bound_volume(volume(claimRef=reference()), claim())
    assert annotations_of(bound) == {}
    assert binding.freed_form(bound)["spec"]["claimRef"].get("uid") is None
    assert binding.freed_form(bound)["spec"]["claimRef"]["name"] == "data"


def test_a_bound_claim():
    found = volume(size="2Gi", modes=["ReadWriteOnce", "ReadOnlyMany"])
    bound = binding.claim_form(claim(), found)
    assert bound["spec"]["volumeName"] == "v1"
    assert annotations_of(bound) == {BIND_COMPLETED: "yes", BOUND_BY_CONTROLLER: "yes"}
    assert annotations_of(binding.claim_form(claim(volumeName="v1"), found)) == {BIND_COMPLETED: "yes"}
    status = binding.claim_status_form(bound, "Bound", found)["status"]
    assert status == {
        "phase": "Bound", "accessModes": ["ReadWriteOnce", "ReadOnlyMany"], "capacity": {"storage": "2Gi"},
    }  # fmt: skip
    grown = volume(size="4Gi", modes=["ReadWriteOnce", "ReadOnlyMany"])
    assert binding.claim_status_form({**bound, "status": status}, "Bound", grown) is None  # resizing sets the size
    assert binding.claim_status_form({**bound, "status": status}, "Lost", None)["status"] == {"phase": "Lost"}


SIZES = st.integers(1, 6)
VOLUMES = st.lists(
    st.builds(
        lambda number, size, name, reserved, modes: volume(
            f"v{number}", f"{size}Gi", storage_class=name, modes=modes, **({"claimRef": reserved} if reserved else {})
        ),
        st.integers(0, 99),
        SIZES,
        st.sampled_from(["fast", "slow"]),
        st.sampled_from([None, None, reference(), reference("other")]),
        st.sampled_from([["ReadWriteOnce"], ["ReadWriteOnce", "ReadWriteMany"], ["ReadOnlyMany"]]),
    ),
    max_size=8,
)


@given(VOLUMES, SIZES)
def test_a_match_fits_and_nothing_smaller_alike_would(volumes, size):
    asked = claim(size=f"{size}Gi")
    found = matching_volumes(asked, volumes)
    for each in found:
        assert int(each["spec"]["capacity"]["storage"][:-2]) >= size
        assert "ReadWriteOnce" in each["spec"]["accessModes"]
        assert each["spec"].get("claimRef", reference()) == reference()
    if found and "claimRef" not in found[0]["spec"]:
        alike = [each for each in found if each["spec"]["accessModes"] == found[0]["spec"]["accessModes"]]
        assert found[0]["spec"]["capacity"] == min((each["spec"]["capacity"] for each in alike), key=str)
        assert not any("claimRef" in each["spec"] for each in found)
