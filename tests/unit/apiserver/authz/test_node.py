"""The Node authoriser: what a kubelet's own pods name, and nothing beyond."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api.objects import Object
from timonel.api.refs import PERSISTENT_VOLUMES, PODS, VOLUME_ATTACHMENTS
from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.authz.attributes import Attributes
from timonel.apiserver.authz.node import NodeAuthorizer
from timonel.testing.readers import FakeReaders

ALPHA = UserInfo("system:node:alpha", groups=("system:nodes", "system:authenticated"))


def pod(name: str, node: str, **spec: Any) -> Object:
    return {"metadata": {"namespace": "d", "name": name, "uid": name}, "spec": {"nodeName": node, **spec}}


RICH = pod(
    "rich",
    "alpha",
    serviceAccountName="app",
    imagePullSecrets=[{"name": "pull"}],
    containers=[
        {
            "name": "c",
            "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "env-secret", "key": "k"}}}],
            "envFrom": [{"configMapRef": {"name": "env-map"}}],
        }
    ],
    initContainers=[{"name": "i", "envFrom": [{"secretRef": {"name": "init-secret"}}]}],
    volumes=[
        {"name": "a", "secret": {"secretName": "volume-secret"}},
        {"name": "b", "configMap": {"name": "volume-map"}},
        {
            "name": "c",
            "projected": {"sources": [{"secret": {"name": "projected-secret"}}, {"configMap": {"name": "ca"}}]},
        },
        {"name": "d", "persistentVolumeClaim": {"claimName": "claim"}},
        {"name": "e", "ephemeral": {"volumeClaimTemplate": {}}},
    ],
)


@pytest.fixture
def readers() -> FakeReaders:
    made = FakeReaders()
    made.put(PODS, RICH)
    return made


async def decide(readers: FakeReaders, verb: str, resource: str, **fields: Any) -> tuple[bool, str]:
    authorizer = NodeAuthorizer(readers=readers)
    decision = await authorizer.authorize(Attributes(**{"user": ALPHA, "verb": verb, "resource": resource, **fields}))
    return decision.allowed, decision.reason


@pytest.mark.parametrize("name", ["pull", "env-secret", "init-secret", "volume-secret", "projected-secret"])
async def test_secrets_its_pods_name(readers: FakeReaders, name: str) -> None:
    assert await decide(readers, "get", "secrets", namespace="d", name=name) == (True, "")


@pytest.mark.parametrize("name", ["env-map", "volume-map", "ca"])
async def test_config_maps_its_pods_name(readers: FakeReaders, name: str) -> None:
    assert await decide(readers, "watch", "configmaps", namespace="d", name=name) == (True, "")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"namespace": "d", "name": "other"}, "no relationship found between node 'alpha' and this object"),
        ({"namespace": "x", "name": "pull"}, "no relationship found between node 'alpha' and this object"),
        ({"namespace": "d", "name": ""}, "No Object name found"),
        ({"namespace": "", "name": ""}, "can only read namespaced object of this type"),
    ],
)
async def test_other_secrets(readers: FakeReaders, fields: dict[str, str], reason: str) -> None:
    assert await decide(readers, "list", "secrets", **fields) == (False, reason)


async def test_another_nodes_pods_give_nothing(readers: FakeReaders) -> None:
    beta = UserInfo("system:node:beta", groups=("system:nodes",))
    allowed, _ = await decide(readers, "get", "secrets", namespace="d", name="pull", user=beta)
    assert not allowed


async def test_relations_end_with_the_last_pod(readers: FakeReaders) -> None:
    authorizer = NodeAuthorizer(readers=readers)
    asked = Attributes(ALPHA, "get", resource="secrets", namespace="d", name="pull")
    readers.put(PODS, pod("second", "alpha", imagePullSecrets=[{"name": "pull"}]))
    readers.reader(PODS).remove("d", "rich")
    assert (await authorizer.authorize(asked)).allowed
    readers.reader(PODS).remove("d", "second")
    assert not (await authorizer.authorize(asked)).allowed


async def test_relations_begin_with_the_binding(readers: FakeReaders) -> None:
    authorizer = NodeAuthorizer(readers=readers)
    asked = Attributes(ALPHA, "get", resource="secrets", namespace="d", name="late")
    readers.put(PODS, pod("p", "", imagePullSecrets=[{"name": "late"}]))
    assert not (await authorizer.authorize(asked)).allowed
    readers.put(PODS, pod("p", "alpha", imagePullSecrets=[{"name": "late"}]))
    assert (await authorizer.authorize(asked)).allowed
    readers.put(PODS, {**pod("p", "alpha", imagePullSecrets=[{"name": "late"}]), "status": {"phase": "Running"}})
    assert (await authorizer.authorize(asked)).allowed


def volume(name: str, claim: str, **metadata: Any) -> Object:
    ref = {"namespace": "d", "name": claim, "uid": "u"}
    return {"metadata": {"name": name, **metadata}, "spec": {"claimRef": ref}}


MINE = {"labels": {"timonel.dev/volume-node": "alpha"}}
SINGLE = "can only get individual resources of this type"
STRANGER = "no relationship found between node 'alpha' and this object"


@pytest.mark.parametrize(
    ("verb", "fields", "allowed", "reason"),
    [
        ("get", {"name": "bound"}, True, ""),
        ("get", {"name": "foreign"}, False, STRANGER),
        ("get", {"name": "absent"}, False, STRANGER),
        ("patch", {"name": "bound"}, False, SINGLE),
        ("get", {"name": "local"}, True, ""),
        ("patch", {"name": "local"}, True, ""),
        ("patch", {"name": "local", "subresource": "status"}, False, SINGLE),
        ("update", {"name": "local"}, False, SINGLE),
        ("delete", {"name": "local"}, False, SINGLE),
        ("patch", {"name": "elsewhere"}, False, SINGLE),
        ("watch", {"label_selector": "timonel.dev/volume-node=alpha"}, True, ""),
        ("list", {"label_selector": "timonel.dev/volume-node=alpha,a=b"}, True, ""),
        ("list", {"label_selector": "timonel.dev/volume-node in (alpha,beta)"}, False, SINGLE),
        ("list", {"label_selector": "timonel.dev/volume-node=beta"}, False, SINGLE),
        ("list", {}, False, SINGLE),
    ],
)
async def test_volumes(readers: FakeReaders, verb: str, fields: dict[str, str], allowed: bool, reason: str) -> None:
    """Those of its pods' claims to read; local ones of its own to list, and to let go."""
    for each in (
        volume("bound", "claim"),
        volume("foreign", "other"),
        volume("local", "other", **MINE),
        volume("elsewhere", "other", labels={"timonel.dev/volume-node": "beta"}),
    ):
        readers.put(PERSISTENT_VOLUMES, each)
    assert await decide(readers, verb, "persistentvolumes", **fields) == (allowed, reason)


