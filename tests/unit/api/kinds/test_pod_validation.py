"""Rules of pod specs, with the paths and words that upstream answers with."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api import refs
from timonel.api.objects import Object

from .samples import findings, pod, pod_with

C = "spec.containers[0]"
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
VOLUME = [{"name": "v", "emptyDir": {}}]


def test_sound_pods_pass() -> None:
    assert findings(refs.PODS, pod()) == []
    assert findings(refs.PODS, pod_with(
        ports=[{"name": "http", "containerPort": 80}], env=[{"name": "A.b-c", "value": "1"}],
        resources={"limits": {"cpu": "1", "example.com/gpu": "2"}, "requests": {"cpu": "500m"}},
        readinessProbe={"httpGet": {"port": "http", "httpHeaders": [{"name": "X-A", "value": "b"}]}},
        lifecycle={"preStop": {"sleep": {"seconds": 5}}},
        securityContext={"runAsUser": 0, "capabilities": {"add": ["NET_ADMIN"]}},
    )) == []  # fmt: skip


CONTAINER_CASES: list[tuple[Object, list[str]]] = [
    ({"name": ""}, [f"{C}.name: Required value"]),
    ({"name": "a.b"}, [f'{C}.name: Invalid value: "a.b": must not contain dots']),
    ({"image": ""}, [f"{C}.image: Required value"]),
    ({"image": " nginx"}, [f'{C}.image: Invalid value: " nginx": must not have leading or trailing whitespace']),
    (
        {"imagePullPolicy": "Sometimes"},
        [f'{C}.imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"'],
    ),
    (
        {"terminationMessagePolicy": "X"},
        [f'{C}.terminationMessagePolicy: Unsupported value: "X": supported values: "File", "FallbackToLogsOnError"'],
    ),
    ({"ports": [{"containerPort": 0}]}, [f"{C}.ports[0].containerPort: Required value"]),
    (
        {"ports": [{"containerPort": 70000}]},
        [f"{C}.ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
    ),
    (
        {"ports": [{"containerPort": 1, "protocol": "ICMP"}]},
        [f'{C}.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"'],
    ),
    (
        {"ports": [{"name": "a", "containerPort": 1}, {"name": "a", "containerPort": 2}]},
        [f'{C}.ports[1].name: Duplicate value: "a"'],
    ),
    (
        {"ports": [{"containerPort": 1, "hostPort": 8}, {"containerPort": 2, "hostPort": 8}]},
        [f'{C}.ports[1].hostPort: Duplicate value: "TCP//8"'],
    ),
    ({"env": [{"value": "x"}]}, [f"{C}.env[0].name: Required value"]),
    (
        {"env": [{"name": "a=b"}]},
        [
            f'{C}.env[0].name: Invalid value: "a=b": a valid environment variable name must consist only of printable '
            "ASCII characters other than '='"
        ],
    ),
    (
        {"env": [{"name": "A", "valueFrom": {}}]},
        [
            f'{C}.env[0].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, '
            "`configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        ],
    ),
    (
        {"env": [{"name": "A", "value": "x", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}]},
        [f'{C}.env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'],
    ),
    (
        {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}}]},
        [
            f'{C}.env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: '
            '"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", '
            '"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"'
        ],
    ),
    (
        {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.unknown"}}}]},
        [
            f'{C}.env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.unknown": error converting fieldPath: '
            "field label not supported: spec.unknown"
        ],
    ),
    ({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['x/Y']"}}}]}, []),
    (
        {"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1Ki"}}}]},
        [
            f'{C}.env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor\'s values 1m '
            "and 1 are supported with the cpu resource"
        ],
    ),
    (
        {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": ""}}}]},
        [f"{C}.env[0].valueFrom.secretKeyRef.key: Required value"],
    ),
    (
        {"env": [{"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "f", "key": "K"}}}]},
        [f'{C}.env[0].valueFrom.fileKeyRef.volumeName: Not found: "v"'],
    ),
    (
        {"envFrom": [{}]},
        [f'{C}.envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`'],
    ),
    ({"envFrom": [{"configMapRef": {}}]}, [f"{C}.envFrom[0].configMapRef.name: Required value"]),
    ({"volumeMounts": [{"name": "x", "mountPath": "/a"}]}, [f'{C}.volumeMounts[0].name: Not found: "x"']),
    ({"livenessProbe": {}}, [f"{C}.livenessProbe: Required value: must specify a handler type"]),
    (
        {"livenessProbe": {"httpGet": {"port": 80}, "tcpSocket": {"port": 80}}},
        [f"{C}.livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"],
    ),
    (
        {"livenessProbe": {"tcpSocket": {"port": 80}, "successThreshold": 2}},
        [f"{C}.livenessProbe.successThreshold: Invalid value: 2: must be 1"],
    ),
    ({"readinessProbe": {"tcpSocket": {"port": 80}, "successThreshold": 2}}, []),
    (
        {"readinessProbe": {"tcpSocket": {"port": 80}, "terminationGracePeriodSeconds": 3}},
        [
            f"{C}.readinessProbe.terminationGracePeriodSeconds: Invalid value: 3: must not be set for readinessProbes"
        ],
    ),
    (
        {"startupProbe": {"httpGet": {"port": "Http", "scheme": "FTP"}, "periodSeconds": -1}},
        [
            f'{C}.startupProbe.httpGet.port: Invalid value: "Http": must contain only alpha-numeric characters (a-z, '
            "0-9), and hyphens (-)",
            f'{C}.startupProbe.httpGet.scheme: Unsupported value: "FTP": supported values: "HTTP", "HTTPS"',
            f"{C}.startupProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ],
    ),
    ({"livenessProbe": {"exec": {}}}, [f"{C}.livenessProbe.exec.command: Required value"]),
    (
        {"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}},
        [
            f"{C}.lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than "
            "terminationGracePeriodSeconds (30)"
        ],
    ),
    (
        {"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}},
        [f'{C}.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'],
    ),
    (
        {"resources": {"limits": {"cpu": "-1"}}},
        [
            f'{C}.resources.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0',
            f'{C}.resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0',
        ],
    ),
    (
        {"resources": {"requests": {"storage": "1"}}},
        [
            f'{C}.resources.requests[storage]: Invalid value: "storage": must be a standard resource for containers'
        ],
    ),
    (
        {"resources": {"requests": {"bogus": "1"}}},
        [
            f'{C}.resources.requests[bogus]: Invalid value: "bogus": must be a standard resource type or fully '
            "qualified",
            f'{C}.resources.requests[bogus]: Invalid value: "bogus": must be a standard resource for containers',
        ],
    ),
    (
        {"resources": {"requests": {"example.com/gpu": "1"}}},
        [f"{C}.resources.limits: Required value: Limit must be set for non overcommitable resources"],
    ),
    (
        {"resources": {"limits": {"example.com/gpu": "2"}, "requests": {"example.com/gpu": "1"}}},
        [f'{C}.resources.requests: Invalid value: "1": must be equal to example.com/gpu limit of 2'],
    ),
    (
        {"resources": {"limits": {"hugepages-2Mi": "4Mi"}}},
        [f"{C}.resources: Forbidden: HugePages require cpu or memory"],
    ),
    (
        {"resources": {"limits": {"hugepages-2Mi": "3Mi", "cpu": "1"}}},
        [
            f'{C}.resources.{kind}[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of '
            "hugepages-2Mi"
            for kind in ("limits", "requests")
        ],
    ),
    (
        {"resources": {"claims": [{"name": "dev"}]}},
        [
            f'{C}.resources.claims[0]: Not found: "dev": must be one of the names in pod.spec.resourceClaims which is '
            "empty"
        ],
    ),
    (
        {"securityContext": {"runAsUser": -1}},
        [f"{C}.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"],
    ),
    (
        {"securityContext": {"seccompProfile": {"type": "Localhost"}}},
        [
            f"{C}.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is "
            "Localhost"
        ],
    ),
    (
        {"securityContext": {"procMount": "Unmasked"}},
        [
            f'{C}.securityContext.procMount: Invalid value: "Unmasked": `hostUsers` must be false to use `Unmasked`'
        ],
    ),
    (
        {"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]},
        [f"{C}.restartPolicy: Required value: must specify restartPolicy when restart rules are used"],
    ),
    (
        {"resizePolicy": [{"resourceName": "disk", "restartPolicy": "NotRequired"}]},
        [f'{C}.resizePolicy: Unsupported value: "disk": supported values: "cpu", "memory"'],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("container", "expected"), CONTAINER_CASES, ids=lambda value: str(value)[:60])
def test_containers(container: Object, expected: list[str]) -> None:
    assert findings(refs.PODS, pod_with(**container)) == expected


def test_finding_explains_the_rule() -> None:
    assert findings(refs.PODS, pod_with(name="A")) == [f'{C}.name: Invalid value: "A": {LABEL}']


SPEC_CASES: list[tuple[Object, list[str]]] = [
    ({"containers": []}, ["spec.containers: Required value"]),
    (
        {"containers": [{"name": "a", "image": "x"}, {"name": "a", "image": "x"}]},
        ['spec.containers[1].name: Duplicate value: "a"'],
    ),
    (
        {"restartPolicy": "Maybe"},
        ['spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never"'],
    ),
    (
        {"dnsPolicy": "X"},
        [
            'spec.dnsPolicy: Unsupported value: "X": supported values: "ClusterFirstWithHostNet", "ClusterFirst", '
            '"Default", "None"'
        ],
    ),
    ({"dnsPolicy": "None"}, ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"]),
    (
        {"dnsConfig": {"nameservers": ["1.2.3.4", "x", "::1", "1.1.1.1"]}},
        [
            'spec.dnsConfig.nameservers: Invalid value: ["1.2.3.4","x","::1","1.1.1.1"]: must not have more than 3 '
            "nameservers",
            'spec.dnsConfig.nameservers[1]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or '
            "2001:db8::ffff)",
        ],
    ),
    ({"dnsConfig": {"searches": [".", "_sip._tcp.example.com."]}}, []),
    ({"dnsConfig": {"options": [{"value": "1"}]}}, ["spec.dnsConfig.options[0]: Required value: must not be empty"]),
    (
        {"hostAliases": [{"ip": "010.0.0.1", "hostnames": ["ok"]}]},
        ['spec.hostAliases[0].ip: Invalid value: "010.0.0.1": must not have leading 0s'],
    ),
    (
        {"activeDeadlineSeconds": 0},
        ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
    ),
    (
        {"initContainers": [{"name": "app", "image": "x"}]},
        ['spec.initContainers[0].name: Duplicate value: "app"'],
    ),
    (
        {"initContainers": [{"name": "i", "image": "x", "livenessProbe": {"exec": {"command": ["a"]}}}]},
        [
            "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without "
            "restartPolicy=Always"
        ],
    ),
    (
        {
            "initContainers": [
                {"name": "i", "image": "x", "restartPolicy": "Always", "livenessProbe": {"exec": {"command": ["a"]}}}
            ]
        },
        [],
    ),
    (
        {"initContainers": [{"name": "i", "image": "x", "restartPolicy": "Whenever"}]},
        [
            'spec.initContainers[0].restartPolicy: Unsupported value: "Whenever": supported values: "Always", '
            '"Never", "OnFailure"'
        ],
    ),
    (
        {"ephemeralContainers": [{"name": "e", "image": "x"}]},
        ["spec.ephemeralContainers: Forbidden: cannot be set on create"],
    ),
    (
        {"nodeName": "n", "schedulingGates": [{"name": "a/b"}]},
        ["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"],
    ),
    (
        {"schedulingGates": [{"name": "a/b"}, {"name": "a/b"}]},
        ['spec.schedulingGates[1]: Duplicate value: "a/b"'],
    ),
    (
        {"tolerations": [{"operator": "Equal"}]},
        [
            'spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which '
            'means "match all values and all keys"'
        ],
    ),
    (
        {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]},
        [
            'spec.tolerations[0].operator: Invalid value: "b": value must be empty when `operator` is \'Exists\''
        ],
    ),
    (
        {"tolerations": [{"operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 3}]},
        [
            "spec.tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when "
            "`tolerationSeconds` is set"
        ],
    ),
    (
        {"tolerations": [{"operator": "Exists", "effect": "Never"}]},
        [
            'spec.tolerations[0].effect: Unsupported value: "Never": supported values: "NoSchedule", '
            '"PreferNoSchedule", "NoExecute"'
        ],
    ),
    (
        {
            "affinity": {
                "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}},
                "podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 101, "podAffinityTerm": {"topologyKey": "zone"}}]},
                "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "a b"}]},
            }
        },
        [
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required "
            "value: must have at least one node selector term",
            "spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: "
            "must be in the range 1-100",
            "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid "
            'value: "a b": name part must consist of alphanumeric characters, \'-\', \'_\' or \'.\', and must start '
            "and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
            "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        ],
    ),
    (
        {
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {
                                "matchExpressions": [
                                    {"key": "a", "operator": "In"}, {"key": "a", "operator": "Gt", "values": []},
                                    {"key": "a", "operator": "Exists", "values": ["x"]}, {"key": "a", "operator": "~"},
                                ],
                                "matchFields": [{"key": "metadata.uid", "operator": "In", "values": ["n"]}],
                            }
                        ]
                    }
                }
            }
        },
        [
            "TERM.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            "TERM.matchExpressions[1].values: Required value: must be specified single value when `operator` is 'Lt' "
            "or 'Gt'",
            "TERM.matchExpressions[2].values: Forbidden: may not be specified when `operator` is 'Exists' or "
            "'DoesNotExist'",
            'TERM.matchExpressions[3].operator: Invalid value: "~": not a valid selector operator',
            'TERM.matchFields[0].key: Invalid value: "metadata.uid": not a valid field selector key',
        ],
    ),
    (
        {
            "topologySpreadConstraints": [
                {"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "Sometimes"},
                {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2},
            ]
        },
        [
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
            "spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
            'spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "Sometimes": supported values: '
            '"DoNotSchedule", "ScheduleAnyway"',
            "spec.topologySpreadConstraints[1].minDomains: Invalid value: 2: can only use minDomains if "
            "whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
        ],
    ),
    (
        {"securityContext": {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}, {"name": "a..b"}]}},
        [
            'spec.securityContext.sysctls[1].name: Invalid value: "a..b": must have at most 253 characters and match '
            r"regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
        ],
    ),
    (
        {"hostNetwork": True, "securityContext": {"sysctls": [{"name": "net.core.somaxconn", "value": "1"}]}},
        [
            'spec.securityContext.sysctls[0].name: Invalid value: "net.core.somaxconn": may not be specified when '
            "'hostNetwork' is true"
        ],
    ),
    ({"hostUsers": False, "hostPID": True}, ["spec.HostPID: Forbidden: when `hostUsers` is false"]),
    (
        {"hostPID": True, "shareProcessNamespace": True},
        [
            "spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID "
            "cannot both be enabled"
        ],
    ),
    (
        {"os": {"name": "plan9"}},
        ['spec.os: Unsupported value: "plan9": supported values: "linux", "windows"'],
    ),
    (
        {"os": {"name": "windows"}, "securityContext": {"runAsUser": 1}},
        ["spec.securityContext.runAsUser: Forbidden: cannot be set for a windows pod"],
    ),
    (
        {"nodeSelector": {"a b": "c"}},
        [
            "spec.nodeSelector: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or "
            "'.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', "
            "regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
        ],
    ),
    (
        {"preemptionPolicy": "X"},
        ['spec.preemptionPolicy: Unsupported value: "X": supported values: "PreemptLowerPriority", "Never"'],
    ),
    (
        {"hostnameOverride": "a", "hostNetwork": True},
        ["spec.hostnameOverride: Forbidden: may not be specified when hostNetwork is true"],
    ),
    (
        {"resources": {"requests": {"cpu": "1"}}, "containers": [
            {"name": "a", "image": "x", "resources": {"requests": {"cpu": "2"}}}]},
        [
            'spec.resources.requests[cpu]: Invalid value: "1": must be greater than or equal to aggregate container '
            "requests of 2"
        ],
    ),
    (
        {"resources": {"limits": {"ephemeral-storage": "1Gi"}}},
        [
            'spec.resources.limits[ephemeral-storage]: Unsupported value: "ephemeral-storage": supported values: '
            '"cpu", "hugepages-", "memory"'
        ],
    ),
]  # fmt: skip
TERM = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]"


@pytest.mark.parametrize(("spec", "expected"), SPEC_CASES, ids=lambda value: str(value)[:60])
def test_specs(spec: Object, expected: list[str]) -> None:
    assert findings(refs.PODS, pod(**spec)) == [text.replace("TERM", TERM) for text in expected]


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


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        (
            {"kubernetes.io/config.mirror": "x"},
            [
                'metadata.annotations[kubernetes.io/config.mirror]: Invalid value: "x": must set spec.nodeName if '
                "mirror pod annotation is set"
            ],
        ),
        (
            {"controller.kubernetes.io/pod-deletion-cost": "+1"},
            [
                'metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: "+1": must be a '
                "32bit integer"
            ],
        ),
        ({"controller.kubernetes.io/pod-deletion-cost": "-7"}, []),
    ],
)
def test_annotations(annotations: dict[str, str], expected: list[str]) -> None:
    obj = pod()
    obj["metadata"]["annotations"] = annotations
    assert findings(refs.PODS, obj) == expected
