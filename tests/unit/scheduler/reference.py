"""The documented rules, node by node and pod by pod, as slowly and obviously as possible: what the arrays must equal.

Reads the objects themselves and shares no code with the scheduler but the label selectors and quantities.
"""

from __future__ import annotations

from decimal import Decimal

from timonel.api.labels import selector_from_object
from timonel.api.objects import Object
from timonel.api.quantity import parse_quantity

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def requests_of(pod: Object) -> dict[str, Decimal]:
    """Only plain containers: what the random pods have."""
    total: dict[str, Decimal] = {"pods": Decimal(1)}
    for container in pod["spec"]["containers"]:
        for name, amount in container["resources"]["requests"].items():
            total[name] = total.get(name, Decimal(0)) + parse_quantity(amount)
    return total


def why_not(pod: Object, node: Object, nodes: list[Object], pods: list[Object]) -> list[str]:
    """The reasons of the first rule that keeps the pod off the node; empty when it may go there."""
    for rule in (_cordoned, _tainted, _unselected, _port_taken, _too_small, _uneven, _affinity):
        found = rule(pod, node, nodes, pods)
        if found:
            return found
    return []


def _tolerated(pod: Object, taint: Object) -> bool:
    for toleration in pod["spec"].get("tolerations", []):
        key, operator = toleration.get("key", ""), toleration.get("operator", "Equal")
        if key not in ("", taint["key"]) or toleration.get("effect", "") not in ("", taint["effect"]):
            continue
        if operator == "Exists" or toleration.get("value", "") == taint["value"]:
            return True
    return False


def _cordoned(pod: Object, node: Object, nodes: list[Object], pods: list[Object]) -> list[str]:
    cordon = {"key": "node.kubernetes.io/unschedulable", "value": "", "effect": "NoSchedule"}
    if node["spec"]["unschedulable"] and not _tolerated(pod, cordon):
        return ["node(s) were unschedulable"]
    return []


def _tainted(pod: Object, node: Object, nodes: list[Object], pods: list[Object]) -> list[str]:
    for taint in node["spec"]["taints"]:
        if taint["effect"] != "PreferNoSchedule" and not _tolerated(pod, taint):
            return ["node(s) had untolerated taint(s)"]
    return []


def _selects(pod: Object, node: Object) -> bool:
    labels = node["metadata"]["labels"]
    return all(labels.get(key) == value for key, value in pod["spec"].get("nodeSelector", {}).items())


def _unselected(pod: Object, node: Object, nodes: list[Object], pods: list[Object]) -> list[str]:
    return [] if _selects(pod, node) else ["node(s) didn't match Pod's node affinity/selector"]


def _ports(pod: Object) -> list[tuple[str, int]]:
    return [
        (port.get("protocol", "TCP"), port["hostPort"])
        for container in pod["spec"]["containers"]
        for port in container.get("ports", [])
    ]


def _on(node: Object, pods: list[Object]) -> list[Object]:
    return [each for each in pods if each["spec"]["nodeName"] == node["metadata"]["name"]]


def _port_taken(pod: Object, node: Object, nodes: list[Object], pods: list[Object]) -> list[str]:
    used = [port for each in _on(node, pods) for port in _ports(each)]
    if any(port in used for port in _ports(pod)):
        return ["node(s) didn't have free ports for the requested pod ports"]
    return []


def _too_small(pod: Object, node: Object, nodes: list[Object], pods: list[Object]) -> list[str]:
    reasons = []
    for name, amount in requests_of(pod).items():
        used = sum((requests_of(each).get(name, Decimal(0)) for each in _on(node, pods)), Decimal(0))
        capacity = parse_quantity(node["status"]["allocatable"].get(name, "0"))
        if amount > 0 and used + amount > capacity:
            reasons.append("Too many pods" if name == "pods" else f"Insufficient {name}")
    return reasons


def _matching(selector: Object, namespace: str, pods: list[Object]) -> list[Object]:
    wanted = selector_from_object(selector)
    return [
        each
        for each in pods
        if each["metadata"]["namespace"] == namespace and wanted.matches(each["metadata"]["labels"])
    ]


def _domain_of(pod: Object, nodes: list[Object], key: str) -> str | None:
    for node in nodes:
        if node["metadata"]["name"] == pod["spec"]["nodeName"]:
            value: str | None = node["metadata"]["labels"].get(key)
            return value
    return None


def _uneven(pod: Object, node: Object, nodes: list[Object], pods: list[Object]) -> list[str]:
    constraints = pod["spec"].get("topologySpreadConstraints", [])
    reason = "node(s) didn't match pod topology spread constraints"
    keys = [constraint["topologyKey"] for constraint in constraints]
    counted_nodes = [
        each for each in nodes if all(key in each["metadata"]["labels"] for key in keys) and _selects(pod, each)
    ]
    for constraint in constraints:
        key = constraint["topologyKey"]
        here = node["metadata"]["labels"].get(key)
        if here is None:
            return [f"{reason} (missing required label)"]
        alike = _matching(constraint["labelSelector"], pod["metadata"]["namespace"], pods)
        counts = {each["metadata"]["labels"][key]: 0 for each in counted_nodes}
        for each in alike:
            if any(each["spec"]["nodeName"] == counted["metadata"]["name"] for counted in counted_nodes):
                domain = _domain_of(each, nodes, key)
                assert domain is not None
                counts[domain] += 1
        itself = bool(_matching(constraint["labelSelector"], pod["metadata"]["namespace"], [pod]))
        if counts.get(here, 0) + itself - min(counts.values(), default=0) > constraint["maxSkew"]:
            return [reason]
    return []


def _terms(pod: Object, kind: str) -> list[Object]:
    terms: list[Object] = pod["spec"].get("affinity", {}).get(kind, {}).get(REQUIRED, [])
    return terms


def _affinity(pod: Object, node: Object, nodes: list[Object], pods: list[Object]) -> list[str]:
    labels = node["metadata"]["labels"]
    namespace = pod["metadata"]["namespace"]

    def domains_with(term: Object, among: list[Object]) -> set[str | None]:
        return {_domain_of(each, nodes, term["topologyKey"]) for each in among} - {None}

    affinity = _terms(pod, "podAffinity")
    if affinity:
        alike = [each for each in pods if all(_matching(t["labelSelector"], namespace, [each]) for t in affinity)]
        has_labels = all(term["topologyKey"] in labels for term in affinity)
        has_pods = all(labels.get(term["topologyKey"]) in domains_with(term, alike) for term in affinity)
        nobody = not any(domains_with(term, alike) for term in affinity)
        first = nobody and all(_matching(term["labelSelector"], namespace, [pod]) for term in affinity)
        if not has_labels or not (has_pods or first):
            return ["node(s) didn't match pod affinity rules"]
    for term in _terms(pod, "podAntiAffinity"):
        if labels.get(term["topologyKey"]) in domains_with(term, _matching(term["labelSelector"], namespace, pods)):
            return ["node(s) didn't match pod anti-affinity rules"]
    for each in pods:
        for term in _terms(each, "podAntiAffinity"):
            matches = _matching(term["labelSelector"], each["metadata"]["namespace"], [pod])
            here = labels.get(term["topologyKey"])
            if matches and here is not None and here == _domain_of(each, nodes, term["topologyKey"]):
                return ["node(s) didn't satisfy existing pods anti-affinity rules"]
    return []
