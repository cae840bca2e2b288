"""The default policy: complete, enough for our own components, mended at start, and the administrator's to change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from timonel.api.objects import Object, copy_object, name_of
from timonel.api.refs import (
    API_SERVICES,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CONFIGMAPS,
    NAMESPACES,
    PRIORITY_CLASSES,
    ROLES,
    ResourceRef,
)
from timonel.apiserver.authn.user import ANONYMOUS, UserInfo
from timonel.apiserver.authz.attributes import Attributes
from timonel.apiserver.authz.rbac import RbacAuthorizer
from timonel.apiserver.bootstrap.policy import default_cluster_roles, parse_cluster_roles
from timonel.apiserver.bootstrap.reconcile import aggregate_cluster_roles, reconcile_bootstrap
from timonel.testing.readers import FakeReaders

TODAY = date(2026, 11, 23)
SERVED = [("", "v1"), ("apps", "v1"), ("autoscaling", "v1"), ("autoscaling", "v2"), ("apiregistration.k8s.io", "v1")]
AUTHENTICATED = ("system:authenticated",)
ACCOUNT = "system:serviceaccount:kube-system"


class FakeObjects(FakeReaders):
    """Counts writes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[tuple[str, str]] = []

    async def create(self, ref: ResourceRef, obj: Object, namespace: str = "") -> Object:
        assert self.reader(ref).get(obj["metadata"].get("namespace", ""), name_of(obj)) is None
        self.writes.append(("create", name_of(obj)))
        return self.put(ref, copy_object(obj))

    async def update(
        self, ref: ResourceRef, namespace: str, name: str, transform: Callable[[Object], Object]
    ) -> Object:
        live = self.reader(ref).get(namespace, name)
        assert live is not None
        self.writes.append(("update", name))
        return self.put(ref, transform(live))

    async def delete(self, ref: ResourceRef, namespace: str, name: str) -> None:
        self.writes.append(("delete", name))
        self.reader(ref).remove(namespace, name)


@pytest.fixture
async def objects() -> FakeObjects:
    made = FakeObjects()
    await reconcile_bootstrap(made, today=TODAY, group_versions=SERVED, client_ca="CA", front_proxy_ca="FRONT")
    return made


def may(objects: FakeObjects, user: str, verb: str, resource: str, *groups: str, **fields: Any) -> bool:
    info = UserInfo(user, groups=(*groups, *AUTHENTICATED))
    attributes = Attributes(**{"user": info, "verb": verb, "resource": resource, **fields})
    return RbacAuthorizer(readers=objects).decide(attributes).allowed


async def test_a_second_run_writes_nothing(objects: FakeObjects) -> None:
    objects.writes.clear()
    await reconcile_bootstrap(objects, today=TODAY, group_versions=SERVED, client_ca="CA", front_proxy_ca="FRONT")
    assert objects.writes == []


async def test_namespaces_and_priority_classes(objects: FakeObjects) -> None:
    assert {name_of(obj) for obj in objects.reader(NAMESPACES).list()} == {
        "default", "kube-system", "kube-public", "kube-node-lease"
    }  # fmt: skip
    values = {name_of(obj): obj["value"] for obj in objects.reader(PRIORITY_CLASSES).list()}
    assert values == {"system-node-critical": 2000001000, "system-cluster-critical": 2000000000}


async def test_objects_are_marked_as_upstreams_are(objects: FakeObjects) -> None:
    role = objects.reader(CLUSTER_ROLES).get("", "cluster-admin")
    assert role is not None
    assert role["metadata"]["labels"] == {"kubernetes.io/bootstrapping": "rbac-defaults"}
    assert role["metadata"]["annotations"] == {"rbac.authorization.kubernetes.io/autoupdate": "true"}


