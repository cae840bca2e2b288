"""Programs of the official Python client: making, changing and deleting objects of many kinds, and being refused."""

from __future__ import annotations

import asyncio
import json

import pytest
from kubernetes import client, utils
from kubernetes.client.rest import ApiException

from tests.api.clients.official_samples import LABELS, SAMPLES

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


def core(connection) -> client.CoreV1Api:
    return client.CoreV1Api(connection)


def apps(connection) -> client.AppsV1Api:
    return client.AppsV1Api(connection)


def reason_of(error: ApiException) -> str:
    return json.loads(error.body)["reason"]


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
async def test_an_object_lives(official, admin, namespace, sample):
    def program():
        api = sample.api(official(admin))
        scope = "namespaced_" if sample.namespaced else ""
        place = (namespace,) if sample.namespaced else ()

        def call(verb, *args, **options):
            return getattr(api, f"{verb}_{scope}{sample.noun}")(*args, **options)

        name = sample.body.metadata.name
        made = call("create", *place, sample.body, field_manager="program")
        assert made.metadata.name == name
        assert made.metadata.uid
        assert made.metadata.creation_timestamp.tzinfo is not None
        assert made.metadata.managed_fields[0].manager == "program"
        assert call("read", name, *place) == made
        listed = call("list", *place, label_selector="app=web").items
        assert [each.metadata.name for each in listed] == [name]

        sample.change(made)
        changed = call("replace", name, *place, made)
        assert changed.metadata.resource_version != made.metadata.resource_version
        again = call("replace", name, *place, changed)
        assert again.metadata.resource_version == changed.metadata.resource_version
        patched = call("patch", name, *place, {"metadata": {"annotations": {"note": "x"}}}, _content_type=MERGE_PATCH)
        assert patched.metadata.annotations["note"] == "x"
        assert patched.metadata.uid == made.metadata.uid

        with pytest.raises(ApiException) as stale:
            call("replace", name, *place, made)
        assert (stale.value.status, reason_of(stale.value)) == (409, "Conflict")
        call("delete", name, *place, grace_period_seconds=0, propagation_policy="Background")
        if name != "data" and sample.noun != "persistent_volume":  # these wait for their protection to be lifted
            with pytest.raises(ApiException) as gone:
                call("read", name, *place)
            assert (gone.value.status, reason_of(gone.value)) == (404, "NotFound")

    await asyncio.to_thread(program)


async def test_patches_of_each_type(official, admin, namespace):
    def program():
        api = apps(official(admin))
        containers = [{"name": "web", "image": "nginx:1"}, {"name": "log", "image": "busybox:1"}]
        api.create_namespaced_deployment(namespace, {
            "metadata": {"name": "a", "labels": LABELS},
            "spec": {"selector": {"matchLabels": LABELS},
                     "template": {"metadata": {"labels": LABELS}, "spec": {"containers": containers}}},
        })  # fmt: skip

        def patch(body, kind, **options):
            return api.patch_namespaced_deployment("a", namespace, body, _content_type=kind, **options)

        operations = [
            {"op": "test", "path": "/spec/replicas", "value": 1},
            {"op": "replace", "path": "/spec/replicas", "value": 4},
            {"op": "add", "path": "/metadata/labels/tier", "value": "front"},
        ]
        done = patch(operations, JSON_PATCH)
        assert (done.spec.replicas, done.metadata.labels) == (4, {"app": "web", "tier": "front"})
        done = patch({"metadata": {"labels": {"tier": None}}, "spec": {"paused": True}}, MERGE_PATCH)
        assert (done.spec.paused, done.metadata.labels) == (True, LABELS)
        change = {"spec": {"template": {"spec": {"containers": [{"name": "log", "image": "busybox:2"}]}}}}
        done = patch(change, STRATEGIC_PATCH)
        images = {each.name: each.image for each in done.spec.template.spec.containers}
        assert images == {"web": "nginx:1", "log": "busybox:2"}
        done = patch(change, MERGE_PATCH)
        assert [each.name for each in done.spec.template.spec.containers] == ["log"]
        with pytest.raises(ApiException) as failed:
            patch([{"op": "test", "path": "/spec/replicas", "value": 1}], JSON_PATCH)
        assert failed.value.status == 422
        # What comes without a type is told by its form, as the library documents.
        assert patch({"spec": {"replicas": 2}}, None).spec.replicas == 2

    await asyncio.to_thread(program)


async def test_server_side_apply_and_its_conflicts(official, admin, namespace):
    def program():
        api = core(official(admin))

        def apply(data, manager, **options):
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}
            return api.patch_namespaced_config_map(
                "a", namespace, body, field_manager=manager, _content_type=APPLY_PATCH, **options
            )

        assert apply({"one": "1", "two": "2"}, "first").data == {"one": "1", "two": "2"}
        assert apply({"three": "3"}, "second").data == {"one": "1", "two": "2", "three": "3"}
        with pytest.raises(ApiException) as refused:
            apply({"one": "other"}, "second")
        status = json.loads(refused.value.body)
        assert (status["code"], status["reason"]) == (409, "Conflict")
        assert status["details"]["causes"] == [
            {"reason": "FieldManagerConflict", "message": 'conflict with "first"', "field": ".data.one"}
        ]
        forced = apply({"one": "other"}, "second", force=True)
        assert forced.data == {"one": "other", "two": "2"}
        assert apply({}, "first").data == {"one": "other"}
        managers = {each.manager: each.fields_v1 for each in forced.metadata.managed_fields}
        assert managers["second"] == {"f:data": {"f:one": {}}}

    await asyncio.to_thread(program)


