"""Network policies, ingresses and their classes, addresses and networks of Services, runtime classes."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api import refs
from timonel.api.objects import Object
from timonel.api.refs import ResourceRef

from .samples import ago, cells, changed, created, findings, status_findings, strategy, update_findings, warned

BAD_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def named(name: str = "x", **fields: Any) -> Object:
    return {"metadata": {"name": name, "namespace": "default", "creationTimestamp": ago(days=3)}, **fields}


def policy(*peers: Object, ports: Any = (), **spec: Any) -> Object:
    return named(spec={"podSelector": {}, "ingress": [{"from": list(peers), "ports": list(ports)}], **spec})


def block(cidr: str, *excluded: str) -> Object:
    return {"ipBlock": {"cidr": cidr, "except": list(excluded)}}


def ingress(path: Any = None, **spec: Any) -> Object:
    service = {"service": {"name": "web", "port": {"number": 80}}}
    if path is not None:
        path = {"path": "/", "pathType": "Prefix", "backend": service, **path}
        spec.setdefault("rules", [{"host": "a.example", "http": {"paths": [path]}}])
    elif not spec:
        spec = {"defaultBackend": service}
    return named(spec=spec)


FROM, PORT, PATH = "spec.ingress[0].from[0]", "spec.ingress[0].ports[0]", "spec.rules[0].http.paths[0]"
PORT_RANGE = "must be between 1 and 65535, inclusive"


def backend(**fields: Any) -> Object:
    return ingress(defaultBackend=fields)


@pytest.mark.parametrize(
    ("ref", "obj", "expected"),
    [
        (refs.NETWORK_POLICIES, policy(), []),
        (refs.NETWORK_POLICIES, policy({}), [f"{FROM}: Required value: must specify a peer"]),
        (
            refs.NETWORK_POLICIES,
            policy({"podSelector": {}, **block("10.0.0.0/8")}),
            [f"{FROM}: Forbidden: may not specify both ipBlock and another peer"],
        ),
        (refs.NETWORK_POLICIES, policy(block("10.0.0.0/8", "10.1.0.0/16")), []),
        (refs.NETWORK_POLICIES, policy(block("")), [f"{FROM}.ipBlock.cidr: Required value"]),
        (
            refs.NETWORK_POLICIES,
            policy(block("10.0.0.0")),
            [f'{FROM}.ipBlock.cidr: Invalid value: "10.0.0.0": {BAD_CIDR}'],
        ),
        (
            refs.NETWORK_POLICIES,
            policy(block("::ffff:10.0.0.0/104")),
            [
                f'{FROM}.ipBlock.cidr: Invalid value: "::ffff:10.0.0.0/104": must not have an IPv4-mapped IPv6 '
                "address"
            ],
        ),
        (
            refs.NETWORK_POLICIES,
            policy(block("10.0.0.0/8", "10.0.0.0/8", "11.0.0.0/16", "fd00::/64", "x")),
            [
                f'{FROM}.ipBlock.except[0]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`',
                f'{FROM}.ipBlock.except[1]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`',
                f'{FROM}.ipBlock.except[2]: Invalid value: "fd00::/64": must be a strict subset of `cidr`',
                f'{FROM}.ipBlock.except[3]: Invalid value: "x": {BAD_CIDR}',
            ],
        ),
        (
            refs.NETWORK_POLICIES,
            policy(ports=[{"protocol": "ICMP", "port": 0}]),
            [
                f'{PORT}.protocol: Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP"',
                f"{PORT}.port: Invalid value: 0: {PORT_RANGE}",
            ],
        ),
        (
            refs.NETWORK_POLICIES,
            policy(ports=[{"port": 80, "endPort": 79}]),
            [f"{PORT}.endPort: Invalid value: 80: must be greater than or equal to `port`"],
        ),
        (
            refs.NETWORK_POLICIES,
            policy(ports=[{"port": "http", "endPort": 81}]),
            [f"{PORT}.endPort: Invalid value: 81: may not be specified when `port` is non-numeric"],
        ),
        (
            refs.NETWORK_POLICIES,
            policy(ports=[{"endPort": 81}]),
            [f"{PORT}.endPort: Invalid value: 81: may not be specified when `port` is not specified"],
        ),
        (
            refs.NETWORK_POLICIES,
            policy(policyTypes=["ingress"]),
            ['spec.policyTypes[0]: Unsupported value: "ingress": supported values: "Ingress", "Egress"'],
        ),
        (
            refs.NETWORK_POLICIES,
            policy(policyTypes=["a", "b", "c"]),
            ['spec.policyTypes: Invalid value: ["a","b","c"]: may not specify more than two policyTypes'],
        ),
        (refs.INGRESSES, ingress(), []),
        (refs.INGRESSES, ingress({}), []),
        (
            refs.INGRESSES,
            ingress(ingressClassName="c"),
            ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"],
        ),
        (
            refs.INGRESSES,
            backend(),
            ['spec.defaultBackend: Invalid value: "": resource or service backend is required'],
        ),
        (
            refs.INGRESSES,
            backend(service={"name": "", "port": {"name": "http", "number": 80}}),
            [
                "spec.defaultBackend.service.name: Required value",
                'spec.defaultBackend: Invalid value: "": cannot set both port name & port number',
            ],
        ),
        (
            refs.INGRESSES,
            backend(service={"name": "1web"}),
            ["spec.defaultBackend: Required value: port name or number is required"],
        ),
        (
            refs.INGRESSES,
            backend(resource={"kind": "a/b"}),
            [
                "spec.defaultBackend.resource.kind: Invalid value: \"a/b\": may not contain '/'",
                "spec.defaultBackend.resource.name: Required value",
            ],
        ),
        (
            refs.INGRESSES,
            ingress({"path": "a//b/.."}),
            [
                f'{PATH}.path: Invalid value: "a//b/..": must be an absolute path',
                f"{PATH}.path: Invalid value: \"a//b/..\": must not contain '//'",
                f"{PATH}.path: Invalid value: \"a//b/..\": cannot end with '/..'",
            ],
        ),
        (refs.INGRESSES, ingress({"path": "", "pathType": "ImplementationSpecific"}), []),
        (refs.INGRESSES, ingress({"pathType": None}), [f"{PATH}.pathType: Required value: pathType must be specified"]),
        (
            refs.INGRESSES,
            ingress({"pathType": "Regex"}),
            [
                f'{PATH}.pathType: Unsupported value: "Regex": supported values: "Exact", "ImplementationSpecific", '
                '"Prefix"'
            ],
        ),
        (
            refs.INGRESSES,
            ingress(rules=[{"host": "10.0.0.1", "http": {}}, {"host": "*.a.example"}]),
            [
                'spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address',
                "spec.rules[0].http.paths: Required value",
            ],
        ),
        (refs.INGRESS_CLASSES, named(spec={"controller": "acme.io/foo"}), []),
        (refs.INGRESS_CLASSES, named(), ["spec.controller: Required value"]),
        (
            refs.INGRESS_CLASSES,
            named(spec={"controller": "foo"}),
            [
                'spec.controller: Invalid value: "foo": must be a domain-prefixed path (such as "acme.io/foo")'
            ],
        ),
        (
            refs.INGRESS_CLASSES,
            named(spec={"controller": "a.io/b", "parameters": {"kind": "K", "name": "n", "namespace": "ns"}}),
            ["spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"],
        ),
        (
            refs.INGRESS_CLASSES,
            named(spec={"controller": "a.io/b", "parameters": {"kind": "K", "name": "n", "scope": "Namespace"}}),
            ["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"],
        ),
        (
            refs.IP_ADDRESSES,
            named("10.0.0.1", spec={"parentRef": {"resource": "services", "name": "web", "namespace": "default"}}),
            [],
        ),
        (refs.IP_ADDRESSES, named("10.0.0.1"), ["spec.parentRef: Required value"]),
        (
            refs.IP_ADDRESSES,
            named("10.0.0.1", spec={"parentRef": {}}),
            ["spec.parentRef.resource: Required value", "spec.parentRef.name: Required value"],
        ),
        (refs.SERVICE_CIDRS, named(spec={"cidrs": ["10.96.0.0/12", "fd00::/112"]}), []),
        (refs.SERVICE_CIDRS, named(), ["spec.cidrs: Required value: at least one CIDR required"]),
        (
            refs.SERVICE_CIDRS,
            named(spec={"cidrs": ["10.96.0.0/12", "10.0.0.0/16"]}),
            [
                'spec.cidrs: Invalid value: ["10.96.0.0/12","10.0.0.0/16"]: may specify no more than one IP for each '
                "IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
            ],
        ),
        (
            refs.SERVICE_CIDRS,
            named(spec={"cidrs": ["fd00:0::/112", "10.96.0.1/12"]}),
            [
                'spec.cidrs[0]: Invalid value: "fd00:0::/112": must be in canonical form ("fd00::/112")',
                'spec.cidrs[1]: Invalid value: "10.96.0.1/12": must not have bits set beyond the prefix length',
            ],
        ),
        (refs.RUNTIME_CLASSES, named(handler="kata", overhead={"podFixed": {"cpu": "250m"}}), []),
        (refs.RUNTIME_CLASSES, named(), ["handler: Required value"]),
        (
            refs.RUNTIME_CLASSES,
            named(
                handler="kata", overhead={"podFixed": {"cpu": "-1"}},
                scheduling={"tolerations": [{"key": "a", "operator": "Exists"}] * 2},
            ),
            [
                'overhead.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0',
                'scheduling.tolerations[1]: Duplicate value: {"key":"a","operator":"Exists"}',
            ],
        ),
    ],
    ids=lambda value: value.kind if isinstance(value, ResourceRef) else "",
)  # fmt: skip
def test_rules(ref: ResourceRef, obj: Object, expected: list[str]) -> None:
    assert findings(ref, obj) == expected


def test_policy_defaults() -> None:
    spec = created(refs.NETWORK_POLICIES, policy(ports=[{"port": 80}]))["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    assert spec["ingress"][0]["ports"] == [{"port": 80, "protocol": "TCP"}]
    assert created(refs.NETWORK_POLICIES, policy(egress=[{}]))["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert created(refs.NETWORK_POLICIES, policy(policyTypes=["Egress"]))["spec"]["policyTypes"] == ["Egress"]


def test_a_policy_keeps_networks_that_were_accepted_before() -> None:
    old = policy(block("010.0.0.0/8"))
    assert len(findings(refs.NETWORK_POLICIES, old)) == 1
    assert update_findings(refs.NETWORK_POLICIES, old, changed("spec", "policyTypes", to=["Ingress"])) == []
    new = changed("spec", "ingress", 0, "from", to=[block("011.0.0.0/8")])
    assert update_findings(refs.NETWORK_POLICIES, old, new) == [
        f'{FROM}.ipBlock.cidr: Invalid value: "011.0.0.0/8": must not have leading 0s in IP or prefix length'
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.0/8", []),
        (
            "10.1.0.0/8",
            ['CIDR value "10.1.0.0/8" is ambiguous in this context (should be "10.0.0.0/8" or "10.1.0.0/32"?)'],
        ),
        ("010.0.0.0/8", ['non-standard CIDR value "010.0.0.0/8" is invalid: use "10.0.0.0/8"']),
        ("FD00::/64", ['IPv6 CIDR value "FD00::/64" should be in RFC 5952 canonical format ("fd00::/64")']),
    ],
)
def test_policy_warnings(text: str, expected: list[str]) -> None:
    found = warned(refs.NETWORK_POLICIES, policy(block(text)))
    assert found == [f"{FROM}.ipBlock.cidr: {why}" for why in expected]


def test_ingress_class_annotation() -> None:
    obj = ingress()
    obj["metadata"]["annotations"] = {"kubernetes.io/ingress.class": "old"}
    assert warned(refs.INGRESSES, obj) == [
        "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"
    ]
    obj["spec"]["ingressClassName"] = "new"
    assert findings(refs.INGRESSES, obj) == [
        'annotations.kubernetes.io/ingress.class: Invalid value: "old": must match `ingressClassName` when both are '
        "specified"
    ]
    assert update_findings(refs.INGRESSES, obj, changed("spec", "ingressClassName", to="newer")) == []


def test_ingress_status() -> None:
    old = created(refs.INGRESSES, ingress())
    change = changed(
        "status",
        to={"loadBalancer": {"ingress": [{"ip": "10.0.0.01"}, {"hostname": "192.0.2.1"}, {"hostname": "a.b"}]}},
    )
    assert status_findings(refs.INGRESSES, old, change) == [
        'status.loadBalancer.ingress[0].ip: Invalid value: "10.0.0.01": must not have leading 0s',
        'status.loadBalancer.ingress[1].hostname: Invalid value: "192.0.2.1": must be a DNS name, not an IP address',
    ]
    old["status"] = {"loadBalancer": {"ingress": [{"ip": "FD00::1"}]}}
    assert strategy(refs.INGRESSES).status_warnings(old, old) == [
        'status.loadBalancer.ingress[0]: IPv6 address "FD00::1" should be in RFC 5952 canonical format ("fd00::1")'
    ]


@pytest.mark.parametrize(
    ("ref", "obj", "change", "expected"),
    [
        (
            refs.INGRESS_CLASSES, named(spec={"controller": "a.io/b"}), changed("spec", "controller", to="a.io/c"),
            ['spec.controller: Invalid value: "a.io/c": field is immutable'],
        ),
        (
            refs.IP_ADDRESSES, named("10.0.0.1", spec={"parentRef": {"resource": "services", "name": "a"}}),
            changed("spec", "parentRef", "name", to="b"),
            ['spec.parentRef: Invalid value: {"resource":"services","name":"b"}: field is immutable'],
        ),
        (
            refs.SERVICE_CIDRS, named(spec={"cidrs": ["10.96.0.0/12"]}),
            changed("spec", "cidrs", to=["10.96.0.0/12", "fd00::/112"]), [],
        ),
        (
            refs.SERVICE_CIDRS, named(spec={"cidrs": ["10.96.0.0/12"]}), changed("spec", "cidrs", to=["10.0.0.0/12"]),
            ['spec.cidrs[0]: Invalid value: "10.0.0.0/12": field is immutable'],
        ),
        (
            refs.SERVICE_CIDRS, named(spec={"cidrs": ["10.96.0.0/12", "fd00::/112"]}),
            changed("spec", "cidrs", to=["10.96.0.0/12"]),
            ['spec.cidrs: Invalid value: ["10.96.0.0/12"]: field is immutable'],
        ),
        (
            refs.RUNTIME_CLASSES, named(handler="kata"), changed("handler", to="runc"),
            ['handler: Invalid value: "runc": field is immutable'],
        ),
    ],
    ids=lambda value: value.kind if isinstance(value, ResourceRef) else "",
)  # fmt: skip
def test_updates(ref: ResourceRef, obj: Object, change: Any, expected: list[str]) -> None:
    assert update_findings(ref, obj, change) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("10.0.0.1", []),
        ("fd00::1", []),
        ("FD00::1", ['must be in canonical form ("fd00::1")']),
        ("10.0.0.01", ["must not have leading 0s"]),
        ("web", ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]),
    ],
)
def test_addresses_are_named_by_themselves(name: str, expected: list[str]) -> None:
    assert strategy(refs.IP_ADDRESSES).validate_name(name) == expected


def test_columns() -> None:
    obj = policy()
    obj["spec"]["podSelector"] = {"matchLabels": {"app": "db"}}
    assert cells(refs.NETWORK_POLICIES, obj) == {"Name": "x", "Pod-Selector": "app=db", "Age": "3d"}
    assert cells(refs.NETWORK_POLICIES, policy())["Pod-Selector"] == "<none>"
    obj = ingress(
        ingressClassName="nginx", tls=[{}], rules=[{"host": "a"}, {}, {"host": "b"}, {"host": "c"}, {"host": "d"}]
    )
    obj["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}, {"hostname": "lb.example"}]}}
    assert cells(refs.INGRESSES, obj) == {
        "Name": "x", "Class": "nginx", "Hosts": "a,b,c + 2 more...", "Address": "192.0.2.2,lb.example",
        "Ports": "80, 443", "Age": "3d",
    }  # fmt: skip
    row = cells(refs.INGRESSES, ingress())
    assert (row["Class"], row["Hosts"], row["Address"], row["Ports"]) == ("<none>", "*", "", "80")
    obj = named(spec={"controller": "a.io/b", "parameters": {"apiGroup": "a.io", "kind": "K", "name": "n"}})
    obj["metadata"]["annotations"] = {"ingressclass.kubernetes.io/is-default-class": "true"}
    assert cells(refs.INGRESS_CLASSES, obj) == {
        "Name": "x (default)", "Controller": "a.io/b", "Parameters": "K.a.io/n", "Age": "3d",
    }  # fmt: skip
    parent = {"group": "", "resource": "services", "namespace": "default", "name": "web"}
    assert cells(refs.IP_ADDRESSES, named(spec={"parentRef": parent}))["ParentRef"] == "services/default/web"
    assert cells(refs.SERVICE_CIDRS, named(spec={"cidrs": ["a", "b"]}))["CIDRs"] == "a,b"
    assert cells(refs.RUNTIME_CLASSES, named(handler="kata")) == {"Name": "x", "Handler": "kata", "Age": "3d"}
