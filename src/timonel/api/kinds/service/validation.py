"""The rules of Services. What the cluster allocates is checked when it is given, never asked for.

Source: kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1
"""

from __future__ import annotations

from typing import Any

from timonel.api.field_errors import Path, duplicate, forbidden, go_struct, invalid, not_supported, required
from timonel.api.kinds.rules import (
    PROTOCOLS,
    Errors,
    check_choice,
    check_cidr,
    check_endpoint_ip,
    check_ip,
    check_label,
    check_labels,
    check_option,
    check_port,
    check_qualified_name,
    check_subdomain,
    is_dual_stack,
    parse_ip,
)
from timonel.api.kinds.service.defaults import (
    HEADLESS,
    is_externally_accessible,
    is_headless,
    needs_cluster_ip,
    needs_health_check,
)
from timonel.api.objects import Object

_SPEC = Path("spec")
_NO_PORT = {"name": "", "protocol": "", "appProtocol": None, "port": 0, "targetPort": 0, "nodePort": 0}
_PORTS = _SPEC / "ports"
_CLUSTER_IPS = _SPEC / "clusterIPs"
_FAMILIES = _SPEC / "ipFamilies"
_ANNOTATIONS = Path("metadata") / "annotations"
_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_HINTS = "service.kubernetes.io/topology-aware-hints"
_MODE = "service.kubernetes.io/topology-mode"
_SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
_ONLY_BALANCER = "may only be used when `type` is 'LoadBalancer'"
_DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
_SET_ONCE = "may not change once set"
MAX_AFFINITY_SECONDS = 86400


def validate_service(service: Object, old: Object | None) -> Errors:
    errors: Errors = []
    spec, before = service.get("spec") or {}, (old or {}).get("spec") or {}
    annotations = service["metadata"].get("annotations") or {}
    if _HINTS in annotations and annotations.get(_MODE, annotations[_HINTS]) != annotations[_HINTS]:
        why = f"must match annotations[{_HINTS}] when both are specified"
        errors.append(invalid(_ANNOTATIONS[_MODE], annotations[_MODE], why))
    kind, ports, headless = spec.get("type") or "", spec.get("ports") or [], is_headless(spec)
    if not ports and not headless and kind != "ExternalName":
        errors.append(required(_PORTS))
    if headless and kind in ("LoadBalancer", "NodePort"):
        errors.append(invalid(_CLUSTER_IPS[0], HEADLESS, f"may not be set to 'None' for {kind} services"))
    if kind == "ExternalName":
        _check_external_name(errors, spec)
    names: set[str] = set()
    for index, port in enumerate(ports):
        _check_port(errors, _PORTS[index], port, names, must_have_name=len(ports) > 1)
    check_labels(errors, _SPEC / "selector", spec.get("selector"))
    _check_affinity(errors, spec)
    check_cluster_ips(errors, spec, before if old else None)
    known = before.get("externalIPs") or []
    for index, address in enumerate(spec.get("externalIPs") or ()):
        if check_ip(errors, (_SPEC / "externalIPs")[index], address, known):
            check_endpoint_ip(errors, (_SPEC / "externalIPs")[index], address)
    check_choice(errors, _SPEC / "type", kind, _TYPES)
    _check_port_numbers(errors, kind, ports)
    _check_source_ranges(errors, service, old)
    _check_balancer_fields(errors, spec, kind)
    _check_traffic(errors, spec, kind)
    return errors


def validate_service_update(service: Object, old: Object) -> Errors:
    errors: Errors = []
    spec, before = service.get("spec") or {}, old.get("spec") or {}
    if needs_cluster_ip(spec) and needs_cluster_ip(before):
        _check_address_changes(errors, spec, before)
        if not is_headless(spec) and not is_headless(before):
            _check_family_changes(errors, spec, before)
    kept = spec.get("loadBalancerClass") == before.get("loadBalancerClass")
    if spec.get("type") == before.get("type") == "LoadBalancer" and not kept:
        errors.append(invalid(_SPEC / "loadBalancerClass", spec.get("loadBalancerClass"), _SET_ONCE))
    kept = spec.get("healthCheckNodePort") == before.get("healthCheckNodePort")
    if needs_health_check(before) and needs_health_check(spec) and not kept:
        errors.append(forbidden(_SPEC / "healthCheckNodePort", "field is immutable"))
    return errors + validate_service(service, old)


