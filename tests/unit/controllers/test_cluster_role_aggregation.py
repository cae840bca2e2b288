"""Aggregated ClusterRoles follow the roles they select, while the cluster runs."""

from __future__ import annotations

from tests.unit.controllers.cluster import Cluster
from timonel.api.objects import Object
from timonel.api.refs import CLUSTER_ROLES

OTHERS = ("root-ca-cert-publisher", "serviceaccount", "namespace", "garbage-collector")


def role(name: str, *resources: str, feeds: str = "", collects: str = "") -> Object:
    made: Object = {
        "kind": "ClusterRole", "apiVersion": "rbac.authorization.k8s.io/v1",
        "metadata": {"name": name, "labels": {"feeds": feeds}},
        "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": [resource]} for resource in resources],
    }  # fmt: skip
    if collects:
        made["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {"feeds": collects}}]}
    return made


def resources_of(cluster: Cluster, name: str) -> list[str]:
    found = next(item for item in cluster.client.objects(CLUSTER_ROLES) if item["metadata"]["name"] == name)
    return [rule["resources"][0] for rule in found["rules"]]


async def test_roles_that_come_change_and_go() -> None:
    made = (role("top", collects="top"), role("middle", feeds="top", collects="middle"))
    async with Cluster(*made, role("pods", "pods", feeds="middle"), without=OTHERS) as cluster:
        assert resources_of(cluster, "top") == resources_of(cluster, "middle") == ["pods"]
        cluster.client.add(role("nodes", "nodes", feeds="top"))
        await cluster.run(1)
        assert (resources_of(cluster, "top"), resources_of(cluster, "middle")) == (["pods", "nodes"], ["pods"])
        await cluster.client.delete(CLUSTER_ROLES, "pods")
        await cluster.run(1)
        assert (resources_of(cluster, "top"), resources_of(cluster, "middle")) == (["nodes"], [])
        writes = [write for write in cluster.client.written() if write.ref == CLUSTER_ROLES and write.verb == "patch"]
        await cluster.run(5)
        again = [write for write in cluster.client.written() if write.ref == CLUSTER_ROLES and write.verb == "patch"]
        assert again == writes


async def test_roles_that_choose_each_other_settle() -> None:
    made = (role("a", "x", feeds="b", collects="a"), role("b", "y", feeds="a", collects="b"))
    async with Cluster(*made, role("c", "pods", feeds="a"), without=OTHERS) as cluster:
        await cluster.run(2)
        assert resources_of(cluster, "a") == resources_of(cluster, "b") == ["pods"]
        assert len([write for write in cluster.client.written() if write.ref == CLUSTER_ROLES]) == 2
