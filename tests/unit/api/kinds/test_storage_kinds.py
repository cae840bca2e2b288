"""Classes, attachments, CSI drivers, their nodes and capacities."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api import refs
from timonel.api.objects import Object, copy_object
from timonel.api.refs import ResourceRef

from .samples import ago, cells, changed, created, findings, status_findings, strategy, update_findings, warned

QUALIFIED = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)


def named(name: str = "x", **fields: Any) -> Object:
    return {"metadata": {"name": name, "creationTimestamp": ago(minutes=90)}, **fields}


def attachment(**source: Any) -> Object:
    return named(spec={"attacher": "d.example", "nodeName": "n1", "source": source})


INLINE = {"accessModes": ["ReadWriteOnce"], "csi": {"driver": "d.example", "volumeHandle": "h"}}
TOKEN = {"audience": "a", "expirationSeconds": 600}


@pytest.mark.parametrize(
    ("ref", "obj", "expected"),
    [
        (refs.STORAGE_CLASSES, named(provisioner="kubernetes.io/x", parameters={"a": "b"}), []),
        (
            refs.STORAGE_CLASSES,
            named(provisioner="", reclaimPolicy="Recycle", volumeBindingMode="Late", parameters={"": "x"}),
            [
                "provisioner: Required value",
                'parameters: Invalid value: "": field can not be empty.',
                'reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"',
                'volumeBindingMode: Unsupported value: "Late": supported values: "Immediate", "WaitForFirstConsumer"',
            ],
        ),
        (refs.STORAGE_CLASSES, named(provisioner="a b"), [f'provisioner: Invalid value: "a b": {QUALIFIED}']),
        (
            refs.STORAGE_CLASSES,
            named(provisioner="p", parameters={str(number): "x" for number in range(513)}),
            ["parameters: Too long: may not be more than 512 bytes"],
        ),
        (
            refs.STORAGE_CLASSES,
            named(provisioner="p", parameters={"a": "x" * 256 * 1024}),
            ["parameters: Too long: may not be more than 262144 bytes"],
        ),
        (
            refs.STORAGE_CLASSES,
            named(
                provisioner="p",
                allowedTopologies=[
                    {"matchLabelExpressions": [{"key": "zone", "values": ["a", "a"]}, {"key": "zone"}]},
                    {"matchLabelExpressions": [{"key": "z", "values": ["a", "b"]}]},
                    {"matchLabelExpressions": [{"key": "z", "values": ["b", "a"]}]},
                ],
            ),
            [
                'allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: "a"',
                "allowedTopologies[0].matchLabelExpressions[1].values: Required value",
                'allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: "zone"',
                'allowedTopologies[2].matchLabelExpressions: Duplicate value: ""',
            ],
        ),
        (
            refs.VOLUME_ATTRIBUTES_CLASSES,
            named(),
            [
                "driverName: Required value",
                "parameters: Required value: must contain at least one key/value pair",
            ],
        ),
        (refs.VOLUME_ATTRIBUTES_CLASSES, named(driverName="d.example", parameters={"iops": "9"}), []),
        (refs.VOLUME_ATTACHMENTS, attachment(persistentVolumeName="pv1"), []),
        (refs.VOLUME_ATTACHMENTS, attachment(inlineVolumeSpec=INLINE), []),
        (
            refs.VOLUME_ATTACHMENTS,
            attachment(),
            ["spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"],
        ),
        (
            refs.VOLUME_ATTACHMENTS,
            attachment(persistentVolumeName="pv1", inlineVolumeSpec=INLINE),
            ["spec.source: Forbidden: must specify exactly one of inlineVolumeSpec and persistentVolumeName"],
        ),
        (
            refs.VOLUME_ATTACHMENTS,
            attachment(
                inlineVolumeSpec={
                    "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/a"}, "capacity": {"storage": "1Gi"},
                    "claimRef": {"name": "c"}, "persistentVolumeReclaimPolicy": "Delete", "storageClassName": "s",
                    "volumeMode": "Block",
                }
            ),
            [
                f"spec.source.inlineVolumeSpec.{field}"
                for field in (
                    "claimRef: Forbidden: may not be specified in the context of inline volumes",
                    "capacity: Forbidden: may not be specified in the context of inline volumes",
                    "csi: Required value: has to be specified in the context of inline volumes",
                    "persistentVolumeReclaimPolicy: Forbidden: may only be Retain in the context of inline volumes",
                    "storageClassName: Forbidden: may not be specified in the context of inline volumes",
                    "volumeMode: Forbidden: may not specify volumeMode other than Filesystem in the context of inline "
                    "volumes",
                )
            ],
        ),
        (refs.CSI_DRIVERS, named(), []),
        (
            refs.CSI_DRIVERS,
            named(spec={
                "fsGroupPolicy": "Odd", "volumeLifecycleModes": ["Odd"], "nodeAllocatableUpdatePeriodSeconds": 9,
                "serviceAccountTokenInSecrets": True,
            }),
            [
                'spec.fsGroupPolicy: Unsupported value: "Odd": supported values: "File", "None", '
                '"ReadWriteOnceWithFSType"',
                'spec.volumeLifecycleModes: Unsupported value: "Odd": supported values: "Persistent", "Ephemeral"',
                "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal to 10 "
                "seconds",
                "spec.serviceAccountTokenInSecrets: Invalid value: true: serviceAccountTokenInSecrets is set but no "
                "tokenRequests are specified",
            ],
        ),
        (
            refs.CSI_DRIVERS,
            named(spec={"tokenRequests": [
                TOKEN, TOKEN, {"audience": "b", "expirationSeconds": 599}, {"expirationSeconds": (1 << 32) + 1},
            ]}),
            [
                'spec.tokenRequests[1].audience: Duplicate value: "a"',
                "spec.tokenRequests[2].expirationSeconds: Invalid value: 599: may not specify a duration less than 10 "
                "minutes",
                "spec.tokenRequests[3].expirationSeconds: Invalid value: 4294967297: may not specify a duration larger "
                "than 2^32 seconds",
            ],
        ),
        (
            refs.CSI_NODES,
            named(spec={"drivers": [
                {"name": "a", "nodeID": "n", "topologyKeys": ["zone", "zone"], "allocatable": {"count": -1}},
                {"name": "a", "nodeID": "x" * 257, "topologyKeys": []},
                {"name": "b", "nodeID": ""},
            ]}),
            [
                "spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0",
                'spec.drivers[0]: Duplicate value: "zone"',
                f'spec.drivers[1].nodeID: Invalid value: "{"x" * 257}": must be 256 characters or less',
                'spec.drivers[1].name: Duplicate value: "a"',
                "spec.drivers[2].nodeID: Required value",
            ],
        ),
        (refs.CSI_STORAGE_CAPACITIES, named(storageClassName="fast", capacity="1Gi"), []),
        (
            refs.CSI_STORAGE_CAPACITIES,
            named(storageClassName="fast", capacity="-1"),
            ['capacity: Invalid value: "-1": must be greater than or equal to 0'],
        ),
    ],
    ids=lambda value: value.kind if isinstance(value, ResourceRef) else "",
)  # fmt: skip
def test_rules(ref: ResourceRef, obj: Object, expected: list[str]) -> None:
    assert findings(ref, obj) == expected


@pytest.mark.parametrize(
    ("ref", "obj", "change", "expected"),
    [
        (
            refs.STORAGE_CLASSES, named(provisioner="p", parameters={"a": "b"}), changed("parameters", to=None),
            ["parameters: Invalid value: null: field is immutable"],
        ),
        (
            refs.STORAGE_CLASSES, named(provisioner="p"), changed("reclaimPolicy", to="Retain"),
            ['reclaimPolicy: Invalid value: "Retain": field is immutable'],
        ),
        (refs.STORAGE_CLASSES, named(provisioner="p"), changed("allowVolumeExpansion", to=True), []),
        (
            refs.VOLUME_ATTRIBUTES_CLASSES, named(driverName="d", parameters={"a": "b"}),
            changed("parameters", "a", to="c"), ["parameters: Forbidden: updates to parameters are forbidden."],
        ),
        (
            refs.VOLUME_ATTACHMENTS, attachment(persistentVolumeName="pv1"), changed("spec", "nodeName", to="n2"),
            [
                'spec: Invalid value: {"attacher":"d.example","nodeName":"n2","source":{"persistentVolumeName":"pv1"}}'
                ": field is immutable"
            ],
        ),
        (
            refs.CSI_DRIVERS, named(), changed("spec", "attachRequired", to=False),
            ["spec.attachedRequired: Invalid value: false: field is immutable"],
        ),
        (refs.CSI_DRIVERS, named(), changed("spec", "fsGroupPolicy", to="File"), []),
        (
            refs.CSI_NODES, named(spec={"drivers": [{"name": "a", "nodeID": "n"}]}),
            changed("spec", "drivers", 0, "nodeID", to="m"),
            ['spec.drivers: Invalid value: {"name":"a","nodeID":"m"}: field is immutable'],
        ),
        (
            refs.CSI_NODES, named(spec={"drivers": [{"name": "a", "nodeID": "n"}]}),
            changed("spec", "drivers", 0, "allocatable", to={"count": 3}), [],
        ),
        (
            refs.CSI_STORAGE_CAPACITIES, named(storageClassName="fast"), changed("storageClassName", to="slow"),
            ['storageClassName: Invalid value: "slow": field is immutable'],
        ),
    ],
    ids=lambda value: value.kind if isinstance(value, ResourceRef) else "",
)  # fmt: skip
def test_updates(ref: ResourceRef, obj: Object, change: Any, expected: list[str]) -> None:
    assert update_findings(ref, obj, change) == expected


def test_attachment_status() -> None:
    def change(obj: Object) -> None:
        obj["status"] = {
            "attached": False,
            "attachError": {"message": "x" * 1025, "errorCode": -1},
            "attachmentMetadata": {"a": "x" * 256 * 1024},
        }

    old = created(refs.VOLUME_ATTACHMENTS, attachment(persistentVolumeName="pv1"))
    assert status_findings(refs.VOLUME_ATTACHMENTS, old, change) == [
        "status.attachmentMetadata: Too long: may not be more than 262144 bytes",
        "status.attachError.message: Too long: may not be more than 262144 bytes",
        "status.attachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive",
    ]


def test_driver_defaults() -> None:
    assert created(refs.CSI_DRIVERS, named())["spec"] == {
        "attachRequired": True, "podInfoOnMount": False, "storageCapacity": False, "requiresRepublish": False,
        "fsGroupPolicy": "ReadWriteOnceWithFSType", "volumeLifecycleModes": ["Persistent"], "seLinuxMount": False,
    }  # fmt: skip


def test_drivers_count_their_changes_only() -> None:
    old = created(refs.CSI_DRIVERS, named())
    new = copy_object(old)
    strategy(refs.CSI_DRIVERS).prepare_update(new, old)
    assert "generation" not in new["metadata"]
    new["spec"]["fsGroupPolicy"] = "File"
    strategy(refs.CSI_DRIVERS).prepare_update(new, old)
    assert new["metadata"]["generation"] == 1


def test_warnings() -> None:
    beta = "failure-domain.beta.kubernetes.io/zone"
    topology = [{"matchLabelExpressions": [{"key": beta, "values": ["a"]}]}]
    gone = 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead'
    assert warned(refs.STORAGE_CLASSES, named(provisioner="p", allowedTopologies=topology)) == [
        f"allowedTopologies[0].matchLabelExpressions[0].key: {gone}"
    ]
    capacity = named(
        nodeTopology={"matchLabels": {beta: "a"}, "matchExpressions": [{"key": beta, "operator": "Exists"}]}
    )
    assert warned(refs.CSI_STORAGE_CAPACITIES, capacity) == [
        f"nodeTopology.matchExpressions[0].key: {beta} is {gone}",
        f"nodeTopology.matchLabels.{beta}: {gone}",
    ]
    driver = named(spec={"tokenRequests": [TOKEN]})
    advice = (
        "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible "
        "logging of tokens in volume attributes"
    )
    assert warned(refs.CSI_DRIVERS, driver) == [advice]
    assert warned(refs.CSI_DRIVERS, driver, driver) == []


def test_columns() -> None:
    obj = named("fast", provisioner="p")
    obj["metadata"]["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
    assert cells(refs.STORAGE_CLASSES, obj) == {
        "Name": "fast (default)", "Provisioner": "p", "ReclaimPolicy": "Delete", "VolumeBindingMode": "Immediate",
        "AllowVolumeExpansion": False, "Age": "90m",
    }  # fmt: skip
    assert cells(refs.VOLUME_ATTACHMENTS, attachment(persistentVolumeName="pv1")) == {
        "Name": "x", "Attacher": "d.example", "PV": "pv1", "Node": "n1", "Attached": False, "Age": "90m",
    }  # fmt: skip
    assert cells(refs.CSI_NODES, named(spec={"drivers": [{}, {}]})) == {"Name": "x", "Drivers": 2, "Age": "90m"}
    assert cells(refs.CSI_DRIVERS, created(refs.CSI_DRIVERS, named())) == {
        "Name": "x", "AttachRequired": True, "PodInfoOnMount": False, "StorageCapacity": False,
        "TokenRequests": "<unset>", "RequiresRepublish": False, "Modes": "Persistent", "Age": "90m",
    }  # fmt: skip
    assert cells(refs.CSI_STORAGE_CAPACITIES, named(storageClassName="fast")).keys() == {"Name", "Created At"}
    assert cells(refs.VOLUME_ATTRIBUTES_CLASSES, named(driverName="d")) == {
        "Name": "x", "DriverName": "d", "Age": "90m",
    }  # fmt: skip
