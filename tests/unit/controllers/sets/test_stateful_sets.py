"""StatefulSets among the other controllers, in virtual time: order, updates, claims, and whatever goes wrong."""

from tests.unit.controllers.cluster import Cluster, node
from timonel.api.errors import forbidden
from timonel.api.objects import is_deleting, labels_of, name_of, uid_of
from timonel.api.refs import CONTROLLER_REVISIONS, PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS
from timonel.controllers.pods import is_ready

OTHERS = ("root-ca-cert-publisher", "serviceaccount", "namespace", "garbage-collector", "pod-garbage-collector")
HASH = "controller-revision-hash"


def stateful_set(replicas=3, image="a:1", name="web", **spec):
    return {
        "kind": "StatefulSet",
        "apiVersion": "apps/v1",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "serviceName": name,
            "selector": {"matchLabels": {"app": name}},
            "revisionHistoryLimit": 10,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
            **spec,
        },
    }


def volumes(**policy):
    template = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    return {
        "volumeClaimTemplates": [template],
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain", **policy},
    }


def the_set(cluster):
    return cluster.client.objects(STATEFUL_SETS)[0]


def change(cluster, **spec):
    def apply(obj):
        obj["spec"].update(spec)
        obj["metadata"]["generation"] = obj["metadata"].get("generation", 0) + 1

    cluster.client.change(STATEFUL_SETS, "web", "default", apply)


def set_image(cluster, image):
    change(cluster, template=stateful_set(image=image)["spec"]["template"])


def names(cluster, ref=PODS):
    return [name_of(obj) for obj in cluster.client.objects(ref)]


def images(cluster):
    return [pod["spec"]["containers"][0]["image"] for pod in cluster.pods]


def revisions(cluster):
    found = sorted(cluster.client.objects(CONTROLLER_REVISIONS), key=lambda item: item["revision"])
    return [(item["revision"], item["data"]["spec"]["template"]["spec"]["containers"][0]["image"]) for item in found]


def told(cluster, reason):
    return [message for kind, found, message in cluster.events() if (kind, found) == ("StatefulSet", reason)]


def watch_order(cluster):
    """At every moment, only the highest may be anything but well."""

    def observe():
        pods = cluster.pods
        assert [name_of(pod) for pod in pods] == [f"web-{n}" for n in range(len(pods))]
        assert all(is_ready(pod) and not is_deleting(pod) for pod in pods[:-1])

    cluster.observe = observe


async def test_pods_start_and_end_in_order_one_by_one():
    async with Cluster(stateful_set(), node("n"), without=OTHERS) as cluster:
        watch_order(cluster)
        await cluster.run(10)
        assert names(cluster) == ["web-0", "web-1", "web-2"]
        status = the_set(cluster)["status"]
        assert [status[field] for field in ("replicas", "readyReplicas", "currentReplicas", "updatedReplicas")] == [
            3
        ] * 4
        assert told(cluster, "SuccessfulCreate")[0] == "Create Pod web-0 in StatefulSet web successful"
        writes = cluster.client.written()
        # One creation a pod, a revision, and no more status writes than there were changes to tell of.
        assert len([w for w in writes if (w.ref, w.verb) == (PODS, "create")]) == 3
        assert len([w for w in writes if w.ref == STATEFUL_SETS]) <= 8
        await cluster.run(300)
        assert cluster.client.written() == writes  # quiet when idle
        change(cluster, replicas=5)
        await cluster.run(8)
        assert len(names(cluster)) == 5
        change(cluster, replicas=1)
        await cluster.run(15)
        assert names(cluster) == ["web-0"]
        assert told(cluster, "SuccessfulDelete")[-1] == "Delete Pod web-1 in StatefulSet web successful"


async def test_parallel_sets_start_all_at_once():
    async with Cluster(stateful_set(4, podManagementPolicy="Parallel"), node("n"), without=OTHERS) as cluster:
        assert len(names(cluster)) == 4


