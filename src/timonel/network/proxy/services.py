"""What each port of a Service means on one node: addresses it is reached by and endpoints that may answer. Pure.

Source: kubernetes.io/docs/reference/networking/virtual-ips; KEP-1669 (terminating endpoints), KEP-2086 (internal
traffic policy), KEP-1860 (ipMode of load balancers). Hints, of `trafficDistribution` or of topology-aware routing, are
followed where all endpoints have them and some are meant for here: kubernetes.io/docs/concepts/services-networking/
topology-aware-routing, "Safeguards", and KEP-3015.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, collapse_addresses
from typing import NamedTuple

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
    """spec.externalIPs: routed to this node by others."""
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
    balancer_ips: tuple[str, ...] = ()
    """Of load balancers that send packets as they are (ipMode VIP): perhaps nodes' own addresses."""
    source_ranges: tuple[str, ...] | None = None
    """Who may use `balancer_ips`, never overlapping; None: everybody."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where endpoints are seen from."""

    node: str
    zone: str = ""


def plan_service(service: Object, slices: Iterable[Object], here: Position) -> list[ServicePort]:
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
    balancer_ips = _balancer_ips(service)
    external_ips = sorted(set(_ipv4s(spec.get("externalIPs") or [])) - set(balancer_ips))
    ports = []
    for port in spec.get("ports") or []:
        found = endpoints_of(slices, port.get("name") or "", port.get("protocol", "TCP"), here.node)
        everywhere = usable(preferred(found, here))
        near = usable([item for item in found if item.endpoint.is_local])
        ports.append(
            ServicePort(
                namespace=namespace_of(service),
                name=name_of(service),
                port_name=port.get("name") or "",
                protocol=port.get("protocol", "TCP").lower(),
                port=port["port"],
                node_port=port.get("nodePort") or 0,
                cluster_ips=cluster_ips,
                external_ips=tuple(external_ips),
                affinity_seconds=affinity,
                internal=near if internal_local else everywhere,
                external=near if external_local else everywhere,
                everywhere=everywhere,
                keeps_client_address=external_local,
                balancer_ips=balancer_ips,
                source_ranges=_source_ranges(spec),
            )
        )
    return ports


def _balancer_ips(service: Object) -> tuple[str, ...]:
    """Without those whose packets come from the balancer itself, which only it may treat."""
    if get_path(service, "spec", "type") != "LoadBalancer":
        return ()
    ingress = get_path(service, "status", "loadBalancer", "ingress", default=[]) or []
    return tuple(sorted(set(_ipv4s(item.get("ip") or "" for item in ingress if item.get("ipMode") != "Proxy"))))


def _source_ranges(spec: Object) -> tuple[str, ...] | None:
    texts = [text.strip() for text in spec.get("loadBalancerSourceRanges") or []]
    if not texts or spec.get("type") != "LoadBalancer":
        return None
    networks = []
    for text in texts:
        address, slash, length = text.partition("/")
        if ipv4_of(address):  # the others are of IPv6
            networks.append(IPv4Network(f"{ipv4_of(address)}{slash}{length}", strict=False))
    merged = list(collapse_addresses(networks))
    return None if any(network.prefixlen == 0 for network in merged) else tuple(map(str, merged))


class Found(NamedTuple):
    endpoint: Endpoint
    is_ready: bool
    is_serving: bool
    """While it terminates."""
    zones: frozenset[str] = frozenset()
    """Whom it is meant for; nobody in particular where empty."""
    nodes: frozenset[str] = frozenset()


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
                serving = conditions.get("serving", ready) and bool(conditions.get("terminating"))
                is_local = endpoint.get("nodeName") == node_name
                zones, nodes = _hints(endpoint)
                for address in _ipv4s(endpoint["addresses"][:1]):
                    found.append(Found(Endpoint(address, port["port"], is_local), ready, serving, zones, nodes))
    return found


_NOBODY: frozenset[str] = frozenset()


def _hints(endpoint: Object) -> tuple[frozenset[str], frozenset[str]]:
    hints = endpoint.get("hints")
    if not hints:
        return _NOBODY, _NOBODY
    zones, nodes = (hints.get(field) or [] for field in ("forZones", "forNodes"))
    return frozenset(item.get("name") or "" for item in zones), frozenset(item.get("name") or "" for item in nodes)


def preferred(found: Sequence[Found], here: Position) -> list[Found]:
    """The ready ones that hints mean for this node, else for its zone; all where hints lack or leave none."""
    ready = [item for item in found if item.is_ready]
    for hinted, own in (([item.nodes for item in ready], here.node), ([item.zones for item in ready], here.zone)):
        if own and ready and all(hinted) and any(own in names for names in hinted):
            return [item for item, names in zip(ready, hinted, strict=True) if own in names]
    return list(found)


def usable(found: Sequence[Found]) -> tuple[Endpoint, ...]:
    """The ready ones; if there are none, those that still serve while they terminate (KEP-1669)."""
    ready = {item.endpoint for item in found if item.is_ready}
    chosen = ready or {item.endpoint for item in found if item.is_serving}
    return tuple(sorted(chosen))


def _ipv4s(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(address for address in map(ipv4_of, texts) if address))
