"""Requests become verbs and resources as kubernetes.io/docs/reference/access-authn-authz/authorization says."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from timonel.api.errors import BadRequest
from timonel.apiserver.routing import parse_route


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/api/v1/pods", ("list", "", "v1", "", "pods", "", "")),
        ("GET", "/api/v1/pods?watch=true", ("watch", "", "v1", "", "pods", "", "")),
        ("GET", "/api/v1/pods?watch=0", ("list", "", "v1", "", "pods", "", "")),
        ("GET", "/api/v1/namespaces/a/pods/b", ("get", "", "v1", "a", "pods", "b", "")),
        ("HEAD", "/api/v1/namespaces/a/pods/b", ("get", "", "v1", "a", "pods", "b", "")),
        ("GET", "/api/v1/namespaces/a/pods/b?watch=true", ("get", "", "v1", "a", "pods", "b", "")),
        ("POST", "/api/v1/namespaces/a/pods", ("create", "", "v1", "a", "pods", "", "")),
        ("POST", "/api/v1/namespaces/a/pods/b/exec", ("create", "", "v1", "a", "pods", "b", "exec")),
        ("DELETE", "/api/v1/namespaces/a/pods", ("deletecollection", "", "v1", "a", "pods", "", "")),
        ("DELETE", "/api/v1/namespaces/a/pods/b", ("delete", "", "v1", "a", "pods", "b", "")),
        ("PUT", "/apis/apps/v1/namespaces/a/deployments/b/status",
         ("update", "apps", "v1", "a", "deployments", "b", "status")),
        ("PATCH", "/apis/apps/v1/namespaces/a/deployments/b", ("patch", "apps", "v1", "a", "deployments", "b", "")),
        ("GET", "/api/v1/namespaces", ("list", "", "v1", "", "namespaces", "", "")),
        ("GET", "/api/v1/namespaces/a", ("get", "", "v1", "a", "namespaces", "a", "")),
        ("PUT", "/api/v1/namespaces/a/finalize", ("update", "", "v1", "a", "namespaces", "a", "finalize")),
        ("GET", "/api/v1/watch/namespaces/a/pods", ("watch", "", "v1", "a", "pods", "", "")),
        ("GET", "/api/v1/watch/namespaces/a/pods/b", ("watch", "", "v1", "a", "pods", "b", "")),
        ("GET", "/api/v1/namespaces/a/pods/b%2Fc", ("get", "", "v1", "a", "pods", "b/c", "")),
    ],
)  # fmt: skip
def test_resource_requests(method, target, expected):
    route = parse_route(method, target)
    found = (route.verb, route.group, route.version, route.namespace, route.resource, route.name, route.subresource)
    assert found == expected


@pytest.mark.parametrize("target", ["/", "", "//", "/api", "/api/v1", "/api/v1/", "/apis/apps/v1", "/healthz", "/x/y"])
def test_requests_that_name_no_resource(target):
    route = parse_route("GET", target)
    assert (route.verb, route.resource) == ("get", "")


def test_a_name_in_the_field_selector_counts_for_authorisation():
    route = parse_route("GET", "/api/v1/secrets?fieldSelector=type%3Dx,metadata.name%3Db")
    assert (route.verb, route.name, route.selector_name) == ("list", "", "b")
    assert parse_route("GET", "/api/v1/secrets?fieldSelector=metadata.name!%3Db").selector_name == ""


def test_what_a_proxy_passes_on():
    assert parse_route("GET", "/api/v1/namespaces/a/pods/b/proxy/c/d").rest == "c/d"


def test_options_are_read_as_go_reads_them():
    route = parse_route("GET", "/x?a=false&b=0&c=true&d&e=False&n=5&bad=x")
    assert [route.flag(name) for name in "abcdef"] == [False, False, True, True, False, False]
    assert (route.integer("n"), route.integer("none")) == (5, None)
    with pytest.raises(BadRequest):
        route.integer("bad")


@pytest.mark.parametrize(
    ("selector", "name"),
    [
        ("metadata.name=a", "a"),
        ("status.phase!=Failed,metadata.name==a", "a"),
        ("metadata.name!=a", ""),
        (r"metadata.name=a\,b", "a,b"),
        (r"metadata.namespace!=\,metadata.name\=a", ""),
        ("metadata.name=a=b", ""),
    ],
)
def test_the_name_that_is_authorised_is_the_one_the_selector_selects(selector, name):
    route = parse_route("GET", f"/api/v1/secrets?{urlencode({'fieldSelector': selector})}")
    assert route.selector_name == name
