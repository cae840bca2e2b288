"""Named formats of strings: format.dns1123Label().validate(name).

Source: kubernetes.io/docs/reference/using-api/cel/#kubernetes-format-library
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from timonel.api.cel.issues import EvaluationError
from timonel.api.cel.library.urls import parse_url
from timonel.api.cel.overloads import Overload, declare
from timonel.api.cel.types import Type, struct_of
from timonel.api.cel.values import NOTHING, Opaque, Optional, parse_timestamp
from timonel.api.names import (
    mask_trailing_dash,
    validate_dns1035_label,
    validate_dns1123_label,
    validate_dns1123_subdomain,
    validate_label_value,
    validate_qualified_name,
)

FORMAT = struct_of("kubernetes.NamedFormat")
_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class Format(Opaque):
    name: str
    findings: Callable[[str], list[str]]
    pattern_size: int  # length of the pattern that upstream's costs assume
    cel_type: Type = FORMAT

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Format) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


def _of_prefix(validate: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    return lambda text: validate(mask_trailing_dash(text))


def _valid(check: Callable[[str], object], finding: str) -> Callable[[str], list[str]]:
    """One finding where the check is false or fails."""

    def findings(text: str) -> list[str]:
        try:
            return [] if check(text) else [finding]
        except (EvaluationError, ValueError, binascii.Error):
            return [finding]

    return findings


def _uri(text: str) -> list[str]:
    try:
        parse_url(text)
    except EvaluationError as exc:
        return [str(exc).partition(": ")[2]]
    return []


def _is_base64(text: str) -> bool:
    return bool(text) and base64.b64decode(text, validate=True) is not None


_FORMATS = {
    "dns1123Label": Format("DNS1123Label", validate_dns1123_label, 30),
    "dns1123Subdomain": Format("DNS1123Subdomain", validate_dns1123_subdomain, 60),
    "dns1035Label": Format("DNS1035Label", validate_dns1035_label, 30),
    "qualifiedName": Format("QualifiedName", validate_qualified_name, 60),
    "dns1123LabelPrefix": Format("DNS1123LabelPrefix", _of_prefix(validate_dns1123_label), 30),
    "dns1123SubdomainPrefix": Format("DNS1123SubdomainPrefix", _of_prefix(validate_dns1123_subdomain), 60),
    "dns1035LabelPrefix": Format("DNS1035LabelPrefix", _of_prefix(validate_dns1035_label), 30),
    "labelValue": Format("LabelValue", validate_label_value, 40),
    "uri": Format("URI", _uri, 1103),
    "uuid": Format("uuid", _valid(_UUID.fullmatch, "does not match the UUID format"), 83),
    "byte": Format("byte", _valid(_is_base64, "invalid base64"), 84),
    "date": Format("date", _valid(lambda text: _DATE.fullmatch(text) and date.fromisoformat(text), "invalid date"), 98),
    "datetime": Format("datetime", _valid(parse_timestamp, "invalid datetime"), 98),
}


def _named(name: str) -> Optional:
    return Optional(_FORMATS[name], True) if name in _FORMATS else NOTHING


def _validate(format: Format, text: str) -> Optional:
    findings = format.findings(text)
    return Optional(findings, True) if findings else NOTHING


def _constant(format: Format) -> Callable[[], Format]:
    return lambda: format


FORMATS: tuple[Overload, ...] = (
    declare("format-validate", "validate", "kubernetes.NamedFormat.(string) -> optional(list(string))", _validate),
    declare("format-named", "format.named", "(string) -> optional(kubernetes.NamedFormat)", _named),
    *(
        declare(f"format.{name}", f"format.{name}", "() -> kubernetes.NamedFormat", _constant(format))
        for name, format in _FORMATS.items()
    ),
)
