"""Formats of names, labels, keys and ports. Each check returns what is wrong, in upstream's words; empty is fine.

Lengths count UTF-8 bytes. Source: kubernetes.io/docs/concepts/overview/working-with-objects/names and .../labels.
"""

from __future__ import annotations

import re

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = f"{_LABEL}(\\.{_LABEL})*"
_DNS1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_WILDCARD = f"\\*\\.{_SUBDOMAIN}"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED})?"
_C_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
_CONDITION_REASON = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_HTTP_HEADER = "[-A-Za-z0-9]+"
_PERCENT = "[0-9]+%"

# Without the groups, which the messages show and matching does not need.
_label_match = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?").fullmatch
_subdomain_match = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*").fullmatch
_dns1035_match = re.compile(r"[a-z](?:[-a-z0-9]*[a-z0-9])?").fullmatch
_qualified_match = re.compile(r"(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]").fullmatch
_c_identifier_match = re.compile(_C_IDENTIFIER).fullmatch
_condition_reason_match = re.compile(r"[A-Za-z](?:[A-Za-z0-9_,:]*[A-Za-z0-9_])?").fullmatch
_config_key_match = re.compile(_CONFIG_KEY).fullmatch
_http_header_match = re.compile(_HTTP_HEADER).fullmatch
_percent_match = re.compile(_PERCENT).fullmatch
_port_name_match = re.compile(r"[-a-z0-9]+").fullmatch
_decimal_match = re.compile(r"0|-?[1-9][0-9]*").fullmatch

LABEL_MAX = 63
SUBDOMAIN_MAX = 253


def validate_dns1123_label(text: str) -> list[str]:
    found = _too_long(text, LABEL_MAX)
    if not _label_match(text):
        if _subdomain_match(text):
            found.append("must not contain dots")
        else:
            found.append(
                _mismatch(
                    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
                    "start and end with an alphanumeric character", _LABEL, "my-name", "123-abc",
                )
            )  # fmt: skip
    return found


def validate_dns1123_subdomain(text: str) -> list[str]:
    found = _too_long(text, SUBDOMAIN_MAX)
    if not _subdomain_match(text):
        found.append(_SUBDOMAIN_MISMATCH)
    return found


def validate_wildcard_dns1123_subdomain(text: str) -> list[str]:
    found = _too_long(text, SUBDOMAIN_MAX)
    if not (text.startswith("*.") and _subdomain_match(text[2:])):
        found.append(
            _mismatch(
                "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must "
                "consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
                _WILDCARD, "*.example.com",
            )
        )  # fmt: skip
    return found


def validate_dns1035_label(text: str) -> list[str]:
    found = _too_long(text, LABEL_MAX)
    if not _dns1035_match(text):
        found.append(
            _mismatch(
                "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
                "character, and end with an alphanumeric character", _DNS1035, "my-name", "abc-123",
            )
        )  # fmt: skip
    return found


def validate_qualified_name(text: str) -> list[str]:
    """Label and annotation keys, taint keys, resource names: an optional DNS prefix and "/", then a name."""
    if len(text) <= LABEL_MAX and _qualified_match(text):
        return []  # as most are
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        return [f"a valid label key {_QUALIFIED_MISMATCH} with an optional DNS subdomain prefix and '/' "
                "(e.g. 'example.com/MyName')"]  # fmt: skip
    found = []
    if slash and not prefix:
        found.append("prefix part must be non-empty")
    elif slash:
        found += [f"prefix part {why}" for why in _too_long(prefix, SUBDOMAIN_MAX, "bytes")]
        if not _subdomain_match(prefix):
            found.append(f"prefix part {_SUBDOMAIN_MISMATCH}")
    if not name:
        found.append("name part must be non-empty")
    else:
        found += [f"name part {why}" for why in _too_long(name, LABEL_MAX, "bytes")]
    if not _qualified_match(name):
        found.append(f"name part {_QUALIFIED_MISMATCH}")
    return found


def validate_label_value(text: str) -> list[str]:
    if not text or (len(text) <= LABEL_MAX and _qualified_match(text)):
        return []
    found = _too_long(text, LABEL_MAX, "bytes")
    if not _qualified_match(text):
        found.append(
            _mismatch(
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
                "must start and end with an alphanumeric character", _LABEL_VALUE, "MyValue", "my_value", "12345",
            )
        )  # fmt: skip
    return found


