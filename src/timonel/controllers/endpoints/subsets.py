"""Subsets of Endpoints in their canonical form, and cut to what an object may hold. Pure.

Source: kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoints-v1: a subset is the Cartesian product of
its addresses and its ports.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from timonel.api.objects import Object

_PortKey = tuple[tuple[str, Any], ...]
_AddressKey = tuple[str, str]


def repack(subsets: Iterable[Object]) -> list[Object]:
    """Ports that the same addresses serve, together; ports and addresses in order, each address once.

    An address that is not ready in one place is not ready for that port.
    """
    by_port: dict[_PortKey, tuple[Object | None, dict[_AddressKey, bool]]] = {}
    addresses: dict[_AddressKey, Object] = {}
    for subset in subsets:
        for port in subset.get("ports") or (None,):
            port_key = tuple(sorted(port.items())) if port is not None else ()
            _, states = by_port.setdefault(port_key, (port, {}))
            for field, ready in (("addresses", True), ("notReadyAddresses", False)):
                for address in subset.get(field) or ():
                    key = (address.get("ip") or "", (address.get("targetRef") or {}).get("uid") or "")
                    addresses.setdefault(key, address)
                    states[key] = ready and states.get(key, True)
    groups: dict[tuple[tuple[_AddressKey, bool], ...], list[Object]] = {}
    for port, states in by_port.values():
        if states:
            ports = groups.setdefault(tuple(sorted(states.items())), [])
            if port is not None:
                ports.append(port)
    made = []
    for members, ports in groups.items():
        subset = {
            "addresses": [addresses[key] for key, ready in members if ready],
            "notReadyAddresses": [addresses[key] for key, ready in members if not ready],
            "ports": sorted(ports, key=_port_order),
        }
        made.append({field: items for field, items in subset.items() if items})
    return sorted(made, key=lambda subset: [_port_order(port) for port in subset.get("ports") or ()])


def _port_order(port: Object) -> tuple[str, int, str]:
    return port.get("name") or "", port.get("port") or 0, port.get("protocol") or ""


def truncate(subsets: Sequence[Object], capacity: int) -> tuple[list[Object], bool]:
    """At most `capacity` addresses, ready ones first, of each subset its share; and whether any had to go."""
    ready = sum(len(subset.get("addresses") or ()) for subset in subsets)
    not_ready = sum(len(subset.get("notReadyAddresses") or ()) for subset in subsets)
    if ready + not_ready <= capacity:
        return list(subsets), False
    short, total, room = ("addresses", ready, capacity)
    if ready <= capacity:
        short, total, room = ("notReadyAddresses", not_ready, capacity - ready)
    left = room
    made = []
    for subset in subsets:
        addresses = subset.get(short) or []
        kept = addresses[: min(math.ceil(len(addresses) / total * room), left)]
        left -= len(kept)
        cut = {field: items for field, items in subset.items() if field not in (short, "notReadyAddresses")}
        if kept:
            cut[short] = kept
        if cut.keys() - {"ports"}:
            made.append(cut)
    return made, True