async def test_an_update_goes_from_the_last_to_the_first_and_back_again():
    async with Cluster(stateful_set(), node("n"), without=OTHERS) as cluster:
        await cluster.run(8)
        first = the_set(cluster)["status"]["currentRevision"]
        seen = []
        cluster.observe = lambda: seen.append(tuple(images(cluster))) if len(cluster.pods) == 3 else None
        set_image(cluster, "a:2")
        await cluster.run(2)
        middle = the_set(cluster)["status"]
        assert middle["currentRevision"] == first != middle["updateRevision"]
        await cluster.run(15)
        assert list(dict.fromkeys(seen)) == [
            ("a:1", "a:1", "a:1"), ("a:1", "a:1", "a:2"), ("a:1", "a:2", "a:2"), ("a:2", "a:2", "a:2"),
        ]  # fmt: skip
        status = the_set(cluster)["status"]
        assert status["currentRevision"] == status["updateRevision"] != first
        assert {labels_of(pod)[HASH] for pod in cluster.pods} == {status["updateRevision"]}
        assert revisions(cluster) == [(1, "a:1"), (2, "a:2")]
        set_image(cluster, "a:1")  # as `kubectl rollout undo` does
        await cluster.run(15)
        assert images(cluster) == ["a:1"] * 3
        assert the_set(cluster)["status"]["currentRevision"] == first
        assert revisions(cluster) == [(2, "a:2"), (3, "a:1")]


async def test_a_partition_holds_the_lower_ones_back_even_when_they_are_lost():
    spec = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}
    async with Cluster(stateful_set(**spec), node("n"), without=OTHERS) as cluster:
        await cluster.run(8)
        set_image(cluster, "a:2")
        await cluster.run(8)
        assert images(cluster) == ["a:1", "a:1", "a:2"]
        cluster.client.remove(PODS, "web-0", "default")
        await cluster.run(5)
        assert images(cluster) == ["a:1", "a:1", "a:2"]
        status = the_set(cluster)["status"]
        assert (status["currentReplicas"], status["updatedReplicas"]) == (2, 1)


async def test_a_broken_update_stops_at_its_first_pod():
    async with Cluster(stateful_set(), node("n"), without=OTHERS) as cluster:
        await cluster.run(8)
        cluster.kubelet = lambda pod, age: pod["spec"]["containers"][0]["image"] != "broken" and age >= 1
        set_image(cluster, "broken")
        await cluster.run(60)
        assert images(cluster) == ["a:1", "a:1", "broken"]
        set_image(cluster, "a:1")
        await cluster.run(10)
        assert images(cluster) == ["a:1", "a:1", "broken"]  # documented: it waits for somebody to delete the pod
        await cluster.client.delete(PODS, "web-2", "default")
        await cluster.run(10)
        assert images(cluster) == ["a:1"] * 3


async def test_what_ended_starts_anew():
    async with Cluster(stateful_set(2), node("n"), without=OTHERS) as cluster:
        await cluster.run(6)
        before = [uid_of(pod) for pod in cluster.pods]
        cluster.client.change(PODS, "web-1", "default", lambda pod: pod["status"].update(phase="Failed"))
        await cluster.run(6)
        after = [uid_of(pod) for pod in cluster.pods]
        assert names(cluster) == ["web-0", "web-1"]
        assert after[0] == before[0]
        assert after[1] != before[1]


async def test_pods_that_a_node_refuses_come_back_ever_more_slowly():
    async with Cluster(stateful_set(1), node("n"), without=OTHERS) as cluster:
        cluster.dead.add("n")

        def refuse():
            for pod in cluster.pods:
                if is_deleting(pod):
                    cluster.client.remove(PODS, "web-0", "default")
                elif pod.get("status", {}).get("phase") != "Failed":
                    cluster.client.change(PODS, "web-0", "default", lambda obj: obj.update(status={"phase": "Failed"}))

        cluster.observe = refuse
        await cluster.run(120)
        made = [write for write in cluster.client.written() if (write.ref, write.verb) == (PODS, "create")]
        # After 0, 1, 2, 4, 8, 16, 32 and 60 seconds.
        assert 6 <= len(made) <= 9


async def test_old_revisions_go_but_never_one_that_a_pod_is_made_from():
    spec = {"revisionHistoryLimit": 1, "updateStrategy": {"type": "OnDelete"}}
    async with Cluster(stateful_set(1, **spec), node("n"), without=OTHERS) as cluster:
        await cluster.run(3)
        for number in range(2, 6):
            set_image(cluster, f"a:{number}")
            await cluster.run(2)
        # The pod's, one past one, and the present one.
        assert revisions(cluster) == [(1, "a:1"), (4, "a:4"), (5, "a:5")]
        assert images(cluster) == ["a:1"]


async def test_a_name_that_is_taken_by_another_template_counts_as_a_collision():
    async with Cluster(stateful_set(1), node("n"), without=OTHERS) as cluster:
        await cluster.run(3)
        [made] = cluster.client.objects(CONTROLLER_REVISIONS)
    foreign = {**made, "data": {"spec": {}}, "metadata": {"name": name_of(made), "namespace": "default"}}
    async with Cluster(stateful_set(1), foreign, node("n"), without=OTHERS) as cluster:
        await cluster.run(3)
        assert the_set(cluster)["status"]["collisionCount"] == 1
        assert len(names(cluster, CONTROLLER_REVISIONS)) == 2
        assert names(cluster) == ["web-0"]


