"""VolumeAttachments follow the pods.

Source: kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/volume-attachment-v1
"""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest

from tests.unit.controllers.cluster import Cluster, node
from tests.unit.controllers.volumes.objects import claim, reference, volume
from timonel.api.objects import Object
from timonel.api.refs import NODES, PODS, VOLUME_ATTACHMENTS
from timonel.api.volumes import BIND_COMPLETED, attachment_name, needs_attaching, unique_name
from timonel.controllers.attachdetach.planner import NodeView, plan_node
from timonel.testing.clock import VirtualClock

NOW = VirtualClock().now()


def disk(name: str = "v1", modes: tuple[str, ...] = ("ReadWriteOnce",)) -> Object:
    source = {"driver": "d.example.com", "volumeHandle": f"h-{name}"}
    return volume(name, hostPath=None, csi=source, claimRef=reference(uid="uid-data"), phase="Bound", modes=[*modes])


def user(name: str = "web", on: str = "n1") -> Object:
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "default", "uid": "uid-0001"},
        "spec": {
            "nodeName": on,
            "containers": [{"name": "main"}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        },
        "status": {"phase": "Running"},
    }


def attachment(of: Object, on: str = "n1", **status: object) -> Object:
    return {
        "kind": "VolumeAttachment",
        "apiVersion": "storage.k8s.io/v1",
        "metadata": {"name": attachment_name(of, on)},
        "spec": {
            "attacher": "d.example.com", "nodeName": on, "source": {"persistentVolumeName": of["metadata"]["name"]},
        },
        "status": {"attached": True, **status},
    }  # fmt: skip


def view(wanted: bool = True, attachments: tuple[Object, ...] = (), **options: object) -> NodeView:
    found = disk(modes=options.pop("modes", ("ReadWriteOnce",)))  # type: ignore[arg-type]
    options.setdefault("node", node("n1"))
    options.setdefault("elsewhere", {})
    options.setdefault("unneeded_since", {})
    needed = {"v1": (found, [user()])} if wanted else {}
    return NodeView(name="n1", wanted=needed, attachments=attachments, **options)  # type: ignore[arg-type]


def using(*names: str, ready: str = "True", taint: str = "", attached: bool = False) -> Object:
    made = node("n1", ready=ready)
    made["status"]["volumesInUse"] = [*names]
    if attached:
        made["status"]["volumesAttached"] = [{"name": name, "devicePath": ""} for name in names]
    if taint:
        made["spec"]["taints"] = [{"key": taint, "effect": "NoExecute"}]
    return made


VOLUMES = {"v1": disk()}
UNIQUE = "kubernetes.io/csi/d.example.com^h-v1"


def test_names() -> None:
    assert unique_name(disk()) == UNIQUE
    digest = hashlib.sha256(b"h-v1d.example.comn1").hexdigest()
    assert attachment_name(disk(), "n1") == f"csi-{digest}"


def test_which_volumes_need_it() -> None:
    assert needs_attaching(disk(), {})
    assert not needs_attaching(volume(), {})
    assert not needs_attaching(disk(), {"d.example.com": {"spec": {"attachRequired": False}}})
    assert needs_attaching(disk(), {"d.example.com": {"spec": {"attachRequired": True}}})


def test_what_a_pod_needs_is_attached() -> None:
    (made,) = plan_node(view(), {}, NOW).attach
    assert made["spec"] == {
        "attacher": "d.example.com", "nodeName": "n1", "source": {"persistentVolumeName": "v1"},
    }  # fmt: skip


def test_one_node_at_a_time() -> None:
    plan = plan_node(view(elsewhere={"v1": "n2"}), {}, NOW)
    assert plan.attach == ()
    assert plan.told[0].message == (
        'Multi-Attach error for volume "v1" Volume is already exclusively attached to one node and can\'t be attached '
        "to another"
    )
    assert plan_node(view(elsewhere={"v1": "n2"}, modes=("ReadWriteMany",)), {}, NOW).attach


