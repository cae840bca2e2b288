"""Aggregated ClusterRoles: kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api.cluster_roles import aggregated_rules
from timonel.api.objects import Object


def rule(name: str) -> Object:
    return {"verbs": ["get"], "apiGroups": [""], "resources": [name]}


def role(name: str, *rules: str, feeds: str = "", collects: tuple[str, ...] = ()) -> Object:
    made: dict[str, Any] = {"metadata": {"name": name}, "rules": [rule(each) for each in rules]}
    if feeds:
        made["metadata"]["labels"] = {"feeds": feeds}
    if collects:
        made["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {"feeds": each}} for each in collects]}
    return made


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        pytest.param([], [], id="nothing selected"),
        pytest.param([role("b", "pods", feeds="x"), role("a", "nodes", feeds="x")], ["nodes", "pods"], id="by name"),
        pytest.param([role("b", "p", feeds="x"), role("a", "q", feeds="y")], ["p", "q"], id="by selector first"),
        pytest.param([role("b", "p", "q", feeds="x"), role("a", "q", feeds="x")], ["q", "p"], id="each once"),
        pytest.param([role("b", "p"), role("c", "q", feeds="z")], [], id="not selected"),
        pytest.param(
            [role("b", "stale", feeds="x", collects=("z",)), role("c", "p", feeds="z")], ["p"], id="through another"
        ),
        pytest.param(
            [role("b", "stale", feeds="x", collects=("top",)), role("c", "p", feeds="x")], ["p"], id="a circle"
        ),
    ],
)
def test_rules_come_from_the_selected_roles(roles: list[Object], expected: list[str]) -> None:
    top = role("top", "own", feeds="top", collects=("x", "y"))
    assert aggregated_rules(top, [top, *roles]) == [rule(each) for each in expected]


def test_roles_that_do_not_aggregate_keep_their_rules() -> None:
    assert aggregated_rules(role("a", "pods"), [role("b", "nodes")]) is None
