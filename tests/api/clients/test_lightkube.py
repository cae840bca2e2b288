"""Programs of lightkube: the client that blocks, in a thread, and the async one in the server's loop."""

from __future__ import annotations

import asyncio

import pytest
from lightkube import ApiError, AsyncClient, Client, KubeConfig, codecs, operators
from lightkube.core.exceptions import ConditionError, LoadResourceError, ObjectDeleted
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.autoscaling_v1 import ScaleSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Node, Pod, Secret
from lightkube.types import CascadeType, OnErrorAction, OnErrorResult, PatchType

from tests.api.clients.inside import forget_config_maps, wait_watched
from tests.api.objects import config_map, deployment, pod

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(30),
    # Its blocking watch leaves the connection to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

ANY_PODS = create_namespaced_resource("", "v1", "Pod", "pods")  # by what a program knows of a kind without a model


def connect(kubeconfig: str, **options) -> Client:
    return Client(KubeConfig.from_file(kubeconfig), trust_env=False, **options)


async def test_an_object_lives(admin, namespace):
    def program():
        with connect(admin, lazy=False) as client:
            made = client.create(ConfigMap(metadata=ObjectMeta(name="a", labels={"app": "x"}), data={"k": "v"}))
            assert (made.metadata.namespace, made.data) == (namespace, {"k": "v"})
            made.data["k"] = "w"
            replaced = client.replace(made)
            assert replaced.metadata.resourceVersion != made.metadata.resourceVersion
            with pytest.raises(ApiError) as stale:
                client.replace(made)
            assert (stale.value.status.code, stale.value.status.reason) == (409, "Conflict")
            assert client.get(ConfigMap, "a") == replaced
            patched = client.patch(ConfigMap, "a", {"data": {"k": None, "n": "1"}}, patch_type=PatchType.MERGE)
            assert patched.data == {"n": "1"}
            operations = [{"op": "add", "path": "/data/m", "value": "2"}]
            assert client.patch(ConfigMap, "a", operations, patch_type=PatchType.JSON).data == {"n": "1", "m": "2"}
            client.delete(ConfigMap, "a", cascade=CascadeType.FOREGROUND)
            assert client.get(ConfigMap, "a").metadata.finalizers == ["foregroundDeletion"]
            client.patch(ConfigMap, "a", {"metadata": {"finalizers": None}})
            with pytest.raises(ApiError) as gone:
                client.get(ConfigMap, "a")
            assert gone.value.status.message == 'configmaps "a" not found'
            assert gone.value.status.details.kind == "configmaps"
            secret = Secret(metadata=ObjectMeta(name="s"), stringData={"p": "hush"})
            assert client.create(secret, dry_run=True).data == {"p": "aHVzaA=="}
            assert list(client.list(Secret)) == []

    await asyncio.to_thread(program)


async def test_apply(admin, namespace):
    def program():
        with connect(admin, field_manager="first") as client:
            one = ConfigMap.from_dict(config_map("a", k="1"))
            made = client.apply(one)
            assert client.apply(one).metadata.resourceVersion == made.metadata.resourceVersion
            with pytest.raises(ApiError) as refused:
                client.apply(ConfigMap.from_dict(config_map("a", k="2")), field_manager="second")
            assert refused.value.status.code == 409
            assert [cause.field for cause in refused.value.status.details.causes] == [".data.k"]
            other = ConfigMap.from_dict(config_map("a", k="2"))
            assert client.apply(other, field_manager="second", force=True).data == {"k": "2"}
            managers = [(each.manager, each.operation) for each in client.get(ConfigMap, "a").metadata.managedFields]
            assert ("second", "Apply") in managers
            client.apply(Deployment.from_dict(deployment("web")))
            scale = Deployment.Scale(metadata=ObjectMeta(name="web"), spec=ScaleSpec(replicas=4))
            assert client.replace(scale, "web").spec.replicas == 4
            assert client.get(Deployment.Scale, "web").spec.replicas == 4
            status = {"status": {"replicas": 4, "readyReplicas": 2}}
            client.patch(Deployment.Status, "web", status)
            assert client.get(Deployment, "web").status.readyReplicas == 2

    await asyncio.to_thread(program)


