"""Pods that want to be near others, or away from them; and those others' wishes about this one.

Source: kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node, inter-pod affinity and anti-affinity
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from timonel.scheduler.core.arguments import InterPodAffinityArgs
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import MAX_SCORE, Attempt, Change, PodScope, Ratings, Refusal, Slots
from timonel.scheduler.core.pods import PodClass
from timonel.scheduler.core.selectors import AffinityTerm, Mask


class InterPodAffinity:
    name = "InterPodAffinity"
    is_static = False
    pod_scope = PodScope.CLUSTER
    helped_by = frozenset(
        {
            Change.NODE_ADDED, Change.NODE_REMOVED, Change.NODE_LABELS, Change.POD_PLACED, Change.POD_GONE,
            Change.POD_LABELS, Change.NAMESPACE,
        }
    )  # fmt: skip

    def __init__(self, args: InterPodAffinityArgs | None = None) -> None:
        self._args = args or InterPodAffinityArgs()

    def refuse(self, cluster: Cluster, attempt: Attempt) -> Sequence[Refusal]:
        klass = attempt.pod.klass
        refusals: list[Refusal] = []
        if klass.affinity:
            refusals.append(Refusal("node(s) didn't match pod affinity rules", _unmet_affinity(cluster, klass)))
        if klass.anti_affinity:
            mask = np.zeros(cluster.nodes.capacity, np.bool_)
            for term in klass.anti_affinity:
                mask |= _has_pods(cluster, term, cluster.count_pods(term.match))
            refusals.append(Refusal("node(s) didn't match pod anti-affinity rules", mask, resolvable=True))
        unwanted = None
        for term, counts in cluster.terms.terms("anti_affinity", cluster.nodes.capacity):
            if _matches(cluster, term, klass):
                mask = _has_pods(cluster, term, counts)
                unwanted = mask if unwanted is None else unwanted | mask
        if unwanted is not None:
            reason = "node(s) didn't satisfy existing pods anti-affinity rules"
            refusals.append(Refusal(reason, unwanted, resolvable=True))
        return refusals

    def score(self, cluster: Cluster, attempt: Attempt, nodes: Slots) -> Ratings | None:
        klass, capacity = attempt.pod.klass, cluster.nodes.capacity
        has_own = klass.preferred_affinity or klass.preferred_anti_affinity
        if self._args.ignore_preferred_terms_of_existing_pods and not has_own:
            return None
        total: Ratings | None = None

        def add(term: AffinityTerm, counts: Ratings, weight: int) -> None:
            nonlocal total
            ids, sums = cluster.domain_sums(term.topology_key, counts)
            rating = sums[ids[nodes]] * weight
            total = rating if total is None else total + rating

        for sign, terms in ((1, klass.preferred_affinity), (-1, klass.preferred_anti_affinity)):
            for term in terms:
                add(term, _on_nodes(cluster, cluster.count_pods(term.match)), sign * term.weight)
        hard = self._args.hard_pod_affinity_weight
        kinds = (("affinity", hard), ("preferred_affinity", 1), ("preferred_anti_affinity", -1))
        for kind, factor in kinds:
            for term, counts in cluster.terms.terms(kind, capacity) if factor else ():
                if _matches(cluster, term, klass):
                    add(term, _on_nodes(cluster, counts), factor * (term.weight or 1))
        return None if total is None else _scaled(total)


def _scaled(total: Ratings) -> Ratings:
    """0 for the lowest, which may be negative, 100 for the highest."""
    lowest, highest = int(total.min()), int(total.max())
    if lowest == highest:
        return np.zeros(len(total), np.int64)
    return (MAX_SCORE * ((total - lowest) / (highest - lowest))).astype(np.int64)


def _unmet_affinity(cluster: Cluster, klass: PodClass) -> Mask:
    """Nodes without all the pods asked for in their domains.

    The first pod of a group that wants to be together finds none, so it may go to any node that has the labels.
    """
    matching = _on_nodes(cluster, cluster.count_pods(*(term.match for term in klass.affinity)))
    lacks_label = np.zeros(cluster.nodes.capacity, np.bool_)
    lacks_pods = np.zeros(cluster.nodes.capacity, np.bool_)
    found_any = False
    for term in klass.affinity:
        ids, sums = cluster.domain_sums(term.topology_key, matching)
        lacks_label |= ids < 0
        lacks_pods |= sums[ids] == 0
        found_any = found_any or bool(sums.any())
    if not found_any and all(_matches(cluster, term, klass) for term in klass.affinity):
        return lacks_label
    return lacks_label | lacks_pods


def _has_pods(cluster: Cluster, term: AffinityTerm, counts: Ratings) -> Mask:
    """Nodes in a domain of the term's topology that holds any of the counted pods."""
    ids, sums = cluster.domain_sums(term.topology_key, _on_nodes(cluster, counts))
    return sums[ids] > 0


def _on_nodes(cluster: Cluster, counts: Ratings) -> Ratings:
    """Pods left on a node that is gone are in no domain."""
    return np.where(cluster.nodes.alive, counts, 0)


def _matches(cluster: Cluster, term: AffinityTerm, klass: PodClass) -> bool:
    return term.match.matches(klass.namespace, klass.labels, cluster.namespaces)
