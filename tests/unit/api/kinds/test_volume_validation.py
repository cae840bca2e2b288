"""Rules of pods' volumes and of what containers mount, with the paths and words that upstream answers with."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api import refs
from timonel.api.objects import Object

from .samples import findings, pod, pod_with

C = "spec.containers[0]"
VOLUME = [{"name": "v", "emptyDir": {}}]
V = "spec.volumes[0]"
VOLUME_CASES: list[tuple[Object, list[str]]] = [
    (
        {"emptyDir": {}, "hostPath": {"path": "/a"}},
        [f"{V}.hostPath: Forbidden: may not specify more than 1 volume type"],
    ),
    (
        {"emptyDir": {"sizeLimit": "-1"}},
        [f"{V}.emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity"],
    ),
    ({"hostPath": {"path": ""}}, [f"{V}.hostPath.path: Required value"]),
    ({"hostPath": {"path": "/a/../b"}}, [f"{V}.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"]),
    (
        {"hostPath": {"path": "/a", "type": "Pipe"}},
        [
            f'{V}.hostPath.type: Unsupported value: "Pipe": supported values: "", "BlockDevice", "CharDevice", '
            '"Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"'
        ],
    ),
    (
        {"secret": {"secretName": "", "defaultMode": 0o1000}},
        [
            f"{V}.secret.secretName: Required value",
            f"{V}.secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
        ],
    ),
    (
        {"configMap": {"name": "c", "items": [{"key": "", "path": "/abs"}, {"key": "k", "path": "..data"}]}},
        [
            f"{V}.configMap.items[0].key: Required value",
            f'{V}.configMap.items[0].path: Invalid value: "/abs": must be a relative path',
            f"{V}.configMap.items[1].path: Invalid value: \"..data\": must not start with '..'",
        ],
    ),
    (
        {"downwardAPI": {"items": [{"path": "a"}]}},
        [f"{V}.downwardAPI: Required value: one of fieldRef and resourceFieldRef is required"],
    ),
    (
        {"downwardAPI": {"items": [{"path": "a", "resourceFieldRef": {"resource": "limits.cpu"}}]}},
        [f"{V}.downwardAPI.resourceFieldRef.containerName: Required value"],
    ),
    (
        {"projected": {"sources": [
            {"secret": {"name": "s", "items": [{"key": "k", "path": "p"}]}},
            {"configMap": {"name": "c", "items": [{"key": "k", "path": "p"}]}},
            {"serviceAccountToken": {"path": "t", "expirationSeconds": 10}},
        ]}},
        [
            f'{V}.projected: Invalid value: "c": conflicting duplicate paths',
            f"{V}.projected.sources[2].serviceAccountToken.expirationSeconds: Invalid value: 10: may not specify a "
            "duration less than 10 minutes",
        ],
    ),
    ({"persistentVolumeClaim": {}}, [f"{V}.persistentVolumeClaim.claimName: Required value"]),
    (
        {"nfs": {"server": "s", "path": "rel"}},
        [f'{V}.nfs.path: Invalid value: "rel": must be an absolute path'],
    ),
    ({"csi": {"driver": ""}}, [f"{V}.csi.driver: Required value"]),
    ({"ephemeral": {}}, [f"{V}.ephemeral.volumeClaimTemplate: Required value"]),
    (
        {"ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
        [
            f"{V}.ephemeral.volumeClaimTemplate.spec.accessModes: Required value: at least 1 access mode is required",
            f"{V}.ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value",
        ],
    ),
    ({"image": {}}, [f"{V}.image.reference: Required value"]),
    (
        {"iscsi": {"targetPortal": "p", "iqn": "x", "lun": 256}},
        [
            f'{V}.iscsi.iqn: Invalid value: "x": must be valid format starting with iqn, eui, or naa',
            f"{V}.iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive",
        ],
    ),
    ({"rbd": {}}, [f"{V}.rbd.monitors: Required value", f"{V}.rbd.image: Required value"]),
    ({"gcePersistentDisk": {}}, [f"{V}.persistentDisk.pdName: Required value"]),
    ({"flexVolume": {"driver": "d", "options": {"kubernetes.io/x": "1"}}}, [
        f'{V}.flexVolume.options[kubernetes.io/x]: Invalid value: "kubernetes.io/x": kubernetes.io and k8s.io '
        "namespaces are reserved"]),
]  # fmt: skip


@pytest.mark.parametrize(("volume", "expected"), VOLUME_CASES, ids=lambda value: str(value)[:60])
def test_volumes(volume: Object, expected: list[str]) -> None:
    assert findings(refs.PODS, pod(volumes=[{"name": "v", **volume}], serviceAccountName="sa")) == expected


def test_volume_names_are_unique() -> None:
    volumes = [{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}, {"name": ""}]
    assert findings(refs.PODS, pod(volumes=volumes)) == [
        'spec.volumes[1].name: Duplicate value: "v"', "spec.volumes[2].name: Required value",
    ]  # fmt: skip


def test_tokens_need_an_account() -> None:
    volumes = [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]
    assert findings(refs.PODS, pod(volumes=volumes)) == [
        "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when "
        "serviceAccountName is not set"
    ]


def mounted(*mounts: Object, **container: Any) -> Object:
    obj = pod_with(volumeMounts=list(mounts), **container)
    obj["spec"]["volumes"] = VOLUME
    return obj


M = f"{C}.volumeMounts"


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        (
            [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a"}],
            [f'{M}[1].mountPath: Invalid value: "/a": must be unique'],
        ),
        ([{"name": "v"}], [f"{M}[0].mountPath: Required value"]),
        (
            [{"name": "v", "mountPath": "/a", "subPath": "../x"}],
            [f"{M}.subPath: Invalid value: \"../x\": must not contain '..'"],
        ),
        (
            [{"name": "v", "mountPath": "/a", "mountPropagation": "Bidirectional"}],
            [
                f"{M}.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged "
                "containers"
            ],
        ),
        (
            [{"name": "v", "mountPath": "/a", "recursiveReadOnly": "Enabled"}],
            [f"{M}.recursiveReadOnly: Forbidden: may only be specified when readOnly is true"],
        ),
    ],
)
def test_mounts(mounts: list[Object], expected: list[str]) -> None:
    assert findings(refs.PODS, mounted(*mounts)) == expected


def test_block_devices_need_claims() -> None:
    obj = mounted(volumeDevices=[{"name": "v", "devicePath": "/dev/x"}])
    assert findings(refs.PODS, obj) == [
        f'{C}.volumeDevices[0].name: Invalid value: "v": can only use volume source type of PersistentVolumeClaim or '
        "Ephemeral for block mode"
    ]
