"""Endpoints: the addresses behind a Service in the old, unsliced shape."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, required
from timonel.api.kinds.columns import AGE, NAME, NONE, cut_list, plain
from timonel.api.kinds.rules import (
    PROTOCOLS,
    Errors,
    check_choice,
    check_endpoint_ip,
    check_ip,
    check_label,
    check_port,
    check_qualified_name,
    check_subdomain,
    ip_warnings,
)
from timonel.api.objects import Object
from timonel.api.resource import Column, Resource, Strategy


class EndpointsStrategy(Strategy):
    create_on_update = True
    tracks_generation = False

    def default(self, obj: Object) -> None:
        for subset in obj.get("subsets") or ():
            for port in subset.get("ports") or ():
                if not port.get("protocol"):
                    port["protocol"] = "TCP"

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        for index, subset in enumerate(obj.get("subsets") or ()):
            _check_subset(errors, Path("subsets")[index], subset)
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        # Old objects may hold what is no longer accepted; unchanged it stays.
        return [] if new.get("subsets") == old.get("subsets") else self.validate_create(new)

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        found = []
        for index, subset in enumerate(obj.get("subsets") or ()):
            for kind in ("addresses", "notReadyAddresses"):
                for position, address in enumerate(subset.get(kind) or ()):
                    path = (Path("subsets")[index] / kind)[position] / "ip"
                    found += ip_warnings(path, address.get("ip") or "")
        return found


def _check_subset(errors: Errors, path: Path, subset: Object) -> None:
    if not subset.get("addresses") and not subset.get("notReadyAddresses"):
        errors.append(required(path, "must specify `addresses` or `notReadyAddresses`"))
    for kind in ("addresses", "notReadyAddresses"):
        for index, address in enumerate(subset.get(kind) or ()):
            here, text = (path / kind)[index], address.get("ip") or ""
            check_ip(errors, here / "ip", text)
            if address.get("hostname"):
                check_label(errors, here / "hostname", address["hostname"])
            if address.get("nodeName") is not None:
                check_subdomain(errors, here / "nodeName", address["nodeName"])
            check_endpoint_ip(errors, here / "ip", text)
    ports = subset.get("ports") or []
    for index, port in enumerate(ports):
        here, name = (path / "ports")[index], port.get("name") or ""
        if name:
            check_label(errors, here / "name", name)
        elif len(ports) > 1:
            errors.append(required(here / "name"))
        check_port(errors, here / "port", port.get("port") or 0)
        check_choice(errors, here / "protocol", port.get("protocol"), PROTOCOLS)
        if port.get("appProtocol") is not None:
            check_qualified_name(errors, here / "appProtocol", port["appProtocol"])


def format_endpoints(endpoints: Object) -> str:
    """Gives "10.1.2.3:80,10.1.2.4:80 + 5 more..."; addresses alone when there are no ports."""
    subsets = endpoints.get("subsets") or []
    if not subsets:
        return NONE
    shown: list[str] = []
    for subset in subsets:
        ips = [address.get("ip", "") for address in subset.get("addresses") or ()]
        ports = subset.get("ports") or []
        if not ports:
            shown += ips
        for port in ports:
            shown += [join_host_port(ip, port.get("port", 0)) for ip in ips]
    return cut_list(shown, len(shown))


def join_host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


ENDPOINTS = Resource(
    ref=refs.ENDPOINTS,
    definition="io.k8s.api.core.v1.Endpoints",
    singular="endpoints",
    short_names=("ep",),
    strategy=EndpointsStrategy(),
    columns=(NAME, Column("Endpoints", plain(format_endpoints), description="Ready addresses with ports."), AGE),
    storage_prefix="/registry/services/endpoints/",
    deprecation="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
)