MANIFEST = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Secret, metadata: {name: "{{ name }}"}, stringData: {p: hush}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: "{{ name }}"}, data: {k: v}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: "{{ name }}"}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
"""


async def test_codecs(admin, namespace):
    def program():
        with connect(admin, field_manager="program") as client:
            text = MANIFEST.replace("{{ name }}", "web")
            for obj in codecs.load_all_yaml(text):
                client.apply(obj)
            again = [client.get(type(obj), obj.metadata.name) for obj in codecs.load_all_yaml(text)]
            assert [each.metadata.name for each in again] == ["web"] * 3
            assert "aHVzaA==" in codecs.dump_all_yaml(again)
            for obj in codecs.load_all_yaml(text):
                client.delete(type(obj), obj.metadata.name)
            assert list(client.list(Secret)) == []
            with pytest.raises(LoadResourceError):
                codecs.load_all_yaml("{apiVersion: example.com/v1, kind: Nothing, metadata: {name: a}}")

    await asyncio.to_thread(program)


async def test_lists_and_selectors(admin, namespace):
    def program():
        with connect(admin) as client:
            for number in range(7):
                body = pod(f"p{number}", labels={"app": "even" if number % 2 == 0 else "odd"})
                body["spec"]["nodeName"] = f"n{number}"
                client.create(Pod.from_dict(body))

            def names(**selectors):
                return [each.metadata.name for each in client.list(Pod, **selectors)]

            assert names(chunk_size=3) == [f"p{number}" for number in range(7)]
            assert names(labels={"app": "odd"}) == ["p1", "p3", "p5"]
            assert names(labels={"app": operators.not_in(["even", "none"])}) == ["p1", "p3", "p5"]
            assert names(labels={"app": operators.exists(), "tier": operators.not_exists()}, chunk_size=2)[-1] == "p6"
            assert names(fields={"spec.nodeName": "n4"}) == ["p4"]
            assert names(fields={"metadata.name": operators.not_equal("p4"), "status.phase": "Pending"})[3:] == [
                "p3", "p5", "p6"]  # fmt: skip
            listing = client.list(Pod)
            assert len(list(listing)) == 7
            assert listing.resourceVersion.isdigit()
            everywhere = client.list(Pod, namespace="*", fields={"metadata.namespace": namespace})
            assert len(list(everywhere)) == 7
            assert [each.metadata.name for each in client.list(ANY_PODS, chunk_size=3)] == names()
            assert client.get(Pod, "p0").status.qosClass == "BestEffort"
            client.deletecollection(Pod, grace_period=0)
            assert names() == []

    await asyncio.to_thread(program)


async def test_watches(admin, namespace, server):
    def changes():
        with connect(admin) as client:
            seen = []
            steps = iter((
                lambda: client.patch(ConfigMap, "b", {"metadata": {"labels": {"app": "x"}}}),
                lambda: client.patch(ConfigMap, "b", {"metadata": {"labels": {"app": "y"}}}),
            ))  # fmt: skip
            client.create(ConfigMap.from_dict(config_map("b")))
            next(steps)()
            for event, obj in client.watch(ConfigMap, labels={"app": "x"}, server_timeout=5):
                seen.append((event, obj.metadata.name))
                if event == "DELETED":
                    break
                next(steps)()
            assert seen == [("ADDED", "b"), ("DELETED", "b")]

    await asyncio.to_thread(changes)

    def too_old():
        with connect(admin) as client:
            errors = []

            def on_error(error, count):
                errors.append(error.status.code)
                return OnErrorResult(OnErrorAction.RETRY)

            for event, obj in client.watch(ConfigMap, resource_version="1", on_error=on_error):
                assert (event, obj.metadata.name) == ("ADDED", "b")
                break
            assert errors == [410]

    await forget_config_maps(server)
    await asyncio.to_thread(too_old)


async def test_waiting_for_conditions(admin, namespace, server):
    async with AsyncClient(KubeConfig.from_file(admin), trust_env=False) as client:
        await client.create(Deployment.from_dict(deployment("web")))

        async def report(kind, before, reason="Because"):
            await wait_watched(server, before)
            condition = {"type": kind, "status": "True", "reason": reason, "message": "said so"}
            await client.patch(Deployment.Status, "web", {"status": {"conditions": [condition]}})

        reporting = asyncio.create_task(report("Available", set(server.api.watches)))
        done = await client.wait(Deployment, "web", for_conditions=["Available"])
        assert done.status.conditions[0].reason == "Because"
        await reporting
        await client.patch(Deployment.Status, "web", {"status": None}, patch_type=PatchType.MERGE)
        reporting = asyncio.create_task(report("ReplicaFailure", set(server.api.watches)))
        with pytest.raises(ConditionError) as failed:
            await client.wait(Deployment, "web", for_conditions=["Never"], raise_for_conditions=["ReplicaFailure"])
        assert failed.value.messages == ["said so"]
        await reporting
        before = set(server.api.watches)
        waiting = asyncio.create_task(client.wait(Deployment, "web", for_conditions=["Never"]))
        await wait_watched(server, before)
        await client.delete(Deployment, "web")
        with pytest.raises(ObjectDeleted):
            await waiting


async def test_the_async_client(editor, viewer, namespace):
    async with AsyncClient(KubeConfig.from_file(editor), trust_env=False, field_manager="me") as client:
        names = [f"c{number}" for number in range(5)]
        await asyncio.gather(*(client.apply(ConfigMap.from_dict(config_map(name))) for name in names))
        assert [each.metadata.name async for each in client.list(ConfigMap, chunk_size=2)] == names
        events = []
        async for event, obj in client.watch(ConfigMap):
            events.append((event, obj.metadata.name))
            if len(events) == 5:
                await client.delete(ConfigMap, "c0")
            if event == "DELETED":
                break
        assert events == [("ADDED", name) for name in names] + [("DELETED", "c0")]
        with pytest.raises(ApiError) as refused:
            await client.get(Node, "n")
        assert refused.value.status.reason == "Forbidden"
    async with AsyncClient(KubeConfig.from_file(viewer), trust_env=False) as client:
        assert (await client.get(ConfigMap, "c1")).metadata.name == "c1"
        with pytest.raises(ApiError) as refused:
            await client.delete(ConfigMap, "c1")
        assert refused.value.status.code == 403
