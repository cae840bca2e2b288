"""What writes through a pod's `ephemeralcontainers` and `resize` may change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from timonel.api import refs
from timonel.api.kinds.pod.subresources import (
    prepare_ephemeral_containers,
    prepare_resize,
    validate_ephemeral_containers,
    validate_resize,
)
from timonel.api.objects import Object, copy_object

from .samples import changed, created, pod, strategy

SMALL = {"requests": {"cpu": "100m", "memory": "64Mi"}}
LARGE = {"requests": {"cpu": "200m", "memory": "128Mi"}}
DEBUGGER = {"name": "debugger", "image": "busybox"}
MIRROR = "kubernetes.io/config.mirror"
ONLY_COMPUTE = "spec: Forbidden: only cpu and memory resources are mutable"


def container(name: str = "app", **fields: Any) -> Object:
    return {"name": name, "image": "nginx", "resources": SMALL, **fields}


def made(**spec: Any) -> Object:
    return created(refs.PODS, pod(**{"containers": [container()], **spec}))


def said(
    old: Object,
    change: Callable[[Object], Any],
    prepare: Callable[[Object, Object], None],
    validate: Callable[[Object, Object], Any],
) -> list[str]:
    new = copy_object(old)
    change(new)
    strategy(refs.PODS).default(new)
    prepare(new, old)
    return [str(error) for error in validate(new, old)]


def debugged(old: Object, change: Callable[[Object], Any]) -> list[str]:
    return said(old, change, prepare_ephemeral_containers, validate_ephemeral_containers)


def resized(old: Object, change: Callable[[Object], Any]) -> list[str]:
    return said(old, change, prepare_resize, validate_resize)


def with_debugger(**fields: Any) -> Object:
    obj = made()
    obj["spec"]["ephemeralContainers"] = [{**DEBUGGER, **fields}]
    strategy(refs.PODS).default(obj)
    return obj


def test_containers_may_be_added() -> None:
    assert debugged(made(), changed("spec", "ephemeralContainers", to=[DEBUGGER])) == []


def test_nothing_else_is_written() -> None:
    old = made()
    new = copy_object(old)
    new["spec"]["containers"][0]["image"] = "other"
    new["spec"]["nodeName"] = "n1"
    new["status"]["phase"] = "Failed"
    new["spec"]["ephemeralContainers"] = [DEBUGGER]
    prepare_ephemeral_containers(new, old)
    assert new == {**old, "spec": {**old["spec"], "ephemeralContainers": [DEBUGGER]}}


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (
            None,
            ['spec.ephemeralContainers: Forbidden: existing ephemeral containers "debugger" may not be removed\n'],
        ),
        (
            [{**DEBUGGER, "image": "alpine"}],
            ['spec.ephemeralContainers: Forbidden: existing ephemeral containers "debugger" may not be changed\n'
             '  debugger.image:\n-   "busybox"\n+   "alpine"'],
        ),
        ([{"name": "other", "image": "x"}, DEBUGGER], []),
        (
            [DEBUGGER, {"name": "app", "image": "x"}],
            ['spec.ephemeralContainers[1].name: Duplicate value: "app"'],
        ),
        (
            [DEBUGGER, {"name": "more", "image": "x", "ports": [{"containerPort": 1}], "targetContainerName": "no"}],
            ['spec.ephemeralContainers[1].targetContainerName: Not found: "no"',
             "spec.ephemeralContainers[1].ports: Forbidden: cannot be set for an Ephemeral Container"],
        ),
    ],
)  # fmt: skip
def test_what_is_there_stays(new: list[Object] | None, expected: list[str]) -> None:
    assert debugged(with_debugger(), changed("spec", "ephemeralContainers", to=new)) == expected


def static() -> Object:
    obj = made()
    obj["metadata"]["annotations"] = {MIRROR: "x"}
    return obj


def test_static_pods_are_the_kubelets() -> None:
    change = changed("spec", "ephemeralContainers", to=[DEBUGGER])
    assert [finding.removeprefix(": ") for finding in debugged(static(), change)] == [
        "Forbidden: static pods do not support ephemeral containers"
    ]
    change = changed("spec", "containers", 0, "resources", to=LARGE)
    assert [finding.removeprefix(": ") for finding in resized(static(), change)] == [
        "Forbidden: static pods cannot be resized"
    ]


def resources(to: Object, kind: str = "containers") -> Callable[[Object], None]:
    return changed("spec", kind, 0, "resources", to=to)


SIDECAR = container("side", restartPolicy="Always")


@pytest.mark.parametrize(
    ("old", "change"),
    [
        (made(), resources(LARGE)),
        (made(), resources({"requests": {**SMALL["requests"]}, "limits": {"cpu": "1"}})),
        (made(initContainers=[SIDECAR]), resources(LARGE, "initContainers")),
        (made(initContainers=[container("init")]), resources(LARGE, "initContainers")),
        (made(resources={"requests": {"cpu": "1"}}), changed("spec", "resources", "requests", "cpu", to="2")),
    ],
)
def test_cpu_and_memory_may_change(old: Object, change: Callable[[Object], Any]) -> None:
    assert resized(old, change) == []


def test_a_resize_changes_nothing_else() -> None:
    old = made()
    new = copy_object(old)
    new["spec"]["containers"][0].update(image="other", resources=LARGE)
    new["spec"]["tolerations"] = [{"key": "a"}]
    new["status"]["phase"] = "Failed"
    prepare_resize(new, old)
    kept = {**old["spec"]["containers"][0], "resources": LARGE}
    assert new == {**old, "spec": {**old["spec"], "containers": [kept]}}


@pytest.mark.parametrize(
    ("old", "change", "expected"),
    [
        (
            made(),
            resources({"requests": {"cpu": "200m"}}),
            ["spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"],
        ),
        (
            made(containers=[container(resources={"limits": {"cpu": "1"}, "requests": {"cpu": "500m"}})]),
            resources({"requests": {"cpu": "500m"}}),
            ["spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed"],
        ),
        (
            made(),
            resources({"requests": {**SMALL["requests"], "ephemeral-storage": "1Gi"}}),
            [ONLY_COMPUTE],
        ),
        (
            made(),
            changed("spec", "containers", 0, "resizePolicy",
                    to=[{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]),
            [ONLY_COMPUTE],
        ),
        (
            made(),
            resources({"requests": SMALL["requests"], "limits": SMALL["requests"]}),
            ['spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing'],
        ),
        (
            made(initContainers=[SIDECAR]),
            resources({"requests": {**SMALL["requests"], "ephemeral-storage": "1Gi"}}, "initContainers"),
            ["spec.initContainers[0]: Forbidden: only cpu and memory resources for init or sidecar containers are "
             "mutable"],
        ),
        (
            made(),
            lambda obj: obj["spec"]["containers"].append(container("more")),
            ["spec.containers: Forbidden: containers may not be added or removed on resize"],
        ),
        (
            made(),
            changed("spec", "containers", 0, "name", to="other"),
            ["spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize"],
        ),
        (
            made(resources={"requests": {"cpu": "1"}}),
            changed("spec", "resources", to=None),
            ["spec.resources: Forbidden: pod-level resources cannot be removed"],
        ),
        (
            made(resources={"requests": {"cpu": "1", "memory": "1Gi"}}),
            changed("spec", "resources", "requests", to={"cpu": "1"}),
            ["spec.resources.requests: Forbidden: pod-level resource requests cannot be removed"],
        ),
    ],
)  # fmt: skip
def test_refused(old: Object, change: Callable[[Object], Any], expected: list[str]) -> None:
    assert resized(old, change) == expected


def test_containers_that_would_restart_alone_are_not_resized() -> None:
    old = made(initContainers=[container("init")])
    # Refused on new pods, but there are old ones.
    old["spec"]["initContainers"][0]["resizePolicy"] = [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]
    assert (
        "spec.initContainers[0]: Forbidden: non-sidecar init containers with a resize policy of RestartContainer "
        "cannot be resized"
    ) in resized(old, resources(LARGE, "initContainers"))


def test_kubelets_that_do_not_resize() -> None:
    old = made()
    old["status"]["containerStatuses"] = [{"name": "app", "state": {"running": {}}}]
    assert resized(old, resources(LARGE)) == ["spec: Forbidden: Pod running on node without support for resize"]
    old["status"]["containerStatuses"][0]["resources"] = SMALL
    assert resized(old, resources(LARGE)) == []


def test_windows() -> None:
    old = made(os={"name": "windows"})
    assert [finding.removeprefix(": ") for finding in resized(old, resources(LARGE))] == [
        "Forbidden: windows pods cannot be resized"
    ]
