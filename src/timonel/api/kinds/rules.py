"""Checks that many kinds share. Each appends its findings, in upstream's words, to the list it is given.

A check builds paths only where it finds something: most objects are fine, and paths cost more than the checks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, forbidden, invalid, not_supported, required, too_long
from timonel.api.names import (
    validate_dns1123_label,
    validate_dns1123_subdomain,
    validate_label_value,
    validate_percent,
    validate_port_name,
    validate_port_number,
    validate_qualified_name,
)

Errors = list[FieldError]
Rule = Callable[[str], list[str]]

IMMUTABLE = "field is immutable"
NOT_NEGATIVE = "must be greater than or equal to 0"
POSITIVE = "must be greater than zero"
PROTOCOLS = ("SCTP", "TCP", "UDP")
ANNOTATIONS_LIMIT = 256 * 1024  # bytes, keys and values together
_LONGEST_IP = 64  # characters, leading zeros included; far more digits are no number to Python
_HTTP_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
_http_path_match = re.compile(_HTTP_PATH).fullmatch


def check_text(errors: Errors, path: Path, text: str, rule: Rule) -> None:
    """Text that one of the rules of `timonel.api.names` judges."""
    for why in rule(text):
        errors.append(invalid(path, text, why))


def check_label(errors: Errors, path: Path, text: str) -> None:
    check_text(errors, path, text, validate_dns1123_label)


def check_subdomain(errors: Errors, path: Path, text: str) -> None:
    check_text(errors, path, text, validate_dns1123_subdomain)


def check_qualified_name(errors: Errors, path: Path, text: str) -> None:
    check_text(errors, path, text, validate_qualified_name)


def check_required_label(errors: Errors, path: Path, text: str) -> None:
    if text:
        check_text(errors, path, text, validate_dns1123_label)
    else:
        errors.append(required(path))


def check_domain_prefixed_path(errors: Errors, path: Path, text: str) -> None:
    """What belongs to a domain, such as "example.com/queue"; what follows the slash is for HTTP paths."""
    if not text:
        errors.append(required(path))
        return
    domain, _, rest = text.partition("/")
    if not domain or not rest:
        errors.append(invalid(path, text, 'must be a domain-prefixed path (such as "acme.io/foo")'))
        return
    check_text(errors, path, domain, validate_dns1123_subdomain)
    if not _http_path_match(rest):
        errors.append(invalid(path, rest, f"Invalid path (regex used for validation is '{_HTTP_PATH}')"))


def check_choice(errors: Errors, path: Path, value: str | None, choices: Iterable[str]) -> None:
    """One of `choices`, which messages list in the order given; empty is missing."""
    if not value:
        errors.append(required(path))
    elif value not in choices:
        errors.append(not_supported(path, value, choices))


def check_option(errors: Errors, path: Path, value: Any, choices: Iterable[str]) -> None:
    """Like `check_choice` for an optional field: only None may be left out."""
    if value is not None and value not in choices:
        errors.append(not_supported(path, value, choices))


def check_not_negative(errors: Errors, path: Path, value: int | None) -> None:
    if value is not None and value < 0:
        errors.append(invalid(path, value, NOT_NEGATIVE))


def check_positive(errors: Errors, path: Path, value: int) -> None:
    if value <= 0:
        errors.append(invalid(path, value, POSITIVE))


def check_between(errors: Errors, path: Path, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        errors.append(invalid(path, value, f"must be between {low} and {high}, inclusive"))


def check_immutable(errors: Errors, path: Path, new: Any, old: Any) -> None:
    if new != old and (new or old):
        errors.append(invalid(path, new, IMMUTABLE))


def check_port(errors: Errors, path: Path, port: Any) -> None:
    """A port number, or the name of one (IntOrString)."""
    if isinstance(port, str):
        check_text(errors, path, port, validate_port_name)
    else:
        for why in validate_port_number(port or 0):
            errors.append(invalid(path, port or 0, why))


def check_labels(errors: Errors, path: Path, labels: Mapping[str, str] | None) -> None:
    if not labels:
        return
    for key, value in labels.items():
        check_text(errors, path, key, validate_qualified_name)
        check_text(errors, path, value, validate_label_value)


def check_annotations(errors: Errors, path: Path, annotations: Mapping[str, str] | None) -> None:
    if not annotations:
        return
    size = 0
    for key, value in annotations.items():
        for why in validate_qualified_name(key.lower()):
            errors.append(invalid(path, key, why))
        size += len(key.encode()) + len(value.encode())
    if size > ANNOTATIONS_LIMIT:
        errors.append(too_long(path, ANNOTATIONS_LIMIT))


def check_label_selector(errors: Errors, path: Path, selector: Mapping[str, Any] | None) -> None:
    """meta/v1 LabelSelector."""
    if not selector:
        return
    check_labels(errors, path / "matchLabels", selector.get("matchLabels"))
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        check_label_requirement(errors, (path / "matchExpressions")[index], expression)


def check_label_requirement(
    errors: Errors, path: Path, requirement: Mapping[str, Any], *, any_operator: bool = False
) -> None:
    """meta/v1 LabelSelectorRequirement. With `any_operator`, operators that are not known here pass."""
    check_requirement_values(errors, path, requirement, any_operator=any_operator)
    check_qualified_name(errors, path / "key", requirement.get("key") or "")
    for position, value in enumerate(requirement.get("values") or ()):
        for why in validate_label_value(value):
            errors.append(invalid((path / "values")[position], value, why))


def check_requirement_values(
    errors: Errors, path: Path, requirement: Mapping[str, Any], *, any_operator: bool = False
) -> None:
    """That the operator of a requirement, on labels or fields, has values if it needs some, and only then."""
    operator, values = requirement.get("operator"), requirement.get("values") or []
    if operator in ("In", "NotIn"):
        if not values:
            errors.append(required(path / "values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            errors.append(forbidden(path / "values", why))
    elif not any_operator:
        errors.append(invalid(path / "operator", operator or "", "not a valid selector operator"))


@lru_cache(maxsize=2048)
def parse_ip(text: str) -> IPv4Address | IPv6Address | None:
    """The address, also with the leading zeros that old objects may have; None for anything else.

    Remembered, for a Service's address is read a dozen times on its way to the store (40 µs of 1.3 ms).
    """
    try:
        return ip_address(text)
    except ValueError:
        parts = text.split(".")
        if len(text) > _LONGEST_IP or len(parts) != 4:
            return None
        if all(part.isdigit() and part.isascii() and int(part) < 256 for part in parts):
            return IPv4Address(".".join(str(int(part)) for part in parts))
        return None


def check_ip(errors: Errors, path: Path, text: str, old: Iterable[str] = ()) -> bool:
    """An IP address in an accepted form; what the old object already had stays. True when it is fine."""
    if text in old:
        return True
    address = parse_ip(text) if "%" not in text else None
    if address is None:
        errors.append(invalid(path, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"))
        return False
    if address.version == 4 and str(address) != text:
        errors.append(invalid(path, text, "must not have leading 0s"))
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        errors.append(invalid(path, text, "must not be an IPv4-mapped IPv6 address"))
        return False
    return True


def check_cidr(errors: Errors, path: Path, text: str, old: Iterable[str] = ()) -> bool:
    if text in old:
        return True
    address, slash, length = text.partition("/")
    if not slash or not length.isdigit() or parse_ip(address) is None or "%" in address:
        errors.append(invalid(path, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"))
        return False
    try:
        network = ip_network(f"{parse_ip(address)}/{int(length)}", strict=False)
    except ValueError:
        errors.append(invalid(path, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"))
        return False
    before = len(errors)
    parsed = parse_ip(address)
    if (length != str(int(length))) or (network.version == 4 and str(parsed) != address):
        errors.append(invalid(path, text, "must not have leading 0s in IP or prefix length"))
    elif isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        errors.append(invalid(path, text, "must not have an IPv4-mapped IPv6 address"))
    elif network.network_address != parsed:
        errors.append(invalid(path, text, "must not have bits set beyond the prefix length"))
    return len(errors) == before


def check_endpoint_ip(errors: Errors, path: Path, text: str) -> None:
    """Addresses that traffic can be sent to from other hosts."""
    address = parse_ip(text)
    if address is None:
        errors.append(invalid(path, text, "must be a valid IP address"))
        return
    if address.is_unspecified:
        errors.append(invalid(path, text, f"may not be unspecified ({text})"))
    if address.is_loopback:
        errors.append(invalid(path, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
    if address.is_link_local:
        errors.append(invalid(path, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"))
    if address in _LINK_LOCAL_MULTICAST[address.version]:
        errors.append(invalid(path, text, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"))


_LINK_LOCAL_MULTICAST = {4: ip_network("224.0.0.0/24"), 6: ip_network("ff02::/16")}


def is_dual_stack(addresses: Iterable[str]) -> bool:
    """Whether the addresses are of both families, one each at most two."""
    versions = [address.version for address in map(parse_ip, addresses) if address is not None]
    return 4 in versions and 6 in versions


def check_count_or_percent(errors: Errors, path: Path, value: Any) -> None:
    """IntOrString: a count of at least 0, or a percentage."""
    if isinstance(value, str):
        check_text(errors, path, value, validate_percent)
    else:
        check_not_negative(errors, path, value)


def int_or_percent(value: Any) -> Decimal:
    """The number, or the one before "%"; 0 when there is none."""
    if isinstance(value, int):
        return Decimal(value)
    text = str(value).removesuffix("%")
    return Decimal(text) if text.isdigit() else Decimal(0)


def check_at_most_all(errors: Errors, path: Path, value: Any) -> None:
    """A percentage is at most 100%; counts may be any."""
    if isinstance(value, str) and not validate_percent(value) and int_or_percent(value) > 100:
        errors.append(invalid(path, value, "must not be greater than 100%"))


def ip_warnings(path: Path, text: str) -> list[str]:
    """IPv6 addresses have many spellings; only the canonical one compares well."""
    address = parse_ip(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None and str(address) != text:
        return [f'{path}: IPv6 address "{text}" should be in RFC 5952 canonical format ("{address}")']
    return []
