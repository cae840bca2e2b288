"""What is accepted in a pod with a `Warning` header."""

from __future__ import annotations

import pytest

from timonel.api import refs
from timonel.api.objects import Object

from .samples import created, pod, pod_with, strategy

C = "spec.containers[0]"


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (pod(), []),
        (
            pod(nodeSelector={"beta.kubernetes.io/os": "linux"}),
            ['spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead'],
        ),
        (
            pod(volumes=[{"name": "v", "rbd": {"monitors": ["m"], "image": "i"}}]),
            ["spec.volumes[0].rbd: deprecated in v1.28, non-functional in v1.31+"],
        ),
        (
            pod(imagePullSecrets=[{"name": "a"}, {"name": "a"}, {}]),
            [
                'spec.imagePullSecrets[1].name: duplicate name "a"',
                'spec.imagePullSecrets[2].name: invalid empty name ""',
            ],
        ),
        (
            pod_with(resources={"limits": {"memory": "1500m"}}),
            [
                f'{C}.resources.{kind}[memory]: fractional byte value "1500m" is invalid, must be an integer'
                for kind in ("limits", "requests")
            ],
        ),
        (
            pod_with(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}]),
            [],
        ),
        (
            pod_with(ports=[{"containerPort": 80}, {"containerPort": 80, "hostPort": 8080}]),
            [f"{C}.ports[1]: overlapping port definition with {C}.ports[0]"],
        ),
        (
            pod(topologySpreadConstraints=[
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]),
            ["spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod"],
        ),
        (
            pod(dnsConfig={"nameservers": ["fd00:0::1"]}),
            [
                'spec.dnsConfig.nameservers[0]: IPv6 address "fd00:0::1" should be in RFC 5952 canonical format '
                '("fd00::1")'
            ],
        ),
    ],
)  # fmt: skip
def test_on_create(obj: Object, expected: list[str]) -> None:
    assert strategy(refs.PODS).warnings(created(refs.PODS, obj), None) == expected


def test_names_that_make_bad_hostnames() -> None:
    obj = pod()
    obj["metadata"]["name"] = "a.b"
    assert strategy(refs.PODS).warnings(obj, None) == [
        "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is "
        "recommended: [must not contain dots]"
    ]


def test_updates_are_not_looked_at() -> None:
    obj = pod(terminationGracePeriodSeconds=-1)
    assert strategy(refs.PODS).warnings(obj, obj) == []
