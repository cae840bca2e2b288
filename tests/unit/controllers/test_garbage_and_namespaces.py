"""What goes when its owner goes, and how a namespace ends."""

from tests.unit.controllers.cluster import Cluster, deployment, namespace, node
from timonel.api.errors import Forbidden
from timonel.api.objects import find_by, name_of, owner_references, uid_of
from timonel.api.refs import (
    CONFIGMAPS,
    DEPLOYMENTS,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICE_ACCOUNTS,
)
from timonel.controllers.manager import ManagerConfig


def configmap(name, namespace="default", owners=(), **metadata):
    references = [
        {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": name_of(owner), "uid": uid_of(owner)}
        for owner in owners
    ]
    fields = {"name": name, "namespace": namespace, **metadata}
    if references:
        fields["ownerReferences"] = references
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": fields}


def names(cluster, ref):
    return [name_of(obj) for obj in cluster.client.objects(ref, "default") if not name_of(obj).startswith("kube-root")]


async def test_background_deletion_takes_everything_below():
    async with Cluster(deployment(), node("node-1")) as cluster:
        await cluster.run(5)
        await cluster.client.delete(DEPLOYMENTS, "web", "default")
        await cluster.run(5)
        assert cluster.replica_sets == []
        assert cluster.pods == []


async def test_foreground_deletion_keeps_the_owner_to_the_end():
    async with Cluster(deployment(), node("node-1")) as cluster:
        await cluster.run(5)
        await cluster.client.delete(DEPLOYMENTS, "web", "default", propagation_policy="Foreground")
        order = []

        def observe():
            order.append((len(cluster.client.objects(DEPLOYMENTS)), len(cluster.replica_sets), len(cluster.pods)))

        cluster.observe = observe
        await cluster.run(8)
        assert (1, 1, 3) in order
        assert order[-1] == (0, 0, 0)
        assert all(deployments or not pods for deployments, _, pods in order)


async def test_foreground_deletion_opens_a_circle_of_owners():
    async with Cluster(configmap("a"), configmap("b"), configmap("c")) as cluster:
        for owner, name in [("c", "a"), ("a", "b"), ("b", "c")]:
            uid = uid_of(await cluster.client.get(CONFIGMAPS, owner, "default"))
            reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": uid}
            patch = {"metadata": {"ownerReferences": [reference | {"controller": True, "blockOwnerDeletion": True}]}}
            await cluster.client.patch(CONFIGMAPS, name, patch, "default", type="merge")
        await cluster.run(1)
        await cluster.client.delete(CONFIGMAPS, "a", "default", propagation_policy="Foreground")
        await cluster.run(5)
        assert names(cluster, CONFIGMAPS) == []


async def test_orphaning_deletion_frees_the_dependents():
    async with Cluster(deployment(), node("node-1")) as cluster:
        await cluster.run(5)
        await cluster.client.delete(DEPLOYMENTS, "web", "default", propagation_policy="Orphan")
        await cluster.run(5)
        assert cluster.client.objects(DEPLOYMENTS) == []
        assert len(cluster.serving()) == 3
        assert owner_references(cluster.replica_sets[0]) == []


async def test_object_with_one_living_owner_stays_and_loses_the_other():
    async with Cluster(configmap("a"), configmap("b")) as cluster:
        first, second = (obj for obj in cluster.client.objects(CONFIGMAPS, "default"))
        cluster.client.add(configmap("c", owners=[first, second]))
        await cluster.run(1)
        await cluster.client.delete(CONFIGMAPS, "a", "default")
        await cluster.run(1)
        kept = cluster.client.objects(CONFIGMAPS, "default")[-1]
        assert [reference["name"] for reference in owner_references(kept)] == ["b"]
        await cluster.client.delete(CONFIGMAPS, "b", "default")
        await cluster.run(1)
        assert names(cluster, CONFIGMAPS) == []


async def test_object_whose_owner_never_existed_goes_but_not_one_of_an_unknown_kind():
    ghost = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "ghost", "uid": "x"}}
    unknown = {"kind": "Thing", "apiVersion": "example.com/v1", "metadata": {"name": "t", "uid": "y"}}
    async with Cluster(configmap("a", owners=[ghost]), configmap("b", owners=[unknown])) as cluster:
        await cluster.run(1)
        assert names(cluster, CONFIGMAPS) == ["b"]


async def test_new_object_of_the_same_name_is_not_the_owner():
    async with Cluster(configmap("a")) as cluster:
        [owner] = cluster.client.objects(CONFIGMAPS, "default")
        cluster.client.add(configmap("b", owners=[owner]))
        await cluster.run(1)
        cluster.client.remove(CONFIGMAPS, "a", "default")
        cluster.client.add(configmap("a"))
        await cluster.run(1)
        assert names(cluster, CONFIGMAPS) == ["a"]


async def test_namespace_gets_its_account_and_authority():
    config = ManagerConfig(leader_election=False, root_ca="PEM")
    async with Cluster(config=config) as cluster:
        await cluster.client.create(NAMESPACES, {"metadata": {"name": "new"}})
        await cluster.run(1)
        [account] = cluster.client.objects(SERVICE_ACCOUNTS, "new")
        assert name_of(account) == "default"
        [authority] = cluster.client.objects(CONFIGMAPS, "new")
        assert (name_of(authority), authority["data"]) == ("kube-root-ca.crt", {"ca.crt": "PEM"})
        await cluster.client.delete(SERVICE_ACCOUNTS, "default", "new")
        await cluster.client.delete(CONFIGMAPS, "kube-root-ca.crt", "new")
        await cluster.run(1)
        assert len(cluster.client.objects(SERVICE_ACCOUNTS, "new")) == 1
        assert len(cluster.client.objects(CONFIGMAPS, "new")) == 1