async def test_aggregated_roles_contain_each_other(objects: FakeObjects) -> None:
    def rules(name: str) -> list[Object]:
        role = objects.reader(CLUSTER_ROLES).get("", name)
        assert role is not None
        found: list[Object] = role["rules"]
        return found

    assert rules("view")
    assert all(rule in rules("edit") for rule in rules("view"))
    assert all(rule in rules("admin") for rule in rules("edit"))
    secrets = [rule for rule in rules("view") if "secrets" in rule["resources"]]
    assert not secrets


@pytest.mark.parametrize(
    ("user", "verb", "resource", "fields", "allowed"),
    [
        (f"{ACCOUNT}:deployment-controller", "create", "replicasets", {"group": "apps", "namespace": "x"}, True),
        (f"{ACCOUNT}:deployment-controller", "create", "pods", {"namespace": "x"}, False),
        (f"{ACCOUNT}:replicaset-controller", "create", "pods", {"namespace": "x"}, True),
        (f"{ACCOUNT}:namespace-controller", "delete", "configmaps", {"namespace": "x", "name": "y"}, True),
        (f"{ACCOUNT}:namespace-controller", "update", "namespaces", {"subresource": "finalize", "name": "n"}, True),
        (f"{ACCOUNT}:endpointslice-controller", "create", "endpointslices",
         {"group": "discovery.k8s.io", "namespace": "x"}, True),
        (f"{ACCOUNT}:node-controller", "patch", "nodes", {"name": "n"}, True),
        (f"{ACCOUNT}:root-ca-cert-publisher", "create", "configmaps", {"namespace": "x"}, True),
        ("system:kube-controller-manager", "create", "pods", {"namespace": "x"}, False),
        ("system:kube-controller-manager", "list", "widgets", {"group": "example.org"}, True),
        ("system:kube-controller-manager", "create", "serviceaccounts",
         {"subresource": "token", "namespace": "kube-system", "name": "job-controller"}, True),
        ("system:kube-controller-manager", "create", "serviceaccounts", {"namespace": "x"}, True),
        ("system:kube-controller-manager", "create", "configmaps", {"namespace": "x"}, False),
        ("system:kube-controller-manager", "create", "leases",
         {"group": "coordination.k8s.io", "namespace": "kube-system"}, True),
        ("system:kube-controller-manager", "update", "leases",
         {"group": "coordination.k8s.io", "namespace": "kube-system", "name": "timonel-manager"}, True),
        ("system:kube-controller-manager", "update", "leases",
         {"group": "coordination.k8s.io", "namespace": "kube-node-lease", "name": "n"}, False),
        ("system:kube-controller-manager", "create", "clusterrolebindings",
         {"group": "rbac.authorization.k8s.io"}, False),
        ("system:kube-scheduler", "create", "pods", {"subresource": "binding", "namespace": "x", "name": "p"}, True),
        ("system:kube-scheduler", "patch", "pods", {"subresource": "status", "namespace": "x", "name": "p"}, True),
        ("system:kube-scheduler", "update", "leases",
         {"group": "coordination.k8s.io", "namespace": "kube-system", "name": "kube-scheduler"}, True),
        ("system:kube-scheduler", "get", "secrets", {"namespace": "x", "name": "s"}, False),
        ("system:kube-proxy", "watch", "endpointslices", {"group": "discovery.k8s.io"}, True),
        ("system:kube-proxy", "list", "nodes", {}, True),
        ("system:kube-proxy", "get", "secrets", {"namespace": "x", "name": "s"}, False),
        ("kube-apiserver-kubelet-client", "create", "nodes", {"subresource": "proxy", "name": "n"}, True),
        ("kube-apiserver-kubelet-client", "list", "pods", {}, False),
        ("ann", "create", "selfsubjectaccessreviews", {"group": "authorization.k8s.io"}, True),
        ("ann", "list", "pods", {"namespace": "x"}, False),
    ],
)  # fmt: skip
async def test_components_may_do_their_work_and_no_more(
    objects: FakeObjects, user: str, verb: str, resource: str, fields: dict[str, str], allowed: bool
) -> None:
    assert may(objects, user, verb, resource, **fields) is allowed


