"""An allocation as it is written into a claim's status.

Source: kubernetes.io/docs/reference/kubernetes-api/resource/resource-claim-v1/#ResourceClaimStatus
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from timonel.api.objects import Object
from timonel.scheduler.core.devices.allocator import Allocation, Pick
from timonel.scheduler.core.devices.wishes import MOST_ALTERNATIVES, Claim

NewId = Callable[[], str]


def render_allocation(
    claim: Claim, allocation: Allocation, node: str, classes: Mapping[str, Object], new_id: NewId
) -> Object:
    """`classes` are the DeviceClasses by name; `new_id` gives a UID for each part of a shared device."""
    devices: Object = {"results": [_render_pick(pick, new_id) for pick in allocation.picks]}
    if config := _render_config(claim, allocation, classes):
        devices["config"] = config
    rendered: Object = {"devices": devices}
    if selector := _node_selector(allocation.picks, node):
        rendered["nodeSelector"] = selector
    return rendered


def _render_pick(pick: Pick, new_id: NewId) -> Object:
    wish, device = pick.wish, pick.device
    rendered: Object = {
        "request": wish.name, "driver": device.id.driver, "pool": device.id.pool, "device": device.id.name,
    }  # fmt: skip
    if wish.has_admin_access:
        rendered["adminAccess"] = True
    if wish.tolerations:
        rendered["tolerations"] = list(wish.tolerations)
    for field in ("bindingConditions", "bindingFailureConditions"):
        if device.obj.get(field):
            rendered[field] = list(device.obj[field])
    if device.is_shareable:
        rendered["shareID"] = new_id()
        if pick.taken:
            rendered["consumedCapacity"] = dict(pick.taken)
    return rendered


def _render_config(claim: Claim, allocation: Allocation, classes: Mapping[str, Object]) -> list[Object]:
    """What classes say comes first, each once for all the requests of it; then what the claim says of these."""
    wishes = [request[number] for request, number in zip(claim.requests, allocation.chosen, strict=True)]
    by_class: dict[str, list[str]] = {}
    for wish in wishes:
        by_class.setdefault(wish.class_name, []).append(wish.name)
    found = [
        {"source": "FromClass", "requests": names, **config}
        for name, names in by_class.items()
        for config in (classes.get(name) or {}).get("spec", {}).get("config") or ()
    ]
    chosen = {wish.request for wish in wishes} | {wish.name for wish in wishes}
    for config in ((claim.obj.get("spec") or {}).get("devices") or {}).get("config") or ():
        if not config.get("requests") or chosen.intersection(config["requests"]):
            found.append({"source": "FromClaim", **config})
    return found


def _node_selector(picks: Iterable[Pick], node: str) -> Object | None:
    """Nodes that reach all the devices; None: all nodes do."""
    fields: list[Object] = []
    expressions: list[Object] = []
    for pick in picks:
        device = pick.device
        if device.node_name or device.obj.get("bindsToNode"):
            here = {"key": "metadata.name", "operator": "In", "values": [node]}
            return {"nodeSelectorTerms": [{"matchFields": [here]}]}
        for term in (device.node_selector or {}).get("nodeSelectorTerms") or ():
            for name, into in (("matchFields", fields), ("matchExpressions", expressions)):
                into += [each for each in term.get(name) or () if not any(_are_same(each, known) for known in into)]
    term = {name: found for name, found in (("matchFields", fields), ("matchExpressions", expressions)) if found}
    return {"nodeSelectorTerms": [term]} if term else None


def _are_same(one: Object, other: Object) -> bool:
    return (one.get("key"), one.get("operator"), set(one.get("values") or ())) == (
        other.get("key"), other.get("operator"), set(other.get("values") or ()),
    )  # fmt: skip


def rating(claims: Iterable[tuple[Object, Iterable[str]]]) -> int:
    """Higher for alternatives nearer to the front. `claims`: each with the names of requests it got devices for."""
    total = 0
    for claim, results in claims:
        got = set(results)
        for request in ((claim.get("spec") or {}).get("devices") or {}).get("requests") or ():
            for place, each in enumerate(request.get("firstAvailable") or ()):
                if f"{request['name']}/{each['name']}" in got:
                    total += MOST_ALTERNATIVES - place
    return total
