"""What both versions of OpenAPI say of paths, operations and definitions, as Kubernetes v1.36 publishes them."""

from __future__ import annotations

import gzip

import orjson
import pytest

from timonel.api.kinds import BUILTIN
from timonel.apiserver.openapi.documents import OpenApi
from timonel.apiserver.openapi.v2 import swagger

OBJECT_TYPES = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"]
WATCH_TYPES = [*OBJECT_TYPES, "application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"]


@pytest.fixture(scope="module")
def document():
    return orjson.loads(orjson.dumps(swagger(BUILTIN)))


def content(found):
    return orjson.loads(found.body or gzip.decompress(found.packed))


async def group(path: str):
    found = await OpenApi(BUILTIN).document(f"/openapi/v3/{path}", "application/json")
    assert found is not None
    return content(found)


def names(parameters):
    return [each["name"] for each in parameters]


def test_watches_in_the_old_form_of_path_are_told_as_deprecated(document):
    one = document["paths"]["/api/v1/watch/namespaces/{namespace}/pods/{name}"]["get"]
    assert (one["operationId"], one["x-kubernetes-action"]) == ("watchCoreV1NamespacedPod", "watch")
    everywhere = document["paths"]["/api/v1/watch/pods"]["get"]
    assert everywhere["operationId"] == "watchCoreV1PodListForAllNamespaces"
    assert everywhere["x-kubernetes-action"] == "watchlist"
    assert "deprecated" in everywhere["description"]
    assert everywhere["responses"]["200"]["schema"]["$ref"].endswith("meta.v1.WatchEvent")
    assert "/apis/authorization.k8s.io/v1/watch/subjectaccessreviews" not in document["paths"]


@pytest.mark.parametrize(
    ("path", "method", "produces", "consumes"),
    [
        ("/api/v1/pods", "get", WATCH_TYPES, ["*/*"]),
        ("/api/v1/namespaces/{namespace}/pods", "post", OBJECT_TYPES, ["*/*"]),
        ("/api/v1/namespaces/{namespace}/pods/{name}/log", "get", ["text/plain", *OBJECT_TYPES], ["*/*"]),
        ("/api/v1/namespaces/{namespace}/pods/{name}/proxy/{path}", "head", ["*/*"], ["*/*"]),
        ("/apis/apps/v1/", "get", OBJECT_TYPES, OBJECT_TYPES),
        ("/version/", "get", ["application/json"], ["application/json"]),
    ],
)
def test_media_types(document, path, method, produces, consumes):
    operation = document["paths"][path][method]
    assert (operation["produces"], operation["consumes"]) == (produces, consumes)


def test_parameters_that_all_operations_of_a_path_have_stand_beside_them(document):
    item = document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]
    assert names(item["parameters"]) == ["name", "namespace", "pretty"]
    assert names(item["patch"]["parameters"]) == ["body", "dryRun", "fieldManager", "fieldValidation", "force"]
    assert "parameters" not in item["get"]
    stream = document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/exec"]
    assert names(stream["parameters"]) == [
        "command", "container", "name", "namespace", "stderr", "stdin", "stdout", "tty",
    ]  # fmt: skip


def test_collections_are_deleted_with_selectors_and_without_watching(document):
    found = names(document["paths"]["/api/v1/namespaces/{namespace}/pods"]["delete"]["parameters"])
    assert {"labelSelector", "propagationPolicy"} < set(found)
    assert not {"watch", "allowWatchBookmarks"} & set(found)


@pytest.mark.parametrize(("plural", "answer"), [("pods", "core.v1.Pod"), ("configmaps", "meta.v1.Status")])
def test_deletions_answer_with_the_object_of_some_kinds(document, plural, answer):
    deletion = document["paths"][f"/api/v1/namespaces/{{namespace}}/{plural}/{{name}}"]["delete"]
    assert deletion["responses"]["200"]["schema"]["$ref"].endswith(answer)


@pytest.mark.parametrize(
    ("definition", "field", "values"),
    [
        ("io.k8s.api.core.v1.PodSpec", "restartPolicy", ["Always", "Never", "OnFailure"]),
        ("io.k8s.api.networking.v1.NetworkPolicySpec", "policyTypes", ["Egress", "Ingress"]),
        ("io.k8s.api.core.v1.ServiceSpec", "ipFamilies", ["", "IPv4", "IPv6"]),
    ],
)
async def test_enumerated_fields_tell_their_values(document, definition, field, values):
    schema = document["definitions"][definition]["properties"][field]
    assert schema.get("items", schema)["enum"] == values


async def test_only_v3_tells_defaults(document):
    schemas = (await group("api/v1"))["components"]["schemas"]
    port = schemas["io.k8s.api.core.v1.ContainerPort"]["properties"]
    assert (port["containerPort"]["default"], port["protocol"]["default"]) == (0, "TCP")
    pod = schemas["io.k8s.api.core.v1.Pod"]["properties"]
    assert pod["spec"]["default"] == {}
    assert "default" not in schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["securityContext"]
    assert "default" not in document["definitions"]["io.k8s.api.core.v1.ContainerPort"]["properties"]["protocol"]


async def test_what_every_group_has_is_told_for_this_one(document):
    name = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
    schemas = (await group("apis/apps/v1"))["components"]["schemas"]
    assert schemas[name]["x-kubernetes-group-version-kind"] == [
        {"group": "", "kind": "DeleteOptions", "version": "v1"},
        {"group": "apps", "kind": "DeleteOptions", "version": "v1"},
    ]
    assert len(document["definitions"][name]["x-kubernetes-group-version-kind"]) == 60


async def test_paths_of_no_kind_have_documents_of_their_own():
    index = await OpenApi(BUILTIN).document("/openapi/v3", "application/json")
    assert index is not None
    paths = content(index)["paths"]
    assert {"api", "apis", "apis/apps", "version", "openid/v1/jwks", ".well-known/openid-configuration"} < set(paths)
    assert list((await group("apis/apps"))["paths"]) == ["/apis/apps/"]
    assert list((await group("version"))["paths"]) == ["/version/"]


async def test_a_document_named_by_its_hash_may_be_kept_for_ever():
    openapi = OpenApi(BUILTIN)
    index = content(await openapi.document("/openapi/v3", "application/json"))
    path, _, known = index["paths"]["version"]["serverRelativeURL"].partition("?hash=")
    named = await openapi.document(path, "application/json", known)
    assert (named.cache_control, bool(named.expires)) == ("public, immutable", True)
    plain = await openapi.document(path, "application/json")
    assert (plain.cache_control, plain.expires, plain.etag) == ("no-cache, private", "", named.etag)
    other = await openapi.document(path, "application/json", "OLD")
    assert other.location == f"{path}?hash={known}"
