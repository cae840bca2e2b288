"""Writes through subresources: scale, binding, eviction, ephemeral containers, resize, approval."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.api.objects import deployment, pod

pytestmark = pytest.mark.asyncio(loop_scope="module")

MERGE = {"Content-Type": "application/merge-patch+json"}


async def test_scale_is_a_view_of_replicas(server, namespace):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    _, made = await server.request("POST", path, deployment("d", replicas=2))
    _, scale = await server.request("GET", f"{path}/d/scale")
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"] == {"replicas": 0, "selector": "app=d"}
    assert scale["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    scale["spec"]["replicas"] = 5
    status, scale = await server.request("PUT", f"{path}/d/scale", scale)
    assert (status, scale["spec"]) == (200, {"replicas": 5})
    _, made = await server.request("GET", f"{path}/d")
    assert (made["spec"]["replicas"], made["metadata"]["generation"]) == (5, 2)
    assert made["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx"
    status, scale = await server.request("PATCH", f"{path}/d/scale", {"spec": {"replicas": 1}}, headers=MERGE)
    assert (status, scale["spec"]) == (200, {"replicas": 1})


async def test_scales_are_printed_as_rows(server, namespace):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await server.request("POST", path, deployment("printed", replicas=2))
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    _, table = await server.request("GET", f"{path}/printed/scale", headers=accept)
    assert table["kind"] == "Table"
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Desired", "Available", "Age"]
    assert table["rows"][0]["cells"][:3] == ["printed", 2, 0]


async def test_scales_that_are_refused(server, namespace):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await server.request("POST", path, deployment("d"))
    _, scale = await server.request("GET", f"{path}/d/scale")
    scale["spec"] = {"replicas": -1}
    status, answer = await server.request("PUT", f"{path}/d/scale", scale)
    assert status == 422
    assert "must be greater than or equal to 0" in answer["message"]
    scale["spec"] = {"replicas": 3}
    await server.request("PUT", f"{path}/d/scale", scale)
    status, answer = await server.request("PUT", f"{path}/d/scale", scale)
    assert (status, answer["reason"]) == (409, "Conflict")
    assert (await server.request("GET", f"{path}/none/scale"))[0] == 404


@pytest.mark.parametrize("kind", ["application/merge-patch+json", "application/json-patch+json"])
@pytest.mark.parametrize("value", [[None], {"a": "b"}, 1.5, True])
async def test_patches_that_leave_a_scale_without_its_type(server, namespace, kind, value):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await server.request("POST", path, deployment("d"))
    for field in ("kind", "apiVersion"):
        merge, operations = {field: value}, [{"op": "replace", "path": f"/{field}", "value": value}]
        patch = merge if kind.startswith("application/merge") else operations
        status, answer = await server.request("PATCH", f"{path}/d/scale", patch, headers={"Content-Type": kind})
        assert (status, "json parse error" in answer["message"]) == (400, True), answer


def binding(name, node):
    return {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"kind": "Node", "name": node}}


async def test_a_pod_is_bound_once(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/pods"
    await server.request("POST", path, pod("p"))
    status, answer = await server.request("POST", f"{path}/p/binding", binding("p", "n1"))
    assert (status, answer["status"]) == (201, "Success")
    _, bound = await server.request("GET", f"{path}/p")
    assert bound["spec"]["nodeName"] == "n1"
    scheduled = next(each for each in bound["status"]["conditions"] if each["type"] == "PodScheduled")
    assert scheduled["status"] == "True"
    status, answer = await server.request("POST", f"{path}/p/binding", binding("p", "n2"))
    assert status == 409
    assert answer["message"] == (
        'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n1"'
    )
    status, answer = await server.request("POST", f"{path}/p/binding", binding("p", ""))
    assert (status, answer["message"]) == (400, "target.name: Required value")
    assert (await server.request("POST", f"{path}/none/binding", binding("none", "n1")))[0] == 404


async def test_an_eviction_deletes_the_pod(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/pods"
    body = pod("p")
    body["spec"]["nodeName"] = "n1"
    await server.request("POST", path, body)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"},
                "deleteOptions": {"gracePeriodSeconds": 7}}  # fmt: skip
    status, answer = await server.request("POST", f"{path}/p/eviction", eviction)
    assert (status, answer["status"]) == (201, "Success")
    _, marked = await server.request("GET", f"{path}/p")
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 7
    eviction["metadata"]["name"] = "none"
    assert (await server.request("POST", f"{path}/none/eviction", eviction))[0] == 404


async def test_old_clients_evict_as_well(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/pods"
    budget = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "p"}}}}
    eviction = {"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": "p"}}
    await server.request("POST", path, pod("p"))
    assert (await server.request("POST", f"{path}/p/eviction", eviction))[0] == 201
    assert (await server.request("GET", f"{path}/p"))[0] == 404
    guarded = pod("p")
    guarded["metadata"]["labels"] = {"app": "p"}
    await server.request("POST", path, guarded)
    running = {"status": {"phase": "Running"}}
    merge = {"Content-Type": "application/merge-patch+json"}
    assert (await server.request("PATCH", f"{path}/p/status", running, headers=merge))[0] == 200
    await server.request("POST", f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets", budget)
    assert (await server.request("POST", f"{path}/p/eviction", eviction))[0] == 429
    eviction["apiVersion"] = "policy/v2"
    assert (await server.request("POST", f"{path}/p/eviction", eviction))[0] == 400


async def test_ephemeral_containers_are_added_and_nothing_else(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/pods"
    _, made = await server.request("POST", path, pod("debugged"))
    patch = {
        "metadata": {"labels": {"ignored": "yes"}},
        "spec": {
            "ephemeralContainers": [{"name": "debugger", "image": "busybox"}],
            "activeDeadlineSeconds": 7,
        },
    }
    strategic = {"Content-Type": "application/strategic-merge-patch+json"}
    status, changed = await server.request("PATCH", f"{path}/debugged/ephemeralcontainers", patch, headers=strategic)
    assert status == 200
    assert [container["name"] for container in changed["spec"]["ephemeralContainers"]] == ["debugger"]
    assert "activeDeadlineSeconds" not in changed["spec"]
    assert "ignored" not in changed["metadata"].get("labels", {})
    assert changed["metadata"]["generation"] == made["metadata"].get("generation", 1) + 1
    managed = [entry for entry in changed["metadata"]["managedFields"] if entry.get("subresource")]
    assert [entry["subresource"] for entry in managed] == ["ephemeralcontainers"]
    changed["spec"]["ephemeralContainers"] = []
    status, answer = await server.request("PUT", f"{path}/debugged/ephemeralcontainers", changed)
    assert (status, answer["reason"]) == (422, "Invalid")
    assert 'existing ephemeral containers "debugger" may not be removed' in answer["message"]


async def test_resources_change_through_resize_only(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/pods"
    resources = {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}
    template = pod("resized")
    template["spec"]["containers"][0]["resources"] = resources
    _, made = await server.request("POST", path, template)
    made["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "150m"
    status, answer = await server.request("PUT", f"{path}/resized", made)
    assert (status, answer["reason"]) == (422, "Invalid")
    status, changed = await server.request("PUT", f"{path}/resized/resize", made)
    assert (status, changed["spec"]["containers"][0]["resources"]["requests"]) == (200, {"cpu": "150m"})
    changed["spec"]["containers"][0]["image"] = "other"
    status, again = await server.request("PUT", f"{path}/resized/resize", changed)
    assert (status, again["spec"]["containers"][0]["image"]) == (200, made["spec"]["containers"][0]["image"])


async def test_a_request_for_a_certificate_is_decided_through_approval(server):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "jane")])
    signing = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    wanted = {
        "metadata": {"generateName": "jane-"},
        "spec": {
            "request": base64.b64encode(signing.public_bytes(serialization.Encoding.PEM)).decode(),
            "signerName": "example.com/jane",
            "usages": ["client auth"],
        },
    }
    status, made = await server.request("POST", path, wanted)
    assert status == 201
    made["status"] = {"conditions": [{"type": "Approved", "status": "True", "reason": "Known", "message": "to me"}]}
    url = f"{path}/{made['metadata']['name']}"
    status, answer = await server.request("PUT", f"{url}/status", made)
    assert (status, answer["reason"]) == (422, "Invalid")
    status, decided = await server.request("PUT", f"{url}/approval", made)
    assert status == 200
    condition = decided["status"]["conditions"][0]
    assert (condition["type"], condition["reason"]) == ("Approved", "Known")
    assert condition["lastUpdateTime"]
    assert condition["lastTransitionTime"]


async def test_component_statuses_are_made_when_asked_for(server):
    path = "/api/v1/componentstatuses"
    status, listed = await server.request("GET", path)
    assert (status, listed["kind"]) == (200, "ComponentStatusList")
    assert [each["metadata"]["name"] for each in listed["items"]] == ["scheduler", "controller-manager", "etcd-0"]
    status, one = await server.request("GET", f"{path}/etcd-0")
    assert one["conditions"] == [{"type": "Healthy", "status": "True", "message": "ok"}]
    assert (await server.request("GET", f"{path}/none"))[0] == 404
    # Nobody leads here: only a manager that lives holds the Lease.
    _, one = await server.request("GET", f"{path}/scheduler")
    assert one["conditions"] == [{"type": "Healthy", "status": "Unknown", "message": "nobody holds its Lease"}]
