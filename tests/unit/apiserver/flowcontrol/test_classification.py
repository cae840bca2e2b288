"""Who lands where: the suggested configuration, and the rules of FlowSchema one by one."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api.objects import Object
from timonel.apiserver.authn.user import ANONYMOUS, UserInfo
from timonel.apiserver.flowcontrol.classification import compile_schema, in_order
from timonel.apiserver.flowcontrol.suggested import bootstrap_object
from timonel.apiserver.flowcontrol.work import ONE_SEAT
from timonel.apiserver.routing import parse_route

from .worlds import default_levels, default_objects

AUTHENTICATED = "system:authenticated"
NODE = UserInfo("system:node:node-1", groups=("system:nodes", AUTHENTICATED))
MANAGER = UserInfo("system:kube-controller-manager", groups=(AUTHENTICATED,))
SCHEDULER = UserInfo("system:kube-scheduler", groups=(AUTHENTICATED,))
PROXY = UserInfo("system:kube-proxy", groups=(AUTHENTICATED,))
ADMIN = UserInfo("kubernetes-admin", groups=("kubeadm:cluster-admins", AUTHENTICATED))
MASTER = UserInfo("root", groups=("system:masters", AUTHENTICATED))
DNS = UserInfo("system:serviceaccount:kube-system:coredns", groups=("system:serviceaccounts", AUTHENTICATED))
POD = UserInfo("system:serviceaccount:default:app", groups=("system:serviceaccounts", AUTHENTICATED))
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
PODS = "/api/v1/namespaces/default/pods"


@pytest.mark.parametrize(
    ("user", "method", "path", "schema", "level", "distinguisher"),
    [
        (MASTER, "GET", PODS, "exempt", "exempt", ""),
        (ANONYMOUS, "GET", "/readyz", "probes", "exempt", ""),
        (ADMIN, "GET", "/livez/ping", "probes", "exempt", ""),
        (ADMIN, "GET", "/livezzz", "global-default", "global-default", "kubernetes-admin"),
        (MANAGER, "PUT", f"{LEASES}/timonel", "system-leader-election", "leader-election", MANAGER.name),
        (SCHEDULER, "GET", f"{LEASES}/timonel", "system-leader-election", "leader-election", SCHEDULER.name),
        (DNS, "POST", LEASES, "system-leader-election", "leader-election", DNS.name),
        (MANAGER, "GET", LEASES, "kube-controller-manager", "workload-high", "kube-system"),
        (MANAGER, "PUT", f"{PODS}/web/status", "kube-controller-manager", "workload-high", "default"),
        (MANAGER, "GET", "/api/v1/nodes", "kube-controller-manager", "workload-high", ""),
        (SCHEDULER, "POST", f"{PODS}/web/binding", "kube-scheduler", "workload-high", "default"),
        (NODE, "PATCH", "/api/v1/nodes/node-1/status", "system-node-high", "node-high", NODE.name),
        (NODE, "PUT", f"{LEASES}/node-1", "system-node-high", "node-high", NODE.name),
        (NODE, "GET", PODS, "system-nodes", "system", NODE.name),
        (NODE, "GET", "/apis", "system-nodes", "system", NODE.name),
        (DNS, "GET", PODS, "kube-system-service-accounts", "workload-high", "default"),
        (POD, "GET", PODS, "service-accounts", "workload-low", POD.name),
        (PROXY, "GET", "/api/v1/services?watch=true", "global-default", "global-default", PROXY.name),
        (ANONYMOUS, "GET", "/version", "global-default", "global-default", ANONYMOUS.name),
        (UserInfo("nobody"), "GET", PODS, "catch-all", "catch-all", "nobody"),
    ],
)
def test_suggested_configuration(
    user: UserInfo, method: str, path: str, schema: str, level: str, distinguisher: str
) -> None:
    levels = default_levels()
    for _ in range(2):  # the second time it is remembered
        flow = levels.flow_of(parse_route(method, path), user)
        assert (flow.schema, flow.queue_set.name, flow.distinguisher) == (schema, level, distinguisher)


def schema(precedence: int = 1000, name: str = "mine", **rule: Any) -> Object:
    subjects = rule.pop("subjects", [{"kind": "Group", "group": {"name": "*"}}])
    spec = {
        "priorityLevelConfiguration": {"name": "global-default"},
        "matchingPrecedence": precedence,
        "rules": [{"subjects": subjects, **rule}],
    }
    return bootstrap_object(name, spec)


def resources(**more: Any) -> list[Object]:
    return [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], **more}]


@pytest.mark.parametrize(
    ("rules", "method", "path", "matches"),
    [
        ({"resourceRules": resources()}, "GET", PODS, True),
        ({"resourceRules": resources()}, "GET", "/api/v1/nodes", False),  # no clusterScope
        ({"resourceRules": resources(clusterScope=True)}, "GET", "/api/v1/nodes", True),
        ({"resourceRules": resources(clusterScope=True, namespaces=[])}, "GET", PODS, False),
        ({"resourceRules": resources(namespaces=["default"])}, "GET", PODS, True),
        ({"resourceRules": resources(namespaces=["other"])}, "GET", PODS, False),
        ({"resourceRules": resources(namespaces=["default"])}, "GET", "/api/v1/pods", False),
        ({"resourceRules": resources(resources=["pods"])}, "PUT", f"{PODS}/web/status", False),
        ({"resourceRules": resources(resources=["pods/status"])}, "PUT", f"{PODS}/web/status", True),
        ({"resourceRules": resources(verbs=["list"])}, "GET", PODS, True),
        ({"resourceRules": resources(verbs=["list"])}, "GET", f"{PODS}/web", False),
        ({"resourceRules": resources(apiGroups=["apps"])}, "GET", PODS, False),
        ({"resourceRules": resources()}, "GET", "/healthz", False),
        ({"nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/a"]}]}, "GET", "/a/b", True),
        ({"nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/a/*"]}]}, "GET", "/a/b", True),
        ({"nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/a/*"]}]}, "GET", "/ab", False),
        ({"nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["*"]}]}, "POST", "/a", False),
    ],
)
def test_rules(rules: dict[str, Any], method: str, path: str, matches: bool) -> None:
    assert compile_schema(schema(**rules)).matches(parse_route(method, path), POD) is matches


@pytest.mark.parametrize(
    ("subject", "matches"),
    [
        ({"kind": "User", "user": {"name": POD.name}}, True),
        ({"kind": "User", "user": {"name": "*"}}, True),
        ({"kind": "User", "user": {"name": "app"}}, False),
        ({"kind": "Group", "group": {"name": AUTHENTICATED}}, True),
        ({"kind": "Group", "group": {"name": "others"}}, False),
        ({"kind": "ServiceAccount", "serviceAccount": {"namespace": "default", "name": "app"}}, True),
        ({"kind": "ServiceAccount", "serviceAccount": {"namespace": "default", "name": "*"}}, True),
        ({"kind": "ServiceAccount", "serviceAccount": {"namespace": "default", "name": "ap"}}, False),
        ({"kind": "ServiceAccount", "serviceAccount": {"namespace": "def", "name": "*"}}, False),
    ],
)
def test_subjects(subject: Object, matches: bool) -> None:
    compiled = compile_schema(schema(subjects=[subject], resourceRules=resources()))
    assert compiled.matches(parse_route("GET", PODS), POD) is matches


def test_lowest_precedence_then_name() -> None:
    schemas = [compile_schema(schema(*each)) for each in ((2, "b"), (1, "z"), (2, "a"))]
    assert [each.name for each in in_order(schemas)] == ["z", "a", "b"]


def test_new_schemas_count_at_once_and_named_namespaces_are_told_apart() -> None:
    levels = default_levels()
    user = UserInfo("alice", groups=(AUTHENTICATED,))
    route, other = parse_route("GET", PODS), parse_route("GET", PODS.replace("default", "other"))
    assert levels.flow_of(route, user).schema == "global-default"
    of_levels, of_schemas = default_objects()
    levels.take(of_levels, [*of_schemas, schema(50, resourceRules=resources(namespaces=["default"]))], 1.0)
    assert levels.flow_of(route, user).schema == "mine"
    assert levels.flow_of(other, user).schema == "global-default"


def test_schemas_without_their_level_are_left_out() -> None:
    levels = default_levels()
    of_levels, of_schemas = default_objects()
    lost = schema(50, resourceRules=resources())
    lost["spec"]["priorityLevelConfiguration"]["name"] = "gone"
    found = levels.take(of_levels, [*of_schemas, lost], 1.0)
    assert found["mine"] is False
    assert found["global-default"] is True
    assert levels.flow_of(parse_route("GET", PODS), POD).schema == "service-accounts"


def test_without_any_object_the_mandatory_ones_are_in_force() -> None:
    levels = default_levels()
    levels.take((), (), 1.0)
    assert levels.flow_of(parse_route("GET", PODS), MASTER).queue_set.exempt
    assert levels.flow_of(parse_route("GET", PODS), POD).schema == "catch-all"
    assert sorted(levels.by_name) == ["catch-all", "exempt"]


def test_a_level_that_went_serves_its_queue_to_the_end() -> None:
    levels = default_levels()
    route = parse_route("GET", PODS)
    flow = levels.flow_of(route, POD)
    ticket = flow.queue_set.begin(flow, ONE_SEAT, route, POD, 1.0)
    assert ticket is not None
    levels.take((), (), 2.0)
    assert levels.by_name["workload-low"].is_leaving
    flow.queue_set.finish(ticket, 3.0)
    levels.adjust(10.0)
    assert "workload-low" not in levels.by_name


def test_paths_that_clients_make_up_do_not_fill_the_memory() -> None:
    levels = default_levels()
    levels.flow_of(parse_route("GET", PODS), POD)
    known, flows = len(levels._known), len(levels._flows)
    for number in range(20):
        for path in ("/{}", "/apis/{}/v1/things", "/api/v1/namespaces/{}/pods"):
            route = parse_route("GET", path.format(f"{number}" + "x" * 100_000))
            assert levels.flow_of(route, ANONYMOUS).schema in ("global-default", "catch-all")
    assert len(levels._known) == known
    assert len(levels._flows) <= flows + 1
