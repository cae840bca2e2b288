"""Routes of GETs that are remembered: few, short, and with plans that end when their resource gets another row."""

from __future__ import annotations

from dataclasses import replace

import pytest

from timonel.api.errors import MethodNotAllowed, NotFound
from timonel.api.kinds import BUILTIN
from timonel.api.refs import NAMESPACES, PODS
from timonel.apiserver.plans import plan_of
from timonel.apiserver.routing import Routes, parse_route

PATH = "/api/v1/namespaces/a/pods/b"


def test_the_same_target_has_the_same_route_and_what_the_parser_says() -> None:
    routes = Routes()
    for target in (PATH, f"{PATH}?pretty=true", "/apis/apps/v1/deployments?labelSelector=a%3Db", "/livez"):
        route = routes.find("GET", target)
        assert routes.find("GET", target) is route
        assert route == parse_route("GET", target)


@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE", "PATCH"])
def test_other_methods_are_not_taken_for_a_get(method: str) -> None:
    routes = Routes()
    routes.find("GET", PATH)
    assert routes.find(method, PATH) == parse_route(method, PATH)
    assert routes.find(method, PATH) is not routes.find(method, PATH)


def test_clients_cannot_fill_the_memory() -> None:
    routes = Routes()
    for number in range(3000):
        routes.find("GET", f"/api/v1/namespaces/a/pods/b-{number}")
        routes.find("GET", f"/{number}/" + "x" * 1000)
    assert len(routes._known) <= 1024
    assert max(map(len, routes._known)) <= 256


def test_the_namespace_that_a_namespace_loses_on_its_way_is_there_next_time() -> None:
    """Authorisation sees it; the kind itself has none."""
    routes, row = Routes(), BUILTIN.row(NAMESPACES)
    for _ in range(2):
        route = routes.find("GET", "/api/v1/namespaces/a")
        assert (route.namespace, route.name) == ("a", "a")
        plan_of("GET", route, row)
        assert route.namespace == ""


def test_a_plan_is_made_once_and_anew_for_another_row() -> None:
    route, row = parse_route("GET", f"{PATH}/log"), BUILTIN.row(PODS)
    plan = plan_of("GET", route, row)
    assert plan_of("GET", route, row) is plan
    with pytest.raises(NotFound):
        plan_of("GET", route, replace(row, subresources=()))
    other = replace(row, deprecation="old")
    assert plan_of("GET", route, other).resource is other


def test_what_is_refused_once_may_be_allowed_later() -> None:
    route, row = parse_route("GET", PATH), BUILTIN.row(PODS)
    with pytest.raises(MethodNotAllowed):
        plan_of("GET", route, replace(row, verbs=("create",)))
    assert plan_of("GET", route, row).handler is not None
