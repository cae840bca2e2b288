"""create, get, update: what comes back, what is refused, and in which words."""

from __future__ import annotations

import pytest

from tests.api.objects import config_map, deployment, pod

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_created_object_has_what_the_server_sets(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    status, made = await server.request("POST", path, config_map("a", x="1"))
    assert status == 201
    metadata = made["metadata"]
    assert metadata["namespace"] == namespace
    assert metadata["uid"]
    assert metadata["creationTimestamp"].endswith("Z")
    assert metadata["resourceVersion"].isdigit()
    assert "selfLink" not in metadata
    assert metadata["managedFields"][0]["operation"] == "Update"
    assert await server.request("GET", f"{path}/a") == (200, made)


async def test_every_answer_of_an_object_has_the_same_bytes(server, namespace):
    path = f"{server.url}/api/v1/namespaces/{namespace}/configmaps"
    headers = {"Authorization": f"Bearer {server.token}"}
    async with server.http.post(path, json=config_map("a", x="1"), headers=headers) as response:
        created = await response.read()
    async with server.http.get(f"{path}/a", headers=headers) as response:
        assert await response.read() == created
    async with server.http.get(path, headers=headers) as response:
        assert created in await response.read()


async def test_names_are_generated_and_a_taken_name_is_refused(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    _, made = await server.request("POST", path, {"metadata": {"generateName": "gen-"}})
    assert made["metadata"]["name"].startswith("gen-")
    assert len(made["metadata"]["name"]) == len("gen-") + 5
    await server.request("POST", path, config_map("a"))
    status, answer = await server.request("POST", path, config_map("a"))
    assert status == 409
    assert answer["reason"] == "AlreadyExists"
    assert answer["message"] == 'configmaps "a" already exists'
    assert answer["details"] == {"name": "a", "kind": "configmaps"}


async def test_a_missing_object_is_not_found(server, namespace):
    status, answer = await server.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/none")
    assert status == 404
    assert answer["message"] == 'configmaps "none" not found'
    status, answer = await server.request("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments/none")
    assert answer["message"] == 'deployments.apps "none" not found'
    assert answer["details"] == {"name": "none", "group": "apps", "kind": "deployments"}


async def test_an_update_needs_the_present_revision_or_none(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    _, first = await server.request("POST", path, config_map("a", x="1"))
    second = {**first, "data": {"x": "2"}}
    status, updated = await server.request("PUT", f"{path}/a", second)
    assert status == 200
    assert updated["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
    status, answer = await server.request("PUT", f"{path}/a", second)
    assert status == 409
    assert answer["reason"] == "Conflict"
    assert answer["message"] == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to '
        "the latest version and try again"
    )
    status, _ = await server.request("PUT", f"{path}/a", config_map("a", x="3"))
    assert status == 200


async def test_an_update_that_changes_nothing_writes_nothing(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    _, first = await server.request("POST", path, config_map("a", x="1"))
    reordered = dict(reversed(first.items()))
    _, again = await server.request("PUT", f"{path}/a", reordered)
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_generation_rises_with_the_spec_only(server, namespace):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    _, made = await server.request("POST", path, deployment("d"))
    assert made["metadata"]["generation"] == 1
    made["metadata"]["labels"]["more"] = "1"
    _, made = await server.request("PUT", f"{path}/d", made)
    assert made["metadata"]["generation"] == 1
    made["spec"]["replicas"] = 4
    _, made = await server.request("PUT", f"{path}/d", made)
    assert made["metadata"]["generation"] == 2


async def test_status_is_written_by_its_subresource_alone(server, namespace):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    _, made = await server.request("POST", path, {**deployment("d"), "status": {"replicas": 9}})
    assert not made.get("status", {}).get("replicas")
    changed = {**made, "status": {"replicas": 3}, "spec": {**made["spec"], "replicas": 7}}
    _, after = await server.request("PUT", f"{path}/d", changed)
    assert not after.get("status", {}).get("replicas")
    assert after["spec"]["replicas"] == 7
    changed = {**after, "status": {"replicas": 3, "observedGeneration": 2}, "spec": {**after["spec"], "replicas": 1}}
    status, after = await server.request("PUT", f"{path}/d/status", changed)
    assert status == 200
    assert after["status"]["replicas"] == 3
    assert after["spec"]["replicas"] == 7
    assert after["metadata"]["generation"] == 2


async def test_a_dry_run_answers_and_stores_nothing(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    status, made = await server.request("POST", f"{path}?dryRun=All", config_map("a"))
    assert status == 201
    assert made["metadata"]["uid"]
    assert (await server.request("GET", f"{path}/a"))[0] == 404
    await server.request("POST", path, config_map("a", x="1"))
    _, answer = await server.request("PUT", f"{path}/a?dryRun=All", config_map("a", x="2"))
    assert answer["data"] == {"x": "2"}
    assert (await server.request("GET", f"{path}/a"))[1]["data"] == {"x": "1"}
    assert (await server.request("DELETE", f"{path}/a?dryRun=All"))[0] == 200
    assert (await server.request("GET", f"{path}/a"))[0] == 200


async def test_another_uid_is_another_object(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await server.request("POST", path, config_map("a"))
    wrong = config_map("a")
    wrong["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    status, answer = await server.request("PUT", f"{path}/a", wrong)
    assert status == 409
    assert "Precondition failed: UID in precondition: 00000000-0000-0000-0000-000000000000" in answer["message"]


@pytest.mark.parametrize(
    ("metadata", "field", "text"),
    [
        ({"name": "Capital"}, "metadata.name", "a lowercase RFC 1123 subdomain must consist of"),
        ({"name": "x" * 254}, "metadata.name", "must be no more than 253"),
        ({}, "metadata.name", "name or generateName is required"),
        ({"name": "a", "labels": {"b": "c d"}}, "metadata.labels", "a valid label must be"),
        ({"name": "a", "annotations": {"b c": "d"}}, "metadata.annotations", "name part must consist of"),
        ({"name": "a", "annotations": {"b": "x" * 262145}}, "metadata.annotations", "Too long"),
        ({"name": "a", "finalizers": ["a b"]}, "metadata.finalizers", "name part must consist of"),
        ({"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": ""}]},
         "metadata.ownerReferences.uid", "must not be empty"),
    ],
)  # fmt: skip
async def test_bad_metadata_is_invalid(server, namespace, metadata, field, text):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    status, answer = await server.request("POST", path, {"metadata": metadata})
    assert status == 422
    assert answer["reason"] == "Invalid"
    assert answer["details"]["causes"][0]["field"] == field
    assert text in answer["message"]


async def test_the_namespaces_of_url_and_object_must_agree(server, namespace):
    made = config_map("a")
    made["metadata"]["namespace"] = "other"
    status, answer = await server.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", made)
    assert status == 400
    assert answer["message"] == (
        "the namespace of the provided object does not match the namespace sent on the request"
    )


async def test_nothing_is_created_in_a_namespace_that_is_not_there(server):
    status, answer = await server.request("POST", "/api/v1/namespaces/nowhere/configmaps", config_map("a"))
    assert status == 404
    assert answer["message"] == 'namespaces "nowhere" not found'


async def test_unknown_fields_are_refused_warned_of_or_passed_over(server, namespace):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    body = deployment("d")
    body["spec"]["bogus"] = 1
    status, answer = await server.request("POST", f"{path}?fieldValidation=Strict", body)
    assert status == 400
    assert answer["message"] == (
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field '
        '"spec.bogus"'
    )
    headers = {"Authorization": f"Bearer {server.token}"}
    async with server.http.post(f"{server.url}{path}", json=body, headers=headers) as response:
        assert response.status == 201
        assert response.headers.getall("Warning") == ['299 - "unknown field \\"spec.bogus\\""']
        assert "bogus" not in (await response.json())["spec"]
    body["metadata"]["name"] = "e"
    async with server.http.post(f"{server.url}{path}?fieldValidation=Ignore", json=body, headers=headers) as response:
        assert response.status == 201
        assert "Warning" not in response.headers


async def test_pods_without_a_service_account_are_refused(server):
    status, answer = await server.request("POST", "/api/v1/namespaces/kube-public/pods", pod("p"))
    assert status == 403
    assert "service account" in answer["message"]