def _check_external_name(errors: Errors, spec: Object) -> None:
    why = "may not be set for ExternalName services"
    for field in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if spec.get(field):
            errors.append(forbidden(_SPEC / field, why))
    name = (spec.get("externalName") or "").removesuffix(".")
    if name:
        check_subdomain(errors, _SPEC / "externalName", name)
    else:
        errors.append(required(_SPEC / "externalName"))


def _check_port(errors: Errors, path: Path, port: Object, names: set[str], *, must_have_name: bool) -> None:
    name = port.get("name") or ""
    if name:
        check_label(errors, path / "name", name)
        if name in names:
            errors.append(duplicate(path / "name", name))
        names.add(name)
    elif must_have_name:
        errors.append(required(path / "name"))
    check_port(errors, path / "port", port.get("port") or 0)
    protocol = port.get("protocol")
    check_choice(errors, path / "protocol", protocol, PROTOCOLS)
    check_port(errors, path / "targetPort", port.get("targetPort"))
    if port.get("appProtocol") is not None:
        check_qualified_name(errors, path / "appProtocol", port["appProtocol"])


def _check_port_numbers(errors: Errors, kind: str, ports: list[Object]) -> None:
    """No (protocol, number) twice, neither among the ports nor among the node ports."""
    if kind == "ClusterIP":
        for index, port in enumerate(ports):
            if port.get("nodePort"):
                errors.append(forbidden(_PORTS[index] / "nodePort", "may not be used when `type` is 'ClusterIP'"))
    seen: set[tuple[str, Any]] = set()
    for index, port in enumerate(ports):
        if port.get("nodePort"):
            key = (port.get("protocol") or "", port["nodePort"])
            if key in seen:
                errors.append(duplicate(_PORTS[index] / "nodePort", port["nodePort"]))
            seen.add(key)
    seen = set()
    for index, port in enumerate(ports):
        key = (port.get("protocol") or "", port.get("port"))
        if key in seen:
            errors.append(
                duplicate(
                    _PORTS[index], go_struct({**_NO_PORT, **{f: port.get(f) for f in ("protocol", "port")}}, _NO_PORT)
                )
            )
        seen.add(key)


def _check_affinity(errors: Errors, spec: Object) -> None:
    affinity, config = spec.get("sessionAffinity") or "", spec.get("sessionAffinityConfig")
    path = _SPEC / "sessionAffinityConfig"
    if not affinity:
        errors.append(required(_SPEC / "sessionAffinity"))
    elif affinity not in ("ClientIP", "None"):
        errors.append(not_supported(_SPEC / "sessionAffinity", affinity, ("ClientIP", "None")))
    elif affinity == "ClientIP":
        seconds = ((config or {}).get("clientIP") or {}).get("timeoutSeconds")
        where = path / "clientIP" / "timeoutSeconds"
        if seconds is None:
            errors.append(required(where, "when session affinity type is ClientIP"))
        elif not 0 < seconds <= MAX_AFFINITY_SECONDS:
            errors.append(invalid(where, seconds, f"must be greater than 0 and less than {MAX_AFFINITY_SECONDS}"))
    elif config is not None:
        errors.append(forbidden(path, "must not be set when session affinity is None"))


