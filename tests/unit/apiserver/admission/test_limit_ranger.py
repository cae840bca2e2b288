"""LimitRanger by kubernetes.io/docs/concepts/policy/limit-range and its examples."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.apiserver.admission.reviewing import admit, refused, review
from timonel.api.objects import Object
from timonel.api.refs import LIMIT_RANGES, PERSISTENT_VOLUME_CLAIMS, PODS
from timonel.apiserver.admission.limit_ranger import LimitRanger
from timonel.testing.readers import FakeReaders


def limited(*limits: Object) -> LimitRanger:
    readers = FakeReaders()
    limit_range = {"metadata": {"namespace": "d", "name": "limits"}, "spec": {"limits": list(limits)}}
    plugin = LimitRanger(readers=readers)
    readers.put(LIMIT_RANGES, limit_range)
    return plugin


def pod(requests: Object | None = None, limits: Object | None = None, **spec: Any) -> Object:
    container = {"name": "c", "resources": {"requests": requests or {}, "limits": limits or {}}}
    return {"metadata": {"name": "p"}, "spec": {"containers": [container], **spec}}


CONTAINER = {
    "type": "Container", "default": {"cpu": "500m", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"},
}  # fmt: skip


async def test_defaults_fill_what_is_open_and_are_noted() -> None:
    init = {"name": "i", "resources": {"limits": {"memory": "2Gi"}}}
    made = await admit(limited(CONTAINER), review(PODS, pod({"cpu": "200m"}, initContainers=[init])))
    assert made["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "200m"}, "limits": {"cpu": "500m", "memory": "1Gi"},
    }  # fmt: skip
    assert made["spec"]["initContainers"][0]["resources"] == {
        "requests": {"cpu": "100m"}, "limits": {"cpu": "500m", "memory": "2Gi"},
    }  # fmt: skip
    assert made["metadata"]["annotations"] == {
        "kubernetes.io/limit-ranger": "LimitRanger plugin set: cpu, memory limit for container c; cpu request for init"
        " container i; cpu limit for init container i"
    }
    assert limited(CONTAINER)._ranges.of("elsewhere") == {}


MIN = {"type": "Container", "min": {"cpu": "100m"}}
MAX = {"type": "Container", "max": {"memory": "1Gi"}}
RATIO = {"type": "Container", "maxLimitRequestRatio": {"memory": "2"}}
POD_MAX = {"type": "Pod", "max": {"cpu": "1"}}


@pytest.mark.parametrize(
    ("limit", "requests", "limits", "why"),
    [
        (MIN, {"cpu": "50m"}, {}, "minimum cpu usage per Container is 100m, but request is 50m"),
        (MIN, {}, {}, "minimum cpu usage per Container is 100m.  No request is specified"),
        (MIN, {"cpu": "200m"}, {"cpu": "50m"}, "minimum cpu usage per Container is 100m, but limit is 50m"),
        (MIN, {"cpu": "100m"}, {}, ""),
        (MAX, {}, {}, "maximum memory usage per Container is 1Gi.  No limit is specified"),
        (MAX, {}, {"memory": "1.5Gi"}, "maximum memory usage per Container is 1Gi, but limit is 1536Mi"),
        (MAX, {"memory": "2Gi"}, {"memory": "1Gi"}, "maximum memory usage per Container is 1Gi, but request is 2Gi"),
        (MAX, {"memory": "1Gi"}, {"memory": "1Gi"}, ""),
        (RATIO, {}, {"memory": "1Gi"},
         "memory max limit to request ratio per Container is 2, but no request is specified or request is 0"),
        (RATIO, {"memory": "1Gi"}, {},
         "memory max limit to request ratio per Container is 2, but no limit is specified or limit is 0"),
        (RATIO, {"memory": "1Gi"}, {"memory": "3Gi"},
         "memory max limit to request ratio per Container is 2, but provided ratio is 3.000000"),
        (RATIO, {"memory": "1Gi"}, {"memory": "2Gi"}, ""),
        (POD_MAX, {}, {"cpu": "2"}, "maximum cpu usage per Pod is 1, but limit is 2"),
    ],
)  # fmt: skip
async def test_bounds_of_containers_and_pods(limit: Object, requests: Object, limits: Object, why: str) -> None:
    request = review(PODS, pod(requests, limits))
    if why:
        assert (await refused(limited(limit), request)).message == f'pods "p" is forbidden: {why}'
    else:
        await admit(limited(limit), request)


async def test_several_findings_are_told_together() -> None:
    error = await refused(limited({"type": "Container", "max": {"cpu": "1", "memory": "1Gi"}}), review(PODS, pod()))
    assert error.message == (
        'pods "p" is forbidden: [maximum cpu usage per Container is 1.  No limit is specified, maximum memory usage per'
        " Container is 1Gi.  No limit is specified]"
    )


async def test_a_pod_is_the_sum_of_its_containers_or_what_it_says_as_a_whole() -> None:
    sidecar = {"name": "s", "restartPolicy": "Always", "resources": {"limits": {"cpu": "300m"}}}
    init = {"name": "i", "resources": {"limits": {"cpu": "900m"}}}
    plugin = limited(POD_MAX)
    # Before the containers, the sidecar and the init container run together: 1.2.
    error = await refused(plugin, review(PODS, pod({}, {"cpu": "200m"}, initContainers=[sidecar, init])))
    assert error.message.endswith("maximum cpu usage per Pod is 1, but limit is 1200m")
    await admit(plugin, review(PODS, pod({}, {"cpu": "700m"}, initContainers=[sidecar])))
    whole = {"resources": {"limits": {"cpu": "1"}}}
    await admit(plugin, review(PODS, pod({}, {"cpu": "200m"}, initContainers=[sidecar, init], **whole)))


async def test_updates_count_only_when_they_resize() -> None:
    plugin = limited(POD_MAX)
    big = pod({}, {"cpu": "2"})
    await admit(plugin, review(PODS, big, "UPDATE", old=pod()))
    await admit(plugin, review(PODS, big, "UPDATE", old=pod(), subresource="ephemeralcontainers"))
    await refused(plugin, review(PODS, big, "UPDATE", old=pod(), subresource="resize"))
    going = pod() | {"metadata": {"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    await admit(plugin, review(PODS, big, "UPDATE", old=going, subresource="resize"))


@pytest.mark.parametrize(
    ("size", "why"),
    [
        ("1Gi", ""),
        ("512Mi", "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 512Mi"),
        ("3Gi", "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"),
    ],
)
async def test_bounds_of_claims(size: str, why: str) -> None:
    plugin = limited({"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}})
    claim = {"metadata": {"name": "c"}, "spec": {"resources": {"requests": {"storage": size}}}}
    request = review(PERSISTENT_VOLUME_CLAIMS, claim)
    if why:
        assert (await refused(plugin, request)).message == f'persistentvolumeclaims "c" is forbidden: {why}'
    else:
        await admit(plugin, request)
