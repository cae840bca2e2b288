"""For whom an endpoint is: hints by a Service's trafficDistribution, or by its topology-mode, which wins. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from timonel.api.objects import Object, get_path
from timonel.controllers.endpoints.addresses import AddressType
from timonel.controllers.endpoints.topology import Member, NoHints, Ratios, assign_zones, wants_topology

_SAME_NODE = "PreferSameNode"
_CLOSE = ("PreferClose", "PreferSameZone", _SAME_NODE)


def plan_hints(service: Object, made: Object) -> Object | None:
    """For whom an endpoint is, by the Service's trafficDistribution; None: for everybody.

    Source: kubernetes.io/docs/concepts/services-networking/service/#traffic-distribution
    """
    wish = service["spec"].get("trafficDistribution")
    if wish not in _CLOSE or wants_topology(service) or not made["conditions"]["ready"]:
        return None
    hints: Object = {}
    if zone := made.get("zone"):
        hints["forZones"] = [{"name": zone}]
    if wish == _SAME_NODE and (node := made.get("nodeName")):
        hints["forNodes"] = [{"name": node}]
    return hints or None


def add_topology_hints(
    service: Object,
    wanted: Mapping[AddressType, Sequence[Mapping[str, Object]]],
    existing: Iterable[Object],
    ratios: Ratios | None,
) -> tuple[tuple[AddressType, ...], tuple[str, ...]]:
    """Puts hints by topology-mode into the endpoints of `wanted`, which are by the uid of their pod.

    Returns which address types have them, and why others have none. `existing` are the slices there are.
    """
    if not wants_topology(service):
        return (), ()
    hinted, problems = [], []
    slices = list(existing)
    for address_type, groups in wanted.items():
        present = {
            get_path(each, "targetRef", "uid", default=""): get_path(each, "hints", "forZones", 0, "name", default="")
            for item in slices
            if item.get("addressType") == address_type
            for each in item.get("endpoints") or ()
        }
        ready = [(uid, made) for group in groups for uid, made in group.items() if made["conditions"]["ready"]]
        try:
            members = [Member(made.get("zone") or "", present.get(uid, "")) for uid, made in ready]
            for (_, made), zone in zip(ready, assign_zones(members, ratios), strict=True):
                made["hints"] = {"forZones": [{"name": zone}]}
            hinted.append(address_type)
        except NoHints as reason:
            problems.append(f"{reason}, addressType: {address_type}")
    return tuple(hinted), tuple(problems)
