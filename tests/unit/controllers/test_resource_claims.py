"""ResourceClaims of pods: made from templates, reserved, released, deleted.

Source: kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.controllers.cluster import Cluster
from timonel.api.objects import Object, name_of, uid_of
from timonel.api.refs import PODS, RESOURCE_CLAIM_TEMPLATES, RESOURCE_CLAIMS
from timonel.controllers.resourceclaims.claims import (
    FINALIZER,
    Release,
    claims_of,
    generate_name,
    plan_release,
)
from timonel.testing.clock import settle

CLUSTER = {"without": ("garbage-collector", "pod-garbage-collector")}


def template(name: str = "gpu") -> Object:
    return {
        "kind": "ResourceClaimTemplate",
        "apiVersion": "resource.k8s.io/v1",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "metadata": {"labels": {"a": "b"}, "annotations": {"note": "x"}},
            "spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}},
        },
    }


def pod(name: str = "p", *entries: Object, phase: str = "Pending", **spec: Any) -> Object:
    claims = list(entries) or [{"name": "c", "resourceClaimTemplateName": "gpu"}]
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"},
        "spec": {"containers": [{"name": "c"}], "resourceClaims": claims, **spec},
        "status": {"phase": phase},
    }


def user(name: str, uid: str = "") -> Object:
    return {"resource": "pods", "name": name, "uid": uid or f"uid-{name}"}


def claim(*users: Object, name: str = "shared", allocated: bool = True, ours: bool = True, **metadata: Any) -> Object:
    status: Object = {"allocation": {"devices": {}}} if allocated else {}
    if users:
        status["reservedFor"] = list(users)
    made: Object = {"name": name, "namespace": "default", **metadata}
    if ours:
        made["finalizers"] = [FINALIZER]
    return {
        "kind": "ResourceClaim", "apiVersion": "resource.k8s.io/v1",
        "metadata": made, "spec": {"devices": {}}, "status": status,
    }  # fmt: skip


SHARED = {"name": "c", "resourceClaimName": "shared"}


@pytest.mark.parametrize(
    ("pod_name", "claim_name", "made"),
    [
        ("web", "gpu", "web-gpu-"),
        ("p" * 28, "c" * 27, f"{'p' * 28}-{'c' * 27}-"),
        ("p" * 60, "c" * 60, f"{'p' * 28}-{'c' * 28}"),
        ("p" * 100, "c" * 20, f"{'p' * 46}-{'c' * 9}"),
    ],
)
def test_long_names_are_shortened_by_the_same_share(pod_name: str, claim_name: str, made: str) -> None:
    assert generate_name(pod_name, claim_name) == made
    assert len(made) <= 57


def test_a_claim_that_is_not_needed_is_told_from_one_that_is_not_known() -> None:
    known = pod("p", *({"name": name, "resourceClaimTemplateName": "t"} for name in "abc"), SHARED)
    known["status"]["resourceClaimStatuses"] = [{"name": "a", "resourceClaimName": "x"}, {"name": "b"}]
    assert [each.claim for each in claims_of(known)] == ["x", "", None, "shared"]


@pytest.mark.parametrize(
    ("given", "remaining", "release"),
    [
        (claim(user("p")), [user("p")], Release()),
        (claim(user("p"), user("q")), [user("q")],
         Release({"allocation": {"devices": {}}, "reservedFor": [user("q")]})),
        (claim(user("p")), [], Release({}, [])),
        (claim(user("p"), ours=False), [], Release({"allocation": {"devices": {}}})),
        (claim(user("p"), allocated=False), [], Release({}, [])),
        (claim(), [], Release()),  # allocated in advance
        (claim(deletionTimestamp="2026-01-01T00:00:00Z"), [], Release({}, [])),
        (claim(allocated=False, deletionTimestamp="2026-01-01T00:00:00Z"), [], Release(None, [])),
        (claim(user("p"), deletionTimestamp="2026-01-01T00:00:00Z"), [user("p")], Release()),
    ],
)  # fmt: skip
def test_what_the_end_of_a_use_changes(given: Object, remaining: list[Object], release: Release) -> None:
    assert plan_release(given, remaining) == release


def claims(cluster: Cluster) -> list[Object]:
    return cluster.client.objects(RESOURCE_CLAIMS)


def statuses(cluster: Cluster) -> Any:
    return cluster.client.objects(PODS)[0]["status"].get("resourceClaimStatuses")


async def test_a_claim_is_made_from_the_template() -> None:
    async with Cluster(template(), pod(), **CLUSTER) as cluster:
        (made,) = claims(cluster)
        assert made["metadata"]["generateName"] == "p-c-"
        assert made["metadata"]["labels"] == {"a": "b"}
        assert made["metadata"]["annotations"] == {"note": "x", "resource.kubernetes.io/pod-claim-name": "c"}
        assert made["metadata"]["ownerReferences"] == [
            {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "uid-p", "controller": True}
        ]
        assert made["spec"] == template()["spec"]["spec"]
        assert statuses(cluster) == [{"name": "c", "resourceClaimName": name_of(made)}]
        writes = len(cluster.client.written())
        cluster.client.disconnect()
        await cluster.clock.advance(60)
        assert len(cluster.client.written()) == writes


async def test_a_claim_that_was_made_before_is_found_again() -> None:
    """The manager ended between making it and noting it."""
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "uid-p", "controller": True}
    annotations = {"resource.kubernetes.io/pod-claim-name": "c"}
    orphan = claim(name="p-c-abcde", allocated=False, ownerReferences=[owner], annotations=annotations)
    async with Cluster(template(), pod(), orphan, **CLUSTER) as cluster:
        assert [name_of(each) for each in claims(cluster)] == ["p-c-abcde"]
        assert statuses(cluster) == [{"name": "c", "resourceClaimName": "p-c-abcde"}]


async def test_a_claim_that_was_deleted_is_made_again() -> None:
    async with Cluster(template(), pod(), **CLUSTER) as cluster:
        (first,) = claims(cluster)
        cluster.client.remove(RESOURCE_CLAIMS, name_of(first), "default")
        await settle(300)
        (second,) = claims(cluster)
        assert uid_of(second) != uid_of(first)
        assert statuses(cluster) == [{"name": "c", "resourceClaimName": name_of(second)}]


async def test_a_missing_template_is_told_and_waited_for() -> None:
    async with Cluster(pod(), **CLUSTER) as cluster:
        await cluster.run(2)
        assert (
            "Pod",
            "FailedResourceClaimCreation",
            'PodResourceClaim c: resource claim template "gpu": resourceclaimtemplate.resource.k8s.io "gpu" not found',
        ) in cluster.events()
        cluster.client.add(template())
        await settle(300)
        assert len(claims(cluster)) == 1


async def test_two_claims_are_noted_together() -> None:
    entries = [{"name": name, "resourceClaimTemplateName": "gpu"} for name in "ab"]
    async with Cluster(template(), pod("p", *entries), **CLUSTER) as cluster:
        assert sorted(each["name"] for each in statuses(cluster)) == ["a", "b"]


async def test_a_pod_that_was_put_on_a_node_by_hand_reserves_its_claim() -> None:
    async with Cluster(claim(user("q")), pod("p", SHARED, nodeName="n"), pod("q", SHARED), **CLUSTER) as cluster:
        assert claims(cluster)[0]["status"]["reservedFor"] == [user("q"), user("p")]


@pytest.mark.parametrize("how", ["deleted", "finished", "replaced"])
async def test_a_pod_that_ends_lets_go(how: str) -> None:
    async with Cluster(claim(user("p"), user("q")), pod("p", SHARED), pod("q", SHARED), **CLUSTER) as cluster:
        if how == "finished":
            cluster.client.change(PODS, "p", "default", lambda obj: obj["status"].update(phase="Succeeded"))
        else:
            cluster.client.remove(PODS, "p", "default")
            if how == "replaced":
                cluster.client.add(pod("p", SHARED) | {"metadata": {"name": "p", "namespace": "default", "uid": "new"}})
        await settle(300)
        (found,) = claims(cluster)
        assert found["status"]["reservedFor"] == [user("q")]
        assert found["status"]["allocation"]


async def test_the_last_one_takes_the_allocation_with_it() -> None:
    async with Cluster(claim(user("p")), pod("p", SHARED), **CLUSTER) as cluster:
        cluster.client.remove(PODS, "p", "default")
        await settle(300)
        (found,) = claims(cluster)
        assert (found.get("status") or {}) == {}
        assert not found["metadata"].get("finalizers")


async def test_pods_that_nobody_knows_hold_nothing() -> None:
    async with Cluster(claim(user("gone"), user("other", "old")), pod("other", SHARED), **CLUSTER) as cluster:
        await settle(300)
        assert not (claims(cluster)[0].get("status") or {}).get("reservedFor")


async def test_generated_claims_of_finished_pods_are_deleted() -> None:
    async with Cluster(template(), pod(), **CLUSTER) as cluster:
        assert len(claims(cluster)) == 1
        cluster.client.change(PODS, "p", "default", lambda obj: obj["status"].update(phase="Failed"))
        await settle(300)
        assert claims(cluster) == []


async def test_others_templates_concern_nobody() -> None:
    async with Cluster(pod(), **CLUSTER) as cluster:
        before = len(cluster.client.written())
        cluster.client.add(template("other"))
        cluster.client.change(
            RESOURCE_CLAIM_TEMPLATES, "other", "default", lambda obj: obj["metadata"].update(labels={})
        )
        await settle(300)
        assert len(cluster.client.written()) == before
