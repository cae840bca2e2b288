"""Endpoints: the addresses behind a Service in the old, unsliced shape."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.kinds.columns import AGE, NAME, NONE, cut_list, plain
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
)
