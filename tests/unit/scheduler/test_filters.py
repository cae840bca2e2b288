"""Which nodes a pod may go to, worked out from the documented rules."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.scheduler.clusters import cluster_of, decide, feasible, fitting, reasons
from tests.unit.scheduler.objects import container, expression, near, node, pod, require_nodes, spread
from timonel.api.objects import Object
from timonel.scheduler.core.schedule import NoFit

HOST = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"


def tolerate(key: str = "", operator: str = "Equal", value: str = "", effect: str = "") -> Object:
    return {"key": key, "operator": operator, "value": value, "effect": effect}


TAINTED = [
    node("plain"),
    node("a", taints=["key=a:NoSchedule"]),
    node("b", taints=["key=b:NoExecute"]),
    node("soft", taints=["key=a:PreferNoSchedule"]),
    node("both", taints=["key=a:NoSchedule", "other:NoSchedule"]),
]


@pytest.mark.parametrize(
    ("tolerations", "expected"),
    [
        ([], {"plain", "soft"}),
        ([tolerate("key", value="a")], {"plain", "soft", "a"}),
        ([tolerate("key", value="a", effect="NoExecute")], {"plain", "soft"}),
        ([tolerate("key", "Exists")], {"plain", "soft", "a", "b"}),
        ([tolerate("key", "", "b", "NoExecute")], {"plain", "soft", "b"}),
        ([tolerate("key", value="a"), tolerate("other", "Exists")], {"plain", "soft", "a", "both"}),
        ([tolerate(operator="Exists")], {"plain", "a", "b", "soft", "both"}),
        ([tolerate("key", "Exists", effect="NoSchedule")], {"plain", "soft", "a"}),
    ],
)
def test_taints_and_tolerations(tolerations: list[Object], expected: set[str]) -> None:
    assert fitting(TAINTED, pod("x", tolerations=[*tolerations])) - {"none"} == expected


@pytest.mark.parametrize(
    ("tolerations", "fits"),
    [([], 0), ([tolerate("node.kubernetes.io/unschedulable", "Exists", effect="NoSchedule")], 1)],
)
def test_cordoned_nodes(tolerations: list[Object], fits: int) -> None:
    cluster = cluster_of([node("n", unschedulable=True)])
    assert feasible(cluster, pod("x", tolerations=tolerations)) == fits
    if not fits:
        assert reasons(cluster, pod("x")) == {"node(s) were unschedulable": 1}


LABELLED = [
    node("a1", labels={"zone": "a", "disk": "ssd", "size": "10"}),
    node("a2", labels={"zone": "a", "size": "5"}),
    node("b1", labels={"zone": "b", "disk": "hdd", "size": "x"}),
    node("bare"),
]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"nodeSelector": {"zone": "a"}}, {"a1", "a2"}),
        ({"nodeSelector": {"zone": "a", "disk": "ssd"}}, {"a1"}),
        ({"nodeSelector": {"zone": "nowhere"}}, set()),
        ({"affinity": require_nodes([expression("zone", "In", "a", "c")])}, {"a1", "a2"}),
        ({"affinity": require_nodes([expression("zone", "NotIn", "a")])}, {"b1", "bare"}),
        ({"affinity": require_nodes([expression("disk", "Exists")])}, {"a1", "b1"}),
        ({"affinity": require_nodes([expression("disk", "DoesNotExist")])}, {"a2", "bare"}),
        ({"affinity": require_nodes([expression("size", "Gt", "5")])}, {"a1"}),
        ({"affinity": require_nodes([expression("size", "Lt", "10")])}, {"a2"}),
        ({"affinity": require_nodes([expression("zone", "In", "a"), expression("disk", "Exists")])}, {"a1"}),
        ({"affinity": require_nodes([expression("zone", "In", "b")], [expression("disk", "In", "ssd")])}, {"a1", "b1"}),
        ({"affinity": require_nodes([])}, set()),
        ({"nodeSelector": {"zone": "a"}, "affinity": require_nodes([expression("disk", "Exists")])}, {"a1"}),
        ({"affinity": require_nodes([expression("never-seen", "NotIn", "x")])}, {"a1", "a2", "b1", "bare"}),
    ],
)
def test_node_selectors_and_affinity(spec: dict[str, Any], expected: set[str]) -> None:
    assert fitting(LABELLED, pod("x", **spec)) == expected
    if not expected:
        assert reasons(cluster_of(LABELLED), pod("x", **spec)) == {
            "node(s) didn't match Pod's node affinity/selector": 4
        }


def by_name(*names: str, operator: str = "In") -> Object:
    terms = [{"matchFields": [{"key": "metadata.name", "operator": operator, "values": [name]}]} for name in names]
    required = {"nodeSelectorTerms": terms}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def test_affinity_to_nodes_by_name_as_daemon_sets_use_it() -> None:
    cluster = cluster_of(LABELLED)
    assert feasible(cluster, pod("x", affinity=by_name("a2"))) == 1
    assert feasible(cluster, pod("x", affinity=by_name("a2", "b1"))) == 2
    assert feasible(cluster, pod("x", affinity=by_name("a2", operator="NotIn"))) == 3
    assert reasons(cluster, pod("x", affinity=by_name("gone"))) == {
        "node(s) didn't satisfy plugin(s) [NodeAffinity]": 4
    }
    assert reasons(cluster, pod("x", "100", affinity=by_name("a2"))) == {
        "node(s) didn't satisfy plugin(s) [NodeAffinity]": 3,
        "Insufficient cpu": 1,
    }
    contradiction = by_name("a2")
    fields = contradiction["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"][0]
    fields["matchFields"].append({"key": "metadata.name", "operator": "In", "values": ["b1"]})
    decision = decide(cluster, pod("x", affinity=contradiction))
    assert decision.message.startswith("0/4 nodes are available: pod affinity terms conflict.")  # type: ignore[union-attr]


def ports(*texts: str) -> list[Object]:
    """ "1.2.3.4:80/UDP" """
    found = []
    for text in texts:
        address, _, protocol = text.partition("/")
        ip, _, port = address.rpartition(":")
        found.append({"containerPort": 1, "hostPort": int(port), "hostIP": ip, "protocol": protocol or "TCP"})
    return [container(ports=found)]


@pytest.mark.parametrize(
    ("used", "wanted", "fits"),
    [
        (":80", ":80", False),
        (":80", ":81", True),
        (":80", ":80/UDP", True),
        ("10.0.0.1:80", "10.0.0.2:80", True),
        ("10.0.0.1:80", "10.0.0.1:80", False),
        ("10.0.0.1:80", "0.0.0.0:80", False),
        ("0.0.0.0:80", "10.0.0.1:80", False),
        (":80", "10.0.0.1:80/SCTP", True),
    ],
)
def test_host_ports(used: str, wanted: str, fits: bool) -> None:
    cluster = cluster_of([node("n")], [pod("there", on="n", containers=ports(used))])
    asked = pod("x", containers=ports(wanted))
    assert feasible(cluster, asked) == fits
    if not fits:
        assert reasons(cluster, asked) == {"node(s) didn't have free ports for the requested pod ports": 1}


def test_a_sidecar_holds_its_host_port_and_leaves_it_with_its_pod() -> None:
    there = pod("there", on="n", initContainers=[ports(":80")[0] | {"restartPolicy": "Always"}])
    cluster = cluster_of([node("n")], [there])
    assert feasible(cluster, pod("x", containers=ports(":80"))) == 0
    cluster.remove_pod(there["metadata"]["uid"])
    assert feasible(cluster, pod("x", containers=ports(":80"))) == 1


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (pod("x", "1", "1Gi"), {}),
        (pod("x", "1001m"), {"Insufficient cpu": 1}),
        (pod("x", "2", "20Gi"), {"Insufficient cpu": 1, "Insufficient memory": 1}),
        (pod("x", containers=[container(requests={"example.com/gpu": "1"})]), {}),
        (pod("x", containers=[container(requests={"example.com/gpu": "3"})]), {"Insufficient example.com/gpu": 1}),
        (pod("x", containers=[container(requests={"example.com/tpu": "1"})]), {"Insufficient example.com/tpu": 1}),
        (
            pod("x", containers=[container(requests={"ephemeral-storage": "2Gi"})]),
            {"Insufficient ephemeral-storage": 1},
        ),
        (pod("x", containers=[container(requests={"example.com/tpu": "0"})]), {}),
    ],
)
def test_resources(asked: Object, expected: dict[str, int]) -> None:
    machine = node("n", cpu="4", allocatable={"example.com/gpu": "2", "ephemeral-storage": "1Gi"})
    cluster = cluster_of([machine], [pod("there", "3", "1Gi", on="n")])
    assert reasons(cluster, asked) == expected


def test_resources_that_only_waiting_pods_name_take_no_memory() -> None:
    cluster = cluster_of([node("n")])
    before = dict(cluster.nodes.rows)
    for number in range(3):
        name = f"example.com/r{number}"
        asked = pod("x", containers=[container(requests={name: "1"})])
        assert reasons(cluster, asked) == {f"Insufficient {name}": 1}
    assert cluster.nodes.rows == before


def test_a_node_takes_so_many_pods() -> None:
    cluster = cluster_of([node("n", pods="1")], [pod("there", on="n")])
    assert reasons(cluster, pod("x")) == {"Too many pods": 1}
    assert reasons(cluster, pod("x", "9")) == {"Too many pods": 1, "Insufficient cpu": 1}


def test_allocatable_that_shrinks_below_what_runs_takes_nothing_more() -> None:
    cluster = cluster_of([node("n", cpu="4")], [pod("there", "3", on="n")])
    cluster.put_node(node("n", cpu="2"))
    assert reasons(cluster, pod("x", "1m")) == {"Insufficient cpu": 1}
    assert feasible(cluster, pod("x")) == 1  # a pod that asks for nothing still fits


ZONES = [
    node("a1", labels={ZONE: "a"}),
    node("a2", labels={ZONE: "a"}),
    node("b1", labels={ZONE: "b"}),
    node("c1", labels={ZONE: "c"}, taints=["dedicated:NoSchedule"]),
    node("bare"),
]
WEB = {"app": "web"}


def web(name: str, on: str, **options: Any) -> Object:
    return pod(name, on=on, labels=WEB, **options)


@pytest.mark.parametrize(
    ("constraint", "there", "expected"),
    [
        # Domains a:2 b:1 c:0. With c, the fewest is 0 and only c (which is tainted) would keep the skew at 1.
        (spread(ZONE, WEB), ["a1", "a2", "b1"], set()),
        (spread(ZONE, WEB, nodeTaintsPolicy="Honor"), ["a1", "a2", "b1"], {"b1"}),
        (spread(ZONE, WEB, skew=2), ["a1", "a2", "b1"], {"b1"}),
        (spread(ZONE, WEB, skew=3), ["a1", "a2", "b1"], {"a1", "a2", "b1"}),
        (spread(ZONE, WEB), [], {"a1", "a2", "b1"}),
        # Three domains are fewer than four: the fewest is taken for 0.
        (spread(ZONE, WEB, nodeTaintsPolicy="Honor", minDomains=4), ["a1", "b1"], set()),
        (spread(ZONE, WEB, nodeTaintsPolicy="Honor", minDomains=2), ["a1", "b1"], {"a1", "a2", "b1"}),
        (spread(HOST, WEB), ["a1", "a2", "b1", "bare"], set()),
        (spread(HOST, WEB, nodeTaintsPolicy="Honor"), ["a1", "a2", "b1"], {"bare"}),
    ],
)
def test_required_spreading(constraint: Object, there: list[str], expected: set[str]) -> None:
    pods = [web(f"w{n}", on) for n, on in enumerate(there)]
    asked = pod("x", labels=WEB, topologySpreadConstraints=[constraint])
    assert fitting_without_cordon(ZONES, asked, pods) == expected


def fitting_without_cordon(nodes: list[Object], asked: Object, pods: list[Object]) -> set[str]:
    """As `fitting`, but the others are full, not cordoned: spreading looks at all nodes."""
    allowed = set()
    for chosen in nodes:
        name = chosen["metadata"]["name"]
        cluster = cluster_of(nodes, pods)
        for other, slot in cluster.nodes.slots.items():
            if other != name:
                cluster.nodes.allocatable[cluster.nodes.rows["pods"], slot] = 0
        if not isinstance(decide(cluster, asked), NoFit):
            allowed.add(name)
    return allowed


def test_a_pod_that_the_selector_does_not_select_adds_nothing_to_the_skew() -> None:
    constraint = spread(HOST, {"app": "other"})
    nodes = [node("n1"), node("n2")]
    there = [pod("other", on="n1", labels={"app": "other"})]
    asked = pod("x", labels=WEB, topologySpreadConstraints=[constraint])
    assert fitting_without_cordon(nodes, asked, there) == {"n1", "n2"}


def test_spreading_does_not_count_other_namespaces_or_pods_on_their_way_out() -> None:
    constraint = spread(HOST, WEB)
    nodes = [node("n1"), node("n2")]
    asked = pod("x", labels=WEB, topologySpreadConstraints=[constraint])
    assert fitting_without_cordon(nodes, asked, [web("w", "n1")]) == {"n2"}
    assert fitting_without_cordon(nodes, asked, [web("w", "n1", namespace="other")]) == {"n1", "n2"}
    assert fitting_without_cordon(nodes, asked, [web("w", "n1", deleting=True)]) == {"n1", "n2"}


def test_spreading_within_the_nodes_that_affinity_allows() -> None:
    """Nodes that the pod could not go to anyway do not count, unless it says nodeAffinityPolicy: Ignore."""
    asked = {"labels": WEB, "nodeSelector": {ZONE: "a"}}
    there = [web("w", "a1")]
    assert fitting_without_cordon(ZONES, pod("x", topologySpreadConstraints=[spread(HOST, WEB)], **asked), there) == {
        "a2"
    }
    ignoring = spread(ZONE, WEB, nodeAffinityPolicy="Ignore", nodeTaintsPolicy="Honor")
    assert fitting_without_cordon(ZONES, pod("x", topologySpreadConstraints=[ignoring], **asked), there) == set()
    assert fitting_without_cordon(ZONES, pod("x", topologySpreadConstraints=[spread(ZONE, WEB)], **asked), there) == {
        "a1",
        "a2",
    }


def test_match_label_keys_spread_each_revision_by_itself() -> None:
    nodes = [node("n1"), node("n2")]
    old = pod("old", on="n1", labels=WEB | {"pod-template-hash": "1"})
    constraint = spread(HOST, WEB, matchLabelKeys=["pod-template-hash"])
    asked = pod("x", labels=WEB | {"pod-template-hash": "2"}, topologySpreadConstraints=[constraint])
    assert fitting_without_cordon(nodes, asked, [old]) == {"n1", "n2"}


def test_nodes_without_the_label_are_refused_for_that() -> None:
    cluster = cluster_of([node("bare"), node("a1", labels={ZONE: "a"}, pods="0")])
    asked = pod("x", labels=WEB, topologySpreadConstraints=[spread(ZONE, WEB)])
    assert reasons(cluster, asked) == {
        "Too many pods": 1,
        "node(s) didn't match pod topology spread constraints (missing required label)": 1,
    }


def test_a_node_that_breaks_two_constraints_is_counted_once() -> None:
    cluster = cluster_of([node("a1", labels={ZONE: "a"}), node("b1", labels={ZONE: "b"}, pods="1")], [web("w", "a1")])
    cluster.put_pod(cluster.parse_pod(pod("filler", on="b1")))
    both = [spread(ZONE, WEB), spread(HOST, WEB)]
    assert reasons(cluster, pod("x", labels=WEB, topologySpreadConstraints=both)) == {
        "Too many pods": 1,
        "node(s) didn't match pod topology spread constraints": 1,
    }


def test_counts_follow_pods_and_labels_that_come_and_go() -> None:
    """The first question makes counters and columns; changes after it must reach them."""
    cluster = cluster_of([node("a1", labels={ZONE: "a"}), node("b1", labels={ZONE: "b"})])
    asked = pod("x", labels=WEB, topologySpreadConstraints=[spread(ZONE, WEB)])
    near_db = pod("x", affinity=near(ZONE, {"app": "db"}))
    assert (feasible(cluster, asked), feasible(cluster, near_db)) == (2, 0)
    there = web("w", "a1")
    cluster.put_pod(cluster.parse_pod(there))
    cluster.put_pod(cluster.parse_pod(pod("db", on="b1", labels={"app": "db"})))
    assert (feasible(cluster, asked), feasible(cluster, near_db)) == (1, 1)
    cluster.put_node(node("a1", labels={ZONE: "b"}))  # now all are in one zone
    assert (feasible(cluster, asked), feasible(cluster, near_db)) == (2, 2)
    cluster.remove_pod(there["metadata"]["uid"])
    cluster.put_node(node("a1"))
    assert (feasible(cluster, asked), feasible(cluster, near_db)) == (1, 1)


DB = {"app": "db"}
NAMESPACES = {"default": {}, "team-a": {"team": "a"}, "team-b": {"team": "b"}}


def db(on: str, namespace: str = "default") -> Object:
    return pod("db", on=on, labels=DB, namespace=namespace)


@pytest.mark.parametrize(
    ("affinity", "there", "expected"),
    [
        (near(HOST, DB), [db("a1")], {"a1"}),
        (near(ZONE, DB), [db("a1")], {"a1", "a2"}),
        (near(ZONE, DB), [], set()),
        (near(ZONE, WEB), [], {"a1", "a2", "b1"}),  # the first of its own kind
        (near(ZONE, WEB), [db("a1")], {"a1", "a2", "b1"}),
        (near(ZONE, DB, kind="podAntiAffinity"), [db("a1")], {"b1", "bare"}),
        (near(HOST, DB, kind="podAntiAffinity"), [db("a1")], {"a2", "b1", "bare"}),
        (near(ZONE, DB), [db("a1", "team-a")], set()),
        (near(ZONE, DB, namespaces=["team-a"]), [db("a1", "team-a")], {"a1", "a2"}),
        (near(ZONE, DB, namespaceSelector={"matchLabels": {"team": "a"}}), [db("a1", "team-a")], {"a1", "a2"}),
        (near(ZONE, DB, namespaceSelector={"matchLabels": {"team": "a"}}), [db("a1", "team-b")], set()),
        (near(ZONE, DB, namespaceSelector={}), [db("b1", "team-b")], {"b1"}),
    ],
)
def test_affinity_between_pods(affinity: Object, there: list[Object], expected: set[str]) -> None:
    assert (
        fitting(ZONES[:3] + ZONES[4:], pod("x", labels=WEB, affinity=affinity), there, namespaces=NAMESPACES)
        == expected
    )


def test_all_affinity_terms_must_be_met_by_the_same_pods() -> None:
    both = near(ZONE, DB)
    both["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] += near(ZONE, {"tier": "1"})["podAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    one_each = [pod("p1", on="a1", labels=DB), pod("p2", on="a1", labels={"tier": "1"})]
    assert fitting(ZONES[:3], pod("x", affinity=both), one_each) == set()
    assert fitting(ZONES[:3], pod("x", affinity=both), [pod("p", on="a1", labels=DB | {"tier": "1"})]) == {"a1", "a2"}


def test_pods_that_want_to_be_alone_keep_others_away() -> None:
    loner = pod("loner", on="a1", labels=DB, affinity=near(ZONE, WEB, kind="podAntiAffinity"))
    assert fitting(ZONES[:3], pod("x", labels=WEB), [loner]) == {"b1"}
    assert fitting(ZONES[:3], pod("x", labels=DB), [loner]) == {"a1", "a2", "b1"}
    assert fitting(ZONES[:3], pod("x", labels=WEB, namespace="team-a"), [loner]) == {"a1", "a2", "b1"}
    cluster = cluster_of(ZONES[:2], [loner])
    assert reasons(cluster, pod("x", labels=WEB)) == {"node(s) didn't satisfy existing pods anti-affinity rules": 2}
    cluster.remove_pod(loner["metadata"]["uid"])
    assert feasible(cluster, pod("x", labels=WEB)) == 2


def test_reasons_of_affinity() -> None:
    cluster = cluster_of(ZONES[:3], [db("a1"), db("b1")])
    away, together = near(HOST, DB, kind="podAntiAffinity"), near(HOST, {"app": "cache"})
    assert reasons(cluster, pod("x", affinity=together)) == {"node(s) didn't match pod affinity rules": 3}
    cluster.remove_node("a2")
    assert reasons(cluster, pod("x", affinity=away)) == {"node(s) didn't match pod anti-affinity rules": 2}


def test_a_namespace_that_gets_another_label_changes_what_its_pods_match() -> None:
    cluster = cluster_of(ZONES[:3], [db("a1", "team-a")], namespaces=NAMESPACES)
    asked = pod("x", affinity=near(ZONE, DB, namespaceSelector={"matchLabels": {"team": "new"}}))
    assert feasible(cluster, asked) == 0
    cluster.put_namespace("team-a", {"team": "new"})
    assert feasible(cluster, asked) == 2


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ({"tolerations": [{"key": "a", "operator": "Gt", "value": "1"}]}, "tolerations with the operators Gt and Lt"),
        ({"schedulingGroup": {"podGroupName": "g"}}, "scheduling of pod groups"),
    ],
)
def test_what_is_not_built_is_refused_by_name(spec: dict[str, Any], what: str) -> None:
    decision = decide(cluster_of([node("n")]), pod("x", **spec))
    assert isinstance(decision, NoFit)
    assert what in decision.message
    assert decision.message.startswith("0/1 nodes are available: not built in this release: ")


def test_ordinary_volumes_are_no_obstacle() -> None:
    volumes = [
        {"name": name, name: {}} for name in ("emptyDir", "configMap", "secret", "projected", "hostPath", "downwardAPI")
    ]
    assert feasible(cluster_of([node("n")]), pod("x", volumes=volumes)) == 1
