"""Two plugins for Timonel's scheduler: licences that nodes have, and what an hour of a node costs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from timonel.scheduler.plugin import Change, Node, Nodes, Plugin, PodToPlace


class Licences(Plugin):
    """Pods that name a licence go only where the node has it: one node at a time, easy to write."""

    helped_by = frozenset({Change.NODE_ADDED, Change.NODE_LABELS})

    def filter_node(self, pod: PodToPlace, node: Node) -> str | None:
        licence = pod.labels.get("example.org/licence")
        if licence is None or node.labels.get(f"licence.example.org/{licence}") == "yes":
            return None
        return f"node(s) had no licence for {licence}"


class CheapNodes(Plugin):
    """Prefers nodes that cost less: all nodes at once, as arrays, fast for thousands of them."""

    def __init__(self, args: dict[str, Any]) -> None:
        super().__init__(args)
        self._label = str(args.get("label", "example.org/price"))
        self._usual = float(args.get("usualPrice", 1.0))

    def score_nodes(self, pod: PodToPlace, nodes: Nodes) -> NDArray[np.float64]:
        prices = np.array([self._price(text) for text in nodes.label(self._label)])
        return 100 * prices.min() / prices

    def _price(self, text: str | None) -> float:
        try:
            return max(float(text or ""), 0.001)
        except ValueError:
            return self._usual
