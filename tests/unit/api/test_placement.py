"""Which nodes a pod's spec lets it run on, by the documented rules of node selectors, affinity and taints."""

import pytest

from timonel.api.placement import matches_node, pinned_node, untolerated_taint


def node(name="a", taints=(), **labels):
    return {"metadata": {"name": name, "labels": labels}, "spec": {"taints": list(taints)}}


def affinity(*terms):
    return {
        "affinity": {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
        }
    }


def expression(key, operator, *values):
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def field(*names, operator="In"):
    return {"matchFields": [{"key": "metadata.name", "operator": operator, "values": list(names)}]}


@pytest.mark.parametrize(
    ("spec", "matches"),
    [
        ({}, True),
        ({"nodeSelector": {"disk": "ssd"}}, True),
        ({"nodeSelector": {"disk": "hdd"}}, False),
        ({"nodeSelector": {"gpu": ""}}, False),
        (affinity(), False),
        (affinity({}), False),
        (affinity({}, expression("disk", "Exists")), True),
        (affinity(expression("disk", "In", "hdd", "ssd")), True),
        (affinity(expression("disk", "NotIn", "ssd")), False),
        (affinity(expression("gpu", "NotIn", "ssd")), True),
        (affinity(expression("gpu", "DoesNotExist")), True),
        (affinity(expression("gpu", "In", "")), False),
        (affinity(expression("cores", "Gt", "7")), True),
        (affinity(expression("cores", "Gt", "8")), False),
        (affinity(expression("cores", "Lt", "9")), True),
        (affinity(expression("disk", "Gt", "1")), False),
        (affinity(field("a")), True),
        (affinity(field("b")), False),
        (affinity(field("b", operator="NotIn")), True),
        (affinity(field("a") | expression("disk", "In", "hdd")), False),
        ({"nodeSelector": {"disk": "ssd"}} | affinity(field("b")), False),
    ],
)
def test_node_selectors_and_required_affinity(spec, matches):
    assert matches_node(spec, node(disk="ssd", cores="8")) is matches


@pytest.mark.parametrize(
    ("tolerations", "kept_away"),
    [
        ([], True),
        ([{"operator": "Exists"}], False),
        ([{"key": "k", "operator": "Exists", "effect": "NoExecute"}], True),
        ([{"key": "k", "value": "v", "effect": "NoSchedule"}], False),
        ([{"key": "k", "value": "w"}], True),
    ],
)
def test_taints(tolerations, kept_away):
    tainted = node(taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}])
    assert (untolerated_taint(tainted, tolerations, ("NoSchedule",)) is not None) is kept_away
    assert untolerated_taint(tainted, [], ("NoExecute",)) is None


def test_the_node_that_a_pod_is_meant_for():
    assert pinned_node({}) == ""
    assert pinned_node({"nodeName": "x"} | affinity(field("y"))) == "x"
    assert pinned_node(affinity(field("y"))) == "y"
    assert pinned_node(affinity(field("y", "z"))) == ""
