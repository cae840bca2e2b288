"""Hollow nodes as API objects: the Node as a kubelet would register it, and its Lease. Pure."""

from __future__ import annotations

import string
from datetime import datetime

from timonel.api.clock import format_micro_time
from timonel.api.objects import Object, annotations_of
from timonel.api.quantity import int_value
from timonel.api.refs import LEASES
from timonel.api.volumes import LOCAL_DIRECTORY
from timonel.kubelet.config import KubeletConfig
from timonel.kubelet.node.machine import Machine
from timonel.kubelet.node.status import Health, conditions, new_node, node_status, well_known_labels
from timonel.simulation.behaviour import PREFIX
from timonel.simulation.config import HollowConfig
from timonel.simulation.runtime import RUNTIME_NAME, runtime_id

LABEL = f"{PREFIX}node"
"""On every Node that is simulated, whoever made it: "true"."""
SILENT = f"{PREFIX}silent"
"""Annotation of a Node, "true": it plays dead. Its lease is not renewed and nothing happens to its pods."""
NOT_READY = "node.kubernetes.io/not-ready"
LEASE_NAMESPACE = "kube-node-lease"
ZONE = "topology.kubernetes.io/zone"
REGION = "topology.kubernetes.io/region"
INSTANCE_TYPE = "node.kubernetes.io/instance-type"


def node_name(config: HollowConfig, index: int) -> str:
    """From 0: "hollow-0000"."""
    return f"{config.name_prefix}{index:04}"


def is_own_name(config: HollowConfig, name: str) -> bool:
    return name.startswith(config.name_prefix) and name.removeprefix(config.name_prefix).isdigit()


def new_hollow_node(config: HollowConfig, index: int, now: datetime) -> Object:
    """With its status, in one piece, as a kubelet registers itself."""
    name = node_name(config, index)
    kubelet = KubeletConfig(node_name=name, node_ips=(config.address,), port=config.port, max_pods=config.max_pods)
    machine = Machine(
        cores=int_value(config.cpu),
        memory_bytes=int_value(config.memory),
        storage_bytes=int_value("1Ti"),
        architecture="amd64",
        kernel="none",
        os_image="none (a hollow node)",
        machine_id=runtime_id(name, "machine")[:32],
        system_uuid=runtime_id(name, "system")[:32],
        boot_id=runtime_id(name, "boot")[:32],
        swap_bytes=0,
    )
    node = new_node(kubelet, machine)
    labels = well_known_labels(kubelet, machine) | {LABEL: "true", INSTANCE_TYPE: "hollow"}
    if config.zones:
        labels |= {ZONE: zone_name(index % config.zones), REGION: "hollow"}
    node["metadata"]["labels"] = labels
    node["metadata"]["annotations"][LOCAL_DIRECTORY] = ""  # volumes are names only, as containers are
    node["status"] = node_status(
        kubelet,
        machine,
        runtime_version=f"{RUNTIME_NAME}://1",
        images=(),
        condition_list=conditions(Health(), now, ()),
    )
    return node


def zone_name(number: int) -> str:
    """0 -> "zone-a", 25 -> "zone-z", 26 -> "zone-26"."""
    return f"zone-{string.ascii_lowercase[number] if number < 26 else number}"


def ready_again(node: Object, now: datetime) -> Object:
    """A strategic merge patch for a node that was called Unknown while this process was away."""
    return {"status": {"conditions": conditions(Health(), now, (node.get("status") or {}).get("conditions") or ())}}


def lease_of(name: str, uid: str, duration_seconds: int, now: datetime, resource_version: str = "") -> Object:
    metadata: Object = {
        "name": name,
        "namespace": LEASE_NAMESPACE,
        "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}],
    }
    if resource_version:
        metadata["resourceVersion"] = resource_version
    spec = {"holderIdentity": name, "leaseDurationSeconds": duration_seconds, "renewTime": format_micro_time(now)}
    return {"kind": "Lease", "apiVersion": LEASES.api_version, "metadata": metadata, "spec": spec}


def has_taint(node: Object, key: str) -> bool:
    return any(taint["key"] == key for taint in node["spec"].get("taints") or ())


def is_silent(node: Object) -> bool:
    return annotations_of(node).get(SILENT) == "true"


def slim_node(node: Object) -> Object:
    """What the simulation asks of a Node; changes the object given."""
    metadata = node["metadata"]
    spec, status = node.get("spec") or {}, node.get("status") or {}
    annotations = {key: text for key, text in annotations_of(node).items() if key.startswith(PREFIX)}
    ready = [{"type": c["type"], "status": c["status"]} for c in status.get("conditions") or () if c["type"] == "Ready"]
    slim: Object = {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {
            field: metadata[field]
            for field in ("name", "uid", "resourceVersion", "deletionTimestamp")
            if field in metadata
        },
        "spec": {field: spec[field] for field in ("podCIDR", "podCIDRs", "taints") if field in spec},
        "status": {"conditions": ready, "addresses": status.get("addresses") or []},
    }
    if annotations:
        slim["metadata"]["annotations"] = annotations
    return slim
