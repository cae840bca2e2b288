"""The garbage collector and kinds that come, go, and cannot be read; owners that are not where they should be."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.controllers.cluster import Cluster, namespace
from tests.unit.controllers.test_garbage_and_namespaces import configmap, names
from timonel.api.errors import InternalError
from timonel.api.objects import name_of, owner_references, uid_of
from timonel.api.refs import (
    CLUSTER_ROLES,
    CONFIGMAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    EVENTS,
    EVENTS_V1,
    PODS,
    ResourceRef,
)
from timonel.client.discovery import Discovery, ServedResource
from timonel.controllers.garbage.kinds import plan_kinds
from timonel.controllers.manager import CONTROLLERS

WIDGETS = ResourceRef("example.com", "v1", "widgets", "Widget", True)
ALL = frozenset({"create", "delete", "get", "list", "patch", "update", "watch"})


def widget(name="w", **metadata):
    return {
        "kind": "Widget",
        "apiVersion": "example.com/v1",
        "metadata": {"name": name, "namespace": "default"} | metadata,
    }


def definition():
    return {
        "kind": "CustomResourceDefinition",
        "apiVersion": CUSTOM_RESOURCE_DEFINITIONS.api_version,
        "metadata": {"name": "widgets.example.com"},
    }


async def install(cluster):
    """As when a CustomResourceDefinition is accepted: it is there, then it is served, then its status says so."""
    await cluster.client.create(CUSTOM_RESOURCE_DEFINITIONS, definition())
    cluster.client.served = (*cluster.client.served, WIDGETS)
    cluster.client.change(
        CUSTOM_RESOURCE_DEFINITIONS, "widgets.example.com", "", lambda obj: obj.update(status={"conditions": []})
    )
    await cluster.run(2)


async def remove(cluster):
    cluster.client.served = tuple(ref for ref in cluster.client.served if ref != WIDGETS)
    cluster.client.remove(CUSTOM_RESOURCE_DEFINITIONS, "widgets.example.com")
    await cluster.run(2)


def reference(owner, **changes):
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": uid_of(owner),
    } | changes


async def test_objects_of_a_kind_that_came_later_own_and_are_owned():
    async with Cluster() as cluster:
        await install(cluster)
        parent = await cluster.client.create(WIDGETS, widget("parent"))
        await cluster.client.create(WIDGETS, widget("child", ownerReferences=[reference(parent)]))
        cluster.client.add(configmap("leaf", owners=[parent]))
        await cluster.run(1)
        assert [name_of(each) for each in cluster.client.objects(WIDGETS)] == ["child", "parent"]
        await cluster.client.delete(WIDGETS, "parent", "default", propagation_policy="Foreground")
        await cluster.run(2)
        assert cluster.client.objects(WIDGETS) == []
        assert names(cluster, CONFIGMAPS) == []


async def test_owner_of_a_kind_that_is_not_served_is_looked_for_when_it_is():
    gone = widget("gone", uid="gone-uid")
    async with Cluster(configmap("a", owners=[gone])) as cluster:
        await cluster.run(2)
        assert names(cluster, CONFIGMAPS) == ["a"]
        await install(cluster)
        assert names(cluster, CONFIGMAPS) == []


async def test_kind_that_is_no_longer_served_is_let_go_and_its_dependents_stay():
    async with Cluster() as cluster:
        await install(cluster)
        owner = await cluster.client.create(WIDGETS, widget())
        cluster.client.add(configmap("a", owners=[owner]))
        await cluster.run(1)
        await remove(cluster)
        cluster.client.reads.clear()
        await cluster.run(30)
        assert not [read for read in cluster.client.reads if read[1] == WIDGETS]
        assert names(cluster, CONFIGMAPS) == ["a"]
        await install(cluster)
        await cluster.client.delete(WIDGETS, "w", "default")
        await cluster.run(1)
        assert names(cluster, CONFIGMAPS) == []


async def test_nothing_is_discovered_again_while_no_kind_changes():
    async with Cluster() as cluster:
        await cluster.run(1)
        raw, asked = cluster.client.raw, []

        async def count(method, path, **options):
            asked.append(path)
            return await raw(method, path, **options)

        cluster.client.raw = count
        await cluster.run(120, step=5)
        assert asked == []


async def test_kind_that_cannot_be_listed_holds_up_no_other():
    subject = Cluster(configmap("orphan", owners=[configmap("ghost", uid="ghost-uid")]), without=("resourcequota",))
    subject.client.served = (*subject.client.served, WIDGETS)
    subject.client.fail(InternalError("conversion webhook is broken"), verb="list", ref=WIDGETS, times=10**6)
    async with subject as cluster:
        await cluster.run(40, step=1)
        assert names(cluster, CONFIGMAPS) == []


async def test_dependents_that_could_not_be_read_when_their_owner_set_them_free_stay():
    subject = Cluster(configmap("owner", uid="owner-uid"), without=("resourcequota",))
    client = subject.client
    client.served = (*client.served, WIDGETS)
    await client.create(WIDGETS, widget("child", ownerReferences=[reference(configmap("owner", uid="owner-uid"))]))
    client.fail(InternalError("conversion webhook is broken"), verb="list", ref=WIDGETS, times=12)
    async with subject as cluster:
        await cluster.run(32, step=1)
        assert ("list", WIDGETS) in client.reads
        await client.delete(CONFIGMAPS, "owner", "default", propagation_policy="Orphan")
        await cluster.run(2)
        assert names(cluster, CONFIGMAPS) == []
        await cluster.run(60, step=1)
        [child] = client.objects(WIDGETS)
        assert owner_references(child) == []


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_owner_is_found_whichever_version_is_named(version):
    async with Cluster() as cluster:
        await install(cluster)
        owner = await cluster.client.create(WIDGETS, widget())
        cluster.client.add(configmap("a"))
        references = {"metadata": {"ownerReferences": [reference(owner, apiVersion=f"example.com/{version}")]}}
        await cluster.client.patch(CONFIGMAPS, "a", references, "default", type="merge")
        await cluster.run(1)
        assert names(cluster, CONFIGMAPS) == ["a"]
        await cluster.client.delete(WIDGETS, "w", "default")
        await cluster.run(1)
        assert names(cluster, CONFIGMAPS) == []


async def test_owner_in_another_namespace_is_none_and_an_event_says_so():
    elsewhere = configmap("owner", "other", uid="owner-uid")
    async with Cluster(namespace("other"), elsewhere) as cluster:
        cluster.client.add(configmap("a", owners=[elsewhere]))
        await cluster.run(2)
        assert names(cluster, CONFIGMAPS) == []
        [event] = [each for each in cluster.client.objects(EVENTS) if each["reason"] == "OwnerRefInvalidNamespace"]
        assert (event["type"], event["involvedObject"]["kind"], event["involvedObject"]["name"]) == (
            "Warning", "ConfigMap", "a",
        )  # fmt: skip
        assert event["message"] == (
            "ownerRef [v1/ConfigMap, namespace: default, name: owner, uid: owner-uid] "
            'does not exist in namespace "default"'
        )


async def test_cluster_wide_object_with_an_owner_in_a_namespace_stays_and_an_event_says_so():
    owner = configmap("owner", uid="owner-uid")
    metadata = {"name": "r", "ownerReferences": [reference(owner)]}
    role = {"kind": "ClusterRole", "apiVersion": CLUSTER_ROLES.api_version, "metadata": metadata, "rules": []}
    async with Cluster(role) as cluster:
        await cluster.run(2)
        assert [name_of(each) for each in cluster.client.objects(CLUSTER_ROLES)] == ["r"]
        reasons = [each["reason"] for each in cluster.client.objects(EVENTS)]
        assert "OwnerRefInvalidNamespace" in reasons


def served(*refs, verbs=ALL):
    return tuple(ServedResource(ref, verbs) for ref in refs)


@pytest.mark.parametrize(
    ("known", "found", "expected"),
    [
        ((), Discovery(served(PODS, EVENTS, EVENTS_V1)), {PODS}),
        ((), Discovery(served(PODS, verbs=ALL - {"delete"})), set()),
        ((PODS, WIDGETS), Discovery(served(PODS)), {PODS}),
        ((PODS, WIDGETS), Discovery(served(PODS), {"example.com/v1": InternalError("x")}), {PODS, WIDGETS}),
        ((PODS, WIDGETS), Discovery(served(WIDGETS), {"v1": InternalError("x")}), {PODS, WIDGETS}),
    ],
)  # fmt: skip
def test_kinds_to_watch(known, found, expected):
    assert set(plan_kinds({(ref.group, ref.plural): ref for ref in known}, found).values()) == expected


@st.composite
def graphs(draw):
    """Owner references by object, of objects that name only earlier ones, or "ghost", which never was."""
    count = draw(st.integers(1, 7))
    owners = [
        draw(st.lists(st.sampled_from([*range(number), "ghost"]), max_size=3, unique=True)) for number in range(count)
    ]
    blocking = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    return (
        owners,
        blocking,
        draw(st.integers(0, count - 1)),
        draw(st.sampled_from(["Background", "Foreground", "Orphan"])),
    )


def remaining(owners, deleted, policy):
    """The rule: what has had owners and has none left goes; who sets its dependents free is owner to nobody."""
    owners = dict(enumerate(owners))
    gone = set()

    def collect():
        changed = True
        while changed:
            changed = False
            for number, of in owners.items():
                if number not in gone and of and all(each == "ghost" or each in gone for each in of):
                    gone.add(number)
                    changed = True

    collect()
    owners = {number: [each for each in of if each not in gone and each != "ghost"] for number, of in owners.items()}
    if deleted not in gone:
        if policy == "Orphan":
            owners = {number: [each for each in of if each != deleted] for number, of in owners.items()}
        gone.add(deleted)
        collect()
    return {
        f"o{number}": {f"o{each}" for each in of if each not in gone}
        for number, of in owners.items()
        if number not in gone
    }


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_what_is_left_of_any_graph_of_owners_is_what_the_rule_says(graph):
    owners, blocking, deleted, policy = graph

    async def check():
        subjects = []
        for number, of in enumerate(owners):
            subject = configmap(f"o{number}", uid=f"uid-{number}")
            references = [
                {"apiVersion": "v1", "kind": "ConfigMap", "name": f"o{each}", "uid": f"uid-{each}",
                 "blockOwnerDeletion": blocking[number]}
                for each in of
            ]  # fmt: skip
            subjects.append(subject | {"metadata": subject["metadata"] | {"ownerReferences": references}})
        others = [name for name, _, _ in CONTROLLERS if name != "garbage-collector"]
        async with Cluster(*subjects, without=others) as cluster:
            await cluster.run(1)
            if f"o{deleted}" in names(cluster, CONFIGMAPS):
                await cluster.client.delete(CONFIGMAPS, f"o{deleted}", "default", propagation_policy=policy)
            await cluster.run(4)
            found = {
                name_of(obj): {each["name"] for each in owner_references(obj)}
                for obj in cluster.client.objects(CONFIGMAPS, "default")
            }
        assert found == remaining(owners, deleted, policy)

    asyncio.run(check())
