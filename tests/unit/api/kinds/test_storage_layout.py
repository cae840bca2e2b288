"""Objects are where kube-apiserver keeps them in etcd, so that tools which look there find them.

/registry/<plural>/ is the rule; what upstream named otherwise long ago stays so, and the kinds of its two other
servers, for custom resources and for aggregation, stand below their groups. Events are one store whichever group they
come by.
"""

from __future__ import annotations

import pytest

from timonel.api.kinds import BUILTIN
from timonel.api.resource import Resource

OTHERWISE = {
    "nodes": "/registry/minions/",
    "replicationcontrollers": "/registry/controllers/",
    "services": "/registry/services/specs/",
    "endpoints": "/registry/services/endpoints/",
    "ingresses": "/registry/ingress/",
    "customresourcedefinitions": "/registry/apiextensions.k8s.io/customresourcedefinitions/",
    "apiservices": "/registry/apiregistration.k8s.io/apiservices/",
}
STORED = [row for row in BUILTIN.rows if row.storage_prefix]


@pytest.mark.parametrize("row", STORED, ids=lambda row: f"{row.ref.group_resource}/{row.ref.version}")
def test_prefixes_are_upstreams(row: Resource) -> None:
    plural = row.ref.plural
    assert row.storage_prefix == OTHERWISE.get(plural, f"/registry/{plural}/")


def test_keys_are_upstreams() -> None:
    keys = {row.ref.plural: row.storage_key("ns", "name") for row in STORED}
    assert keys["pods"] == "/registry/pods/ns/name"
    assert keys["services"] == "/registry/services/specs/ns/name"
    assert keys["nodes"] == "/registry/minions/name"
    assert keys["clusterroles"] == "/registry/clusterroles/name"


def test_no_two_kinds_share_a_prefix_but_versions_of_one() -> None:
    for row in STORED:
        for other in STORED:
            if row.ref.plural != other.ref.plural:
                assert not row.storage_prefix.startswith(other.storage_prefix)
