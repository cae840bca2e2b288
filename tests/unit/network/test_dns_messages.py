"""What upstreams send is not to be trusted: damaged answers become failures that clients understand."""

from __future__ import annotations

import dnslib
import pytest

from timonel.network.dns.message import least_ttl, parse_query, render_with_answers
from timonel.network.dns.zone import Record

ALIAS = [Record("db.default.svc.cluster.local", "CNAME", "db.example.org")]
QUERY = parse_query(bytes(dnslib.DNSRecord.question("db.default.svc.cluster.local").pack()))


def answer() -> bytes:
    reply = dnslib.DNSRecord.question("db.example.org").reply()
    reply.add_answer(*dnslib.RR.fromZone("db.example.org 60 A 192.0.2.7"))
    return bytes(reply.pack())


def test_an_alias_comes_before_the_answer_to_its_target() -> None:
    reply = dnslib.DNSRecord.parse(render_with_answers(QUERY, ALIAS, answer()))
    assert [str(item.rdata) for item in reply.rr] == ["db.example.org.", "192.0.2.7"]


@pytest.mark.parametrize("packet", [b"", b"\0\1", answer()[:-3], answer()[:14], b"\xff" * 40])
def test_a_damaged_answer_is_a_failure(packet: bytes) -> None:
    reply = dnslib.DNSRecord.parse(render_with_answers(QUERY, ALIAS, packet))
    assert reply.header.rcode == dnslib.RCODE.SERVFAIL
    assert least_ttl(packet) == 0
