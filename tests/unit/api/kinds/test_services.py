"""Services: defaults, rules, what updates keep, and the address families they get."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api import refs
from timonel.api.kinds.service.families import assign_families
from timonel.api.objects import Object, copy_object

from .samples import created, findings, service, strategy, update_findings


def test_least_service() -> None:
    obj = created(refs.SERVICES, service())
    assert obj["spec"] == {
        "selector": {"app": "web"}, "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
    }  # fmt: skip
    assert obj["status"] == {"loadBalancer": {}}


@pytest.mark.parametrize(
    ("spec", "defaulted"),
    [
        ({"type": "NodePort"}, {"externalTrafficPolicy": "Cluster"}),
        ({"type": "LoadBalancer"}, {"externalTrafficPolicy": "Cluster", "allocateLoadBalancerNodePorts": True}),
        ({"externalIPs": ["192.0.2.1"]}, {"externalTrafficPolicy": "Cluster"}),
        (
            {"sessionAffinity": "ClientIP"},
            {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}},
        ),
        ({"clusterIP": "10.96.0.9"}, {"clusterIPs": ["10.96.0.9"]}),
    ],
)
def test_defaults_by_type(spec: Object, defaulted: Object) -> None:
    given = created(refs.SERVICES, service(**spec))["spec"]
    assert {key: given[key] for key in defaulted} == defaulted


def test_external_name_gets_no_policies() -> None:
    spec = created(refs.SERVICES, service(type="ExternalName", externalName="a.b", ports=[]))["spec"]
    assert "internalTrafficPolicy" not in spec
    assert "externalTrafficPolicy" not in spec


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, []),
        ({"ports": []}, ["spec.ports: Required value"]),
        ({"ports": [], "clusterIP": "None"}, []),
        (
            {"type": "Magic"},
            [
                'spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", "LoadBalancer", '
                '"NodePort"'
            ],
        ),
        (
            {"ports": [{"port": 80}, {"port": 81}]},
            ["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"],
        ),
        (
            {"ports": [{"name": "a", "port": 80}, {"name": "a", "port": 80}]},
            [
                'spec.ports[1].name: Duplicate value: "a"',
                'spec.ports[1]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,'
                '"TargetPort":0,"NodePort":0}',
            ],
        ),
        (
            {"ports": [{"port": 0, "targetPort": 80}]},
            ["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"],
        ),
        (
            {"ports": [{"port": 80, "targetPort": "Web"}]},
            [
                'spec.ports[0].targetPort: Invalid value: "Web": must contain only alpha-numeric characters (a-z, '
                "0-9), and hyphens (-)"
            ],
        ),
        (
            {"ports": [{"port": 80, "nodePort": 30000}]},
            ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ),
        (
            {"type": "NodePort", "clusterIP": "None"},
            ["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
        ),
        (
            {"type": "ExternalName", "ports": [], "externalName": ""},
            ["spec.externalName: Required value"],
        ),
        (
            {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}},
            [
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and "
                "less than 86400"
            ],
        ),
        (
            {"externalTrafficPolicy": "Local"},
            ['spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services'],
        ),
        (
            {"externalIPs": ["127.0.0.1"]},
            [
                'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, '
                "::1/128)"
            ],
        ),
        (
            {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.2"]},
            ['spec.clusterIPs: Invalid value: ["10.0.0.2"]: first value must match `clusterIP`'],
        ),
        (
            {"clusterIP": "ten"},
            ['spec.clusterIPs[0]: Invalid value: "ten": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'],
        ),
        (
            {"ipFamilies": ["IPv5"]},
            ['spec.ipFamilies[0]: Unsupported value: "IPv5": supported values: "IPv4", "IPv6"'],
        ),
        (
            {"loadBalancerSourceRanges": ["10.0.0.0/8"]},
            ["spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"],
        ),
        (
            {"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.1/8"]},
            [
                'spec.LoadBalancerSourceRanges[0]: Invalid value: "10.0.0.1/8": must not have bits set beyond the '
                "prefix length"
            ],
        ),
        (
            {"trafficDistribution": "PreferFar"},
            [
                'spec.trafficDistribution: Unsupported value: "PreferFar": supported values: "PreferClose", '
                '"PreferSameZone", "PreferSameNode"'
            ],
        ),
    ],
)
def test_rules(spec: Object, expected: list[str]) -> None:
    assert findings(refs.SERVICES, service(**spec)) == expected


ALLOCATED = service(
    type="NodePort", clusterIP="10.96.0.9", ports=[{"port": 80, "nodePort": 30080}], ipFamilies=["IPv4"]
)


def updated(old: Object, **spec: Any) -> Object:
    """The spec after an update that sends only `spec`, as `kubectl replace` of a manifest does."""
    before = created(refs.SERVICES, old)
    new = {**copy_object(before), "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}], **spec}}
    strategy(refs.SERVICES).default(new)
    strategy(refs.SERVICES).prepare_update(new, before)
    kept: Object = new["spec"]
    return kept


def test_updates_keep_what_was_allocated() -> None:
    spec = updated(ALLOCATED, type="NodePort")
    assert (spec["clusterIP"], spec["clusterIPs"]) == ("10.96.0.9", ["10.96.0.9"])
    assert spec["ports"][0]["nodePort"] == 30080


def test_node_port_goes_with_its_type() -> None:
    before = created(refs.SERVICES, ALLOCATED)
    new = copy_object(before)
    new["spec"]["type"] = "ClusterIP"
    strategy(refs.SERVICES).prepare_update(new, before)
    assert "nodePort" not in new["spec"]["ports"][0]
    assert "externalTrafficPolicy" not in new["spec"]
    assert strategy(refs.SERVICES).validate_update(new, before) == []


def test_addresses_go_with_their_type() -> None:
    before = created(refs.SERVICES, ALLOCATED)
    new = copy_object(before)
    new["spec"].update(type="ExternalName", externalName="a.b")
    strategy(refs.SERVICES).prepare_update(new, before)
    assert not new["spec"].keys() & {"clusterIP", "clusterIPs", "ipFamilies"}


def test_cluster_ip_is_set_once() -> None:
    def change(obj: Object) -> None:
        obj["spec"]["clusterIP"] = "10.96.0.10"

    assert update_findings(refs.SERVICES, ALLOCATED, change) == [
        'spec.clusterIPs[0]: Invalid value: ["10.96.0.10"]: may not change once set'
    ]


def families(spec: Object, cluster: tuple[str, ...], before: Object | None = None) -> tuple[Any, Any] | list[str]:
    full = created(refs.SERVICES, service(**spec))["spec"]
    errors = assign_families(full, before, cluster)
    return [str(error) for error in errors] if errors else (full["ipFamilyPolicy"], full["ipFamilies"])


V4, V6, DUAL = ("IPv4",), ("IPv6",), ("IPv4", "IPv6")


@pytest.mark.parametrize(
    ("spec", "cluster", "expected"),
    [
        ({}, V4, ("SingleStack", ["IPv4"])),
        ({}, V6, ("SingleStack", ["IPv6"])),
        ({}, DUAL, ("SingleStack", ["IPv4"])),
        ({"ipFamilyPolicy": "PreferDualStack"}, V4, ("PreferDualStack", ["IPv4"])),
        ({"ipFamilyPolicy": "PreferDualStack"}, DUAL, ("PreferDualStack", ["IPv4", "IPv6"])),
        ({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]}, DUAL, ("RequireDualStack", ["IPv6", "IPv4"])),
        ({"clusterIP": "fd00::1"}, DUAL, ("SingleStack", ["IPv6"])),
        ({"clusterIP": "None", "selector": None}, V4, ("RequireDualStack", ["IPv4", "IPv6"])),
        ({"clusterIP": "None"}, V4, ("SingleStack", ["IPv4"])),
        (
            {"ipFamilyPolicy": "RequireDualStack"},
            V4,
            [
                'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for '
                "dual-stack services"
            ],
        ),
        (
            {"ipFamilies": ["IPv6"]},
            V4,
            ['spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster'],
        ),
        (
            {"clusterIP": "fd00::1"},
            V4,
            ['spec.clusterIPs[0]: Invalid value: ["fd00::1"]: IPv6 is not configured on this cluster'],
        ),
    ],
)
def test_families(spec: Object, cluster: tuple[str, ...], expected: Any) -> None:
    assert families(spec, cluster) == expected


def test_external_names_have_no_family() -> None:
    spec = {"type": "ExternalName"}
    assert assign_families(spec, None, V4) == []
    assert spec == {"type": "ExternalName"}


def test_status_of_load_balancers() -> None:
    before = created(refs.SERVICES, service(type="LoadBalancer"))
    after = copy_object(before)
    after["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "VIP"}, {"hostname": "10.1.1.1"}]}}
    assert [str(error) for error in strategy(refs.SERVICES).validate_status_update(after, before)] == [
        'status.loadBalancer.ingress[1].hostname: Invalid value: "10.1.1.1": must be a DNS name, not an IP address'
    ]
    other = created(refs.SERVICES, service())
    other["status"] = after["status"]
    assert [str(error) for error in strategy(refs.SERVICES).validate_status_update(other, other)] == [
        "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"
    ]


def test_warnings() -> None:
    obj = created(refs.SERVICES, service(clusterIP="None", externalIPs=["192.0.2.1"], sessionAffinity="ClientIP"))
    assert strategy(refs.SERVICES).warnings(obj, None) == [
        "spec.externalIPs is ignored for headless services",
        "spec.SessionAffinity is ignored for headless services",
    ]
