"""RBAC decisions: rules match as the documentation says, and follow every change of roles and bindings at once."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api.objects import Object
from timonel.api.refs import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES
from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.authz.attributes import Attributes, Decision, denial_message, denied
from timonel.apiserver.authz.rbac import RbacAuthorizer
from timonel.apiserver.authz.rules import uncovered
from timonel.apiserver.authz.union import UnionAuthorizer
from timonel.testing.readers import FakeReaders

ANN = UserInfo("ann", groups=("devs", "system:authenticated"))


def rule(verbs: str, groups: str, resources: str, names: str = "") -> Object:
    made: Object = {"verbs": verbs.split(), "apiGroups": groups.split(), "resources": resources.split()}
    made["apiGroups"] = ["" if group == "core" else group for group in made["apiGroups"]]
    if names:
        made["resourceNames"] = names.split()
    return made


def role(name: str, *rules: Object, namespace: str = "") -> Object:
    return {"metadata": {"name": name, **({"namespace": namespace} if namespace else {})}, "rules": list(rules)}


def binding(name: str, kind: str, role_name: str, *subjects: Object, namespace: str = "") -> Object:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"metadata": metadata, "roleRef": {"kind": kind, "name": role_name}, "subjects": list(subjects)}


def user(name: str) -> Object:
    return {"kind": "User", "name": name}


def group(name: str) -> Object:
    return {"kind": "Group", "name": name}


def ask(**fields: Any) -> Attributes:
    return Attributes(**{"user": ANN, "verb": "get", "version": "v1", "resource": "pods", **fields})


@pytest.fixture
def readers() -> FakeReaders:
    return FakeReaders()


def grant(readers: FakeReaders, *rules: Object) -> RbacAuthorizer:
    """`rules` cluster-wide for ann."""
    readers.put(CLUSTER_ROLES, role("r", *rules))
    readers.put(CLUSTER_ROLE_BINDINGS, binding("b", "ClusterRole", "r", user("ann")))
    return RbacAuthorizer(readers=readers)


@pytest.mark.parametrize(
    ("granted", "asked", "allowed"),
    [
        (rule("get", "core", "pods"), {}, True),
        (rule("get", "core", "pods"), {"verb": "list"}, False),
        (rule("*", "core", "pods"), {"verb": "list"}, True),
        (rule("get", "core", "pods"), {"group": "apps"}, False),
        (rule("get", "*", "pods"), {"group": "apps"}, True),
        # "pods" does not include its subresources; "*" includes everything.
        (rule("get", "core", "pods"), {"subresource": "log"}, False),
        (rule("get", "core", "pods/log"), {"subresource": "log"}, True),
        (rule("get", "core", "pods/log"), {}, False),
        (rule("get", "core", "*"), {"subresource": "log"}, True),
        (rule("get", "core", "*/log"), {"subresource": "log"}, True),
        (rule("get", "core", "*/log"), {"subresource": "exec"}, False),
        (rule("get", "core", "pods/*"), {"subresource": "log"}, False),
        # resourceNames restrict to the named objects; a request without a name is not among them.
        (rule("get", "core", "pods", "a b"), {"name": "b"}, True),
        (rule("get", "core", "pods", "a b"), {"name": "c"}, False),
        (rule("get", "core", "pods", "a b"), {"name": ""}, False),
    ],
)
def test_rules(readers: FakeReaders, granted: Object, asked: dict[str, Any], allowed: bool) -> None:
    assert grant(readers, granted).decide(ask(**asked)).allowed is allowed


@pytest.mark.parametrize(
    ("url", "path", "allowed"),
    [
        ("/healthz", "/healthz", True),
        ("/healthz", "/healthz/etcd", False),
        ("/healthz/*", "/healthz/etcd", True),
        ("/healthz/*", "/healthz", False),
        ("*", "/anything", True),
    ],
)
def test_plain_paths(readers: FakeReaders, url: str, path: str, allowed: bool) -> None:
    rbac = grant(readers, {"verbs": ["get"], "nonResourceURLs": [url]})
    assert rbac.decide(ask(resource="", path=path)).allowed is allowed


def test_a_role_binding_grants_in_its_namespace_only(readers: FakeReaders) -> None:
    readers.put(CLUSTER_ROLES, role("reader", rule("get", "core", "pods")))
    readers.put(ROLE_BINDINGS, binding("b", "ClusterRole", "reader", group("devs"), namespace="one"))
    rbac = RbacAuthorizer(readers=readers)
    assert rbac.decide(ask(namespace="one")) == Decision(
        True, 'RBAC: allowed by RoleBinding "b/one" of ClusterRole "reader" to Group "devs"'
    )
    assert not rbac.decide(ask(namespace="two")).allowed
    assert not rbac.decide(ask()).allowed


def test_service_accounts_are_subjects(readers: FakeReaders) -> None:
    readers.put(ROLES, role("reader", rule("get", "core", "pods"), namespace="one"))
    account = {"kind": "ServiceAccount", "name": "app", "namespace": "two"}
    readers.put(ROLE_BINDINGS, binding("b", "Role", "reader", account, namespace="one"))
    rbac = RbacAuthorizer(readers=readers)
    app = UserInfo("system:serviceaccount:two:app")
    assert rbac.decide(ask(user=app, namespace="one")).reason == (
        'RBAC: allowed by RoleBinding "b/one" of Role "reader" to ServiceAccount "app/two"'
    )
    assert not rbac.decide(ask(user=UserInfo("system:serviceaccount:one:app"), namespace="one")).allowed


def test_changes_count_at_once(readers: FakeReaders) -> None:
    rbac = grant(readers, rule("get", "core", "pods"))
    assert rbac.decide(ask()).allowed
    readers.put(CLUSTER_ROLES, role("r", rule("get", "core", "secrets")))
    assert not rbac.decide(ask()).allowed
    assert rbac.decide(ask(resource="secrets")).allowed
    readers.put(CLUSTER_ROLE_BINDINGS, binding("b", "ClusterRole", "r", user("bob")))
    assert not rbac.decide(ask(resource="secrets")).allowed
    assert rbac.decide(ask(resource="secrets", user=UserInfo("bob"))).allowed
    readers.reader(CLUSTER_ROLE_BINDINGS).remove("", "b")
    assert not rbac.decide(ask(resource="secrets", user=UserInfo("bob"))).allowed


def test_a_binding_to_a_role_that_is_not_there_says_so(readers: FakeReaders) -> None:
    readers.put(CLUSTER_ROLE_BINDINGS, binding("b", "ClusterRole", "gone", user("ann")))
    decision = RbacAuthorizer(readers=readers).decide(ask())
    assert decision == Decision(False, 'RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found')


async def test_system_masters_may_do_everything() -> None:
    readers = FakeReaders()
    union = UnionAuthorizer([RbacAuthorizer(readers=readers)])
    assert (await union.authorize(ask(user=UserInfo("root", groups=("system:masters",))))).allowed
    assert not (await union.authorize(ask())).allowed


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"verb": "list", "namespace": "default"},
            'pods is forbidden: User "ann" cannot list resource "pods" in API group "" in the namespace "default"',
        ),
        (
            {"verb": "delete", "group": "apps", "resource": "deployments", "name": "web"},
            'deployments.apps "web" is forbidden: User "ann" cannot delete resource "deployments" in API group "apps"'
            " at the cluster scope",
        ),
        (
            {"verb": "create", "subresource": "exec", "name": "p", "namespace": "d"},
            'pods "p" is forbidden: User "ann" cannot create resource "pods/exec" in API group "" in the namespace "d"',
        ),
        ({"resource": "", "path": "/metrics"}, 'forbidden: User "ann" cannot get path "/metrics"'),
    ],
)
def test_refusals_are_worded_as_upstream(asked: dict[str, Any], message: str) -> None:
    assert denied(ask(**asked)).message == message


def test_a_reason_follows_the_refusal() -> None:
    assert denial_message(ask(resource="", path="/x"), "because").endswith('path "/x": because')


def test_what_rules_do_not_cover() -> None:
    own = [rule("get list", "core", "pods"), rule("*", "apps", "*"), rule("get", "core", "secrets", "a")]
    assert uncovered(own, [rule("get", "core", "pods"), rule("delete", "apps", "deployments/scale")]) == []
    assert uncovered(own, [rule("get watch", "core", "pods")]) == [rule("watch", "core", "pods")]
    assert uncovered(own, [rule("get", "core", "secrets", "a b")]) == [rule("get", "core", "secrets", "b")]
    assert uncovered(own, [rule("get", "core", "secrets")]) == [rule("get", "core", "secrets")]
    assert (
        uncovered([{"verbs": ["get"], "nonResourceURLs": ["/a/*"]}], [{"verbs": ["get"], "nonResourceURLs": ["/a/b"]}])
        == []
    )
