"""Decisions a second of the scheduler's core alone, each pod placed before the next: no API, no writing.

python bench/bench_scheduler.py [NODES …]
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from functools import partial

from timonel.api.labels import selector_from_map
from timonel.api.objects import Object
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import Attempt
from timonel.scheduler.core.plugins.dynamic_resources import plan_claims
from timonel.scheduler.core.preemption import Preemption, find_victims
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


def run_claims(devices: int, nodes: int, seconds: float = 1.5) -> float:
    """Pods with a claim each for one device; every node has `devices` of its own. Writing is left out.

    The first pod of its kind is not counted: for it all nodes are looked at, which takes half a second at 5 000.
    """
    cluster, rng = Cluster(), random.Random(1)
    cluster.put_namespace("default", {})
    cluster.devices.put_class({"metadata": {"name": "gpu"}, "spec": {"selectors": [_of_driver(_DRIVER)]}})
    for number in range(nodes):
        cluster.put_node(node(number))
        cluster.devices.catalogue.put(_slice_of(number, devices))
    placed, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        claim = _claim_of(placed)
        cluster.devices.ledger.put_claim(claim)
        obj = _plain(placed, "0") | {"status": {}}
        obj["spec"]["resourceClaims"] = [{"name": "gpu", "resourceClaimName": claim["metadata"]["name"]}]
        attempt = Attempt(cluster.parse_pod(obj), object=obj)
        decision = schedule(cluster, attempt, rng)
        if not isinstance(decision, Placement):
            break
        plan = plan_claims(cluster, attempt, decision.node, lambda: "id")
        assert plan is not None
        allocation = next(iter(plan.allocations.values()))
        cluster.devices.ledger.put_claim(claim | {"status": {"allocation": allocation}})
        attempt.pod.node = decision.node
        cluster.put_pod(attempt.pod)
        placed += 1
        if placed == 1:
            start = time.perf_counter()
    return (placed - 1) / (time.perf_counter() - start)


def run_preemption(spec: Spec, nodes: int, seconds: float = 3.0) -> float:
    """Pods for which others have to go, in a cluster full of ten small ones a node; the victims go at once."""
    cluster, rng = Cluster(), random.Random(1)
    cluster.put_namespace("default", {})
    for number in range(nodes):
        cluster.put_node(node(number))
        for place in range(10):
            pod = cluster.parse_pod(_plain(number * 10 + place, "3200m") | {"status": {}})
            pod.node = f"node-{number}"
            cluster.put_pod(pod)
    found, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        labels, more = spec(found)
        obj = _plain(found, "6400m")
        obj["metadata"] |= {"uid": f"x{found}", "name": f"x{found}", "labels": labels}
        obj["spec"] |= {"priority": 1000, **more}
        pod = cluster.parse_pod(obj)
        decision = schedule(cluster, Attempt(pod), rng)
        if isinstance(decision, Placement):
            raise AssertionError("the cluster is not full")
        victims = find_victims(cluster, Attempt(pod), decision.slots, budgets=(), started=lambda _: 0.0, rng=rng)
        if not isinstance(victims, Preemption):
            break
        for victim in victims.victims:
            cluster.remove_pod(victim.uid)
        pod.node = victims.node
        cluster.put_pod(pod)
        found += 1
    return found / (time.perf_counter() - start)


_DRIVER = "gpu.example.com"


def _of_driver(driver: str) -> Object:
    return {"cel": {"expression": f'device.driver == "{driver}"'}}


def _slice_of(number: int, devices: int) -> Object:
    listed = [
        {"name": f"gpu-{place}", "attributes": {"model": {"string": "large" if place % 2 else "small"}}}
        for place in range(devices)
    ]
    pool = {"name": f"node-{number}", "generation": 1, "resourceSliceCount": 1}
    spec = {"driver": _DRIVER, "nodeName": f"node-{number}", "pool": pool, "devices": listed}
    return {"metadata": {"name": f"slice-{number}"}, "spec": spec}


def _claim_of(number: int) -> Object:
    selector = {"cel": {"expression": f'device.attributes["{_DRIVER}"].model == "large"'}}
    exactly = {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1, "selectors": [selector]}
    metadata = {"name": f"c{number}", "namespace": "default", "uid": f"c{number}"}
    return {"metadata": metadata, "spec": {"devices": {"requests": [{"name": "r", "exactly": exactly}]}}}


def _plain(number: int, cpu: str) -> Object:
    container = {"name": "main", "image": "nginx", "resources": {"requests": {"cpu": cpu, "memory": "200Mi"}}}
    metadata = {"name": f"p{number}", "namespace": "default", "uid": f"u{number}", "labels": WEB}
    return {"metadata": metadata, "spec": {"containers": [container]}}


Case = Callable[[int], float]
OTHER_CASES: dict[str, Case] = {
    "claims of one device, 8 a node": partial(run_claims, 8),
    "preemption": partial(run_preemption, lambda n: ({"app": "x"}, {})),
    "preemption, zone spread required": partial(run_preemption, lambda n: (WEB, spread(ZONE, "DoNotSchedule"))),
    "preemption, anti-affinity": partial(
        run_preemption, lambda n: ({"app": "x"}, affinity("podAntiAffinity", HOST, {"app": "x"}))
    ),
}


if __name__ == "__main__":
    sizes = [int(text) for text in sys.argv[1:]] or [1000, 5000, 15000]
    print(f"{'pods/s, core alone':<42}" + "".join(f"{size:>10,} nodes" for size in sizes))
    for name in CASES:
        print(f"{name:<42}" + "".join(f"{run(name, size):>16,.0f}" for size in sizes))
    for name, case in OTHER_CASES.items():
        print(f"{name:<42}" + "".join(f"{case(size):>16,.0f}" for size in sizes))
