"""What reading, checking and tracking one object costs in the write path, with the 2 KB pod of the unit tests.

python -m bench.bench_machinery
"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from datetime import UTC, datetime

import orjson
from tests.unit.api.samples import POD, web_pod

from bench.report import Row, render
from timonel.api.decode import decode
from timonel.api.managed_fields import apply, update_managed
from timonel.api.objects import Object, copy_object
from timonel.api.patch import apply_strategic_patch
from timonel.api.schema import Schemas, schemas

_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_CONDITIONS = ("Initialized", "Ready", "ContainersReady", "PodScheduled", "PodReadyToStartContainers")


def _microseconds(work: Callable[[Object], object], base: Object, rounds: int = 2000) -> float:
    """Of one call, each on a private copy made beforehand; the best of three."""
    best = float("inf")
    for _ in range(3):
        copies = iter([copy_object(base) for _ in range(rounds)])
        best = min(best, timeit.timeit(lambda copies=copies: work(next(copies)), number=rounds) / rounds)  # type: ignore[misc]
    return best * 1e6


def _with_status(pod: Object, ready: str) -> Object:
    stamp = "2026-01-02T03:04:05Z"
    conditions = [{"type": name, "status": "True", "lastTransitionTime": stamp} for name in _CONDITIONS]
    conditions[1]["status"] = ready
    return {**copy_object(pod), "status": {"phase": "Running", "podIP": "10.244.0.5", "conditions": conditions}}


def main() -> None:
    pod = web_pod()
    body = orjson.dumps(pod)
    schemas().check(POD, pod)
    bare = copy_object(pod)
    update_managed(None, pod, POD, "kube-controller-manager", _NOW, "v1")
    running = _with_status(pod, "False")
    update_managed(pod, running, POD, "kubelet", _NOW, "v1", "status")
    ready = _with_status(running, "True")
    config: Object = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a", "labels": {"x": "y"}}}
    patch: Object = {"spec": {"containers": [{"name": "nginx", "image": "nginx:2"}]}}
    rows = [
        Row(
            "compile a kind, definitions not yet read", timeit.timeit(lambda: Schemas().node(POD), number=1) * 1e3, "ms"
        ),
        Row("decode", timeit.timeit(lambda: decode(body), number=2000) / 2000 * 1e6, "µs"),
        Row("check and normalise", _microseconds(lambda obj: schemas().check(POD, obj), bare), "µs", "≤ 150"),
        Row("track a create", _microseconds(lambda obj: update_managed(None, obj, POD, "a", _NOW, "v1"), bare), "µs"),
        Row(
            "track a status update",
            _microseconds(lambda obj: update_managed(running, obj, POD, "kubelet", _NOW, "v1", "status"), ready),
            "µs",
        ),
        Row("strategic merge patch", _microseconds(lambda obj: apply_strategic_patch(obj, patch, POD), bare), "µs"),
        Row(
            "server-side apply of a label",
            _microseconds(lambda obj: apply(obj, config, POD, "me", True, _NOW, "v1"), ready),
            "µs",
        ),
    ]
    print(render(rows))


if __name__ == "__main__":
    main()
