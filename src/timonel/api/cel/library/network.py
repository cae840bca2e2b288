"""Addresses and networks, IPv4 and IPv6, without zones and without IPv4 in IPv6.

Source: kubernetes.io/docs/reference/using-api/cel/#kubernetes-ip-address-library
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from timonel.api.cel.issues import EvaluationError
from timonel.api.cel.overloads import Overload, declare
from timonel.api.cel.types import Type
from timonel.api.cel.values import Opaque

IP_TYPE = Type("opaque", "net.IP")
CIDR_TYPE = Type("opaque", "net.CIDR")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_BITS = re.compile(r"0|[1-9][0-9]{0,2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ip(Opaque):
    address: _Address
    cel_type: Type = IP_TYPE

    def size(self) -> int:
        return len(self.address.packed)


@dataclass(frozen=True, slots=True)
class Cidr(Opaque):
    address: _Address  # as it was written
    bits: int
    cel_type: Type = CIDR_TYPE

    def size(self) -> int:
        return len(self.address.packed)

    def network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        return ipaddress.ip_network((self.address, self.bits), strict=False)


def parse_ip(text: str) -> Ip:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as exc:
        why = f'IP Address "{text}" parse error during conversion from string: ParseAddr("{text}"): unable to parse IP'
        raise EvaluationError(why) from exc
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            raise EvaluationError(f'IP address "{text}" with zone value is not allowed')
        if address.ipv4_mapped is not None:
            raise EvaluationError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return Ip(address)


def parse_cidr(text: str) -> Cidr:
    host, slash, bits = text.rpartition("/")
    try:
        if not slash or not _BITS.fullmatch(bits):
            raise ValueError("no '/'" if not slash else "bad bits after slash")
        address = ipaddress.ip_address(host)
        if int(bits) > address.max_prefixlen or "%" in host:
            raise ValueError("prefix length out of range")
    except ValueError as exc:
        why = "network address parse error during conversion from string: "
        raise EvaluationError(f'{why * 2}netip.ParsePrefix("{text}"): {exc}') from exc
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        why = "network address parse error during conversion from string: "
        raise EvaluationError(f'{why}IPv4-mapped IPv6 address "{text}" is not allowed')
    return Cidr(address, int(bits))


def _parses(parse: object) -> object:
    def run(text: str) -> bool:
        try:
            parse(text)  # type: ignore[operator]
        except EvaluationError:
            return False
        return True

    return run


def _canonical(text: str) -> bool:
    return str(parse_ip(text).address) == text


def _global_unicast(ip: Ip) -> bool:
    address = ip.address
    broadcast = address == ipaddress.IPv4Address("255.255.255.255")
    return not (
        address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local or broadcast
    )


def _link_local_multicast(ip: Ip) -> bool:
    packed = ip.address.packed
    return packed[:3] == bytes((224, 0, 0)) if len(packed) == 4 else packed[0] == 0xFF and packed[1] & 0x0F == 2


def _contains(cidr: Cidr, ip: Ip) -> bool:
    return ip.address in cidr.network()


def _covers(cidr: Cidr, other: Cidr) -> bool:
    return cidr.address.version == other.address.version and cidr.bits <= other.bits and other.address in cidr.network()


def _masked(cidr: Cidr) -> Cidr:
    return Cidr(cidr.network().network_address, cidr.bits)


NETWORK: tuple[Overload, ...] = (
    declare("string_to_ip", "ip", "(string) -> net.IP", parse_ip),
    declare("ip_family", "family", "net.IP.() -> int", lambda ip: ip.address.version),
    declare("ip_is_canonical", "ip.isCanonical", "(string) -> bool", _canonical),
    declare("ip_is_unspecified", "isUnspecified", "net.IP.() -> bool", lambda ip: ip.address.is_unspecified),
    declare("ip_is_loopback", "isLoopback", "net.IP.() -> bool", lambda ip: ip.address.is_loopback),
    declare("ip_is_link_local_multicast", "isLinkLocalMulticast", "net.IP.() -> bool", _link_local_multicast),
    declare("ip_is_link_local_unicast", "isLinkLocalUnicast", "net.IP.() -> bool", lambda ip: ip.address.is_link_local),
    declare("ip_is_global_unicast", "isGlobalUnicast", "net.IP.() -> bool", _global_unicast),
    declare("is_ip", "isIP", "(string) -> bool", _parses(parse_ip)),  # type: ignore[arg-type]
    declare("ip_to_string", "string", "(net.IP) -> string", lambda ip: str(ip.address)),
    declare("string_to_cidr", "cidr", "(string) -> net.CIDR", parse_cidr),
    declare(
        "cidr_contains_ip_string", "containsIP", "net.CIDR.(string) -> bool",
        lambda cidr, text: _contains(cidr, parse_ip(text)),
    ),
    declare("cidr_contains_ip_ip", "containsIP", "net.CIDR.(net.IP) -> bool", _contains),
    declare(
        "cidr_contains_cidr_string", "containsCIDR", "net.CIDR.(string) -> bool",
        lambda cidr, text: _covers(cidr, parse_cidr(text)),
    ),
    declare("cidr_contains_cidr", "containsCIDR", "net.CIDR.(net.CIDR) -> bool", _covers),
    declare("cidr_ip", "ip", "net.CIDR.() -> net.IP", lambda cidr: Ip(cidr.address)),
    declare("cidr_prefix_length", "prefixLength", "net.CIDR.() -> int", lambda cidr: cidr.bits),
    declare("cidr_masked", "masked", "net.CIDR.() -> net.CIDR", _masked),
    declare("is_cidr", "isCIDR", "(string) -> bool", _parses(parse_cidr)),  # type: ignore[arg-type]
    declare("cidr_to_string", "string", "(net.CIDR) -> string", lambda cidr: f"{cidr.address}/{cidr.bits}"),
)  # fmt: skip
