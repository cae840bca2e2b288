"""What matters of a pod to policies: labels, addresses, named ports. Pure.

Pods of the host's network have no address of their own and are exempt, as selected pods and as peers. Pods that ended
have given theirs back; those that are being deleted still have them.
Source: kubernetes.io/docs/concepts/services-networking/network-policies, "NetworkPolicy and hostNetwork pods".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from timonel.api.objects import Object, ObjectKey, get_path, key_of, labels_of
from timonel.network.addresses import ipv4_of

_PROTOCOLS = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}


@dataclass(frozen=True, slots=True)
class PodFacts:
    key: ObjectKey
    labels: Mapping[str, str]
    addresses: tuple[str, ...]
    """As the kernel's tools write them, of both families."""
    ports: tuple[tuple[str, str, int], ...] = ()
    """Name, protocol (lower case), number."""


def pod_facts(pod: Object, addresses: Iterable[str] = ()) -> PodFacts | None:
    """None when the pod takes no part. `addresses` are those it was given when its status does not say so yet."""
    spec = pod.get("spec") or {}
    if spec.get("hostNetwork") or get_path(pod, "status", "phase") in ("Succeeded", "Failed"):
        return None
    texts = [*addresses] or [
        *(item.get("ip") or "" for item in get_path(pod, "status", "podIPs", default=None) or []),
        get_path(pod, "status", "podIP", default=None) or "",
    ]
    found = tuple(dict.fromkeys(address for address in map(canonical_address, texts) if address))
    return PodFacts(key_of(pod), labels_of(pod), found, named_ports(spec)) if found else None


def named_ports(spec: Object) -> tuple[tuple[str, str, int], ...]:
    """Of containers, and of init containers that stay (sidecars)."""
    containers = [*(spec.get("containers") or [])]
    containers += [item for item in spec.get("initContainers") or [] if item.get("restartPolicy") == "Always"]
    return tuple(
        (port["name"], _PROTOCOLS[port.get("protocol") or "TCP"], port["containerPort"])
        for container in containers
        for port in container.get("ports") or []
        if port.get("name") and (port.get("protocol") or "TCP") in _PROTOCOLS
    )


def canonical_address(text: str) -> str:
    """ "010.0.0.1" -> "10.0.0.1", "FD00::0" -> "fd00::"; "" for what is no address."""
    if ":" not in text:
        return ipv4_of(text)
    try:
        return str(ip_address(text))
    except ValueError:
        return ""


def slim_pod(pod: Object) -> Object:
    """An informer's transform: of every pod of the cluster, only what `pod_facts` reads."""
    spec, status, metadata = pod.get("spec") or {}, pod.get("status") or {}, pod["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "labels")

    def slim(containers: Iterable[Object]) -> list[Object]:
        named = ((item, [port for port in item.get("ports") or [] if port.get("name")]) for item in containers)
        return [{"ports": ports, "restartPolicy": item.get("restartPolicy")} for item, ports in named if ports]

    return {
        "metadata": {field: metadata[field] for field in kept if field in metadata},
        "spec": {
            "hostNetwork": spec.get("hostNetwork"),
            "containers": slim(spec.get("containers") or []),
            "initContainers": slim(spec.get("initContainers") or []),
        },
        "status": {field: status[field] for field in ("phase", "podIP", "podIPs") if field in status},
    }
