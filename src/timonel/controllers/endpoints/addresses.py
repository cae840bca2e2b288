"""Which pods stand behind a Service, and under which addresses and ports. Pure reads.

Source: kubernetes.io/docs/concepts/services-networking/endpoint-slices
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Literal

from timonel.api.objects import Object, is_deleting, name_of, namespace_of, uid_of
from timonel.controllers.pods import is_ready, is_terminal, node_name_of

AddressType = Literal["IPv4", "IPv6"]
HEADLESS = "service.kubernetes.io/headless"
ZONE = "topology.kubernetes.io/zone"


def selects_pods(service: Object) -> bool:
    """Whether its endpoints are found here: it has a selector and is no mere alias."""
    spec = service["spec"]
    return bool(spec.get("selector")) and spec.get("type") != "ExternalName"


def is_headless(service: Object) -> bool:
    return service["spec"].get("clusterIP") in ("None", "", None)


def address_types(service: Object) -> list[AddressType]:
    families: list[AddressType] = list(service["spec"].get("ipFamilies") or ())
    if families:
        return families
    cluster_ip = service["spec"].get("clusterIP")
    return ["IPv6" if cluster_ip and ":" in cluster_ip else "IPv4"]


def pod_addresses(pod: Object, address_type: AddressType) -> list[str]:
    status = pod.get("status") or {}
    texts = [entry["ip"] for entry in status.get("podIPs") or () if entry.get("ip")] or [status.get("podIP")]
    found = []
    for text in texts:
        if text:
            address = ipaddress.ip_address(text)
            if f"IPv{address.version}" == address_type:
                found.append(str(address))
    return found


def belongs(pod: Object, *, include_terminating: bool) -> bool:
    if is_terminal(pod) or (is_deleting(pod) and not include_terminating):
        return False
    status = pod.get("status") or {}
    return bool(status.get("podIPs") or status.get("podIP"))


def hostname_of(pod: Object, service: Object) -> str:
    """The pod's name in DNS under a headless Service it names as its subdomain; "" otherwise."""
    spec = pod.get("spec") or {}
    return spec.get("hostname") or "" if spec.get("subdomain") == name_of(service) else ""


def find_port(pod: Object, port: Object) -> int | None:
    """The number behind a Service port's targetPort; None when the pod has no port of that name."""
    target = port.get("targetPort")
    if target is None or target == 0:
        target = port["port"]
    if isinstance(target, int):
        return target
    protocol = port.get("protocol") or "TCP"
    for container in _port_holders(pod):
        for declared in container.get("ports") or ():
            if declared.get("name") == target and (declared.get("protocol") or "TCP") == protocol:
                number: int = declared["containerPort"]
                return number
    return None


def _port_holders(pod: Object) -> Iterable[Object]:
    spec = pod.get("spec") or {}
    yield from spec.get("containers") or ()
    yield from (c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always")


def endpoint_ports(service: Object, pod: Object) -> list[Object]:
    """EndpointPorts, in the Service's order; ports the pod does not have are left out."""
    ports = []
    for port in service["spec"].get("ports") or ():
        number = find_port(pod, port)
        if number is None:
            continue
        made: Object = {"name": port.get("name") or "", "protocol": port.get("protocol") or "TCP", "port": number}
        if port.get("appProtocol"):
            made["appProtocol"] = port["appProtocol"]
        ports.append(made)
    return ports


def target_of(pod: Object) -> Object:
    return {"kind": "Pod", "namespace": namespace_of(pod), "name": name_of(pod), "uid": uid_of(pod)}


def endpoint(pod: Object, service: Object, addresses: list[str], zone: str) -> Object:
    """An Endpoint. A terminating one is never ready, but may still serve: it drains."""
    serving, terminating = is_ready(pod), is_deleting(pod)
    not_ready_too = bool(service["spec"].get("publishNotReadyAddresses"))
    made: Object = {
        "addresses": addresses,
        "conditions": {
            "ready": not_ready_too or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": target_of(pod),
    }
    if hostname := hostname_of(pod, service):
        made["hostname"] = hostname
    if node := node_name_of(pod):
        made["nodeName"] = node
    if zone:
        made["zone"] = zone
    return made


def relevant_change(old: Object, new: Object) -> bool:
    """Whether a pod's update can change any endpoint."""
    return _relevant(old) != _relevant(new)


def _relevant(pod: Object) -> tuple[object, ...]:
    spec, status, metadata = pod.get("spec") or {}, pod.get("status") or {}, pod["metadata"]
    return (
        metadata.get("uid"),
        metadata.get("labels"),
        is_deleting(pod),
        is_terminal(pod),
        is_ready(pod),
        status.get("podIP"),
        status.get("podIPs"),
        spec.get("nodeName"),
        spec.get("hostname"),
        spec.get("subdomain"),
    )
