"""Where a pod's claims let it go.

Source: kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode and
kubernetes.io/docs/concepts/storage/persistent-volumes/#node-affinity
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.controllers.volumes.objects import claim, reference, storage_class, volume
from tests.unit.scheduler.clusters import decide
from tests.unit.scheduler.objects import node, pod
from timonel.api.objects import Object, ObjectKey
from timonel.api.volumes import BIND_COMPLETED, SELECTED_NODE, request_of, size_of
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import Attempt
from timonel.scheduler.core.plugins import FILTERS
from timonel.scheduler.core.schedule import NoFit
from timonel.scheduler.core.volumes import VolumePlan

WAITING = storage_class(mode="WaitForFirstConsumer")
BY_HAND = storage_class(mode="WaitForFirstConsumer", provisioner="kubernetes.io/no-provisioner")
KEY = ObjectKey("default", "data")


def on(*names: str) -> Object:
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(names)}
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}


def bound(name: str = "data", to: str = "v1", **more: object) -> Object:
    return claim(name, annotations={BIND_COMPLETED: "yes"}, volumeName=to, status={"phase": "Bound"}, **more)


def using(*claims: str, name: str = "x", **more: object) -> Object:
    volumes = [{"name": each, "persistentVolumeClaim": {"claimName": each}} for each in claims]
    return pod(name, volumes=volumes, **more)


def cluster_with(*objects: Object, nodes: int = 3, **labels: dict[str, str]) -> Cluster:
    cluster = Cluster()
    for number in range(1, nodes + 1):
        cluster.put_node(node(f"n{number}", labels=labels.get(f"n{number}", {})))
    for obj in objects:
        known = cluster.volumes
        put = {
            "PersistentVolumeClaim": known.put_claim,
            "PersistentVolume": known.put_volume,
            "StorageClass": known.put_class,
            "CSINode": known.put_limits,
            "Pod": lambda each: cluster.put_pod(cluster.parse_pod(each)),
        }
        put[obj["kind"]](obj)
    return cluster


def allowed(cluster: Cluster, asked: Object) -> set[str]:
    refused: set[str] = set()
    attempt = Attempt(cluster.parse_pod(asked))
    for plugin in FILTERS:
        for refusal in plugin.refuse(cluster, attempt):
            refused |= {name for name, slot in cluster.nodes.slots.items() if refusal.mask[slot]}
    return cluster.nodes.slots.keys() - refused


def message(cluster: Cluster, asked: Object) -> str:
    decision = decide(cluster, asked)
    assert isinstance(decision, NoFit)
    return decision.message.partition(" no new claims")[0]


@pytest.mark.parametrize(
    ("objects", "why"),
    [
        ([], 'persistentvolumeclaim "data" not found'),
        ([claim(), storage_class()], "pod has unbound immediate PersistentVolumeClaims"),
        ([claim()], "pod has unbound immediate PersistentVolumeClaims"),
        ([claim(volumeName="v1"), WAITING], "pod has unbound immediate PersistentVolumeClaims"),
        (
            [claim(status={"phase": "Lost"}, volumeName="v1")],
            'persistentvolumeclaim "data" bound to non-existent persistentvolume "v1"',
        ),
    ],
)
def test_claims_that_let_a_pod_go_nowhere(objects: list[Object], why: str) -> None:
    assert message(cluster_with(*objects), using("data")) == f"0/3 nodes are available: {why}."


def test_a_claim_that_is_going() -> None:
    going = bound()
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert 'persistentvolumeclaim "data" is being deleted' in message(cluster_with(going), using("data"))


def test_ephemeral_volumes_wait_for_a_claim_of_their_own() -> None:
    asked = pod("x", volumes=[{"name": "scratch", "ephemeral": {}}])
    assert message(cluster_with(), asked) == (
        "0/3 nodes are available: waiting for ephemeral volume controller to create the persistentvolumeclaim "
        '"x-scratch".'
    )
    foreign = cluster_with(claim("x-scratch"), WAITING)
    assert "PVC default/x-scratch was not created for pod default/x (pod is not owner)" in message(foreign, asked)
    own = claim("x-scratch")
    own["metadata"]["ownerReferences"] = [{"kind": "Pod", "uid": asked["metadata"]["uid"], "controller": True}]
    assert allowed(cluster_with(own, WAITING), asked) == {"n1", "n2", "n3"}


def test_a_bound_volume_draws_the_pod_to_its_nodes() -> None:
    cluster = cluster_with(bound(), volume(nodeAffinity=on("n2")))
    assert allowed(cluster, using("data")) == {"n2"}
    assert allowed(cluster_with(bound(), volume()), using("data")) == {"n1", "n2", "n3"}
    nowhere = cluster_with(bound(), volume(nodeAffinity=on("n9")))
    assert message(nowhere, using("data")) == (
        "0/3 nodes are available: 3 node(s) didn't match PersistentVolume's node affinity."
    )
    assert "3 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)" in message(
        cluster_with(bound()), using("data")
    )


def test_waiting_claims_go_where_a_volume_is_or_can_be_made() -> None:
    local = volume(nodeAffinity=on("n2"))
    assert allowed(cluster_with(claim(), BY_HAND, local), using("data")) == {"n2"}
    assert allowed(cluster_with(claim(), WAITING, local), using("data")) == {"n1", "n2", "n3"}
    assert "3 node(s) didn't find available persistent volumes to bind" in message(
        cluster_with(claim(), BY_HAND), using("data")
    )


def test_what_is_planned_at_each_node() -> None:
    cluster = cluster_with(claim(), WAITING, volume(nodeAffinity=on("n2")))
    asked = cluster.parse_pod(using("data"))
    slots = cluster.nodes.slots
    assert cluster.volumes.plan(asked, slots["n2"]) == VolumePlan(bind=((KEY, "v1"),))
    assert cluster.volumes.plan(asked, slots["n1"]) == VolumePlan(provision=(KEY,))


def test_two_claims_never_get_one_volume() -> None:
    cluster = cluster_with(
        claim("a"), claim("b", "2Gi"), BY_HAND,
        volume("small", "1Gi", nodeAffinity=on("n1", "n2")), volume("large", "5Gi", nodeAffinity=on("n1", "n3")),
    )  # fmt: skip
    assert allowed(cluster, using("a", "b")) == {"n1"}
    plan = cluster.volumes.plan(cluster.parse_pod(using("a", "b")), cluster.nodes.slots["n1"])
    assert dict(plan.bind) == {ObjectKey("default", "a"): "small", ObjectKey("default", "b"): "large"}


def test_what_was_promised_is_not_offered_again() -> None:
    cluster = cluster_with(claim(), claim("other"), BY_HAND, volume())
    plan = cluster.volumes.plan(cluster.parse_pod(using("data")), 0)
    cluster.volumes.assume(plan, "n1")
    assert allowed(cluster, using("other")) == set()
    assert allowed(cluster, using("data")) == {"n1", "n2", "n3"}
    cluster.volumes.forget(plan)
    assert allowed(cluster, using("other")) == {"n1", "n2", "n3"}


def test_a_reserved_volume_is_the_only_one() -> None:
    reserved = volume(nodeAffinity=on("n3"), claimRef=reference())
    assert allowed(cluster_with(claim(), WAITING, reserved, volume("v2")), using("data")) == {"n3"}


def test_a_claim_whose_node_is_chosen_stays_there() -> None:
    chosen = claim(annotations={SELECTED_NODE: "n2"})
    assert allowed(cluster_with(chosen, WAITING), using("data")) == {"n2"}
    cluster = cluster_with(claim(), WAITING)
    plan = VolumePlan(provision=(KEY,))
    cluster.volumes.assume(plan, "n3")
    assert allowed(cluster, using("data")) == {"n3"}


def test_allowed_topologies() -> None:
    topologies = [{"matchLabelExpressions": [{"key": "rack", "values": ["a", "b"]}]}]
    limited = storage_class(mode="WaitForFirstConsumer", allowedTopologies=topologies)
    cluster = cluster_with(claim(), limited, n1={"rack": "a"}, n2={"rack": "c"}, n3={"rack": "b"})
    assert allowed(cluster, using("data")) == {"n1", "n3"}


def test_one_pod_at_a_time() -> None:
    single = bound(modes=["ReadWriteOncePod"])
    cluster = cluster_with(single, volume(modes=["ReadWriteOncePod"]))
    assert allowed(cluster, using("data")) == {"n1", "n2", "n3"}
    user = using("data", name="user", on="n1")
    cluster.put_pod(cluster.parse_pod(user))
    assert allowed(cluster, using("data")) == set()
    cluster.remove_pod(user["metadata"]["uid"])
    assert allowed(cluster, using("data")) == {"n1", "n2", "n3"}


def test_disks_without_a_claim() -> None:
    def disk(read_only: bool, **more: object) -> Object:
        source = {"pdName": "disk-1", "readOnly": read_only}
        return pod("x", volumes=[{"name": "d", "gcePersistentDisk": source}], **more)

    cluster = cluster_with(disk(True, on="n1"))
    assert allowed(cluster, disk(True)) == {"n1", "n2", "n3"}
    assert allowed(cluster, disk(False)) == {"n2", "n3"}


def csi(name: str) -> Object:
    return volume(name, hostPath=None, csi={"driver": "d.example.com", "volumeHandle": name})


def test_no_more_volumes_than_a_driver_can_have_on_a_node() -> None:
    limits = {
        "kind": "CSINode", "apiVersion": "storage.k8s.io/v1", "metadata": {"name": "n1"},
        "spec": {"drivers": [{"name": "d.example.com", "nodeID": "n1", "allocatable": {"count": 1}}]},
    }  # fmt: skip
    cluster = cluster_with(bound("a", "v1"), bound("b", "v2"), csi("v1"), csi("v2"), limits)
    assert allowed(cluster, using("b")) == {"n1", "n2", "n3"}
    cluster.put_pod(cluster.parse_pod(using("a", on="n1")))
    assert allowed(cluster, using("b")) == {"n2", "n3"}
    assert allowed(cluster, using("a")) == {"n1", "n2", "n3"}  # it is there already
    cluster.volumes.remove_limits("n1")
    assert allowed(cluster, using("b")) == {"n1", "n2", "n3"}


def test_volumes_of_a_zone() -> None:
    zone = "topology.kubernetes.io/zone"
    cluster = cluster_with(bound(), volume(labels={zone: "a__b"}), n1={zone: "a"}, n2={zone: "c"})
    assert allowed(cluster, using("data")) == {"n1", "n3"}  # a node without zones is no obstacle


def test_a_volume_that_is_taken_is_found_no_more() -> None:
    cluster = cluster_with(claim(), BY_HAND, volume())
    assert allowed(cluster, using("data")) == {"n1", "n2", "n3"}
    cluster.volumes.put_volume(volume(claimRef=reference("other")))
    assert allowed(cluster, using("data")) == set()
    cluster.volumes.remove_volume("v1")
    cluster.volumes.remove_volume("v1")
    assert allowed(cluster, using("data")) == set()


def reachable(found: Object, name: str) -> bool:
    affinity = found["spec"].get("nodeAffinity")
    if affinity is None:
        return True
    (term,) = affinity["required"]["nodeSelectorTerms"]
    return name in term["matchExpressions"][0]["values"]


def fits(name: str, claims: list[Object], volumes: list[Object], provisions: bool) -> bool:
    """One node, one claim after the other: the small ones first, each the smallest volume that is left."""
    taken: set[str] = set()
    for asked in sorted(claims, key=request_of):
        free = [
            each
            for each in volumes
            if size_of(each) >= request_of(asked) and reachable(each, name) and each["metadata"]["name"] not in taken
        ]
        if free:
            taken.add(min(free, key=lambda each: (size_of(each), each["metadata"]["name"]))["metadata"]["name"])
        elif not provisions:
            return False
    return True


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(1, 6), st.none() | st.sets(st.sampled_from(["n1", "n2", "n3"]))), max_size=5),
    st.booleans(),
)
def test_against_one_node_at_a_time(
    sizes: list[int], found: list[tuple[int, set[str] | None]], provisions: bool
) -> None:
    claims = [claim(f"c{number}", f"{size}Gi") for number, size in enumerate(sizes)]
    volumes = [
        volume(f"v{number}", f"{size}Gi", **({} if nodes is None else {"nodeAffinity": on(*sorted(nodes))}))
        for number, (size, nodes) in enumerate(found)
    ]
    cluster = cluster_with(*claims, *volumes, WAITING if provisions else BY_HAND)
    asked = using(*(each["metadata"]["name"] for each in claims))
    expected = {name for name in ("n1", "n2", "n3") if fits(name, claims, volumes, provisions)}
    assert allowed(cluster, asked) == expected
    for name in expected:
        plan = cluster.volumes.plan(cluster.parse_pod(asked), cluster.nodes.slots[name])
        assert len(plan.claims) == len(claims)
        assert len({volume_name for _, volume_name in plan.bind}) == len(plan.bind)
        assert all(reachable(cluster.volumes.volumes[volume_name], name) for _, volume_name in plan.bind)
