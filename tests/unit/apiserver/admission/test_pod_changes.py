"""Pods that are bound, resized, or given devices: what the node and the namespace have to say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.apiserver.admission.reviewing import Permits, admit, refused, review
from timonel.api.objects import Object
from timonel.api.refs import NAMESPACES, NODES, PODS, RESOURCE_CLAIM_TEMPLATES, RESOURCE_CLAIMS
from timonel.apiserver.admission.device_access import DeviceAccess
from timonel.apiserver.admission.pod_resize import NodeDeclaredFeatureValidator, PodResizeValidator
from timonel.apiserver.admission.topology_labels import PodTopologyLabels
from timonel.apiserver.authn.user import UserInfo
from timonel.testing.readers import FakeReaders

ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"


@pytest.fixture
def readers() -> FakeReaders:
    made = FakeReaders()
    labels = {ZONE: "z", REGION: "r", "topology.kubernetes.io/rack": "7", "kubernetes.io/os": "linux"}
    made.put(NODES, {"metadata": {"name": "n", "labels": labels},
                     "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}}})  # fmt: skip
    made.put(NODES, {"metadata": {"name": "w", "labels": {"kubernetes.io/os": "windows"}}})
    made.put(NAMESPACES, {"metadata": {"name": "d"}})
    made.put(NAMESPACES, {"metadata": {"name": "admins", "labels": {"resource.kubernetes.io/admin-access": "true"}}})
    return made


async def test_bindings_and_bound_pods_get_the_labels_of_the_place(readers: FakeReaders) -> None:
    plugin = PodTopologyLabels(readers=readers)
    binding = {"metadata": {"name": "p", "labels": {ZONE: "wrong"}}, "target": {"kind": "Node", "name": "n"}}
    made = await admit(plugin, review(PODS, binding, subresource="binding"))
    assert made["metadata"]["labels"] == {ZONE: "z", REGION: "r"}
    pod: Object = {"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {"nodeName": "n"}}
    assert (await admit(plugin, review(PODS, pod)))["metadata"]["labels"] == {"a": "b", ZONE: "z", REGION: "r"}
    elsewhere: Object = {"metadata": {"name": "p"}, "spec": {"nodeName": "unknown"}}
    assert "labels" not in (await admit(plugin, review(PODS, elsewhere)))["metadata"]


def resize(cpu: str, node: str = "n", generation: int = 2, **spec: Any) -> Any:
    def pod(generation: int, **spec: Any) -> Object:
        return {"metadata": {"name": "p", "generation": generation}, "spec": {"nodeName": node, **spec}}

    container = {"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}
    new = pod(generation, containers=[container], **spec)
    old = pod(1, containers=[container], initContainers=spec.get("initContainers", []))
    return review(PODS, new, "UPDATE", old=old, subresource="resize")


async def test_nothing_is_resized_beyond_its_node(readers: FakeReaders) -> None:
    plugin = PodResizeValidator(readers=readers)
    await admit(plugin, resize("2"))
    error = await refused(plugin, resize("2500m"))
    assert error.message == (
        'pods "p" is forbidden: node didn\'t have enough allocatable resources: cpu, requested: 2500, allocatable: 2000'
    )
    assert error.details["causes"] == [{"reason": "NodeCapacity"}]
    await admit(plugin, resize("2500m", generation=1))
    error = await refused(plugin, resize("1", node="w"))
    assert error.message.endswith('pod resize is only supported on linux nodes, node "w" is "windows"')
    error = await refused(plugin, resize("1", node="gone"))
    assert error.message.endswith('node "gone" not found')
    await admit(plugin, resize("100", node=""))


async def test_a_kubelet_must_be_able_to_resize_what_is_resized(readers: FakeReaders) -> None:
    plugin = NodeDeclaredFeatureValidator(readers=readers)
    await admit(plugin, resize("1"))
    whole = resize("1", resources={"requests": {"cpu": "1"}})
    error = await refused(plugin, whole)
    assert error.message.endswith(
        'pod update requires features InPlacePodLevelResourcesVerticalScaling which are not available on node "n"'
    )
    node = readers.reader(NODES).get("", "n")
    assert node is not None
    node["status"]["declaredFeatures"] = ["InPlacePodLevelResourcesVerticalScaling"]
    await admit(plugin, whole)


def claim(admin: bool = False, status: Object | None = None) -> Object:
    exactly: Object = {"deviceClassName": "gpu"} | ({"adminAccess": True} if admin else {})
    spec = {"devices": {"requests": [{"name": "r", "exactly": exactly}]}}
    return {"metadata": {"name": "c"}, "spec": spec, "status": status or {}}


WHY = (
    "admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the containing namespace"
)


async def test_devices_are_administered_from_marked_namespaces(readers: FakeReaders) -> None:
    plugin = DeviceAccess(readers=readers, authorizer=Permits())
    await admit(plugin, review(RESOURCE_CLAIMS, claim()))
    await admit(plugin, review(RESOURCE_CLAIMS, claim(admin=True), namespace="admins"))
    error = await refused(plugin, review(RESOURCE_CLAIMS, claim(admin=True)))
    assert error.message == (
        'ResourceClaim.resource.k8s.io "c" is invalid: spec.devices.requests[0].adminAccess: Forbidden: ' + WHY
    )
    template = {"metadata": {"name": "t"}, "spec": {"spec": claim(admin=True)["spec"]}}
    await refused(plugin, review(RESOURCE_CLAIM_TEMPLATES, template))


async def test_only_who_binds_allocates_and_only_drivers_tell_of_their_devices(readers: FakeReaders) -> None:
    node = {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}]}
    allocated = claim(status={"allocation": {"nodeSelector": node}})
    told = claim(status={"allocation": {"nodeSelector": node}, "devices": [{"driver": "gpu.x", "device": "1"}]})
    here = UserInfo("system:serviceaccount:kube-system:gpu", extra={"authentication.kubernetes.io/node-name": ("n",)})

    def write(new: Object, old: Object, user: UserInfo) -> Any:
        return review(RESOURCE_CLAIMS, new, "UPDATE", old=old, subresource="status", user=user)

    nobody = DeviceAccess(readers=readers, authorizer=Permits())
    error = await refused(nobody, write(allocated, claim(), here))
    assert 'status.allocation: Forbidden: changing status.allocation or status.reservedFor requires resource="' \
           'resourceclaims/binding", verb="update" permission: ' in error.message  # fmt: skip
    binder = DeviceAccess(readers=readers, authorizer=Permits(("update", "resourceclaims/binding", "")))
    await admit(binder, write(allocated, claim(), here))
    error = await refused(binder, write(told, allocated, here))
    assert 'verb="[associated-node:update arbitrary-node:update]" permission: ' in error.message
    driver = DeviceAccess(
        readers=readers, authorizer=Permits(("associated-node:update", "resourceclaims/driver", "gpu.x"))
    )
    await admit(driver, write(told, allocated, here))
    await refused(driver, write(told, allocated, UserInfo("ann")))
    await admit(driver, write(told, told, UserInfo("ann")))
