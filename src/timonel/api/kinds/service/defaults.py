"""Defaults of Services, and what an update may leave out because the cluster chose it.

Source: kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1
"""

from __future__ import annotations

from typing import Any

from timonel.api.objects import Object

AFFINITY_SECONDS = 10800
HEADLESS = "None"


def default_service(service: Object) -> None:
    spec = service.setdefault("spec", {})
    affinity = spec.get("sessionAffinity") or "None"
    spec["sessionAffinity"] = affinity
    if affinity == "None":
        spec.pop("sessionAffinityConfig", None)
    elif affinity == "ClientIP":
        client = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        if client.get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}}
    kind = spec.get("type") or "ClusterIP"
    spec["type"] = kind
    for port in spec.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
        if not port.get("targetPort"):
            port["targetPort"] = port.get("port", 0)
    if is_externally_accessible(spec) and not spec.get("externalTrafficPolicy"):
        spec["externalTrafficPolicy"] = "Cluster"
    if spec.get("internalTrafficPolicy") is None and kind in ("ClusterIP", "NodePort", "LoadBalancer"):
        spec["internalTrafficPolicy"] = "Cluster"
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    balancer = service.setdefault("status", {}).setdefault("loadBalancer", {})
    for ingress in balancer.get("ingress") or ():
        if kind == "LoadBalancer" and ingress.get("ip"):
            ingress.setdefault("ipMode", "VIP")


def is_externally_accessible(spec: Object) -> bool:
    return spec.get("type") in ("LoadBalancer", "NodePort") or (
        spec.get("type") == "ClusterIP" and bool(spec.get("externalIPs"))
    )


def needs_health_check(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def needs_node_ports(spec: Object) -> bool:
    return spec.get("type") in ("NodePort", "LoadBalancer")


def needs_cluster_ip(spec: Object) -> bool:
    return spec.get("type") != "ExternalName"


def is_headless(spec: Object) -> bool:
    return spec.get("clusterIPs") == [HEADLESS]


def keep_allocated(spec: Object, before: Object) -> None:
    """What an update does not mention stays as it was allocated: addresses, node ports, the health check port."""
    if needs_cluster_ip(before) and needs_cluster_ip(spec):
        if not spec.get("clusterIP") and before.get("clusterIP"):
            spec["clusterIP"] = before["clusterIP"]
        if not spec.get("clusterIPs") and before.get("clusterIPs"):
            spec["clusterIPs"] = list(before["clusterIPs"])
    if needs_node_ports(before) and needs_node_ports(spec):
        _keep_node_ports(spec.get("ports") or [], before.get("ports") or [])
    number = before.get("healthCheckNodePort")
    if number and needs_health_check(before) and needs_health_check(spec) and not spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = number


def _keep_node_ports(ports: list[Object], before: list[Object]) -> None:
    """By port name, unless another port of the new list already has the number."""
    by_name = {port.get("name") or "": port.get("nodePort") or 0 for port in before}
    taken = {port["nodePort"] for port in ports if port.get("nodePort")} & set(by_name.values())
    for port in ports:
        if not port.get("nodePort"):
            number = by_name.get(port.get("name") or "", 0)
            if number and number not in taken:
                port["nodePort"] = number


def normalize_cluster_ips(spec: Object, before: Object | None) -> None:
    """Clients of old know only clusterIP; clusterIPs follows it where that is what they must have meant."""
    single, plural = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    if before is None:
        if single and not plural:
            spec["clusterIPs"] = [single]
        return
    old_single, old_plural = before.get("clusterIP") or "", before.get("clusterIPs") or []
    if old_plural and not plural and single == old_single:
        spec["clusterIPs"] = list(old_plural)
    elif single != old_single and plural == old_plural:
        if single:
            spec["clusterIPs"] = [single]
        else:
            spec.pop("clusterIPs", None)


def drop_fields_of_old_type(spec: Object, before: Object) -> None:
    """After a change of type: what only the old type needs goes, unless the client changed it as well."""

    def same(field: str) -> bool:
        return (spec.get(field) or None) == (before.get(field) or None)

    def drop(*fields: str) -> None:
        for field in fields:
            spec.pop(field, None)

    if needs_cluster_ip(before) and not needs_cluster_ip(spec):
        if same("clusterIP") and same("clusterIPs"):
            drop("clusterIP", "clusterIPs")
        for field in ("ipFamilies", "ipFamilyPolicy"):
            if same(field):
                drop(field)
    if needs_node_ports(before) and not needs_node_ports(spec):
        ports: list[Any] = spec.get("ports") or []
        old = {port.get("nodePort") for port in before.get("ports") or ()}
        if all(port["nodePort"] in old for port in ports if port.get("nodePort")):
            for port in ports:
                port.pop("nodePort", None)
    if needs_health_check(before) and not needs_health_check(spec) and same("healthCheckNodePort"):
        drop("healthCheckNodePort")
    if before.get("type") == "LoadBalancer" and spec.get("type") != "LoadBalancer":
        for field in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if before.get(field) is not None and same(field):
                drop(field)
    if is_externally_accessible(before) and not is_externally_accessible(spec) and same("externalTrafficPolicy"):
        drop("externalTrafficPolicy")
