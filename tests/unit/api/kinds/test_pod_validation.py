"""Rules of pod specs, with the paths and words that upstream answers with."""

from __future__ import annotations

import pytest

from timonel.api import refs
from timonel.api.objects import Object

from .samples import findings, pod, pod_with

C = "spec.containers[0]"


def test_sound_pods_pass() -> None:
    assert findings(refs.PODS, pod()) == []
    assert findings(refs.PODS, pod_with(
        ports=[{"name": "http", "containerPort": 80}], env=[{"name": "A.b-c", "value": "1"}],
        resources={"limits": {"cpu": "1", "example.com/gpu": "2"}, "requests": {"cpu": "500m"}},
        readinessProbe={"httpGet": {"port": "http", "httpHeaders": [{"name": "X-A", "value": "b"}]}},
        lifecycle={"preStop": {"sleep": {"seconds": 5}}},
        securityContext={"runAsUser": 0, "capabilities": {"add": ["NET_ADMIN"]}},
    )) == []  # fmt: skip


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