async def test_secrets_of_its_volumes(readers: FakeReaders) -> None:
    """What a volume's driver needs on the node, as long as a pod there has the volume."""
    secret = {"nodeStageSecretRef": {"namespace": "system", "name": "key"}}
    found = volume("bound", "claim")
    readers.put(PERSISTENT_VOLUMES, {**found, "spec": {**found["spec"], "csi": secret}})
    foreign = volume("foreign", "other")
    other = {"nodePublishSecretRef": {"namespace": "system", "name": "other"}}
    readers.put(PERSISTENT_VOLUMES, {**foreign, "spec": {**foreign["spec"], "csi": other}})
    authorizer = NodeAuthorizer(readers=readers)

    async def may(name: str, verb: str = "get") -> bool:
        asked = Attributes(ALPHA, verb, resource="secrets", namespace="system", name=name)
        return (await authorizer.authorize(asked)).allowed

    assert await may("key")
    assert not await may("key", "watch")
    assert not await may("other")
    readers.put(PERSISTENT_VOLUMES, found)
    assert not await may("key")
    readers.put(PERSISTENT_VOLUMES, {**found, "spec": {**found["spec"], "csi": secret}})
    assert await may("key")
    readers.reader(PODS).remove("d", "rich")
    assert not await may("key")


async def test_attachments_of_the_node(readers: FakeReaders) -> None:
    for name, node in (("a", "alpha"), ("b", "beta")):
        readers.put(VOLUME_ATTACHMENTS, {"metadata": {"name": name}, "spec": {"nodeName": node}})
    where = {"group": "storage.k8s.io"}
    assert await decide(readers, "get", "volumeattachments", name="a", **where) == (True, "")
    assert await decide(readers, "get", "volumeattachments", name="b", **where) == (False, STRANGER)


