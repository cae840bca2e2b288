"""Addresses and networks beyond what `kinds.rules` checks: canonical spelling, and warnings where it is only advised.

Source: KEP-4858 (IP/CIDR validation improvements)
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from timonel.api.field_errors import Path, invalid, quote
from timonel.api.kinds.rules import Errors, check_cidr, check_ip, parse_ip

Network = IPv4Network | IPv6Network


def parse_cidr(text: str) -> Network | None:
    """The network, with bits beyond the prefix cut off; None for anything else."""
    address, slash, length = text.partition("/")
    parsed = parse_ip(address) if "%" not in address else None
    if not slash or parsed is None or not (length.isascii() and length.isdigit()):
        return None
    try:
        return ip_network(f"{parsed}/{int(length)}", strict=False)
    except ValueError:
        return None


def check_canonical_cidr(errors: Errors, path: Path, text: str) -> None:
    """For fields newer than strict validation: one spelling only."""
    if check_cidr(errors, path, text) and str(network := parse_cidr(text)) != text:
        errors.append(invalid(path, text, f'must be in canonical form ("{network}")'))


def canonical_ip_findings(text: str) -> list[str]:
    """What is wrong with the name of an IPAddress, worded without value and path."""
    errors: Errors = []
    if check_ip(errors, Path(), text) and str(address := parse_ip(text)) != text:
        return [f'must be in canonical form ("{address}")']
    return [error.message.removeprefix(f"Invalid value: {quote(text)}: ") for error in errors]


def same_family(first: str, second: str) -> bool:
    one, other = parse_cidr(first), parse_cidr(second)
    return one is not None and other is not None and one.version == other.version


def is_strict_subset(part: Network, whole: Network) -> bool:
    if part.prefixlen <= whole.prefixlen:
        return False
    if isinstance(part, IPv4Network) and isinstance(whole, IPv4Network):
        return part.subnet_of(whole)
    return isinstance(part, IPv6Network) and isinstance(whole, IPv6Network) and part.subnet_of(whole)


def address_warnings(path: Path, text: str) -> list[str]:
    """For fields that took any spelling once, and keep what is stored."""
    address = parse_ip(text)
    if address is None:
        return []
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    if mapped is not None or (isinstance(address, IPv4Address) and str(address) != text):
        return [f'{path}: non-standard IP address "{text}" is invalid: use "{mapped or address}"']
    if str(address) != text:
        return [f'{path}: IPv6 address "{text}" should be in RFC 5952 canonical format ("{address}")']
    return []


def cidr_warnings(path: Path, text: str) -> list[str]:
    network, address = parse_cidr(text), parse_ip(text.partition("/")[0])
    if network is None or address is None:
        return []
    found = []
    if address != network.network_address:
        single = f"{address}/{network.max_prefixlen}"
        found.append(f'{path}: CIDR value "{text}" is ambiguous in this context (should be "{network}" or "{single}"?)')
    written, _, length = text.partition("/")
    mapped = isinstance(address, IPv6Address) and address.ipv4_mapped is not None
    if mapped or length != str(network.prefixlen) or (address.version == 4 and written != str(address)):
        found.append(f'{path}: non-standard CIDR value "{text}" is invalid: use "{network}"')
    if not found and address.version == 6 and str(network) != text:
        found.append(f'{path}: IPv6 CIDR value "{text}" should be in RFC 5952 canonical format ("{network}")')
    return found