def test_the_node_is_told_what_it_has() -> None:
    plan = plan_node(view(attachments=(attachment(disk()),)), VOLUMES, NOW)
    assert plan.attached == [{"name": UNIQUE, "devicePath": ""}]
    assert [told.reason for told in plan.told] == ["SuccessfulAttachVolume"]
    again = plan_node(view(attachments=(attachment(disk()),), node=using(UNIQUE, attached=True)), VOLUMES, NOW)
    assert (again.attached, again.told) == (None, ())


def test_a_driver_that_fails_is_quoted() -> None:
    broken = attachment(disk(), attached=False, attachError={"message": "no such disk"})
    (told,) = plan_node(view(attachments=(broken,)), VOLUMES, NOW).told
    assert (told.reason, told.message) == (
        "FailedAttachVolume", 'AttachVolume.Attach failed for volume "v1" : no such disk',
    )  # fmt: skip


@pytest.mark.parametrize(
    ("on", "minutes", "goes"),
    [
        pytest.param(node("n1"), 0, True, id="the node does not mount it"),
        pytest.param(using(UNIQUE), 0, False, id="the node still mounts it"),
        pytest.param(using(UNIQUE), 60, False, id="a healthy node is never robbed"),
        pytest.param(using(UNIQUE, ready="Unknown"), 5, False, id="a silent node gets six minutes"),
        pytest.param(using(UNIQUE, ready="Unknown"), 6, True, id="and no more"),
        pytest.param(using(UNIQUE, taint="node.kubernetes.io/out-of-service"), 0, True, id="out of service"),
        pytest.param(None, 0, True, id="the node is gone"),
    ],
)
def test_what_nobody_needs_is_detached(on: Object | None, minutes: int, goes: bool) -> None:
    present = attachment(disk())
    since = {present["metadata"]["name"]: NOW - timedelta(minutes=minutes)}
    plan = plan_node(view(wanted=False, attachments=(present,), node=on, unneeded_since=since), VOLUMES, NOW)
    assert plan.detach == ((present["metadata"]["name"],) if goes else ())
    assert (plan.look_again is None) is goes


def test_attachments_that_others_made_are_left_alone() -> None:
    theirs = attachment(disk()) | {"metadata": {"name": "by-hand"}}
    inline = attachment(disk()) | {"metadata": {"name": "inline"}}
    inline["spec"] = inline["spec"] | {"source": {"inlineVolumeSpec": {"csi": {"driver": "d", "volumeHandle": "h"}}}}
    of_no_driver = attachment(disk()) | {"metadata": {"name": "csi-of-a-directory"}}
    of_no_driver["spec"] = of_no_driver["spec"] | {"source": {"persistentVolumeName": "v2"}}
    given = (theirs, inline, of_no_driver)
    plan = plan_node(view(wanted=False, attachments=given), {**VOLUMES, "v2": volume("v2")}, NOW)
    assert (plan.detach, plan.unneeded, plan.attached) == ((), (), None)


def test_an_attachment_whose_volume_is_gone_goes_too() -> None:
    present = attachment(disk())
    plan = plan_node(view(wanted=False, attachments=(present,), node=using(UNIQUE)), {}, NOW)
    assert plan.detach == (present["metadata"]["name"],)


async def test_from_the_pod_to_the_node_and_back() -> None:
    bound = claim(uid="uid-data", annotations={BIND_COMPLETED: "yes"}, volumeName="v1", status={"phase": "Bound"})
    async with Cluster(node("n1"), bound, disk(), user()) as cluster:
        await cluster.run(1)
        (made,) = cluster.client.objects(VOLUME_ATTACHMENTS)
        assert made["spec"]["nodeName"] == "n1"
        name = made["metadata"]["name"]
        cluster.client.change(VOLUME_ATTACHMENTS, name, "", lambda obj: obj.update(status={"attached": True}))
        await cluster.run(1)
        assert cluster.client.objects(NODES)[0]["status"]["volumesAttached"] == [{"name": UNIQUE, "devicePath": ""}]
        count = len(cluster.client.written())
        await cluster.run(30)
        assert len([each for each in cluster.client.written()[count:] if each.ref != NODES]) == 0

        cluster.client.remove(PODS, "web", "default")
        await cluster.run(2)
        assert cluster.client.objects(VOLUME_ATTACHMENTS) == []
        assert cluster.client.objects(NODES)[0]["status"]["volumesAttached"] == []