async def test_pods_are_adopted_by_name_and_label_and_released_without_the_label():
    orphan = {
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"name": "web-0", "namespace": "default", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": "a:0"}]},
    }  # fmt: skip
    other = {**orphan, "metadata": {**orphan["metadata"], "name": "web-x"}}
    async with Cluster(orphan, other, stateful_set(2, updateStrategy={"type": "OnDelete"}), node("n"),
                       without=OTHERS) as cluster:  # fmt: skip
        await cluster.run(5)
        adopted, second, stranger = cluster.pods
        assert adopted["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet"
        assert labels_of(adopted)["statefulset.kubernetes.io/pod-name"] == "web-0"
        assert name_of(second) == "web-1"
        assert "ownerReferences" not in stranger["metadata"]
        cluster.client.change(PODS, "web-0", "default", lambda pod: pod["metadata"]["labels"].update(app="debug"))
        await cluster.run(20)
        assert "ownerReferences" not in cluster.pods[0]["metadata"]
        # Its name is taken now, which is said; nothing is tried in a hot loop.
        assert any("already exists" in message for message in told(cluster, "FailedCreate"))


async def test_claims_are_made_before_the_pod_kept_and_used_again():
    async with Cluster(stateful_set(2, **volumes()), node("n"), without=OTHERS) as cluster:
        await cluster.run(6)
        creations = [name_of(w.object) for w in cluster.client.written() if w.verb == "create"
                     and w.ref in (PODS, PERSISTENT_VOLUME_CLAIMS)]  # fmt: skip
        assert creations == ["data-web-0", "web-0", "data-web-1", "web-1"]
        [volume] = cluster.pods[1]["spec"]["volumes"]
        assert volume == {"name": "data", "persistentVolumeClaim": {"claimName": "data-web-1"}}
        assert told(cluster, "SuccessfulCreate")[0] == "Create Claim data-web-0 Pod web-0 in StatefulSet web success"
        claims = [uid_of(claim) for claim in cluster.client.objects(PERSISTENT_VOLUME_CLAIMS)]
        change(cluster, replicas=0)
        await cluster.run(10)
        assert names(cluster) == []
        change(cluster, replicas=2)
        await cluster.run(6)
        assert [uid_of(claim) for claim in cluster.client.objects(PERSISTENT_VOLUME_CLAIMS)] == claims


async def test_with_when_scaled_delete_claims_go_with_their_pods():
    made = stateful_set(2, **volumes(whenScaled="Delete", whenDeleted="Delete"))
    without = tuple(name for name in OTHERS if name != "garbage-collector")
    async with Cluster(made, node("n"), without=without) as cluster:
        await cluster.run(6)
        owners = [claim["metadata"]["ownerReferences"][0]["kind"]
                  for claim in cluster.client.objects(PERSISTENT_VOLUME_CLAIMS)]  # fmt: skip
        assert owners == ["StatefulSet", "StatefulSet"]
        change(cluster, replicas=1)
        await cluster.run(40)
        assert names(cluster) == ["web-0"]
        assert [name_of(c) for c in cluster.client.objects(PERSISTENT_VOLUME_CLAIMS) if not is_deleting(c)] == [
            "data-web-0"
        ]


async def test_a_quota_that_is_used_up_is_told_and_costs_few_requests():
    async with Cluster(stateful_set(3, podManagementPolicy="Parallel"), node("n"), without=OTHERS) as cluster:
        refusal = forbidden(PODS, "web-0", "exceeded quota: q")
        await cluster.run(4)
        cluster.client.fail(refusal, verb="create", ref=PODS, times=1000)
        change(cluster, replicas=60)
        writes = len(cluster.client.written())
        await cluster.run(60)
        assert len(names(cluster)) == 3
        assert told(cluster, "FailedCreate")
        assert len(cluster.client.written()) - writes <= 5
        assert the_set(cluster)["status"]["replicas"] == 3


async def test_a_new_manager_writes_nothing_that_is_already_so():
    made = stateful_set(3, **volumes(whenDeleted="Delete"))
    async with Cluster(made, node("n"), without=OTHERS) as cluster:
        await cluster.run(10)
        client, clock = cluster.client, cluster.clock
    writes = client.written()
    async with Cluster(client=client, clock=clock, kubelet=lambda pod, age: True, without=OTHERS) as cluster:
        await cluster.run(5)
        assert client.written() == writes
