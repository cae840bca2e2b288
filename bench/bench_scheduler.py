"""Decisions a second of the scheduler's core alone, each pod placed before the next: no API, no writing.

python bench/bench_scheduler.py [NODES …]
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable

from timonel.api.labels import selector_from_map
from timonel.api.objects import Object
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import Attempt
from timonel.scheduler.core.schedule import Placement, schedule

HOST = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"

Spec = Callable[[int], tuple[dict[str, str], Object]]
"""Number of a pod -> its labels and what its spec has beside the container."""


def node(number: int) -> Object:
    return {
        "metadata": {
            "name": f"node-{number}",
            "labels": {HOST: f"node-{number}", ZONE: f"zone-{number % 3}", "disk": "ssd" if number % 2 else "hdd"},
        },
        "spec": {"taints": [{"key": "dedicated", "value": "x", "effect": "NoSchedule"}] if number % 10 == 0 else []},
        "status": {"allocatable": {"cpu": "32", "memory": "256Gi", "pods": "110"}},
    }


def affinity(kind: str, key: str, labels: dict[str, str], *, preferred: bool = False, **more: object) -> Object:
    term = {"topologyKey": key, "labelSelector": {"matchLabels": labels}, **more}
    if preferred:
        return {"affinity": {kind: {_PREFERRED: [{"weight": 10, "podAffinityTerm": term}]}}}
    return {"affinity": {kind: {_REQUIRED: [term]}}}


def spread(key: str, when: str) -> Object:
    return {
        "topologySpreadConstraints": [
            {
                "topologyKey": key,
                "maxSkew": 1,
                "whenUnsatisfiable": when,
                "labelSelector": {"matchLabels": {"app": "a"}},
            }
        ]
    }


WEB = {"app": "a"}
SSD = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}]}
CASES: dict[str, Spec] = {
    "plain": lambda n: (WEB, {}),
    "plain, every pod different": lambda n: ({"app": f"a{n}"}, {}),
    "node affinity": lambda n: (WEB, {"affinity": {"nodeAffinity": {_REQUIRED: SSD}}}),
    "required affinity": lambda n: (WEB, affinity("podAffinity", ZONE, WEB)),
    "required anti-affinity, groups of 100": lambda n: (
        {"app": f"g{n // 100}"},
        affinity("podAntiAffinity", HOST, {"app": f"g{n // 100}"}),
    ),
    "anti-affinity with namespace selector": lambda n: (
        {"app": f"g{n // 100}"},
        affinity("podAntiAffinity", HOST, {"app": f"g{n // 100}"}, namespaceSelector={}),
    ),
    "preferred affinity": lambda n: (WEB, affinity("podAffinity", ZONE, WEB, preferred=True)),
    "preferred anti-affinity": lambda n: (WEB, affinity("podAntiAffinity", HOST, WEB, preferred=True)),
    "zone spread, required": lambda n: (WEB, spread(ZONE, "DoNotSchedule")),
    "zone spread, preferred": lambda n: (WEB, spread(ZONE, "ScheduleAnyway")),
    "default spread": lambda n: (WEB | {"group": f"{n // 100}"}, {}),
    "tolerations": lambda n: (WEB, {"tolerations": [{"key": "dedicated", "operator": "Exists"}]}),
}


def run(case: str, nodes: int, seconds: float = 1.5) -> float:
    cluster, rng = Cluster(), random.Random(1)
    cluster.put_namespace("default", {})
    for number in range(nodes):
        cluster.put_node(node(number))
    placed, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        labels, spec = CASES[case](placed)
        requests = {"cpu": "100m", "memory": "200Mi"}
        container = {"name": "main", "image": "nginx", "resources": {"requests": requests}}
        pod = cluster.parse_pod(
            {
                "metadata": {"name": f"p{placed}", "namespace": "default", "uid": f"u{placed}", "labels": labels},
                "spec": {"containers": [container], **spec},
            }
        )
        group = selector_from_map({"group": labels["group"]}) if "group" in labels else None
        decision = schedule(cluster, Attempt(pod, group), rng)
        if not isinstance(decision, Placement):
            break
        pod.node = decision.node
        cluster.put_pod(pod)
        placed += 1
    return placed / (time.perf_counter() - start)


if __name__ == "__main__":
    sizes = [int(text) for text in sys.argv[1:]] or [1000, 5000, 15000]
    print(f"{'pods/s, core alone':<42}" + "".join(f"{size:>10,} nodes" for size in sizes))
    for name in CASES:
        print(f"{name:<42}" + "".join(f"{run(name, size):>16,.0f}" for size in sizes))
