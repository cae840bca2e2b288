"""What an answer looks like: tables, metadata alone, YAML, indented; discovery and OpenAPI."""

from __future__ import annotations

import orjson
import pytest
import yaml

from tests.api.objects import config_map, pod

pytestmark = pytest.mark.asyncio(loop_scope="module")

TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
PARTIAL = {"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}
PARTIAL_LIST = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"}


async def test_tables(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await server.request("POST", path, config_map("a", x="1", y="2"))
    _, answer = await server.request("GET", path, headers=TABLE)
    assert (answer["kind"], answer["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [column["name"] for column in answer["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert answer["rows"][0]["cells"][:2] == ["a", 2]
    assert answer["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert answer["metadata"]["resourceVersion"].isdigit()
    _, answer = await server.request("GET", f"{path}/a?includeObject=None", headers=TABLE)
    assert answer["rows"][0]["object"] is None
    _, answer = await server.request("GET", f"{path}/a?includeObject=Object", headers=TABLE)
    assert answer["rows"][0]["object"]["data"] == {"x": "1", "y": "2"}


async def test_a_pod_as_kubectl_prints_it(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/pods"
    await server.request("POST", path, pod("p"))
    _, answer = await server.request("GET", f"{path}/p", headers=TABLE)
    shown = [column["name"] for column in answer["columnDefinitions"] if column["priority"] == 0]
    assert shown == ["Name", "Ready", "Status", "Restarts", "Age"]
    assert answer["rows"][0]["cells"][:4] == ["p", "0/1", "Pending", "0"]


async def test_metadata_alone(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await server.request("POST", path, config_map("a", x="1"))
    _, answer = await server.request("GET", f"{path}/a", headers=PARTIAL)
    assert set(answer) == {"kind", "apiVersion", "metadata"}
    _, answer = await server.request("GET", path, headers=PARTIAL_LIST)
    assert answer["kind"] == "PartialObjectMetadataList"
    assert answer["items"][0]["kind"] == "PartialObjectMetadata"


async def test_yaml_and_indented_json(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    body = b"kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\ndata: {x: '1'}\n"
    status, made = await server.request("POST", path, body, headers={"Content-Type": "application/yaml"})
    assert status == 201
    _, answer = await server.request("GET", f"{path}/a", headers={"Accept": "application/yaml"})
    assert yaml.safe_load(answer) == made
    headers = {"Authorization": f"Bearer {server.token}"}
    async with server.http.get(f"{server.url}{path}/a?pretty=true", headers=headers) as response:
        assert (await response.text()).startswith('{\n  "kind": "ConfigMap"')


async def test_clients_that_prefer_protobuf_get_json(server):
    accept = {"Accept": "application/vnd.kubernetes.protobuf,application/json"}
    status, answer = await server.request("GET", "/api/v1/namespaces/default", headers=accept)
    assert (status, answer["kind"]) == (200, "Namespace")


async def test_only_health_and_metrics_may_be_asked_for_their_heads(server):
    headers = {"Authorization": f"Bearer {server.token}"}
    for path, status in (("/healthz", 200), ("/metrics", 200), ("/version", 405), ("/api/v1/namespaces/default", 405)):
        async with server.http.head(server.url + path, headers=headers) as response:
            assert response.status == status
            assert await response.read() == b""


async def test_discovery_in_its_old_form(server):
    _, answer = await server.request("GET", "/api")
    assert answer["versions"] == ["v1"]
    _, answer = await server.request("GET", "/apis")
    assert "apps" in [group["name"] for group in answer["groups"]]
    _, answer = await server.request("GET", "/apis/apps/v1")
    deployments = next(each for each in answer["resources"] if each["name"] == "deployments")
    assert (deployments["singularName"], deployments["shortNames"]) == ("deployment", ["deploy"])
    scale = next(each for each in answer["resources"] if each["name"] == "deployments/scale")
    assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")


async def test_aggregated_discovery_is_cached_by_its_tag(server):
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    headers = {"Authorization": f"Bearer {server.token}", "Accept": accept}
    async with server.http.get(f"{server.url}/apis", headers=headers) as response:
        assert "as=APIGroupDiscoveryList" in response.headers["Content-Type"]
        answer = orjson.loads(await response.read())
        headers["If-None-Match"] = response.headers["ETag"]
    assert answer["kind"] == "APIGroupDiscoveryList"
    apps = next(item for item in answer["items"] if item["metadata"]["name"] == "apps")
    resources = {each["resource"]: each for each in apps["versions"][0]["resources"]}
    # Empty: the group and version that it is listed under.
    assert resources["deployments"]["responseKind"] == {"group": "", "version": "", "kind": "Deployment"}
    scale = resources["deployments"]["subresources"][0]
    assert scale["responseKind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    async with server.http.get(f"{server.url}/apis", headers=headers) as response:
        assert response.status == 304
        assert await response.read() == b""


async def test_openapi(server):
    _, index = await server.request("GET", "/openapi/v3")
    url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
    _, document = await server.request("GET", url)
    spec = document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"]
    assert spec["x-kubernetes-group-version-kind"] == [{"group": "apps", "kind": "Deployment", "version": "v1"}]
    assert spec["properties"]["spec"]["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"}]
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert "fieldValidation" in [parameter["name"] for parameter in patch["parameters"]]
    _, swagger = await server.request("GET", "/openapi/v2")
    assert swagger["swagger"] == "2.0"
    assert swagger["definitions"]["io.k8s.api.core.v1.Pod"]["properties"]["metadata"]["$ref"] == (
        "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    )
    accept = {"Accept": "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"}
    status, protobuf = await server.request("GET", "/openapi/v2", headers=accept)
    assert status == 200
    assert protobuf.startswith(b"\x0a\x032.0")  # field 1, three bytes: swagger "2.0"


async def test_health_version_and_metrics(server):
    for path in ("/livez", "/readyz", "/healthz", "/readyz/ping"):
        assert await server.request("GET", path) == (200, b"ok")
    _, verbose = await server.request("GET", "/readyz?verbose")
    assert b"[+]ping ok\n" in verbose
    assert verbose.endswith(b"readyz check passed\n")
    assert (await server.request("GET", "/readyz/none"))[0] == 404
    _, version = await server.request("GET", "/version")
    assert (version["major"], version["minor"]) == ("1", "36")
    assert version["gitVersion"].startswith("v1.36.")
    assert "+timonel." in version["gitVersion"]
    _, metrics = await server.request("GET", "/metrics")
    assert b"apiserver_request_total{" in metrics
    assert b"apiserver_request_duration_seconds_bucket{" in metrics


async def test_reviews_are_not_printed_as_tables(server):
    review = {"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    status, answer = await server.request("POST", path, review, headers={"Accept": table})
    assert (status, answer["reason"]) == (406, "NotAcceptable")
    status, answer = await server.request("POST", path, review, headers={"Accept": f"{table},application/json"})
    assert (status, answer["kind"]) == (201, "SelfSubjectAccessReview")


async def test_discovery_as_yaml_and_refused(server):
    headers = {"Accept": "application/yaml"}
    status, body = await server.request("GET", "/apis/apps", headers=headers)
    assert status == 200
    assert b"preferredVersion:\n  groupVersion: apps/v1" in body
    headers = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v3;as=APIGroupDiscoveryList"}
    status, answer = await server.request("GET", "/apis", headers=headers)
    assert (status, answer["reason"]) == (406, "NotAcceptable")


async def test_health_lists_what_the_server_did_before_it_serves(server):
    status, text = await server.request("GET", "/livez?verbose")
    assert status == 200
    for name in ("rbac/bootstrap-roles", "kube-apiserver-autoregistration", "start-system-namespaces-controller"):
        assert f"[+]poststarthook/{name} ok".encode() in text
    assert (await server.request("GET", "/livez/poststarthook/rbac/bootstrap-roles")) == (200, b"ok")
    assert (await server.request("GET", "/livez/"))[0] == 404


async def test_metrics_tell_who_asked_and_what_is_going_on(server):
    await server.request("GET", "/api/v1/nodes")
    await server.request("GET", "/api/v1/nodes", token=server.alice_token)
    await server.request("GET", "/api/v1/nodes", token="wrong")
    await server.request("GET", "/readyz")
    _, body = await server.request("GET", "/metrics")
    lines = body.decode().splitlines()
    samples = dict(line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    assert float(samples['authentication_attempts{result="failure"}']) >= 1
    assert float(samples['authorization_attempts_total{result="no-opinion"}']) >= 1
    assert float(samples['authenticated_user_requests{username="admin"}']) >= 1
    assert float(samples['apiserver_current_inflight_requests{request_kind="mutating"}']) == 0
    assert float(samples['apiserver_current_inflight_requests{request_kind="readOnly"}']) == 1
    assert 'apiserver_storage_objects{resource="apiservices.apiregistration.k8s.io"}' in samples
    ready = 'component="",dry_run="",group="",resource="",scope="",subresource="/readyz",verb="GET",version=""'
    assert f'apiserver_request_total{{code="200",{ready}}}' in samples
