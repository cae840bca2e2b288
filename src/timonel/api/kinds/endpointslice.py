"""EndpointSlice: up to a thousand addresses of one family behind a Service."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.kinds.columns import AGE, NAME, UNSET, cell_at, cut_list, plain
from timonel.api.objects import Object
from timonel.api.resource import Column, Resource, Strategy


class EndpointSliceStrategy(Strategy):
    create_on_update = False

    def default(self, obj: Object) -> None:
        for port in obj.get("ports") or ():
            port.setdefault("name", "")
            port.setdefault("protocol", "TCP")


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
