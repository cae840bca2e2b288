"""In which form documents of discovery and OpenAPI are sent, for what clients accept, as Kubernetes v1.36 does."""

from __future__ import annotations

import pytest
import yaml

from timonel.api.errors import NotAcceptable
from timonel.api.kinds import BUILTIN
from timonel.apiserver.discovery import Discovery
from timonel.apiserver.negotiation import check_named, first_type
from timonel.apiserver.openapi.documents import OpenApi
from timonel.apiserver.responses import to_yaml

AGGREGATED = "g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
SWAGGER_ASKED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
SWAGGER = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
THIRD = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"


@pytest.fixture(scope="module")
def discovery():
    return Discovery(BUILTIN)


@pytest.fixture(scope="module")
def openapi():
    return OpenApi(BUILTIN)


@pytest.mark.parametrize("path", ["/api", "/apis"])
@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", JSON),
        ("*/*", JSON),
        (YAML, YAML),
        (PROTOBUF, PROTOBUF),
        (f"{JSON};q=0.3,{YAML};q=0.4", YAML),
        (f"{JSON};{AGGREGATED}", f"{JSON};{AGGREGATED}"),
        (f"{JSON};{AGGREGATED};profile=nopeer", f"{JSON};{AGGREGATED}"),
        (f"*/*;{AGGREGATED}", f"{JSON};{AGGREGATED}"),
        (f"{YAML};{AGGREGATED}", f"{YAML};{AGGREGATED}"),
        (f"{PROTOBUF};{AGGREGATED}", f"{PROTOBUF};{AGGREGATED}"),
        (f"{PROTOBUF};{AGGREGATED},{JSON};{AGGREGATED},{JSON}", f"{JSON};{AGGREGATED}"),
        (f"{JSON};{AGGREGATED};q=0.1,{JSON}", f"{JSON};{AGGREGATED}"),
        (f"{JSON},{JSON};{AGGREGATED}", f"{JSON};{AGGREGATED}"),
        (f"{JSON};{AGGREGATED.replace('v2', 'v3')},{JSON}", JSON),
    ],
)
def test_roots_of_discovery(discovery, path, accept, content_type):
    document = discovery.document(path, accept, "192.0.2.1:6443")
    assert document.content_type == content_type
    assert bool(document.etag) == (AGGREGATED in content_type)


def test_aggregated_discovery_as_yaml(discovery):
    document = discovery.document("/apis", f"{YAML};{AGGREGATED}", "")
    content = yaml.safe_load(document.body)
    assert (content["kind"], content["apiVersion"]) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io/v2")
    assert "apps" in [item["metadata"]["name"] for item in content["items"]]


def test_yaml_says_everything_where_it_stands():
    version = {"version": "v1"}
    made = to_yaml({"preferred": version, "versions": [version], "text": "one\n\ntwo"})
    assert made == b"preferred:\n  version: v1\ntext: |-\n  one\n\n  two\nversions:\n- version: v1\n"


@pytest.mark.parametrize("path", ["/api", "/apis", "/apis/apps", "/apis/apps/v1", "/api/v1"])
@pytest.mark.parametrize(
    "form", ["as=Table;v=v1;g=meta.k8s.io", "as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "as=APIGroupDiscoveryList"]
)
def test_documents_of_discovery_are_no_objects(discovery, path, form):
    with pytest.raises(NotAcceptable, match=r"^only the following media types are accepted: "):
        discovery.document(path, f"{JSON};{form}", "")
    assert discovery.document(path, f"{JSON};{form},{JSON}", "").content_type == JSON


@pytest.mark.parametrize("path", ["/apis/apps", "/apis/apps/v1", "/api/v1"])
def test_only_roots_are_aggregated(discovery, path):
    with pytest.raises(NotAcceptable):
        discovery.document(path, f"{JSON};{AGGREGATED}", "")


@pytest.mark.parametrize("path", ["/apis/none", "/apis/none/v1", "/apis/apps/v9", "/api/v2"])
@pytest.mark.parametrize("accept", ["", "text/plain", f"{JSON};{AGGREGATED}"])
def test_nothing_is_found_before_its_form_is_refused(discovery, path, accept):
    assert discovery.document(path, accept, "") is None


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (JSON, JSON),
        (SWAGGER_ASKED, SWAGGER),
        (SWAGGER, SWAGGER),
        (f"{SWAGGER_ASKED},*/*", SWAGGER),
        (f"{JSON};q=0.5,{SWAGGER_ASKED}", SWAGGER),
        (f"{JSON},{SWAGGER_ASKED};q=0.5", JSON),
    ],
)
def test_the_first_type_of_swagger_that_a_client_likes(accept, content_type):
    found = first_type(accept, (JSON, SWAGGER_ASKED, SWAGGER))
    assert found.replace("@", ".") == content_type


@pytest.mark.parametrize("accept", ["text/plain", YAML, PROTOBUF, THIRD, "garbage", ",", "APPLICATION/JSON"])
@pytest.mark.parametrize(
    "path", ["/openapi/v2", "/openapi/v3/api/v1", "/openapi/v3/apis/apps/v1", "/openapi/v3/version"]
)
async def test_openapi_in_no_other_type(openapi, path, accept):
    with pytest.raises(NotAcceptable, match=r"^406: Not Acceptable\n\nAvailable representations: application/json"):
        await openapi.document(path, accept)


async def test_the_index_of_openapi_is_for_everybody(openapi):
    document = await openapi.document("/openapi/v3", "text/plain")
    assert b'"apis/apps/v1"' in document.body


def test_documents_with_one_type_are_named_exactly_or_not_at_all():
    check_named("", (JSON,))
    check_named("text/html,*/*;q=0.8", (JSON,))
    for accept in ("application/*", YAML, "text/plain"):
        with pytest.raises(NotAcceptable, match=r"Available representations: application/json$"):
            check_named(accept, (JSON,))
