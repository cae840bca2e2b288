"""Pods and views for tests of the kubelet, as small as they can be."""

from __future__ import annotations

from typing import Any

from timonel.api.objects import Object
from timonel.kubelet.pods.spec import spec_hash
from timonel.kubelet.pods.view import EXITED, RUNNING, ContainerView, PodView, SandboxView, make_view

SECOND = 1_000_000_000


def container(name: str, **fields: Any) -> Object:
    return {"name": name, "image": "busybox", "imagePullPolicy": "IfNotPresent", **fields}


def sidecar(name: str, **fields: Any) -> Object:
    return container(name, restartPolicy="Always", **fields)


def pod(*containers: Object, init: tuple[Object, ...] = (), name: str = "web", **spec: Any) -> Object:
    made: Object = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "generation": 1},
        "spec": {"nodeName": "n1", "restartPolicy": "Always", "containers": list(containers), **spec},
    }
    if init:
        made["spec"]["initContainers"] = list(init)
    return made


def ran(
    spec: Object, state: str = RUNNING, *, exit_code: int = 0, attempt: int = 0, at: int = 100, box: str = "s0"
) -> ContainerView:
    """A run of a container: made and started `at` seconds, ended ten later if it has."""
    return ContainerView(
        id=f"{spec['name']}{attempt}",
        name=spec["name"],
        sandbox_id=box,
        state=state,
        attempt=attempt,
        created_at=at * SECOND,
        started_at=at * SECOND,
        finished_at=(at + 10) * SECOND if state == EXITED else 0,
        exit_code=exit_code,
        reason="" if state != EXITED else ("Error" if exit_code else "Completed"),
        spec_hash=spec_hash(spec),
    )


def sandbox(number: int = 0, *, ready: bool = True, ips: tuple[str, ...] = ("10.244.0.2",)) -> SandboxView:
    return SandboxView(f"s{number}", number, ready, (50 + number) * SECOND, ips=ips)


def view(*containers: ContainerView, box: SandboxView | None = None) -> PodView:
    return make_view([box or sandbox()], containers)
