"""The disruption controller asks a real server for the scale of what it has no copy of."""

from __future__ import annotations

import pytest

from timonel.api.clock import SystemClock
from timonel.client.informer import Informers
from timonel.controllers.disruption.scales import Scales, UnknownScale

pytestmark = pytest.mark.asyncio(loop_scope="module")


def workload(kind, name, replicas):
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def owned(pod_name, owner, namespace, **changes):
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
                 "uid": owner["metadata"]["uid"], "controller": True, **changes}  # fmt: skip
    return {"metadata": {"name": pod_name, "namespace": namespace, "ownerReferences": [reference]}}


async def test_scales_are_found_through_discovery(server, namespace):
    path = f"/apis/apps/v1/namespaces/{namespace}"
    _, sets = await server.request("POST", f"{path}/statefulsets", workload("StatefulSet", "s", 4))
    _, deployment = await server.request("POST", f"{path}/deployments", workload("Deployment", "d", 3))
    _, daemons = await server.request("POST", f"{path}/daemonsets", workload("DaemonSet", "x", None))
    scales = Scales(server.client, Informers(server.client, clock=SystemClock()))  # which do not run: no copies
    pods = [owned("a", sets, namespace), owned("b", sets, namespace), owned("c", deployment, namespace)]
    found = await scales.of([*pods, {"metadata": {"name": "lone", "namespace": namespace}}])
    assert (found.replicas, found.unmanaged) == (7, ("lone",))
    for pod, why in (
        (owned("p", daemons, namespace), "daemonsets.apps does not implement the scale subresource"),
        (owned("p", sets, namespace, uid="another"), 'found no controllers for pod "p"'),
        (owned("p", sets, namespace, name="another"), 'found no controllers for pod "p"'),
        (owned("p", sets, namespace, kind="Unset"), 'no matches for kind "Unset" in version "apps/v1"'),
        (
            owned("p", sets, namespace, apiVersion="none.io/v1"),
            'no matches for kind "StatefulSet" in version "none.io/v1"',
        ),
    ):
        with pytest.raises(UnknownScale) as caught:
            await scales.of([pod])
        assert str(caught.value) == why
