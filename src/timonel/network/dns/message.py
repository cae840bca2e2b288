"""DNS packets (RFC 1035, EDNS RFC 6891) to questions and answers; dnslib does the encoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import dnslib
from dnslib import QTYPE, RCODE, RR, DNSHeader, DNSQuestion, DNSRecord

from timonel.network.dns.zone import Answer, Record

TTL_SECONDS = 5
"""Of the cluster's own names: an endpoint that left should not be remembered for long."""
NEGATIVE_TTL_SECONDS = 5
PLAIN_UDP_BYTES = 512
LARGEST_UDP_BYTES = 1232
"""What never fragments on common links (dnsflagday.net/2020)."""

_UNREADABLE = (dnslib.DNSError, ValueError, IndexError)
"""What dnslib raises for packets that are none; decoding errors are ValueErrors."""


class BadMessage(ValueError):
    """Not a query that can be answered, not even with an error."""


@dataclass(frozen=True, slots=True)
class Query:
    id: int
    name: str
    """Lower case, without the final dot."""
    type: str
    is_class_in: bool
    opcode: int
    udp_bytes: int
    """Largest UDP answer the client takes."""
    has_edns: bool
    question: DNSQuestion


def parse_query(packet: bytes) -> Query:
    """Raises BadMessage for replies, truncated packets and anything but one question."""
    try:
        record = DNSRecord.parse(packet)
    except _UNREADABLE as error:
        raise BadMessage(str(error)) from error
    if record.header.qr or len(record.questions) != 1:
        raise BadMessage("not one question")
    edns = next((item for item in record.ar if item.rtype == QTYPE.OPT), None)
    question = record.questions[0]
    return Query(
        id=record.header.id,
        name=str(question.qname).rstrip(".").lower(),
        type=_type_name(question.qtype),
        is_class_in=question.qclass == 1,
        opcode=record.header.opcode,
        udp_bytes=max(PLAIN_UDP_BYTES, min(edns.rclass, LARGEST_UDP_BYTES)) if edns else PLAIN_UDP_BYTES,
        has_edns=edns is not None,
        question=question,
    )


def _type_name(code: int) -> str:
    try:
        return str(QTYPE[code])
    except dnslib.DNSError:
        return f"TYPE{code}"


def render_answer(query: Query, answer: Answer, domain: str) -> bytes:
    """An authoritative answer; NXDOMAIN and NODATA carry the zone's SOA for negative caching (RFC 2308)."""
    reply = _reply(query, RCODE.NOERROR if answer.exists else RCODE.NXDOMAIN, authoritative=True)
    for record in answer.records:
        reply.add_answer(_resource(record))
    for record in answer.extra:
        reply.add_ar(_resource(record))
    if not answer.records:
        reply.add_auth(_soa(domain))
    return bytes(reply.pack())


def render_error(query: Query, code: int) -> bytes:
    return bytes(_reply(query, code, authoritative=False).pack())


def render_truncated(query: Query) -> bytes:
    """Tells the client to come again by TCP."""
    reply = _reply(query, RCODE.NOERROR, authoritative=False)
    reply.header.tc = 1
    return bytes(reply.pack())


def render_with_answers(query: Query, records: Sequence[Record], upstream: bytes) -> bytes:
    """Puts our own CNAME before an upstream's answer to its target; a failure when that is no DNS message."""
    try:
        answered = DNSRecord.parse(upstream).rr
    except _UNREADABLE:
        return render_error(query, RCODE.SERVFAIL)
    reply = _reply(query, RCODE.NOERROR, authoritative=True)
    for record in records:
        reply.add_answer(_resource(record))
    for item in answered:
        reply.add_answer(item)
    return bytes(reply.pack())


def least_ttl(packet: bytes) -> int:
    """How long an upstream's answer may be kept: its smallest TTL, or the SOA's for a negative one; 0 never."""
    try:
        record = DNSRecord.parse(packet)
    except _UNREADABLE:
        return 0
    if record.header.rcode not in (RCODE.NOERROR, RCODE.NXDOMAIN) or record.header.tc:
        return 0
    items = record.rr or [item for item in record.auth if item.rtype == QTYPE.SOA]
    return min((int(item.ttl) for item in items), default=0)


def _reply(query: Query, code: int, *, authoritative: bool) -> DNSRecord:
    header = DNSHeader(id=query.id, qr=1, aa=int(authoritative), ra=1, rd=1, rcode=code)
    reply = DNSRecord(header, q=query.question)
    if query.has_edns:
        reply.add_ar(dnslib.EDNS0(udp_len=LARGEST_UDP_BYTES))
    return reply


def _resource(record: Record) -> RR:
    data: object
    if record.type == "A":
        data = dnslib.A(record.value)
    elif record.type == "SRV":
        priority, weight, port, target = record.value.split(" ")
        data = dnslib.SRV(int(priority), int(weight), int(port), target)
    elif record.type == "PTR":
        data = dnslib.PTR(record.value)
    elif record.type == "CNAME":
        data = dnslib.CNAME(record.value)
    else:
        data = dnslib.TXT(record.value)
    return RR(record.name, getattr(QTYPE, record.type), ttl=TTL_SECONDS, rdata=data)


def _soa(domain: str) -> RR:
    times = (1, 7200, 1800, 86400, NEGATIVE_TTL_SECONDS)
    return RR(
        domain,
        QTYPE.SOA,
        ttl=NEGATIVE_TTL_SECONDS,
        rdata=dnslib.SOA(f"ns.dns.{domain}", f"hostmaster.{domain}", times),
    )
