"""Nobody grants what they do not hold, unless they may `bind` or `escalate`."""

from __future__ import annotations

import pytest

from timonel.api.errors import ApiError
from timonel.api.kinds import BUILTIN
from timonel.api.objects import Object
from timonel.api.refs import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, ResourceRef
from timonel.apiserver.admission.chain import AdmissionRequest
from timonel.apiserver.admission.escalation import RbacEscalation
from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.authz.attributes import Attributes
from timonel.apiserver.authz.rbac import RbacAuthorizer
from timonel.testing.readers import FakeReaders

GROUP = "rbac.authorization.k8s.io"
ANN = UserInfo("ann", groups=("devs", "system:authenticated"))
GET_PODS: Object = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
ALL_SECRETS: Object = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["secrets"]}


def cluster_role(name: str, *rules: Object) -> Object:
    return {"metadata": {"name": name}, "rules": list(rules)}


def binding(name: str, role: str) -> Object:
    return {"metadata": {"name": name}, "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role}}


async def verdict(
    ref: ResourceRef, obj: Object, *held: Object, old: Object | None = None, user: UserInfo = ANN
) -> ApiError | None:
    """What the plugin says to `user`, when ann holds the rules `held` in the whole cluster."""
    readers = FakeReaders()
    readers.put(CLUSTER_ROLES, cluster_role("held", *held))
    readers.put(CLUSTER_ROLES, cluster_role("secrets", ALL_SECRETS))
    readers.put(CLUSTER_ROLE_BINDINGS, {**binding("b", "held"), "subjects": [{"kind": "User", "name": "ann"}]})
    rbac = RbacAuthorizer(readers=readers)
    operation = "UPDATE" if old else "CREATE"
    namespace = "d" if ref.namespaced else ""
    name = obj["metadata"]["name"] if old else ""
    attributes = Attributes(user, operation.lower(), ref.group, ref.version, ref.plural, "", namespace, name)
    try:
        await RbacEscalation(authorizer=rbac, rbac=rbac).validate(
            AdmissionRequest(attributes, BUILTIN.row(ref), operation, obj, old)
        )
    except ApiError as error:
        return error
    return None


async def test_roles_within_ones_own_rights() -> None:
    assert await verdict(CLUSTER_ROLES, cluster_role("x", GET_PODS), GET_PODS) is None
    assert await verdict(ROLES, cluster_role("x", GET_PODS), GET_PODS) is None


async def test_roles_beyond_them_in_upstreams_words() -> None:
    error = await verdict(CLUSTER_ROLES, cluster_role("x", GET_PODS, ALL_SECRETS), GET_PODS)
    assert error is not None
    assert error.message == (
        'clusterroles.rbac.authorization.k8s.io "x" is forbidden: user "ann" (groups=["devs" "system:authenticated"])'
        " is attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}'
    )


@pytest.mark.parametrize(
    ("verb", "ref", "obj", "resource"),
    [
        ("escalate", CLUSTER_ROLES, cluster_role("x", ALL_SECRETS), "clusterroles"),
        ("bind", CLUSTER_ROLE_BINDINGS, binding("x", "secrets"), "clusterroles"),
        ("bind", ROLE_BINDINGS, binding("x", "secrets"), "clusterroles"),
    ],
)
async def test_the_verbs_that_allow_it(verb: str, ref: ResourceRef, obj: Object, resource: str) -> None:
    assert await verdict(ref, obj, GET_PODS) is not None
    right = {"verbs": [verb], "apiGroups": [GROUP], "resources": [resource]}
    assert await verdict(ref, obj, right) is None


async def test_bind_may_be_limited_to_a_role() -> None:
    right = {"verbs": ["bind"], "apiGroups": [GROUP], "resources": ["clusterroles"], "resourceNames": ["secrets"]}
    assert await verdict(ROLE_BINDINGS, binding("x", "secrets"), right) is None
    assert await verdict(ROLE_BINDINGS, binding("x", "held"), {**right, "resourceNames": ["other"]}) is None
    refused = await verdict(ROLE_BINDINGS, binding("x", "secrets"), {**right, "resourceNames": ["other"]})
    assert refused is not None


async def test_binding_a_role_that_is_not_there() -> None:
    error = await verdict(CLUSTER_ROLE_BINDINGS, binding("x", "none"), GET_PODS)
    assert error is not None
    assert error.message == 'clusterrolebindings.rbac.authorization.k8s.io "none" not found'


async def test_aggregation_needs_everything() -> None:
    collecting = {**cluster_role("x"), "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}}
    error = await verdict(CLUSTER_ROLES, collecting, GET_PODS)
    assert error is not None
    assert error.message.endswith("must have cluster-admin privileges to use the aggregationRule")
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    assert await verdict(CLUSTER_ROLES, collecting, everything, {"verbs": ["*"], "nonResourceURLs": ["*"]}) is None


async def test_the_garbage_collector_may_let_go() -> None:
    old = cluster_role("x", ALL_SECRETS)
    old["metadata"]["finalizers"] = ["a/b"]
    assert await verdict(CLUSTER_ROLES, cluster_role("x", ALL_SECRETS), old=old) is None
    assert await verdict(CLUSTER_ROLES, cluster_role("x", ALL_SECRETS, GET_PODS), old=old) is not None


async def test_masters_may_do_it_all() -> None:
    root = UserInfo("root", groups=("system:masters",))
    assert await verdict(CLUSTER_ROLES, cluster_role("x", ALL_SECRETS), user=root) is None