async def test_token_secret_goes_with_its_account():
    account = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "robot", "namespace": "default"}}
    async with Cluster(account) as cluster:
        uid = uid_of(next(a for a in cluster.client.objects(SERVICE_ACCOUNTS) if name_of(a) == "robot"))
        annotations = {"kubernetes.io/service-account.name": "robot", "kubernetes.io/service-account.uid": uid}
        secret = {
            "kind": "Secret",
            "apiVersion": "v1",
            "metadata": {"name": "token", "namespace": "default", "annotations": annotations},
            "type": "kubernetes.io/service-account-token",
        }
        cluster.client.add(secret)
        await cluster.run(1)
        assert names(cluster, SECRETS) == ["token"]
        await cluster.client.delete(SERVICE_ACCOUNTS, "robot", "default")
        await cluster.run(1)
        assert names(cluster, SECRETS) == []


async def test_namespace_ends_pods_first_then_the_rest():
    subject = deployment()
    subject["metadata"]["namespace"] = "doomed"
    async with Cluster(namespace("doomed"), subject, configmap("a", "doomed"), node("node-1"), grace=5) as cluster:
        await cluster.run(4)
        assert len(cluster.client.objects(PODS, "doomed")) == 3
        forbidden = Forbidden("terminating", details={"causes": [{"reason": "NamespaceTerminating"}]})
        cluster.client.fail(forbidden, verb="create", times=10**6)
        await cluster.client.delete(NAMESPACES, "doomed")
        await cluster.run(2)
        [doomed] = [item for item in cluster.client.objects(NAMESPACES) if name_of(item) == "doomed"]
        remaining = cluster.condition("NamespaceContentRemaining", doomed)
        assert (remaining["status"], remaining["reason"]) == ("True", "SomeResourcesRemain")
        assert remaining["message"] == "Some resources are remaining: pods. has 3 resource instances"
        healthy = cluster.condition("NamespaceDeletionDiscoveryFailure", doomed)
        assert (healthy["status"], healthy["reason"]) == ("False", "ResourcesDiscovered")
        assert names_in(cluster, "doomed", CONFIGMAPS) == ["a"]
        await cluster.run(8)
        assert [name_of(item) for item in cluster.client.objects(NAMESPACES)] == ["default"]
        for ref in (PODS, REPLICA_SETS, DEPLOYMENTS, CONFIGMAPS, SERVICE_ACCOUNTS):
            assert cluster.client.objects(ref, "doomed") == []


def names_in(cluster, where, ref):
    return [name_of(obj) for obj in cluster.client.objects(ref, where)]


async def test_finalizer_in_a_namespace_holds_it_and_is_named():
    held = configmap("held", "doomed", finalizers=["example.com/hold"])
    async with Cluster(namespace("doomed"), held) as cluster:
        await cluster.client.delete(NAMESPACES, "doomed")
        await cluster.run(2)
        doomed = cluster.client.objects(NAMESPACES)[1]
        found = find_by(doomed["status"]["conditions"], "type", "NamespaceFinalizersRemaining")
        assert found["message"] == (
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
        )
        await cluster.client.patch(CONFIGMAPS, "held", {"metadata": {"finalizers": None}}, "doomed", type="merge")
        await cluster.run(5)
        assert len(cluster.client.objects(NAMESPACES)) == 1


async def test_group_that_does_not_answer_is_named_and_everything_else_goes():
    subject = Cluster(namespace("doomed"), configmap("a", "doomed"), without=("resourcequota",))
    raw, broken = subject.client.raw, set()

    async def answer(method, path, **options):
        if path in broken:
            return 503, {}, b'{"kind":"Status","code":503,"reason":"ServiceUnavailable","message":"away"}'
        return await raw(method, path, **options)

    subject.client.raw = answer
    async with subject as cluster:
        broken |= {"/apis/batch/v1"}
        await cluster.client.delete(NAMESPACES, "doomed")
        await cluster.run(2)
        [doomed] = [item for item in cluster.client.objects(NAMESPACES) if name_of(item) == "doomed"]
        found = find_by(doomed["status"]["conditions"], "type", "NamespaceDeletionDiscoveryFailure")
        assert (found["status"], found["reason"]) == ("True", "DiscoveryFailed")
        assert found["message"] == (
            "Discovery failed for some groups, 1 failing: "
            "unable to retrieve the complete list of server APIs: batch/v1: away"
        )
        assert names_in(cluster, "doomed", CONFIGMAPS) == []
        broken.clear()
        await cluster.run(5)
        assert [name_of(item) for item in cluster.client.objects(NAMESPACES)] == ["default"]


async def test_lease_of_a_node_goes_with_its_node():
    subject = node("node-1", uid="node-uid")
    owner = {"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "node-uid"}
    metadata = {"name": "node-1", "namespace": "kube-node-lease", "ownerReferences": [owner]}
    lease = {"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": metadata, "spec": {}}
    async with Cluster(subject, lease) as cluster:
        cluster.dead.add("node-1")
        await cluster.run(2)
        assert names_in(cluster, "kube-node-lease", LEASES) == ["node-1"]
        await cluster.client.delete(NODES, "node-1")
        await cluster.run(2)
        assert names_in(cluster, "kube-node-lease", LEASES) == []