async def test_deleting_with_each_policy(official, admin, namespace):
    def program():
        api = apps(official(admin))
        for name in ("background", "foreground", "orphan", "guarded"):
            api.create_namespaced_deployment(namespace, {
                "metadata": {"name": name, "labels": LABELS},
                "spec": {"selector": {"matchLabels": LABELS}, "template": {
                    "metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}},
            })  # fmt: skip
        status = api.delete_namespaced_deployment("background", namespace, propagation_policy="Background")
        assert status["status"] == "Success"
        assert status["details"]["kind"] == "deployments"

        body = client.V1DeleteOptions(propagation_policy="Foreground")
        api.delete_namespaced_deployment("foreground", namespace, body=body)
        api.delete_namespaced_deployment("orphan", namespace, propagation_policy="Orphan")
        for name, finalizer in (("foreground", "foregroundDeletion"), ("orphan", "orphan")):
            waiting = api.read_namespaced_deployment(name, namespace)
            assert waiting.metadata.finalizers == [finalizer]
            assert waiting.metadata.deletion_timestamp is not None
            api.patch_namespaced_deployment(name, namespace, {"metadata": {"finalizers": None}})
            with pytest.raises(ApiException):
                api.read_namespaced_deployment(name, namespace)

        other = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="not-this-one"))
        with pytest.raises(ApiException) as refused:
            api.delete_namespaced_deployment("guarded", namespace, body=other)
        assert (refused.value.status, reason_of(refused.value)) == (409, "Conflict")
        with pytest.raises(ApiException) as refused:
            api.delete_namespaced_deployment("guarded", namespace, propagation_policy="Sideways")
        assert refused.value.status == 422
        assert api.delete_namespaced_deployment("guarded", namespace, dry_run="All")
        assert api.read_namespaced_deployment("guarded", namespace)
        api.delete_collection_namespaced_deployment(namespace, label_selector="app=web")
        assert api.list_namespaced_deployment(namespace).items == []

    await asyncio.to_thread(program)


async def test_a_pod_ends_gracefully(official, admin, namespace):
    def program():
        api = core(official(admin))
        spec = {"nodeName": "somewhere", "containers": [{"name": "c", "image": "nginx"}]}
        api.create_namespaced_pod(namespace, {"metadata": {"name": "a"}, "spec": spec})
        ending = api.delete_namespaced_pod("a", namespace, grace_period_seconds=7)
        assert ending.metadata.deletion_grace_period_seconds == 7
        assert api.read_namespaced_pod("a", namespace).metadata.deletion_timestamp is not None
        api.delete_namespaced_pod("a", namespace, grace_period_seconds=0)
        with pytest.raises(ApiException):
            api.read_namespaced_pod("a", namespace)

    await asyncio.to_thread(program)


async def test_subresources(official, admin, namespace):
    def program():
        api, workloads = core(official(admin)), apps(official(admin))
        workloads.create_namespaced_deployment(namespace, SAMPLES[7].body)
        scale = workloads.read_namespaced_deployment_scale("a", namespace)
        assert (scale.spec.replicas, scale.status.selector) == (3, "app=web")
        scale.spec.replicas = 8
        assert workloads.replace_namespaced_deployment_scale("a", namespace, scale).spec.replicas == 8
        scaled = workloads.patch_namespaced_deployment_scale("a", namespace, {"spec": {"replicas": 2}})
        assert scaled.spec.replicas == 2
        assert workloads.read_namespaced_deployment("a", namespace).spec.replicas == 2
        status = {"status": {"replicas": 2, "observedGeneration": 3}, "spec": {"replicas": 99}}
        done = workloads.patch_namespaced_deployment_status("a", namespace, status)
        assert (done.status.replicas, done.spec.replicas) == (2, 2)

        api.create_namespaced_pod(namespace, SAMPLES[4].body)
        target = client.V1ObjectReference(kind="Node", name="n1")
        binding = client.V1Binding(metadata=client.V1ObjectMeta(name="a"), target=target)
        # The answer is a Status, which is not what the library's signature promises.
        answer = api.create_namespaced_pod_binding("a", namespace, binding, _preload_content=False)
        assert json.loads(answer.read())["status"] == "Success"
        bound = api.read_namespaced_pod("a", namespace)
        assert bound.spec.node_name == "n1"
        assert [each.status for each in bound.status.conditions if each.type == "PodScheduled"] == ["True"]
        eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name="a"))
        answer = api.create_namespaced_pod_eviction("a", namespace, eviction, _preload_content=False)
        assert json.loads(answer.read())["status"] == "Success"
        assert api.read_namespaced_pod("a", namespace).metadata.deletion_timestamp is not None

        wanted = client.AuthenticationV1TokenRequest(
            spec=client.V1TokenRequestSpec(audiences=["me"], expiration_seconds=600)
        )
        answer = api.create_namespaced_service_account_token("default", namespace, wanted)
        assert answer.status.token.count(".") == 2

    await asyncio.to_thread(program)