def check_cluster_ips(errors: Errors, spec: Object, before: Object | None) -> None:
    """clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy fit together."""
    if not needs_cluster_ip(spec):
        return
    single, plural = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    if single:
        if not plural:
            errors.append(required(_CLUSTER_IPS))
        elif plural[0] != single:
            errors.append(invalid(_CLUSTER_IPS, plural, "first value must match `clusterIP`"))
    elif plural:
        errors.append(invalid(_CLUSTER_IPS, plural, "must be empty when `clusterIP` is not specified"))
    families = spec.get("ipFamilies") or []
    for index, family in enumerate(families):
        check_option(errors, _FAMILIES[index], family, ("IPv4", "IPv6"))
        if family in families[:index]:
            errors.append(duplicate(_FAMILIES[index], family))
    policies = ("PreferDualStack", "RequireDualStack", "SingleStack")
    check_option(errors, _SPEC / "ipFamilyPolicy", spec.get("ipFamilyPolicy"), policies)
    if not _check_addresses(errors, plural, (before or {}).get("clusterIPs") or []):
        return
    if len(plural) > 1 and not is_dual_stack(plural):
        errors.append(invalid(_CLUSTER_IPS, plural, "may specify no more than one IP for each IP family"))
    if plural == [HEADLESS]:
        return
    for index, (address, family) in enumerate(zip(plural, families, strict=False)):
        version = getattr(parse_ip(address), "version", 4)
        if family in ("IPv4", "IPv6") and family != f"IPv{version}":
            why = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            errors.append(invalid(_CLUSTER_IPS[index], address, why))


def _check_addresses(errors: Errors, addresses: list[str], known: list[str]) -> bool:
    sound = True
    for index, address in enumerate(addresses):
        if index == 0 and address == HEADLESS:
            if len(addresses) > 1:
                errors.append(invalid(_CLUSTER_IPS, addresses, "'None' must be the first and only value"))
                sound = False
            continue
        sound = check_ip(errors, _CLUSTER_IPS[index], address, known) and sound
    if len(addresses) > 2:
        errors.append(invalid(_CLUSTER_IPS, addresses, "may only hold up to 2 values"))
    return sound


def _check_source_ranges(errors: Errors, service: Object, old: Object | None) -> None:
    spec, before = service.get("spec") or {}, (old or {}).get("spec") or {}
    ranges, balancer = spec.get("loadBalancerSourceRanges") or [], spec.get("type") == "LoadBalancer"
    annotations = service["metadata"].get("annotations") or {}
    if ranges:
        path = _SPEC / "LoadBalancerSourceRanges"
        if not balancer:
            errors.append(forbidden(path, _ONLY_BALANCER))
        known = [text.strip() for text in before.get("loadBalancerSourceRanges") or ()]
        for index, text in enumerate(ranges):
            check_cidr(errors, path[index], text.strip(), known)
    elif _SOURCE_RANGES in annotations:
        path, text = _ANNOTATIONS[_SOURCE_RANGES], annotations[_SOURCE_RANGES]
        if not balancer:
            errors.append(forbidden(path, _ONLY_BALANCER))
        if old is None or (old["metadata"].get("annotations") or {}).get(_SOURCE_RANGES) != text:
            for part in text.split(",") if text.strip() else ():
                check_cidr(errors, path, part.strip())


def _check_balancer_fields(errors: Errors, spec: Object, kind: str) -> None:
    allocates, balancer_class = spec.get("allocateLoadBalancerNodePorts"), spec.get("loadBalancerClass")
    if kind == "LoadBalancer":
        if allocates is None:
            errors.append(required(Path("allocateLoadBalancerNodePorts")))
        if balancer_class is not None:
            check_qualified_name(errors, _SPEC / "loadBalancerClass", balancer_class)
        return
    if allocates is not None:
        errors.append(forbidden(_SPEC / "allocateLoadBalancerNodePorts", _ONLY_BALANCER))
    if balancer_class is not None:
        errors.append(forbidden(_SPEC / "loadBalancerClass", _ONLY_BALANCER))