LEASE = {"group": "coordination.k8s.io", "namespace": "kube-node-lease"}
SELF = "can only access node lease with the same name as the requesting node"


@pytest.mark.parametrize(
    ("verb", "resource", "fields", "allowed", "reason"),
    [
        ("create", "serviceaccounts", {"namespace": "d", "name": "app", "subresource": "token"}, True, ""),
        ("create", "serviceaccounts", {"namespace": "d", "name": "x", "subresource": "token"}, False,
         "no relationship found between node 'alpha' and this object"),
        ("get", "persistentvolumeclaims", {"namespace": "d", "name": "claim"}, True, ""),
        ("get", "persistentvolumeclaims", {"namespace": "d", "name": "rich-e"}, True, ""),
        ("list", "persistentvolumeclaims", {"namespace": "d"}, False,
         "can only get individual resources of this type"),
        ("get", "nodes", {"name": "alpha"}, True, ""),
        ("get", "nodes", {"name": "beta"}, False, "node 'alpha' cannot read 'beta', only its own Node object"),
        ("list", "nodes", {}, False, "node 'alpha' cannot read all nodes, only its own Node object"),
        ("patch", "nodes", {"name": "alpha", "subresource": "status"}, True, ""),
        ("delete", "nodes", {"name": "alpha"}, False, ""),
        ("get", "pods", {"namespace": "d", "name": "rich"}, True, ""),
        ("list", "pods", {"field_selector": "spec.nodeName=alpha"}, True, ""),
        ("watch", "pods", {"field_selector": "status.phase!=Failed,spec.nodeName==alpha"}, True, ""),
        ("list", "pods", {"field_selector": "spec.nodeName=beta"}, False,
         "can only list/watch pods with spec.nodeName field selector"),
        ("list", "pods", {}, False, "can only list/watch pods with spec.nodeName field selector"),
        ("patch", "pods", {"namespace": "d", "name": "rich", "subresource": "status"}, True, ""),
        ("update", "pods", {"namespace": "d", "name": "rich"}, False, ""),
        ("update", "leases", {**LEASE, "name": "alpha"}, True, ""),
        ("update", "leases", {**LEASE, "name": "beta"}, False, SELF),
        ("create", "leases", LEASE, True, ""),
        ("get", "leases", {"group": "coordination.k8s.io", "namespace": "d", "name": "alpha"}, False,
         'can only access leases in the "kube-node-lease" system namespace'),
        ("list", "services", {}, True, ""),
        ("create", "events", {"namespace": "d"}, True, ""),
        ("create", "deployments", {"group": "apps", "namespace": "d"}, False, ""),
    ],
)  # fmt: skip
async def test_own_things(
    readers: FakeReaders, verb: str, resource: str, fields: dict[str, str], allowed: bool, reason: str
) -> None:
    assert await decide(readers, verb, resource, **fields) == (allowed, reason)


async def test_others_are_none_of_its_business(readers: FakeReaders) -> None:
    for user in (UserInfo("ann"), UserInfo("system:node:alpha"), UserInfo("x", groups=("system:nodes",))):
        assert await decide(readers, "get", "nodes", name="alpha", user=user) == (False, "")


async def test_a_node_without_a_name(readers: FakeReaders) -> None:
    nameless = UserInfo("system:node:", groups=("system:nodes",))
    assert await decide(readers, "list", "services", user=nameless) == (False, 'unknown node for user "system:node:"')
