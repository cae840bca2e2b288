"""Columns of the other kinds, as `kubectl get` and `kubectl get -o wide` show them."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api import refs

from .samples import ago, cells, deployment, service

METADATA = {"name": "x", "namespace": "default", "creationTimestamp": ago(minutes=90)}


def test_deployment() -> None:
    obj = deployment(replicas=3)
    obj["status"] = {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1, "replicas": 3}
    assert cells(refs.DEPLOYMENTS, obj, wide=True) == {
        "Name": "web", "Ready": "2/3", "Up-to-date": 3, "Available": 1, "Age": "2d",
        "Containers": "app,log", "Images": "nginx:1,busybox", "Selector": "app=web",
    }  # fmt: skip


def test_new_deployment_shows_zeros() -> None:
    row = cells(refs.DEPLOYMENTS, deployment(replicas=3))
    assert (row["Ready"], row["Up-to-date"], row["Available"]) == ("0/3", 0, 0)


def test_replica_set() -> None:
    obj = deployment(replicas=3)
    obj["status"] = {"replicas": 2, "readyReplicas": 1}
    row = cells(refs.REPLICA_SETS, obj)
    assert row == {"Name": "web", "Desired": 3, "Current": 2, "Ready": 1, "Age": "2d"}


@pytest.mark.parametrize(
    ("spec", "status", "expected"),
    [
        ({"type": "ClusterIP", "clusterIPs": ["10.96.0.9"]}, {}, ("ClusterIP", "10.96.0.9", "<none>", "80/TCP")),
        (
            {"type": "NodePort", "clusterIPs": ["10.96.0.9"],
             "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]},
            {},
            ("NodePort", "10.96.0.9", "<none>", "80:30080/TCP,53/UDP"),
        ),
        ({"type": "LoadBalancer"}, {}, ("LoadBalancer", "<none>", "<pending>", "80/TCP")),
        (
            {"type": "LoadBalancer", "externalIPs": ["192.0.2.1"]},
            {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}, {"hostname": "b.example"}]}},
            ("LoadBalancer", "<none>", "192.0.2.9,b.example,192.0.2.1", "80/TCP"),
        ),
        (
            {"type": "ExternalName", "externalName": "db.example", "ports": []},
            {},
            ("ExternalName", "<none>", "db.example", "<none>"),
        ),
        ({"type": "ClusterIP", "clusterIPs": ["None"]}, {}, ("ClusterIP", "None", "<none>", "80/TCP")),
    ],
)  # fmt: skip
def test_service(spec: dict[str, Any], status: dict[str, Any], expected: tuple[str, ...]) -> None:
    obj = service(**{"ports": [{"port": 80, "protocol": "TCP"}], **spec})
    obj["status"] = status
    row = cells(refs.SERVICES, obj, wide=True)
    assert list(row) == ["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector"]
    assert tuple(row.values())[1:5] == expected
    assert (row["Age"], row["Selector"]) == ("5h", "app=web")


def test_node() -> None:
    obj = {
        "metadata": {
            **METADATA,
            "labels": {
                "node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": "",
                "node-role.kubernetes.io/": "", "kubernetes.io/role": "edge",
            },
        },
        "spec": {"unschedulable": True},
        "status": {
            "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}],
            "addresses": [{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "192.0.2.5"}],
            "nodeInfo": {
                "kubeletVersion": "v1.36.0", "osImage": "Debian GNU/Linux 12", "kernelVersion": "6.1.0",
                "architecture": "amd64",
            },
        },
    }  # fmt: skip
    assert cells(refs.NODES, obj, wide=True) == {
        "Name": "x", "Status": "Ready,SchedulingDisabled", "Roles": "control-plane,edge,worker", "Age": "90m",
        "Version": "v1.36.0", "Internal-IP": "192.0.2.5", "External-IP": "<none>", "OS-Image": "Debian GNU/Linux 12",
        "Kernel-Version": "6.1.0 (amd64)", "Container-Runtime": "<unknown>",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ([], "Unknown"),
        ([{"type": "Ready", "status": "False"}], "NotReady"),
        ([{"type": "Ready", "status": "Unknown"}], "NotReady"),
    ],
)
def test_node_that_is_not_ready(conditions: list[dict[str, str]], status: str) -> None:
    row = cells(refs.NODES, {"metadata": METADATA, "status": {"conditions": conditions}})
    assert (row["Status"], row["Roles"]) == (status, "<none>")


def test_endpoints_are_cut_after_three() -> None:
    addresses = [{"ip": f"10.0.0.{n}"} for n in range(1, 5)]
    obj = {"metadata": METADATA, "subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]}
    assert cells(refs.ENDPOINTS, obj)["Endpoints"] == "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 1 more..."
    obj["subsets"] = [{"addresses": [{"ip": "fd00::1"}], "ports": [{"port": 80}]}, {"addresses": addresses[:1]}]
    assert cells(refs.ENDPOINTS, obj)["Endpoints"] == "[fd00::1]:80,10.0.0.1"
    assert cells(refs.ENDPOINTS, {"metadata": METADATA})["Endpoints"] == "<none>"


def test_endpoint_slice() -> None:
    obj = {
        "metadata": METADATA, "addressType": "IPv4",
        "ports": [{"port": 80}, {"name": "dns"}, {}],
        "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}],
    }  # fmt: skip
    row = cells(refs.ENDPOINT_SLICES, obj)
    assert (row["AddressType"], row["Ports"], row["Endpoints"]) == ("IPv4", "80,dns,*", "10.0.0.1,10.0.0.2")
    row = cells(refs.ENDPOINT_SLICES, {"metadata": METADATA, "addressType": "IPv6"})
    assert (row["Ports"], row["Endpoints"]) == ("<unset>", "<unset>")


def test_event() -> None:
    obj = {
        "metadata": METADATA, "type": "Warning", "reason": "BackOff", "message": " restarting\n", "count": 7,
        "involvedObject": {"kind": "Pod", "name": "web", "fieldPath": "spec.containers{app}"},
        "source": {"component": "kubelet", "host": "n1"},
        "firstTimestamp": ago(minutes=10), "lastTimestamp": ago(seconds=4),
    }  # fmt: skip
    assert cells(refs.EVENTS, obj) == {
        "Last Seen": "4s", "Type": "Warning", "Reason": "BackOff", "Object": "pod/web", "Message": "restarting",
    }  # fmt: skip
    wide = cells(refs.EVENTS, obj, wide=True)
    assert list(wide) == [
        "Last Seen", "Type", "Reason", "Object", "Subobject", "Source", "Message", "First Seen", "Count", "Name",
    ]  # fmt: skip
    assert (wide["Subobject"], wide["Source"], wide["First Seen"]) == ("spec.containers{app}", "kubelet, n1", "10m")
    assert wide["Count"] == 7


def test_event_of_the_new_kind() -> None:
    obj = {
        "metadata": METADATA, "eventTime": "2026-03-01T11:58:00.000000Z", "reportingComponent": "scheduler",
        "involvedObject": {"kind": "Node"},
    }  # fmt: skip
    row = cells(refs.EVENTS, obj, wide=True)
    assert (row["Last Seen"], row["First Seen"], row["Count"], row["Source"]) == ("2m", "2m", 1, "scheduler")
    assert row["Object"] == "node"
    obj["series"] = {"count": 5, "lastObservedTime": "2026-03-01T11:59:30.000000Z"}
    row = cells(refs.EVENTS, obj, wide=True)
    assert (row["Last Seen"], row["Count"]) == ("30s", 5)


def test_bindings_and_roles() -> None:
    obj = {
        "metadata": METADATA, "roleRef": {"kind": "ClusterRole", "name": "view"},
        "subjects": [
            {"kind": "User", "name": "ann"}, {"kind": "User", "name": "bob"}, {"kind": "Group", "name": "dev"},
            {"kind": "ServiceAccount", "name": "app", "namespace": "ns"},
        ],
    }  # fmt: skip
    assert cells(refs.ROLE_BINDINGS, obj, wide=True) == {
        "Name": "x", "Role": "ClusterRole/view", "Age": "90m", "Users": "ann, bob", "Groups": "dev",
        "ServiceAccounts": "ns/app",
    }  # fmt: skip
    assert cells(refs.CLUSTER_ROLES, obj) == {"Name": "x", "Created At": METADATA["creationTimestamp"]}


def test_small_kinds() -> None:
    assert cells(refs.CONFIGMAPS, {"metadata": METADATA, "data": {"a": ""}, "binaryData": {"b": ""}})["Data"] == 2
    assert cells(refs.SECRETS, {"metadata": METADATA, "type": "Opaque"}) == {
        "Name": "x", "Type": "Opaque", "Data": 0, "Age": "90m",
    }  # fmt: skip
    assert cells(refs.NAMESPACES, {"metadata": METADATA, "status": {"phase": "Active"}})["Status"] == "Active"
    assert cells(refs.LEASES, {"metadata": METADATA, "spec": {"holderIdentity": "n1"}})["Holder"] == "n1"
    assert cells(refs.PRIORITY_CLASSES, {"metadata": METADATA, "value": 7, "preemptionPolicy": "Never"}) == {
        "Name": "x", "Value": 7, "Global-Default": False, "Age": "90m", "PreemptionPolicy": "Never",
    }  # fmt: skip
