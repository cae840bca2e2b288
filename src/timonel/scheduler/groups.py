"""Which pods a pod spreads among when it does not say itself: those of its Services and of its workload."""

from __future__ import annotations

from timonel.api.labels import Selector, selector_from_map
from timonel.api.objects import Object, controller_of, get_path, labels_of, namespace_of
from timonel.client.lister import Lister
from timonel.scheduler.core.selectors import parse_selector


class SpreadGroups:
    """`workloads`: for (apiVersion, kind) of a controller whose pods are a group, where to find it."""

    def __init__(self, services: Lister, workloads: dict[tuple[str, str], Lister]) -> None:
        self._services = services
        self._workloads = workloads

    def selector_of(self, pod: Object) -> Selector | None:
        """Selects the pods of all the groups the pod is in; None when it is in none.

        Source: kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints, cluster-level defaults
        """
        namespace, labels = namespace_of(pod), labels_of(pod)
        merged: dict[str, str] = {}
        for service in self._services.list(namespace):
            wanted = get_path(service, "spec", "selector", default={})
            if wanted and all(labels.get(key) == value for key, value in wanted.items()):
                merged.update(wanted)
        requirements = set(selector_from_map(merged).requirements)
        owner = controller_of(pod)
        if owner is not None:
            lister = self._workloads.get((owner.get("apiVersion", ""), owner.get("kind", "")))
            workload = lister.get(namespace, owner.get("name", "")) if lister is not None else None
            if workload is not None:
                requirements.update(_selector(workload, owner.get("kind", "")).requirements)
        return Selector(tuple(sorted(requirements, key=str))) if requirements else None


def _selector(workload: Object, kind: str) -> Selector:
    """A ReplicationController's is a map of labels, those of the others are label selectors."""
    selector = get_path(workload, "spec", "selector", default={})
    if kind == "ReplicationController":
        return selector_from_map(selector)
    return parse_selector(selector)