async def test_errors_say_what_is_wrong(official, admin, namespace):
    def program():
        api = core(official(admin))
        api.create_namespaced_config_map(namespace, {"metadata": {"name": "a"}})
        with pytest.raises(ApiException) as twice:
            api.create_namespaced_config_map(namespace, {"metadata": {"name": "a"}})
        status = json.loads(twice.value.body)
        assert (twice.value.status, status["kind"], status["reason"]) == (409, "Status", "AlreadyExists")
        assert status["message"] == 'configmaps "a" already exists'
        assert twice.value.headers["Content-Type"] == "application/json"
        with pytest.raises(ApiException) as invalid:
            api.create_namespaced_config_map(namespace, {"metadata": {"name": "Not A Name"}})
        status = json.loads(invalid.value.body)
        assert (invalid.value.status, status["reason"]) == (422, "Invalid")
        assert [cause["field"] for cause in status["details"]["causes"]] == ["metadata.name"]
        with pytest.raises(ApiException) as strict:
            patch = {"unknown": 1}
            api.patch_namespaced_config_map("a", namespace, patch, field_validation="Strict")
        assert (strict.value.status, reason_of(strict.value)) == (422, "Invalid")
        assert 'unknown field "unknown"' in json.loads(strict.value.body)["message"]
        with pytest.raises(ApiException) as elsewhere:
            api.create_namespaced_config_map("nowhere", {"metadata": {"name": "a"}})
        assert (elsewhere.value.status, reason_of(elsewhere.value)) == (404, "NotFound")
        assert api.create_namespaced_config_map(namespace, {"metadata": {"name": "dry"}}, dry_run="All").metadata.uid
        with pytest.raises(ApiException):
            api.read_namespaced_config_map("dry", namespace)

    await asyncio.to_thread(program)


async def test_what_people_may_do(official, viewer, editor, namespace):
    def program():
        looking, editing = core(official(viewer)), core(official(editor))
        editing.create_namespaced_config_map(namespace, {"metadata": {"name": "a"}})
        assert looking.read_namespaced_config_map("a", namespace).metadata.name == "a"
        with pytest.raises(ApiException) as refused:
            looking.delete_namespaced_config_map("a", namespace)
        status = json.loads(refused.value.body)
        assert (refused.value.status, status["reason"]) == (403, "Forbidden")
        assert status["message"] == (
            f'configmaps "a" is forbidden: User "alice" cannot delete resource "configmaps" in API group "" '
            f'in the namespace "{namespace}"'
        )
        with pytest.raises(ApiException) as refused:
            looking.list_namespaced_secret(namespace)
        assert refused.value.status == 403
        with pytest.raises(ApiException) as refused:
            editing.list_node()
        assert refused.value.status == 403

        asking = client.AuthorizationV1Api(looking.api_client)
        question = client.V1SelfSubjectAccessReview(
            spec=client.V1SelfSubjectAccessReviewSpec(
                resource_attributes=client.V1ResourceAttributes(namespace=namespace, verb="list", resource="pods")
            )
        )
        assert asking.create_self_subject_access_review(question).status.allowed
        who = client.AuthenticationV1Api(editing.api_client).create_self_subject_review({})
        assert who.status.user_info.username == "bob"
        assert set(who.status.user_info.groups) >= {"people", "system:authenticated"}

    await asyncio.to_thread(program)


MANIFEST = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: web}}
- {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: web, image: nginx}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: web}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
"""


async def test_creating_from_yaml(official, admin, namespace, tmp_path):
    def program():
        connection = official(admin)
        file = tmp_path / "all.yaml"
        file.write_text(MANIFEST)
        made = utils.create_from_yaml(connection, str(file), namespace=namespace)
        assert [each.metadata.name for group in made for each in group] == ["web"] * 4
        with pytest.raises(utils.FailToCreateError) as failed:
            utils.create_from_yaml(connection, str(file), namespace=namespace)
        assert [each.status for each in failed.value.api_exceptions] == [409] * 4
        applied = utils.create_from_yaml(connection, str(file), namespace=namespace, apply=True)
        assert [each.metadata.name for group in applied for each in group] == ["web"] * 4

    await asyncio.to_thread(program)


async def test_a_generated_name(official, admin, namespace):
    def program():
        api = core(official(admin))
        names = {
            api.create_namespaced_config_map(
                namespace, client.V1ConfigMap(metadata=client.V1ObjectMeta(generate_name="job-"))
            ).metadata.name
            for _ in range(5)
        }
        assert len(names) == 5
        assert all(name.startswith("job-") and len(name) == len("job-") + 5 for name in names)

    await asyncio.to_thread(program)
