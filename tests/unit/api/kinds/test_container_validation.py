"""Rules of containers, with the paths and words that upstream answers with."""

from __future__ import annotations

import pytest

from timonel.api import refs
from timonel.api.objects import Object

from .samples import findings, pod_with

C = "spec.containers[0]"
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


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
