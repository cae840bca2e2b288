"""What the containers of a pod need together, and the defaults of resources given for the pod as a whole.

Source: kubernetes.io/docs/concepts/configuration/manage-resources-containers "Pod-level resource specification".
"""

from __future__ import annotations

from decimal import Decimal

from timonel.api.kinds.resource_lists import ZERO, quantity_of
from timonel.api.objects import Object
from timonel.api.quantity import format_quantity

Amounts = dict[str, Decimal]


def aggregate_resources(spec: Object, kind: str) -> Amounts:
    """Effective `kind` ("requests" or "limits") of all containers, without overhead and without pod-level values.

    Containers and sidecars run together and add up. An init container runs alone with the sidecars started before
    it; the most demanding moment counts.
    """
    total: Amounts = {}
    for container in spec.get("containers") or ():
        _add(total, _amounts(container, kind))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        amounts = _amounts(container, kind)
        if container.get("restartPolicy") == "Always":
            _add(total, amounts)
            _add(sidecars, amounts)
            moment = dict(sidecars)
        else:
            moment = dict(sidecars)
            _add(moment, amounts)
        _raise_to(peak, moment)
    _raise_to(total, peak)
    return total


def is_pod_level_resource(name: str) -> bool:
    return name in ("cpu", "memory") or name.startswith("hugepages-")


def default_pod_level_resources(spec: Object) -> None:
    """Completes `spec.resources` when it is partly given; a pod without it stays without."""
    resources = spec.get("resources")
    if not resources:
        return
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    if limits or requests:
        for name, amount in aggregate_resources(spec, "limits").items():
            if name.startswith("hugepages-") and name not in requests and name not in limits:
                limits[name] = format_quantity(amount, like="1Ki")
        if limits:
            resources["limits"] = limits
    if not limits:
        return
    for name, amount in aggregate_resources(spec, "requests").items():
        if name in ("cpu", "memory") and name not in requests:
            requests[name] = format_quantity(amount, like=_spelling(spec, name))
    for name, spelled in limits.items():
        if name not in requests and is_pod_level_resource(name):
            requests[name] = spelled
    if requests:
        resources["requests"] = requests


def _amounts(container: Object, kind: str) -> Amounts:
    spelled = (container.get("resources") or {}).get(kind) or {}
    return {name: quantity_of(amount) or ZERO for name, amount in spelled.items()}


def _spelling(spec: Object, name: str) -> str:
    """Sums are spelled like the first of their parts."""
    for kind in ("containers", "initContainers"):
        for container in spec.get(kind) or ():
            spelled = ((container.get("resources") or {}).get("requests") or {}).get(name)
            if spelled is not None:
                return str(spelled)
    return ""


def _add(total: Amounts, amounts: Amounts) -> None:
    for name, amount in amounts.items():
        total[name] = total.get(name, ZERO) + amount


def _raise_to(total: Amounts, amounts: Amounts) -> None:
    for name, amount in amounts.items():
        if amount > total.get(name, ZERO) or name not in total:
            total[name] = amount
