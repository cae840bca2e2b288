"""Prefers nodes that have the pod's images, the more the larger they are, and if many nodes have them.

Source: kubernetes.io/docs/reference/scheduling/config; the thresholds are upstream's.
"""

from __future__ import annotations

import numpy as np

from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import MAX_SCORE, Attempt, Ratings, Slots

_MIB = 1024 * 1024
_LEAST = 23 * _MIB
_MOST_PER_CONTAINER = 1000 * _MIB


class ImageLocality:
    name = "ImageLocality"

    def score(self, cluster: Cluster, attempt: Attempt, nodes: Slots) -> Ratings | None:
        klass, table = attempt.pod.klass, cluster.nodes
        held = [table.images[image] for image in klass.images if image in table.images]
        if not held:
            return None
        sizes = np.zeros(table.capacity, np.int64)
        for holders in held:
            # An image that few nodes have draws less, or all its pods would go where the first one went.
            spread = len(holders) / max(table.count, 1)
            for slot, size in holders.items():
                sizes[slot] += int(size * spread)
        most = _MOST_PER_CONTAINER * max(klass.containers, 1)
        clipped = np.clip(sizes[nodes], _LEAST, most)
        return MAX_SCORE * (clipped - _LEAST) // (most - _LEAST)