async def test_admins_may_do_everything(objects: FakeObjects) -> None:
    assert may(objects, "kubernetes-admin", "delete", "nodes", "kubeadm:cluster-admins", name="n")


@pytest.mark.parametrize(
    ("path", "anonymous", "authenticated"),
    [
        ("/healthz", True, True), ("/livez", True, True), ("/readyz", True, True), ("/version", True, True),
        ("/readyz/etcd", False, False), ("/metrics", False, False), ("/api", False, True),
        ("/apis/apps/v1", False, True), ("/openapi/v3", False, True),
    ],
)  # fmt: skip
async def test_what_everybody_may_see(objects: FakeObjects, path: str, anonymous: bool, authenticated: bool) -> None:
    rbac = RbacAuthorizer(readers=objects)
    assert rbac.decide(Attributes(ANONYMOUS, "get", path=path)).allowed is anonymous
    assert rbac.decide(Attributes(UserInfo("ann", groups=AUTHENTICATED), "get", path=path)).allowed is authenticated


async def test_what_was_taken_away_comes_back_and_what_was_added_stays(objects: FakeObjects) -> None:
    reader = objects.reader(CLUSTER_ROLES)
    extra = {"verbs": ["get"], "apiGroups": ["example.org"], "resources": ["things"]}
    changed = copy_object(reader.get("", "system:kube-scheduler") or {})
    changed["rules"] = [extra, *changed["rules"][3:]]
    objects.put(CLUSTER_ROLES, changed)
    assert not may(objects, "system:kube-scheduler", "create", "events", namespace="x")
    await reconcile_bootstrap(objects, today=TODAY, group_versions=SERVED)
    assert may(objects, "system:kube-scheduler", "create", "events", namespace="x")
    assert may(objects, "system:kube-scheduler", "get", "things", group="example.org")


async def test_subjects_come_back_and_wrong_roles_are_replaced(objects: FakeObjects) -> None:
    reader = objects.reader(CLUSTER_ROLE_BINDINGS)
    changed = copy_object(reader.get("", "system:kube-scheduler") or {})
    changed["subjects"] = [{"kind": "User", "apiGroup": CLUSTER_ROLES.group, "name": "second"}]
    objects.put(CLUSTER_ROLE_BINDINGS, changed)
    other = copy_object(reader.get("", "system:discovery") or {})
    other["roleRef"]["name"] = "cluster-admin"
    objects.put(CLUSTER_ROLE_BINDINGS, other)
    await reconcile_bootstrap(objects, today=TODAY, group_versions=SERVED)
    names = [subject["name"] for subject in (reader.get("", "system:kube-scheduler") or {})["subjects"]]
    assert names == ["second", "system:kube-scheduler"]
    assert (reader.get("", "system:discovery") or {})["roleRef"]["name"] == "system:discovery"


