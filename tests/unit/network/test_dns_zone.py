"""The cluster's names. Expected records are those of the Kubernetes DNS specification 1.1."""

from __future__ import annotations

from typing import Any

import dnslib
import pytest

from timonel.api.objects import key_of
from timonel.client.lister import Lister
from timonel.network.dns.message import BadMessage, parse_query, render_answer
from timonel.network.dns.server import _service_addresses, _slice_addresses, _slice_service
from timonel.network.dns.zone import NODATA, NXDOMAIN, Answer, Zone


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "default", "name": name}, "spec": spec}


SERVICES = [
    service(
        "web",
        clusterIP="10.96.0.20",
        clusterIPs=["10.96.0.20"],
        ports=[{"name": "http", "port": 80, "protocol": "TCP"}],
    ),
    service("db", clusterIP="None", clusterIPs=["None"], ports=[{"name": "sql", "port": 5432}]),
    service("away", type="ExternalName", externalName="example.org."),
]
SLICE = {
    "metadata": {"namespace": "default", "name": "db-1", "labels": {"kubernetes.io/service-name": "db"}},
    "addressType": "IPv4",
    "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}],
    "endpoints": [
        {"addresses": ["10.244.0.5"], "hostname": "db-0", "conditions": {"ready": True}},
        {"addresses": ["10.244.0.6"], "conditions": {}},
        {"addresses": ["10.244.0.7"], "hostname": "db-2", "conditions": {"ready": False}},
    ],
}


@pytest.fixture
def zone() -> Zone:
    services, slices = Lister(), Lister()
    services.add_index("address", _service_addresses)
    slices.add_index("service", _slice_service)
    slices.add_index("address", _slice_addresses)
    for item in SERVICES:
        services.put(key_of(item), item)
    slices.put(key_of(SLICE), SLICE)
    return Zone(domain="cluster.local", services=services, slices=slices)


def values(answer: Answer) -> list[str]:
    assert answer.exists
    return [record.value for record in answer.records]


@pytest.mark.parametrize(
    ("name", "type", "expected"),
    [
        ("web.default.svc.cluster.local", "A", ["10.96.0.20"]),
        ("_http._tcp.web.default.svc.cluster.local", "SRV", ["0 100 80 web.default.svc.cluster.local"]),
        ("20.0.96.10.in-addr.arpa", "PTR", ["web.default.svc.cluster.local"]),
        ("db.default.svc.cluster.local", "A", ["10.244.0.5", "10.244.0.6"]),
        ("db-0.db.default.svc.cluster.local", "A", ["10.244.0.5"]),
        ("10-244-0-6.db.default.svc.cluster.local", "A", ["10.244.0.6"]),
        (
            "_sql._tcp.db.default.svc.cluster.local",
            "SRV",
            ["0 50 5432 10-244-0-6.db.default.svc.cluster.local", "0 50 5432 db-0.db.default.svc.cluster.local"],
        ),
        ("5.0.244.10.in-addr.arpa", "PTR", ["db-0.db.default.svc.cluster.local"]),
        ("away.default.svc.cluster.local", "A", ["example.org"]),
        ("away.default.svc.cluster.local", "CNAME", ["example.org"]),
        ("dns-version.cluster.local", "TXT", ["1.1.0"]),
        ("10-244-0-9.default.pod.cluster.local", "A", ["10.244.0.9"]),
    ],
)
def test_records_of_the_specification(zone: Zone, name: str, type: str, expected: list[str]) -> None:
    assert zone.covers(name)
    assert values(zone.answer(name, type)) == expected


@pytest.mark.parametrize(
    ("name", "type"),
    [
        ("web.default.svc.cluster.local", "AAAA"),
        ("default.svc.cluster.local", "A"),
        ("svc.cluster.local", "A"),
        ("cluster.local", "A"),
    ],
)
def test_a_name_without_that_type_is_empty_not_unknown(zone: Zone, name: str, type: str) -> None:
    answer = zone.answer(name, type)
    assert answer.exists
    assert not answer.records
    assert answer == NODATA


@pytest.mark.parametrize(
    "name",
    [
        "nothing.default.svc.cluster.local",
        "web.other.svc.cluster.local",
        "other.svc.cluster.local",
        "db-2.db.default.svc.cluster.local",
        "x.web.default.svc.cluster.local",
        "_sql._udp.db.default.svc.cluster.local",
        "999-1-1-1.default.pod.cluster.local",
        "web.default.cluster.local",
    ],
)
def test_unknown_names_do_not_exist(zone: Zone, name: str) -> None:
    assert zone.answer(name, "A") == NXDOMAIN


def test_reverse_names_of_strangers_are_left_to_upstream(zone: Zone) -> None:
    assert not zone.covers("1.2.0.192.in-addr.arpa")
    assert not zone.covers("example.org")
    assert not zone.covers("notcluster.local")


def test_negative_answers_carry_the_soa_for_caching(zone: Zone) -> None:
    query = parse_query(dnslib.DNSRecord.question("nothing.default.svc.cluster.local").pack())
    reply = dnslib.DNSRecord.parse(render_answer(query, zone.answer(query.name, query.type), "cluster.local"))
    assert reply.header.rcode == dnslib.RCODE.NXDOMAIN
    assert reply.header.aa == 1
    assert [dnslib.QTYPE[item.rtype] for item in reply.auth] == ["SOA"]


def test_names_are_compared_without_regard_to_case_and_the_question_is_echoed(zone: Zone) -> None:
    query = parse_query(dnslib.DNSRecord.question("WEB.Default.svc.cluster.local").pack())
    reply = dnslib.DNSRecord.parse(render_answer(query, zone.answer(query.name, query.type), "cluster.local"))
    assert str(reply.q.qname) == "WEB.Default.svc.cluster.local."
    assert [str(item.rdata) for item in reply.rr] == ["10.96.0.20"]


@pytest.mark.parametrize("packet", [b"", b"\0" * 11, b"\0" * 12, b"\xff" * 40])
def test_what_is_not_a_question_gets_no_answer(packet: bytes) -> None:
    with pytest.raises(BadMessage):
        parse_query(packet)
