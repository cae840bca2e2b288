"""The APIServices of the groups served here: which group and version comes first where two servers offer a kind.

They are brought into being, and back to what they should say, when the server starts; one that an administrator took
the label from is theirs. That they are available is said by the kind itself, as they are created.
Source: kubernetes.io/docs/concepts/extend-kubernetes/api-extension/apiserver-aggregation; the priorities are those of
every Kubernetes v1.36 cluster, and metrics-server's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from timonel.api.objects import Object
from timonel.api.refs import API_SERVICES

MANAGED = "kube-aggregator.kubernetes.io/automanaged"
"""Label of those that this server made: "onstart", kept when it starts."""

_PRIORITIES = {
    "": 18000,
    "apps": 17800,
    "events.k8s.io": 17750,
    "authentication.k8s.io": 17700,
    "authorization.k8s.io": 17600,
    "autoscaling": 17500,
    "batch": 17400,
    "certificates.k8s.io": 17300,
    "networking.k8s.io": 17200,
    "policy": 17100,
    "rbac.authorization.k8s.io": 17000,
    "storage.k8s.io": 16800,
    "apiextensions.k8s.io": 16700,
    "admissionregistration.k8s.io": 16700,
    "scheduling.k8s.io": 16600,
    "coordination.k8s.io": 16500,
    "node.k8s.io": 16300,
    "discovery.k8s.io": 16200,
    "resource.k8s.io": 16200,
    "flowcontrol.apiserver.k8s.io": 16100,
    "metrics.k8s.io": 100,
}
_VERSION_PRIORITIES = {
    ("", "v1"): 1,
    ("autoscaling", "v2"): 30,
    ("flowcontrol.apiserver.k8s.io", "v1"): 21,
    ("metrics.k8s.io", "v1beta1"): 100,
    ("resource.k8s.io", "v1"): 21,
}
_USUAL_VERSION_PRIORITY = 15


def default_api_services(group_versions: Iterable[tuple[str, str]]) -> Iterator[Object]:
    """One of each group and version that has a place among the priorities; the aggregator's own group has none."""
    for group, version in group_versions:
        if group not in _PRIORITIES:
            continue
        yield {
            "kind": API_SERVICES.kind,
            "apiVersion": API_SERVICES.api_version,
            "metadata": {"name": f"{version}.{group}", "labels": {MANAGED: "onstart"}},
            "spec": {
                **({"group": group} if group else {}),
                "version": version,
                "groupPriorityMinimum": _PRIORITIES[group],
                "versionPriority": _VERSION_PRIORITIES.get((group, version), _USUAL_VERSION_PRIORITY),
            },
        }
