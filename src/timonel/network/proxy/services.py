"""What each port of a Service means on one node: addresses it is reached by and endpoints that may answer. Pure.

Source: kubernetes.io/docs/reference/networking/virtual-ips; KEP-1669 (terminating endpoints), KEP-2086 (internal
traffic policy). `trafficDistribution` and hints are preferences and are not followed yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from timonel.api.objects import Object, get_path, labels_of, name_of, namespace_of
from timonel.network.addresses import ipv4_of

PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
"""A Service with it belongs to another proxy."""


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    address: str
    port: int
    is_local: bool = False


@dataclass(frozen=True, slots=True)
class ServicePort:
    namespace: str
    name: str
    port_name: str
    protocol: str
    """Lower case, as nft writes it: tcp, udp, sctp."""
    port: int
    node_port: int
    cluster_ips: tuple[str, ...]
    external_ips: tuple[str, ...]
    """Of load balancers, and spec.externalIPs: routed to this node by others."""
    affinity_seconds: int
    """Client address affinity; 0 is none."""
    internal: tuple[Endpoint, ...]
    """Endpoints for traffic from inside, after internalTrafficPolicy."""
    external: tuple[Endpoint, ...]
    """Endpoints for node ports and load balancers, after externalTrafficPolicy."""
    everywhere: tuple[Endpoint, ...]
    """Whatever the policies: without any, connections are rejected; with none here, dropped."""
    keeps_client_address: bool
    """externalTrafficPolicy Local: outside clients are not masqueraded."""


def plan_service(service: Object, slices: Iterable[Object], node_name: str) -> list[ServicePort]:
    """One entry per port; none for headless, ExternalName and other proxies' Services."""
    spec = service.get("spec") or {}
    cluster_ips = tuple(_ipv4s(spec.get("clusterIPs") or [spec.get("clusterIP") or ""]))
    if spec.get("type") == "ExternalName" or not cluster_ips or PROXY_NAME_LABEL in labels_of(service):
        return []
    slices = [item for item in slices if item.get("addressType") == "IPv4"]
    is_external = spec.get("type") in ("NodePort", "LoadBalancer")
    external_local = is_external and spec.get("externalTrafficPolicy") == "Local"
    internal_local = spec.get("internalTrafficPolicy") == "Local"
    affinity = 0
    if spec.get("sessionAffinity") == "ClientIP":
        affinity = get_path(spec, "sessionAffinityConfig", "clientIP", "timeoutSeconds", default=10800)
    ingress = get_path(service, "status", "loadBalancer", "ingress", default=[])
    external_ips = set(_ipv4s(item.get("ip") or "" for item in ingress)) if is_external else set()
    external_ips |= set(_ipv4s(spec.get("externalIPs") or []))
    ports = []
    for port in spec.get("ports") or []:
        found = endpoints_of(slices, port.get("name") or "", port.get("protocol", "TCP"), node_name)
        everywhere = usable(found)
        here = usable([item for item in found if item[0].is_local])
        ports.append(
            ServicePort(
                namespace=namespace_of(service),
                name=name_of(service),
                port_name=port.get("name") or "",
                protocol=port.get("protocol", "TCP").lower(),
                port=port["port"],
                node_port=port.get("nodePort") or 0,
                cluster_ips=cluster_ips,
                external_ips=tuple(sorted(external_ips)),
                affinity_seconds=affinity,
                internal=here if internal_local else everywhere,
                external=here if external_local else everywhere,
                everywhere=everywhere,
                keeps_client_address=external_local,
            )
        )
    return ports


Found = tuple[Endpoint, bool, bool]
"""Endpoint, ready, serving while terminating."""


def endpoints_of(slices: Iterable[Object], port_name: str, protocol: str, node_name: str) -> list[Found]:
    """All endpoints for a port's name; conditions as discovery/v1 defines their absence (nil is ready)."""
    found: list[Found] = []
    for item in slices:
        for port in item.get("ports") or []:
            if (port.get("name") or "") != port_name or (port.get("protocol") or "TCP") != protocol:
                continue
            if not port.get("port"):
                continue
            for endpoint in item.get("endpoints") or []:
                conditions = endpoint.get("conditions") or {}
                ready = conditions.get("ready", True)
                serving = conditions.get("serving", ready)
                terminating = bool(conditions.get("terminating"))
                is_local = endpoint.get("nodeName") == node_name
                for address in _ipv4s(endpoint["addresses"][:1]):
                    found.append((Endpoint(address, port["port"], is_local), ready, serving and terminating))
    return found


def usable(found: Sequence[Found]) -> tuple[Endpoint, ...]:
    """The ready ones; if there are none, those that still serve while they terminate (KEP-1669)."""
    ready = {endpoint for endpoint, is_ready, _ in found if is_ready}
    chosen = ready or {endpoint for endpoint, _, is_serving in found if is_serving}
    return tuple(sorted(chosen))


def _ipv4s(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(address for address in map(ipv4_of, texts) if address))
