"""EndpointSlice: up to a thousand addresses of one family behind a Service.

Source: kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1
"""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, duplicate, invalid, required, too_many
from timonel.api.kinds.columns import AGE, NAME, UNSET, cell_at, cut_list, plain
from timonel.api.kinds.rules import (
    PROTOCOLS,
    Errors,
    check_choice,
    check_endpoint_ip,
    check_immutable,
    check_ip,
    check_label,
    check_labels,
    check_option,
    check_qualified_name,
    check_subdomain,
    check_text,
    ip_warnings,
    parse_ip,
)
from timonel.api.names import validate_dns1123_subdomain, validate_label_value
from timonel.api.objects import Object, get_path
from timonel.api.resource import Column, Resource, Strategy

ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
MAX_ENDPOINTS = 1000
MAX_ADDRESSES = 100
MAX_PORTS = 20000
MAX_TOPOLOGY = 16
MAX_HINTS = 8
_ENDPOINTS = Path("endpoints")
_HOST = "kubernetes.io/hostname"


class EndpointSliceStrategy(Strategy):
    generation_follows = ("labels",)

    def default(self, obj: Object) -> None:
        for port in obj.get("ports") or ():
            port.setdefault("name", "")
            port.setdefault("protocol", "TCP")
        for endpoint in obj.get("endpoints") or ():
            endpoint.setdefault("conditions", {})

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        _drop_topology(obj, set())

    def prepare_update(self, new: Object, old: Object) -> None:
        super().prepare_update(new, old)
        if new.get("endpoints") != old.get("endpoints"):
            _drop_topology(
                new, {get_path(e, "deprecatedTopology", _HOST, default="") for e in old.get("endpoints") or ()} - {""}
            )

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        kind = obj.get("addressType") or ""
        check_choice(errors, Path("addressType"), kind, ADDRESS_TYPES)
        _check_ports(errors, obj.get("ports") or [])
        _check_endpoints(errors, obj.get("endpoints") or [], kind)
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.validate_create(new)
        if errors and new.get("endpoints") == old.get("endpoints"):
            # Old objects may hold what is no longer accepted; unchanged it stays.
            errors = [error for error in errors if not error.field.startswith("endpoints")]
        check_immutable(errors, Path("addressType"), new.get("addressType"), old.get("addressType"))
        return errors

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        found = []
        if old is None and obj.get("addressType") == "FQDN":
            found.append("spec.addressType: FQDN endpoints are deprecated")
        for index, endpoint in enumerate(obj.get("endpoints") or ()):
            for position, address in enumerate(endpoint.get("addresses") or ()):
                if ":" in address:
                    found += ip_warnings((_ENDPOINTS[index] / "addresses")[position], address)
        return found


def _drop_topology(endpoint_slice: Object, nodes: set[str]) -> None:
    """The field of older versions is not written any more; a node that was named there becomes nodeName."""
    for endpoint in endpoint_slice.get("endpoints") or ():
        host = (endpoint.pop("deprecatedTopology", None) or {}).get(_HOST) or ""
        if host in nodes and endpoint.get("nodeName") is None and not validate_dns1123_subdomain(host):
            endpoint["nodeName"] = host


def _check_endpoints(errors: Errors, endpoints: list[Object], kind: str) -> None:
    if len(endpoints) > MAX_ENDPOINTS:
        errors.append(too_many(_ENDPOINTS, len(endpoints), MAX_ENDPOINTS))
        return
    for index, endpoint in enumerate(endpoints):
        addresses = endpoint.get("addresses") or []
        path = _ENDPOINTS[index]
        if not addresses:
            errors.append(required(path / "addresses", "must contain at least 1 address"))
        elif len(addresses) > MAX_ADDRESSES:
            errors.append(too_many(path / "addresses", len(addresses), MAX_ADDRESSES))
        for position, address in enumerate(addresses):
            _check_address(errors, path / "addresses", position, address, kind)
        if endpoint.get("nodeName") is not None:
            check_subdomain(errors, path / "nodeName", endpoint["nodeName"])
        topology = endpoint.get("deprecatedTopology") or {}
        if len(topology) > MAX_TOPOLOGY:
            errors.append(too_many(path / "deprecatedTopology", len(topology), MAX_TOPOLOGY))
        check_labels(errors, path / "deprecatedTopology", topology)
        if endpoint.get("hostname") is not None:
            check_label(errors, path / "hostname", endpoint["hostname"])
        if endpoint.get("hints"):
            _check_hints(errors, path / "hints", endpoint["hints"])