async def test_an_administrator_may_opt_out(objects: FakeObjects) -> None:
    changed = copy_object(objects.reader(CLUSTER_ROLES).get("", "system:discovery") or {})
    changed["rules"] = []
    changed["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = "false"
    objects.put(CLUSTER_ROLES, changed)
    await reconcile_bootstrap(objects, today=TODAY, group_versions=SERVED)
    assert (objects.reader(CLUSTER_ROLES).get("", "system:discovery") or {})["rules"] == []


async def test_authorities_are_published(objects: FakeObjects) -> None:
    published = objects.reader(CONFIGMAPS).get("kube-system", "extension-apiserver-authentication")
    assert published is not None
    assert published["data"]["client-ca-file"] == "CA"
    assert published["data"]["requestheader-client-ca-file"] == "FRONT"
    assert objects.reader(ROLES).get("kube-system", "extension-apiserver-authentication-reader")


def test_names_are_unique() -> None:
    names = [name_of(role) for role in default_cluster_roles()]
    assert len(names) == len(set(names))
    assert {"cluster-admin", "admin", "edit", "view", "system:node", "system:controller:node-controller"} <= set(names)


def test_the_notation() -> None:
    (role,) = parse_cluster_roles(
        "a:b -> view edit\n  read,create | core apps | pods \\\n    pods/log | n\n  get | url | /x /y/*\n"
    )
    assert role["metadata"]["name"] == "a:b"
    assert role["metadata"]["labels"].keys() >= {
        "rbac.authorization.k8s.io/aggregate-to-view", "rbac.authorization.k8s.io/aggregate-to-edit"
    }  # fmt: skip
    assert role["rules"] == [
        {
            "verbs": ["create", "get", "list", "watch"],
            "apiGroups": ["", "apps"],
            "resources": ["pods", "pods/log"],
            "resourceNames": ["n"],
        },
        {"verbs": ["get"], "nonResourceURLs": ["/x", "/y/*"]},
    ]
    for wrong in ("  get | core | pods", "a\n  get | core"):
        with pytest.raises(ValueError):
            list(parse_cluster_roles(wrong))


async def test_cluster_roles_that_aggregate_in_a_circle_do_not_keep_the_server_from_starting() -> None:
    made = FakeObjects()
    for name, feeds in (("a", "c"), ("b", "a"), ("c", "b")):
        rule = {"verbs": [name], "apiGroups": [""], "resources": ["pods"]}
        made.put(
            CLUSTER_ROLES,
            {
                "kind": "ClusterRole",
                "metadata": {"name": name, "labels": {f"feeds-{feeds}": "true"}},
                "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {f"feeds-{name}": "true"}}]},
                "rules": [rule],
            },
        )
    await aggregate_cluster_roles(made)
    assert len(made.writes) == 3
    await aggregate_cluster_roles(made)
    assert len(made.writes) == 3


async def test_every_group_version_served_has_an_api_service_but_the_aggregators_own(objects: FakeObjects) -> None:
    services = {name_of(service): service for service in objects.reader(API_SERVICES).list()}
    assert sorted(services) == ["v1.", "v1.apps", "v1.autoscaling", "v2.autoscaling"]
    assert services["v1."]["spec"] == {"version": "v1", "groupPriorityMinimum": 18000, "versionPriority": 1}
    assert services["v2.autoscaling"]["spec"] == {
        "group": "autoscaling", "version": "v2", "groupPriorityMinimum": 17500, "versionPriority": 30,
    }  # fmt: skip
    assert services["v1.apps"]["metadata"]["labels"] == {"kube-aggregator.kubernetes.io/automanaged": "onstart"}


async def test_a_changed_api_service_is_restored_at_start_unless_its_label_was_taken_away(
    objects: FakeObjects,
) -> None:
    for name in ("v1.apps", "v1.autoscaling"):
        changed = copy_object(objects.reader(API_SERVICES).get("", name) or {})
        changed["spec"]["versionPriority"] = 99
        if name == "v1.autoscaling":
            changed["metadata"]["labels"] = {}
        objects.put(API_SERVICES, changed)
    await reconcile_bootstrap(objects, today=TODAY, group_versions=SERVED)
    found = {name_of(service): service["spec"]["versionPriority"] for service in objects.reader(API_SERVICES).list()}
    assert (found["v1.apps"], found["v1.autoscaling"]) == (15, 99)


async def test_the_api_service_of_a_group_no_longer_served_goes(objects: FakeObjects) -> None:
    await reconcile_bootstrap(objects, today=TODAY, group_versions=SERVED[:2])
    assert sorted(map(name_of, objects.reader(API_SERVICES).list())) == ["v1.", "v1.apps"]


async def test_the_day_since_which_legacy_tokens_are_tracked_stays(objects: FakeObjects) -> None:
    await reconcile_bootstrap(objects, today=date(2027, 1, 1), group_versions=SERVED)
    tracking = objects.reader(CONFIGMAPS).get("kube-system", "kube-apiserver-legacy-service-account-token-tracking")
    assert tracking is not None
    assert tracking["data"] == {"since": "2026-11-23"}
