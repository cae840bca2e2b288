"""PersistentVolumes and their claims."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api import refs
from timonel.api.objects import Object, copy_object
from timonel.api.resource import Occasion

from .samples import NOW, ago, cells, changed, created, findings, status_findings, strategy, update_findings, warned

SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
AFFINITY = {
    "required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "Exists"}]}]}
}


def volume(**spec: Any) -> Object:
    source = {} if any(kind in spec for kind in SOURCES) else {"hostPath": {"path": "/data"}}
    return {
        "kind": "PersistentVolume", "apiVersion": "v1",
        "metadata": {"name": "pv1", "creationTimestamp": ago(minutes=5)},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], **source, **spec},
    }  # fmt: skip


SOURCES = (
    "csi",
    "nfs",
    "iscsi",
    "local",
    "cephfs",
    "glusterfs",
    "azureFile",
    "cinder",
    "storageos",
    "flexVolume",
    "rbd",
)


def claim(**spec: Any) -> Object:
    return {
        "kind": "PersistentVolumeClaim", "apiVersion": "v1",
        "metadata": {"name": "c1", "namespace": "default", "creationTimestamp": ago(minutes=5)},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec},
    }  # fmt: skip


def test_volume_defaults() -> None:
    obj = created(refs.PERSISTENT_VOLUMES, volume(capacity={"storage": "1024Mi"}))
    assert obj["spec"] == {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem",
        "hostPath": {"path": "/data", "type": ""}, "persistentVolumeReclaimPolicy": "Retain",
    }  # fmt: skip
    assert obj["status"] == {"phase": "Pending"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, []),
        (
            {"capacity": {}},
            [
                "spec.capacity: Required value",
                'spec.capacity: Unsupported value: null: supported values: "storage"',
            ],
        ),
        (
            {"capacity": {"storage": "-1"}},
            [
                "spec.capacity[storage]: Invalid value: -1: must be a valid resource quantity",
                'spec.capacity[storage]: Invalid value: "-1": must be greater than zero',
            ],
        ),
        ({"accessModes": []}, ["spec.accessModes: Required value"]),
        (
            {"accessModes": ["ReadWriteOncePod", "ReadOnlyMany", "Odd"]},
            [
                'spec.accessModes: Unsupported value: "Odd": supported values: "ReadOnlyMany", "ReadWriteMany", '
                '"ReadWriteOnce", "ReadWriteOncePod"',
                "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
            ],
        ),
        (
            {"persistentVolumeReclaimPolicy": "Keep"},
            [
                'spec.persistentVolumeReclaimPolicy: Unsupported value: "Keep": supported values: "Delete", '
                '"Recycle", "Retain"'
            ],
        ),
        (
            {"hostPath": {"path": "/./"}, "persistentVolumeReclaimPolicy": "Recycle"},
            ["spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"],
        ),
        (
            {"local": {"path": "/a/../b"}},
            [
                "spec.local.path: Invalid value: \"/a/../b\": must not contain '..'",
                "spec.nodeAffinity: Required value: Local volume requires node affinity",
            ],
        ),
        ({"local": {"path": "/a"}, "nodeAffinity": AFFINITY}, []),
        ({"nodeAffinity": {}}, ["spec.nodeAffinity.required: Required value: must specify required node constraints"]),
        ({"hostPath": None}, ["spec: Required value: must specify a volume type"]),
        (
            {"hostPath": {"path": "/a"}, "cephfs": {"monitors": ["m"]}, "nfs": {"server": "s", "path": "/"}},
            [
                "spec.nfs: Forbidden: may not specify more than 1 volume type",
                "spec.cephFS: Forbidden: may not specify more than 1 volume type",
            ],
        ),
        (
            {"csi": {"driver": "a_b", "nodeStageSecretRef": {}, "nodePublishSecretRef": {"name": "s"}}},
            [
                f'spec.csi.driver: Invalid value: "a_b": {SUBDOMAIN}',
                "spec.csi.volumeHandle: Required value",
                "spec.csi.nodePublishSecretRef.namespace: Required value",
            ],
        ),
        (
            {"iscsi": {"targetPortal": "p" * 64, "iqn": "foo", "lun": 256, "initiatorName": "iqn.2015-02.a.b:c"}},
            [
                'spec.iscsi.iqn: Invalid value: "foo": must be valid format',
                "spec.iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive",
                f'spec.iscsi.targetportal: Invalid value: "{"p" * 64}": Total length of <volume '
                "name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.",
            ],
        ),
        (
            {"glusterfs": {"endpoints": "e", "path": "p", "endpointsNamespace": ""}},
            [
                'spec.glusterfs.endpointsNamespace: Invalid value: "": if the endpointnamespace is set, it must be a '
                "valid namespace name"
            ],
        ),
        ({"azureFile": {"secretName": "s", "shareName": "h", "secretNamespace": ""}},
         ["spec.azureFile.secretNamespace: Required value"]),
        ({"cinder": {"volumeID": "v", "secretRef": {"name": "s"}}},
         ["spec.cinder.secretRef.namespace: Required value"]),
        ({"storageClassName": "A"}, [f'spec.storageClassName: Invalid value: "A": {SUBDOMAIN}']),
        ({"volumeMode": "Tape"},
         ['spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"']),
        (
            {"volumeAttributesClassName": ""},
            [
                "spec.volumeAttributesClassName: Required value: an empty string is disallowed",
                "spec.csi: Required value: has to be specified when using volumeAttributesClassName",
            ],
        ),
    ],
)  # fmt: skip
def test_volume_rules(spec: dict[str, Any], expected: list[str]) -> None:
    obj = volume(**spec)
    obj["spec"] = {field: value for field, value in obj["spec"].items() if value is not None}
    assert findings(refs.PERSISTENT_VOLUMES, obj) == expected


def test_mount_options_are_for_volumes_that_are_mounted_with_some() -> None:
    obj = volume()
    obj["metadata"]["annotations"] = {"volume.beta.kubernetes.io/mount-options": "ro"}
    assert findings(refs.PERSISTENT_VOLUMES, obj) == [
        "metadata.annotations.volume.beta.kubernetes.io/mount-options: Forbidden: may not specify mount options for "
        "this volume type"
    ]
    obj["spec"].pop("hostPath")
    obj["spec"]["nfs"] = {"server": "s", "path": "/"}
    assert findings(refs.PERSISTENT_VOLUMES, obj) == []


def test_where_a_volume_is_does_not_change() -> None:
    found = update_findings(refs.PERSISTENT_VOLUMES, volume(), changed("spec", "hostPath", "path", to="/other"))
    assert len(found) == 1
    assert found[0].startswith(
        "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n"
    )
    assert update_findings(refs.PERSISTENT_VOLUMES, volume(), changed("spec", "volumeMode", to="Block")) == [
        'volumeMode: Invalid value: "Block": field is immutable'
    ]
    assert update_findings(refs.PERSISTENT_VOLUMES, volume(), changed("spec", "capacity", "storage", to="2Gi")) == []


def test_a_volume_may_be_given_a_secret_for_its_expansion_once() -> None:
    obj = volume(csi={"driver": "d.example", "volumeHandle": "h"})
    field = ("spec", "csi", "controllerExpandSecretRef")
    secret = {"name": "s", "namespace": "ns"}
    assert update_findings(refs.PERSISTENT_VOLUMES, obj, changed(*field, to=secret)) == []
    obj["spec"]["csi"]["controllerExpandSecretRef"] = {"name": "t", "namespace": "ns"}
    assert len(update_findings(refs.PERSISTENT_VOLUMES, obj, changed(*field, to=secret))) == 1


def test_node_affinity_only_moves_to_the_labels_that_replaced_its_own() -> None:
    def affinity(key: str) -> Object:
        expression = {"key": key, "operator": "In", "values": ["a"]}
        return {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}

    old = volume(nodeAffinity=affinity("failure-domain.beta.kubernetes.io/zone"))
    better = changed("spec", "nodeAffinity", to=affinity("topology.kubernetes.io/zone"))
    assert update_findings(refs.PERSISTENT_VOLUMES, old, better) == []
    found = update_findings(refs.PERSISTENT_VOLUMES, old, changed("spec", "nodeAffinity", to=affinity("zone")))
    assert [text.rpartition(": ")[2] for text in found] == [
        "field is immutable, except for updating from beta label to GA"
    ]
    assert update_findings(refs.PERSISTENT_VOLUMES, volume(), changed("spec", "nodeAffinity", to=AFFINITY)) == []


def test_the_time_of_a_phase() -> None:
    rules = strategy(refs.PERSISTENT_VOLUMES)
    new = created(refs.PERSISTENT_VOLUMES, volume())
    rules.stamp(new, None, Occasion(NOW))
    assert new["status"] == {"phase": "Pending", "lastPhaseTransitionTime": ago()}
    old = {**new, "status": {"phase": "Pending", "lastPhaseTransitionTime": ago(hours=1)}}
    for status, moment in (
        ({"phase": "Pending"}, ago(hours=1)),
        ({"phase": "Bound"}, ago()),
        ({"phase": "Bound", "lastPhaseTransitionTime": ago(hours=1)}, ago()),
        ({"phase": "Bound", "lastPhaseTransitionTime": ago(hours=2)}, ago(hours=2)),
    ):
        new = {**copy_object(old), "status": dict(status)}
        rules.stamp(new, old, Occasion(NOW, "status"))
        assert new["status"]["lastPhaseTransitionTime"] == moment


def test_volume_warnings() -> None:
    obj = volume(persistentVolumeReclaimPolicy="Recycle", rbd={"monitors": ["m"], "image": "i"})
    obj["metadata"]["annotations"] = {"volume.beta.kubernetes.io/storage-class": "fast"}
    assert warned(refs.PERSISTENT_VOLUMES, obj) == [
        "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use "
        '"storageClassName" attribute instead',
        "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended "
        "approach is to use dynamic provisioning.",
        "spec.rbd: deprecated in v1.28, non-functional in v1.31+",
    ]


def test_volume_columns() -> None:
    obj = created(
        refs.PERSISTENT_VOLUMES,
        volume(
            accessModes=["ReadWriteMany", "ReadWriteOnce"], storageClassName="fast",
            claimRef={"namespace": "default", "name": "c1"},
        ),
    )  # fmt: skip
    obj["status"] = {"phase": "Bound"}
    assert cells(refs.PERSISTENT_VOLUMES, obj, wide=True) == {
        "Name": "pv1", "Capacity": "1Gi", "Access Modes": "RWO,RWX", "Reclaim Policy": "Retain", "Status": "Bound",
        "Claim": "default/c1", "StorageClass": "fast", "VolumeAttributesClass": "<unset>", "Reason": "", "Age": "5m",
        "VolumeMode": "Filesystem",
    }  # fmt: skip
    obj["metadata"]["deletionTimestamp"] = ago()
    assert cells(refs.PERSISTENT_VOLUMES, obj)["Status"] == "Terminating"


def test_claim_defaults_and_columns() -> None:
    obj = created(refs.PERSISTENT_VOLUME_CLAIMS, claim(storageClassName="fast"))
    assert (obj["spec"]["volumeMode"], obj["status"]) == ("Filesystem", {"phase": "Pending"})
    assert cells(refs.PERSISTENT_VOLUME_CLAIMS, obj, wide=True) == {
        "Name": "c1", "Status": "Pending", "Volume": "", "Capacity": "", "Access Modes": "", "StorageClass": "fast",
        "VolumeAttributesClass": "<unset>", "Age": "5m", "VolumeMode": "Filesystem",
    }  # fmt: skip
    obj["spec"]["volumeName"] = "pv1"
    obj["status"] = {"phase": "Bound", "capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"]}
    row = cells(refs.PERSISTENT_VOLUME_CLAIMS, obj)
    assert (row["Status"], row["Volume"], row["Capacity"], row["Access Modes"]) == ("Bound", "pv1", "2Gi", "RWO")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, []),
        ({"accessModes": []}, ["spec.accessModes: Required value: at least 1 access mode is required"]),
        ({"resources": {}}, ["spec.resources[storage]: Required value"]),
        ({"resources": {"requests": {"storage": "0"}}},
         ['spec.resources[storage]: Invalid value: "0": must be greater than zero']),
        ({"dataSourceRef": {"kind": "Odd", "name": "x"}},
         [f"spec.{field}: Invalid value: \"Odd\": must be 'PersistentVolumeClaim' when referencing the default apiGroup"
          for field in ("dataSource", "dataSourceRef")]),
        ({"dataSource": {"kind": "PersistentVolumeClaim", "name": "x"},
          "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "y"}},
         ['spec: Invalid value: {}: must match dataSourceRef']),
    ],
)  # fmt: skip
def test_claim_rules(spec: dict[str, Any], expected: list[str]) -> None:
    assert findings(refs.PERSISTENT_VOLUME_CLAIMS, claim(**spec)) == expected


def test_data_sources_agree() -> None:
    snapshot = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"}
    spec = created(refs.PERSISTENT_VOLUME_CLAIMS, claim(dataSource=snapshot))["spec"]
    assert spec["dataSourceRef"] == snapshot
    spec = created(refs.PERSISTENT_VOLUME_CLAIMS, claim(dataSourceRef={**snapshot, "kind": "Populator"}))["spec"]
    assert spec["dataSource"] == {**snapshot, "kind": "Populator"}
    # What only the newer field may say is dropped from the older one.
    spec = created(refs.PERSISTENT_VOLUME_CLAIMS, claim(dataSource={**snapshot, "kind": "Populator"}))["spec"]
    assert "dataSource" not in spec
    assert "dataSourceRef" not in spec
    # Sources in other namespaces are alpha.
    spec = created(refs.PERSISTENT_VOLUME_CLAIMS, claim(dataSourceRef={**snapshot, "namespace": "other"}))["spec"]
    assert "dataSourceRef" not in spec


def bound(**spec: Any) -> Object:
    obj = claim(volumeName="pv1", **spec)
    obj["status"] = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
    return obj


IMMUTABLE = (
    "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for "
    "bound claims\n"
)
SIZE = ("spec", "resources", "requests", "storage")


def test_bound_claims_may_grow() -> None:
    assert update_findings(refs.PERSISTENT_VOLUME_CLAIMS, bound(), changed(*SIZE, to="2Gi")) == []
    grown = bound(resources={"requests": {"storage": "5Gi"}})
    assert update_findings(refs.PERSISTENT_VOLUME_CLAIMS, grown, changed(*SIZE, to="3Gi")) == []
    assert update_findings(refs.PERSISTENT_VOLUME_CLAIMS, grown, changed(*SIZE, to="1Gi")) == [
        "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
    ]


def test_other_claims_are_immutable() -> None:
    found = update_findings(refs.PERSISTENT_VOLUME_CLAIMS, claim(), changed(*SIZE, to="2Gi"))
    assert [text[: len(IMMUTABLE)] for text in found] == [IMMUTABLE]
    found = update_findings(refs.PERSISTENT_VOLUME_CLAIMS, bound(), changed("spec", "volumeName", to="pv2"))
    assert [text[: len(IMMUTABLE)] for text in found] == [IMMUTABLE]
    found = update_findings(refs.PERSISTENT_VOLUME_CLAIMS, bound(), changed("spec", "volumeMode", to="Block"))
    assert found[-1] == 'volumeMode: Invalid value: "Block": field is immutable'
    assert update_findings(refs.PERSISTENT_VOLUME_CLAIMS, claim(), changed("spec", "volumeName", to="pv1")) == []


def test_a_class_may_be_filled_in_but_not_changed() -> None:
    fill = changed("spec", "storageClassName", to="fast")
    assert update_findings(refs.PERSISTENT_VOLUME_CLAIMS, claim(), fill) == []
    assert len(update_findings(refs.PERSISTENT_VOLUME_CLAIMS, claim(storageClassName="slow"), fill)) == 1
    annotated = claim()
    annotated["metadata"]["annotations"] = {"volume.beta.kubernetes.io/storage-class": "fast"}
    assert update_findings(refs.PERSISTENT_VOLUME_CLAIMS, annotated, fill) == []
    found = update_findings(refs.PERSISTENT_VOLUME_CLAIMS, annotated, changed("metadata", "annotations", to={}))
    assert found == [
        'metadata.annotations[volume.beta.kubernetes.io/storage-class]: Invalid value: "": field is immutable'
    ]


def test_an_attributes_class_in_use_may_change_but_not_go() -> None:
    field = ("spec", "volumeAttributesClassName")
    old = bound(volumeAttributesClassName="gold")
    old["status"]["currentVolumeAttributesClassName"] = "gold"
    assert update_findings(refs.PERSISTENT_VOLUME_CLAIMS, old, changed(*field, to="silver")) == []
    assert update_findings(refs.PERSISTENT_VOLUME_CLAIMS, old, changed(*field, to=None)) == [
        "spec.volumeAttributesClassName: Forbidden: update to nil is forbidden when "
        "status.currentVolumeAttributesClassName is not nil"
    ]


def test_claim_status() -> None:
    def change(obj: Object) -> None:
        obj["status"] = {
            "capacity": {"storage": "-1"},
            "allocatedResources": {"cpu": "1", "storage": "1Gi"},
            "allocatedResourceStatuses": {"storage": "Odd"},
        }

    assert status_findings(refs.PERSISTENT_VOLUME_CLAIMS, bound(), change) == [
        "status.capacity[storage]: Invalid value: -1: must be a valid resource quantity",
        'status.allocatedResourceStatuses: Unsupported value: "storage": supported values: '
        '"ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible", '
        '"NodeResizePending"',
        'status.allocatedResources: Unsupported value: "cpu": supported values: "storage"',
    ]


def test_claim_warnings() -> None:
    assert warned(refs.PERSISTENT_VOLUME_CLAIMS, claim(resources={"requests": {"storage": "1500m"}})) == [
        'spec.resources.requests[storage]: fractional byte value "1500m" is invalid, must be an integer'
    ]