def _check_address(errors: Errors, path: Path, position: int, address: str, kind: str) -> None:
    here = path[position]
    if kind in ("IPv4", "IPv6"):
        if not check_ip(errors, here, address):
            return
        parsed = parse_ip(address)
        if parsed is not None and f"IPv{parsed.version}" != kind:
            errors.append(invalid(path, address, f"must be an {kind} address"))
        elif kind == "IPv6" and str(parsed) != address:
            errors.append(invalid(here, address, f'must be in canonical form ("{parsed}")'))
            return
        check_endpoint_ip(errors, here, address)
    elif kind == "FQDN":
        if not address:
            errors.append(required(here))
            return
        name = address.removesuffix(".")
        before = len(errors)
        check_subdomain(errors, here, name)
        if len(errors) == before and "." not in name:
            errors.append(invalid(here, name, "should be a domain with at least two segments separated by dots"))


def _check_hints(errors: Errors, path: Path, hints: Object) -> None:
    for kind, rule in (("forZones", validate_label_value), ("forNodes", validate_dns1123_subdomain)):
        items = hints.get(kind) or []
        if len(items) > MAX_HINTS:
            errors.append(too_many(path / kind, len(items), MAX_HINTS))
            return
        seen: set[str] = set()
        for index, item in enumerate(items):
            name, here = item.get("name") or "", (path / kind)[index] / "name"
            if name in seen:
                errors.append(duplicate(here, name))
            seen.add(name)
            check_text(errors, here, name, rule)


def _check_ports(errors: Errors, ports: list[Object]) -> None:
    if len(ports) > MAX_PORTS:
        errors.append(too_many(Path("ports"), len(ports), MAX_PORTS))
        return
    seen: set[str] = set()
    for index, port in enumerate(ports):
        name, here = port.get("name") or "", Path("ports")[index]
        if name:
            check_label(errors, here / "name", name)
        if name in seen:
            errors.append(duplicate(here / "name", name))
        seen.add(name)
        check_option(errors, here / "protocol", port.get("protocol"), PROTOCOLS)
        if port.get("appProtocol") is not None:
            check_qualified_name(errors, here / "appProtocol", port["appProtocol"])


def _ports(endpoint_slice: Object) -> str:
    ports = [str(port.get("port") or port.get("name") or "*") for port in endpoint_slice.get("ports") or ()]
    return cut_list(ports, len(ports)) or UNSET


def _endpoints(endpoint_slice: Object) -> str:
    addresses = [a for endpoint in endpoint_slice.get("endpoints") or () for a in endpoint.get("addresses") or ()]
    return cut_list(addresses, len(addresses)) or UNSET


ENDPOINT_SLICES = Resource(
    ref=refs.ENDPOINT_SLICES,
    definition="io.k8s.api.discovery.v1.EndpointSlice",
    singular="endpointslice",
    strategy=EndpointSliceStrategy(),
    columns=(
        NAME,
        Column("AddressType", cell_at("addressType"), description="IPv4, IPv6 or FQDN."),
        Column("Ports", plain(_ports), description="Ports of every endpoint."),
        Column("Endpoints", plain(_endpoints), description="Addresses."),
        AGE,
    ),
    storage_prefix="/registry/endpointslices/",
)
