"""PATCH in its four forms, over HTTP."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.objects import config_map, deployment

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = {"Content-Type": "application/json-patch+json"}
MERGE = {"Content-Type": "application/merge-patch+json"}
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
APPLY = {"Content-Type": "application/apply-patch+yaml"}


async def test_each_form(server, namespace):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await server.request("POST", path, deployment("d"))
    operations = [{"op": "replace", "path": "/spec/replicas", "value": 2}]
    _, made = await server.request("PATCH", f"{path}/d", operations, headers=JSON)
    assert made["spec"]["replicas"] == 2
    _, made = await server.request("PATCH", f"{path}/d", {"spec": {"replicas": 3}}, headers=MERGE)
    assert made["spec"]["replicas"] == 3
    change = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "busybox"}]}}}}
    _, made = await server.request("PATCH", f"{path}/d", change, headers=STRATEGIC)
    assert sorted(c["name"] for c in made["spec"]["template"]["spec"]["containers"]) == ["c", "side"]
    assert made["metadata"]["generation"] == 4


async def test_patches_that_race_all_count(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await server.request("POST", path, config_map("a"))
    answers = await asyncio.gather(*(
        server.request("PATCH", f"{path}/a", {"data": {f"k{number}": "1"}}, headers=MERGE) for number in range(30)
    ))  # fmt: skip
    assert {status for status, _ in answers} == {200}
    _, made = await server.request("GET", f"{path}/a")
    assert len(made["data"]) == 30


async def test_a_patch_with_a_stale_revision_conflicts(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    _, made = await server.request("POST", path, config_map("a"))
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"x": "1"}}
    assert (await server.request("PATCH", f"{path}/a", stale, headers=MERGE))[0] == 200
    status, answer = await server.request("PATCH", f"{path}/a", {**stale, "data": {"x": "2"}}, headers=MERGE)
    assert (status, answer["reason"]) == (409, "Conflict")


async def test_what_cannot_be_patched(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await server.request("POST", path, config_map("a"))
    assert (await server.request("PATCH", f"{path}/none", {}, headers=MERGE))[0] == 404
    for body, headers in ((b"{", MERGE), ([1], MERGE), ({}, JSON), (b"[", JSON), (b"nonsense: [", APPLY)):
        suffix = "?fieldManager=m" if headers is APPLY else ""
        assert (await server.request("PATCH", f"{path}/a{suffix}", body, headers=headers))[0] == 400
    missing = [{"op": "replace", "path": "/data/none", "value": "1"}]
    assert (await server.request("PATCH", f"{path}/a", missing, headers=JSON))[0] == 422
    test = [{"op": "test", "path": "/data", "value": {"other": "1"}}]
    assert (await server.request("PATCH", f"{path}/a", test, headers=JSON))[0] == 422
    status, answer = await server.request("PATCH", f"{path}/a", {"metadata": {"name": "b"}}, headers=MERGE)
    assert status == 400
    assert answer["message"] == "the name of the object (b) does not match the name on the URL (a)"


async def test_a_strict_patch_with_an_unknown_field(server, namespace):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await server.request("POST", path, deployment("d"))
    change = {"spec": {"bogus": 1}}
    status, answer = await server.request("PATCH", f"{path}/d?fieldValidation=Strict", change, headers=STRATEGIC)
    assert status == 422
    assert answer["message"] == (
        ' "" is invalid: patch: Invalid value: "map[spec:map[bogus:1]]": strict decoding error: unknown field '
        '"spec.bogus"'
    )


async def test_apply_creates_owns_and_conflicts(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps/a"
    config = config_map("a", x="1")
    status, answer = await server.request("PATCH", path, config, headers=APPLY)
    assert status == 422
    assert answer["message"] == (
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
    )
    status, made = await server.request("PATCH", f"{path}?fieldManager=one", config, headers=APPLY)
    assert status == 201
    assert made["metadata"]["managedFields"][0]["manager"] == "one"
    assert made["metadata"]["managedFields"][0]["operation"] == "Apply"
    status, again = await server.request("PATCH", f"{path}?fieldManager=one", config, headers=APPLY)
    assert (status, again["metadata"]["resourceVersion"]) == (200, made["metadata"]["resourceVersion"])
    other = config_map("a", x="2")
    status, answer = await server.request("PATCH", f"{path}?fieldManager=two", other, headers=APPLY)
    assert (status, answer["reason"]) == (409, "Conflict")
    assert answer["details"]["causes"][0]["field"] == ".data.x"
    status, made = await server.request("PATCH", f"{path}?fieldManager=two&force=true", other, headers=APPLY)
    assert (status, made["data"]) == (200, {"x": "2"})


async def test_force_is_for_apply_only(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps/a"
    status, answer = await server.request("PATCH", f"{path}?force=true", {}, headers=MERGE)
    assert status == 422
    assert "force: Forbidden: may not be specified for non-apply patch" in answer["message"]


async def test_who_may_patch_may_not_therefore_create(server, namespace):
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    rules = [{"apiGroups": ["", "coordination.k8s.io"], "resources": ["configmaps", "leases"],
              "verbs": ["get", "patch", "update"]}]  # fmt: skip
    await server.request("POST", f"{path}/roles", {"metadata": {"name": "patcher"}, "rules": rules})
    binding = {
        "metadata": {"name": "patcher"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "patcher"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}],
    }
    assert (await server.request("POST", f"{path}/rolebindings", binding))[0] == 201
    target = f"/api/v1/namespaces/{namespace}/configmaps/a?fieldManager=m"
    status, answer = await server.request("PATCH", target, config_map("a"), headers=APPLY, token=server.alice_token)
    assert status == 403
    assert 'User "alice" cannot create resource "configmaps"' in answer["message"]
    lease = {"metadata": {"name": "l"}, "spec": {}}
    lease_path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/l"
    assert (await server.request("PUT", lease_path, lease, token=server.alice_token))[0] == 403
    assert (await server.request("PUT", lease_path, lease))[0] == 201
    assert (await server.request("PATCH", target, config_map("a"), headers=APPLY))[0] == 201
    status, _ = await server.request("PATCH", target, config_map("a", x="1"), headers=APPLY, token=server.alice_token)
    assert status == 200
