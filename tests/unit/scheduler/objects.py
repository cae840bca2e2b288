"""Short ways to write nodes and pods."""

from __future__ import annotations

from itertools import count
from typing import Any

from timonel.api.objects import Object

_uids = count(1)


def node(name: str, *, cpu: str = "4", memory: str = "8Gi", pods: str = "110", **options: Any) -> Object:
    """`labels`, `taints` ("key=value:Effect"), `unschedulable`, `images` {name: bytes}, `allocatable` {…}."""
    taints = []
    for text in options.get("taints", ()):
        pair, _, effect = text.partition(":")
        key, _, value = pair.partition("=")
        taints.append({"key": key, "value": value, "effect": effect})
    labels = {"kubernetes.io/hostname": name} | options.get("labels", {})
    return {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints, "unschedulable": options.get("unschedulable", False)},
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory, "pods": pods} | options.get("allocatable", {}),
            "images": [{"names": [image], "sizeBytes": size} for image, size in options.get("images", {}).items()],
        },
    }


def container(cpu: str = "", memory: str = "", **options: Any) -> Object:
    requests = {"cpu": cpu, "memory": memory} | options.pop("requests", {})
    return {
        "name": options.pop("name", "main"),
        "image": options.pop("image", "nginx"),
        "resources": {"requests": {name: amount for name, amount in requests.items() if amount}},
        **options,
    }


def pod(
    name: str, cpu: str = "", memory: str = "", *, namespace: str = "default", on: str = "", **options: Any
) -> Object:
    """`labels`, `owner`, `status`, `deleting`; what else is given goes into the spec."""
    metadata: Object = {
        "name": name,
        "namespace": namespace,
        "uid": f"uid-{next(_uids)}",
        "labels": options.pop("labels", {}),
    }
    if options.pop("deleting", False):
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    if owner := options.pop("owner", None):
        metadata["ownerReferences"] = [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "controller": True}
        ]
    status = options.pop("status", {"phase": "Pending"})
    spec: Object = {"containers": [container(cpu, memory)], "schedulerName": "default-scheduler", **options}
    if on:
        spec["nodeName"] = on
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": status}


def expression(key: str, operator: str, *values: str) -> Object:
    return {"key": key, "operator": operator, "values": list(values)}


def require_nodes(*terms: list[Object]) -> Object:
    """Affinity that requires nodes of any of the terms, each a list of expressions."""
    required = {"nodeSelectorTerms": [{"matchExpressions": term} for term in terms]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def near(key: str, labels: dict[str, str], *, kind: str = "podAffinity", weight: int = 0, **term: Any) -> Object:
    """Affinity to (or, with kind="podAntiAffinity", from) pods with these labels."""
    wanted: Object = {"topologyKey": key, "labelSelector": {"matchLabels": labels}, **term}
    if weight:
        preferred = [{"weight": weight, "podAffinityTerm": wanted}]
        return {kind: {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [wanted]}}


def spread(key: str, labels: dict[str, str], *, skew: int = 1, when: str = "DoNotSchedule", **more: Any) -> Object:
    return {
        "topologyKey": key,
        "maxSkew": skew,
        "whenUnsatisfiable": when,
        "labelSelector": {"matchLabels": labels},
        **more,
    }
