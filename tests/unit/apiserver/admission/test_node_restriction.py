"""NodeRestriction: kubelets write only what is theirs."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api.errors import ApiError
from timonel.api.kinds import BUILTIN
from timonel.api.objects import Object
from timonel.api.refs import LEASES, NODES, PODS, SERVICE_ACCOUNTS, ResourceRef
from timonel.apiserver.admission.chain import AdmissionRequest
from timonel.apiserver.admission.node_restriction import NodeRestriction
from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.authz.attributes import Attributes
from timonel.testing.readers import FakeReaders

ALPHA = UserInfo("system:node:alpha", groups=("system:nodes",))
PROJECTED = {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token", "audience": "vault"}}]}}


def pod(name: str, node: str, **spec: Any) -> Object:
    return {"metadata": {"namespace": "d", "name": name, "uid": f"uid-{name}"}, "spec": {"nodeName": node, **spec}}


async def verdict(
    ref: ResourceRef, operation: str, obj: Object | None = None, *, name: str = "", namespace: str = "d",
    subresource: str = "", old: Object | None = None, user: UserInfo = ALPHA,
) -> str:  # fmt: skip
    """ "" when admitted, else the reason after "is forbidden: "."""
    readers = FakeReaders()
    readers.put(PODS, pod("mine", "alpha", volumes=[PROJECTED]))
    readers.put(PODS, pod("theirs", "beta"))
    readers.put(NODES, {"metadata": {"name": "alpha", "uid": "uid-alpha"}})
    attributes = Attributes(user, "", ref.group, ref.version, ref.plural, subresource, namespace, name)
    request = AdmissionRequest(attributes, BUILTIN.row(ref), operation, obj, old, subresource=subresource)
    try:
        await NodeRestriction(readers=readers).mutate(request)
    except ApiError as error:
        return error.message.partition("is forbidden: ")[2] or error.message
    return ""


def mirror(**changes: Any) -> Object:
    owner = {"apiVersion": "v1", "kind": "Node", "name": "alpha", "uid": "uid-alpha", "controller": True}
    return {
        "metadata": {
            "name": "m",
            "annotations": {"kubernetes.io/config.mirror": "hash"},
            "ownerReferences": changes.pop("owners", [owner]),
            **changes.pop("metadata", {}),
        },
        "spec": {"nodeName": "alpha", "containers": [], **changes},
    }


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (mirror(), ""),
        (mirror(volumes=[{"name": "a", "emptyDir": {}}, {"name": "b", "hostPath": {"path": "/"}}]), ""),
        (mirror(metadata={"annotations": {}}),
         'pod does not have "kubernetes.io/config.mirror" annotation, node "alpha" can only create mirror pods'),
        (mirror(nodeName="beta"), 'node "alpha" can only create pods with spec.nodeName set to itself'),
        (mirror(owners=[]), 'node "alpha" can only create pods with an owner reference set to itself'),
        (mirror(owners=[{"apiVersion": "v1", "kind": "Node", "name": "alpha", "uid": "x", "controller": True}]),
         "node alpha UID mismatch: expected x got uid-alpha"),
        (mirror(volumes=[{"name": "a", "secret": {"secretName": "s"}}]),
         'node "alpha" can not create pods that reference secrets'),
        (mirror(serviceAccountName="x"), 'node "alpha" can not create pods that reference serviceaccounts'),
    ],
)  # fmt: skip
async def test_only_mirror_pods_are_created(obj: Object, expected: str) -> None:
    assert await verdict(PODS, "CREATE", obj) == expected


async def test_pods_of_others() -> None:
    only_own = 'node "alpha" can only delete pods with spec.nodeName set to itself'
    assert await verdict(PODS, "DELETE", name="mine") == ""
    assert await verdict(PODS, "DELETE", name="theirs") == only_own
    assert await verdict(PODS, "DELETE", name="none") == 'pods "none" not found'
    status = {"subresource": "status"}
    assert await verdict(PODS, "UPDATE", pod("mine", "alpha"), old=pod("mine", "alpha"), **status) == ""
    assert await verdict(PODS, "UPDATE", pod("theirs", "beta"), old=pod("theirs", "beta"), **status) == (
        'node "alpha" can only update pod status for pods with spec.nodeName set to itself'
    )
    relabelled = pod("mine", "alpha")
    relabelled["metadata"]["labels"] = {"a": "b"}
    assert await verdict(PODS, "UPDATE", relabelled, old=pod("mine", "alpha"), **status) == (
        'node "alpha" cannot update labels through pod status'
    )
    assert await verdict(PODS, "CREATE", {"metadata": {"name": "theirs"}}, name="theirs", subresource="eviction") == (
        "node alpha can only evict pods with spec.nodeName set to itself"
    )
    assert await verdict(PODS, "CREATE", {"metadata": {}}, name="mine", subresource="binding") == (
        "unexpected pod subresource \"binding\", only 'status' and 'eviction' are allowed"
    )


def labelled(**labels: str) -> Object:
    return {"metadata": {"name": "alpha", "labels": labels}, "spec": {}}


@pytest.mark.parametrize(
    ("label", "allowed"),
    [
        ("kubernetes.io/hostname", True),
        ("topology.kubernetes.io/zone", True),
        ("kubernetes.io/arch", True),
        ("kubelet.kubernetes.io/anything", True),
        ("foo.node.kubernetes.io/anything", True),
        ("example.org/mine", True),
        ("plain", True),
        ("node-restriction.kubernetes.io/tier", False),
        ("x.node-restriction.kubernetes.io/tier", False),
        ("node-role.kubernetes.io/control-plane", False),
        ("kubernetes.io/other", False),
        ("x.k8s.io/other", False),
    ],
)
async def test_labels_of_its_own_node(label: str, allowed: bool) -> None:
    new = labelled(**{label: "v"})
    created = await verdict(NODES, "CREATE", new, namespace="")
    updated = await verdict(NODES, "UPDATE", new, old=labelled(), name="alpha", namespace="")
    if allowed:
        assert (created, updated) == ("", "")
    else:
        assert created == f'node "alpha" is not allowed to set the following labels: {label}'
        assert updated == f"is not allowed to modify labels: {label}"


async def test_its_own_node_only_and_not_its_taints() -> None:
    other: Object = {"metadata": {"name": "beta"}}
    message = 'node "alpha" is not allowed to modify node "beta"'
    assert await verdict(NODES, "CREATE", other, namespace="") == message
    assert await verdict(NODES, "UPDATE", other, old=other, name="beta", namespace="", subresource="status") == message
    tainted = {**labelled(), "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}
    assert await verdict(NODES, "UPDATE", labelled(), old=tainted, name="alpha", namespace="") == (
        'node "alpha" is not allowed to modify taints'
    )


def token_request(audiences: list[str] | None = None, **bound: str) -> Object:
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "mine", "uid": "uid-mine", **bound}
    spec: Object = {"boundObjectRef": {key: value for key, value in reference.items() if value}}
    if audiences:
        spec["audiences"] = audiences
    return {"metadata": {}, "spec": spec}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (token_request(["vault"]), ""),
        ({"metadata": {}, "spec": {}}, "node requested token not bound to a pod"),
        (token_request(uid=""), "node requested token with a pod binding without a uid"),
        (token_request(name="theirs", uid="uid-theirs"),
         "node requested token bound to a pod scheduled on a different node"),
        (token_request(["a", "b"]), "node may only request 0 or 1 audiences"),
        (token_request(["other"]),
         'audience "other" not found in pod spec volume, system:node:alpha is not authorized to request tokens for'
         " this audience"),
    ],
)  # fmt: skip
async def test_tokens_of_its_pods(body: Object, expected: str) -> None:
    assert await verdict(SERVICE_ACCOUNTS, "CREATE", body, name="app", subresource="token") == expected


async def test_its_own_lease() -> None:
    name = {"metadata": {"name": "beta"}}
    only_own = "can only access node lease with the same name as the requesting node"
    assert await verdict(LEASES, "CREATE", name, namespace="kube-node-lease") == only_own
    assert await verdict(LEASES, "UPDATE", name, name="alpha", namespace="kube-node-lease") == ""


async def test_people_are_not_restricted() -> None:
    assert await verdict(PODS, "CREATE", pod("x", "beta"), user=UserInfo("ann")) == ""