def _check_traffic(errors: Errors, spec: Object, kind: str) -> None:
    policy, path = spec.get("externalTrafficPolicy") or "", _SPEC / "externalTrafficPolicy"
    if not is_externally_accessible(spec):
        if policy:
            errors.append(invalid(path, policy, "may only be set for externally-accessible services"))
    elif not policy:
        errors.append(required(path))
    else:
        check_option(errors, path, policy, ("Cluster", "Local"))
    port = spec.get("healthCheckNodePort") or 0
    if port:
        if needs_health_check(spec):
            check_port(errors, _SPEC / "healthCheckNodePort", port)
        else:
            why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
            errors.append(invalid(_SPEC / "healthCheckNodePort", port, why))
    internal, path = spec.get("internalTrafficPolicy"), _SPEC / "internalTrafficPolicy"
    if internal is None and kind in ("ClusterIP", "NodePort", "LoadBalancer"):
        errors.append(required(path))
    check_option(errors, path, internal, ("Cluster", "Local"))
    check_option(errors, _SPEC / "trafficDistribution", spec.get("trafficDistribution"), _DISTRIBUTIONS)


def _check_address_changes(errors: Errors, spec: Object, before: Object) -> None:
    """A second address may come and go; the first stays, unless the Service was and is headless."""
    if is_headless(spec) and is_headless(before):
        return
    now, was = spec.get("clusterIPs") or [], before.get("clusterIPs") or []
    if len(now) == len(was):
        for index, address in enumerate(was):
            if now[index] != address:
                errors.append(invalid(_CLUSTER_IPS[index], now, _SET_ONCE))
        return
    if not now:
        errors.append(invalid(_CLUSTER_IPS[0], now, "primary clusterIP can not be unset"))
    elif was and now[0] != was[0]:
        errors.append(invalid(_CLUSTER_IPS[0], now, _SET_ONCE))
    if len(now) == 1 and len(was) > 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        why = "must be set to 'SingleStack' when releasing the secondary clusterIP"
        errors.append(invalid(_SPEC / "ipFamilyPolicy", spec.get("ipFamilyPolicy"), why))


def _check_family_changes(errors: Errors, spec: Object, before: Object) -> None:
    now, was = spec.get("ipFamilies") or [], before.get("ipFamilies") or []
    if len(now) == len(was):
        errors.extend(invalid(_FAMILIES[0], now, _SET_ONCE) for new, old in zip(now, was, strict=True) if new != old)
        return
    if len(was) > len(now) and not spec.get("clusterIPs"):
        errors.append(invalid(_FAMILIES[0], now, "primary ipFamily can not be unset"))
    if now and was and now[0] != was[0]:
        errors.append(invalid(_FAMILIES[0], spec.get("clusterIPs") or [], _SET_ONCE))
    if len(now) == 1 and len(was) > 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        why = "must be set to 'SingleStack' when releasing the secondary ipFamily"
        errors.append(invalid(_SPEC / "ipFamilyPolicy", spec.get("ipFamilyPolicy"), why))


def validate_service_status(service: Object, old: Object) -> Errors:
    errors: Errors = []
    path = Path("status") / "loadBalancer" / "ingress"
    entries = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    if entries and (service.get("spec") or {}).get("type") != "LoadBalancer":
        errors.append(forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'"))
        return errors
    before = ((old.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    known = [entry["ip"] for entry in before if entry.get("ip")]
    for index, entry in enumerate(entries):
        here, address, mode = path[index], entry.get("ip") or "", entry.get("ipMode")
        if address:
            check_ip(errors, here / "ip", address, known)
        if mode is None:
            if address:
                errors.append(required(here / "ipMode", "must be specified when `ip` is set"))
        elif not address:
            errors.append(forbidden(here / "ipMode", "may not be specified when `ip` is not set"))
        else:
            check_option(errors, here / "ipMode", mode, ("Proxy", "VIP"))
        host = entry.get("hostname")
        if host:
            check_subdomain(errors, here / "hostname", host)
            if parse_ip(host) is not None:
                errors.append(invalid(here / "hostname", host, "must be a DNS name, not an IP address"))
    return errors
