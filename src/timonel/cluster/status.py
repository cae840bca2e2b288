"""What `timonel status` shows: every part with pid, health and memory, and the nodes as the API sees them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from timonel.cluster import supervision
from timonel.cluster.api import AdminApi, is_ready, not_ready_reason
from timonel.cluster.errors import UserError
from timonel.cluster.layout import Layout
from timonel.cluster.supervisor import resident_bytes
from timonel.simulation.nodes import LABEL as HOLLOW_LABEL


@dataclass(frozen=True, slots=True)
class PartStatus:
    name: str
    state: str
    pid: int
    restarts: int
    resident_bytes: int
    note: str


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    running: bool
    parts: list[PartStatus] = field(default_factory=list)
    nodes: dict[str, str] = field(default_factory=dict)
    """Name to "Ready" or why it is not."""
    problem: str = ""

    @property
    def healthy(self) -> bool:
        return (
            self.running
            and not self.problem
            and all(part.state == "ready" for part in self.parts)
            and all(state == "Ready" for state in self.nodes.values())
        )


def status(layout: Layout) -> ClusterStatus:
    answer = supervision.ask(layout, "status")
    if answer is None:
        return ClusterStatus(running=False)
    supervisor_pid = int(answer["pid"])
    parts = [PartStatus("supervisor", "ready", supervisor_pid, 0, resident_bytes(supervisor_pid), "")]
    parts += [_part(item) for item in answer["parts"]]
    nodes: dict[str, str] = {}
    problem = ""
    try:
        api = AdminApi(layout.admin_kubeconfig)
        hollow: Counter[str] = Counter()
        for node in api.get("/api/v1/nodes")["items"]:
            state = "Ready" if is_ready(node) else f"NotReady: {not_ready_reason(node)}"
            if (node["metadata"].get("labels") or {}).get(HOLLOW_LABEL) == "true":
                hollow[state] += 1  # thousands, perhaps
            else:
                nodes[node["metadata"]["name"]] = state
        nodes |= {f"{count} hollow": state for state, count in hollow.items()}
        api.close()
    except (UserError, OSError) as error:
        problem = str(error)
    return ClusterStatus(True, parts, nodes, problem)


def _part(item: dict[str, Any]) -> PartStatus:
    note = item["message"]
    if item["state"] != "ready" and item["lastExit"]:
        note = f"last: {item['lastExit']}"
    return PartStatus(item["name"], item["state"], item["pid"], item["restarts"], item["residentBytes"], note)