def validate_path_segment(text: str, *, prefix: bool = False) -> list[str]:
    """Names of RBAC objects and the like: anything that can be one segment of a URL path."""
    found = []
    if not prefix and text in (".", ".."):
        return [f"may not be '{text}'"]
    for banned in ("/", "%"):
        if banned in text:
            found.append(f"may not contain '{banned}'")
    return found


def validate_c_identifier(text: str) -> list[str]:
    if _c_identifier_match(text):
        return []
    return [
        _mismatch(
            "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric "
            "characters or '_'", _C_IDENTIFIER, "my_name", "MY_NAME", "MyName",
        )
    ]  # fmt: skip


def validate_condition_reason(text: str) -> list[str]:
    """One word in CamelCase, as conditions have it; some were made of several with ":" or "," between."""
    if _condition_reason_match(text):
        return []
    return [
        _mismatch(
            "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
            "characters or '_,:', and must end with an alphanumeric character or '_'",
            _CONDITION_REASON, "my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB",
        )
    ]  # fmt: skip


def validate_env_name(text: str) -> list[str]:
    """Environment variables: any printable ASCII but "=", as relaxed since v1.34."""
    found = [] if text else ["environment variable name must be non-empty"]
    if not all(" " <= char <= "~" and char != "=" for char in text):
        found.append("a valid environment variable name must consist only of printable ASCII characters other than '='")
    return found


def validate_config_key(text: str) -> list[str]:
    """Keys of ConfigMaps and Secrets: they become file names, so no slash and no leading ".."."""
    found = _too_long(text, SUBDOMAIN_MAX)
    if not _config_key_match(text):
        found.append(
            _mismatch(
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
                _CONFIG_KEY, "key.name", "KEY_NAME", "key-name",
            )
        )  # fmt: skip
    if text in (".", ".."):
        found.append(f"must not be '{text}'")
    elif text.startswith(".."):
        found.append("must not start with '..'")
    return found


def validate_http_header_name(text: str) -> list[str]:
    if _http_header_match(text):
        return []
    return [_mismatch("a valid HTTP header must consist of alphanumeric characters or '-'", _HTTP_HEADER,
                      "X-Header-Name")]  # fmt: skip


def validate_port_name(text: str) -> list[str]:
    """IANA service names in lower case (RFC 6335): at most 15 of [-a-z0-9], one letter, no outer or double hyphen."""
    found = _too_long(text, 15)
    if not _port_name_match(text):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any("a" <= char <= "z" for char in text):
        found.append("must contain at least one letter (a-z)")
    if "--" in text:
        found.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        found.append("must not begin or end with a hyphen")
    return found


def validate_port_number(port: int) -> list[str]:
    return validate_range(port, 1, 65535)


def validate_range(number: int, low: int, high: int) -> list[str]:
    return [] if low <= number <= high else [f"must be between {low} and {high}, inclusive"]


def validate_percent(text: str) -> list[str]:
    if _percent_match(text):
        return []
    return [_mismatch("a valid percent string must be a numeric string followed by an ending '%'", _PERCENT,
                      "1%", "93%")]  # fmt: skip


def validate_decimal_integer(text: str) -> list[str]:
    if not text:
        return ["must be non-empty"]
    return [] if _decimal_match(text) else ["must be a valid decimal integer in canonical form"]


def mask_trailing_dash(prefix: str) -> str:
    """What a generateName is checked as: its trailing dash is legal, since a suffix will follow."""
    return prefix[:-2] + "a" if len(prefix) > 1 and prefix.endswith("-") else prefix


def _too_long(text: str, limit: int, unit: str = "characters") -> list[str]:
    length = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return [f"must be no more than {limit} {unit}"] if length > limit else []


def _mismatch(rule: str, pattern: str, *examples: str) -> str:
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{rule} (e.g. {shown}regex used for validation is '{pattern}')"


_SUBDOMAIN_MISMATCH = _mismatch(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character", _SUBDOMAIN, "example.com",
)  # fmt: skip
_QUALIFIED_MISMATCH = _mismatch(
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    _QUALIFIED, "MyName", "my.name", "123-abc",
)  # fmt: skip
