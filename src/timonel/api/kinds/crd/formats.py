"""Formats of strings and numbers that values are checked against; others are allowed, and mean nothing."""

from __future__ import annotations

from typing import Any

from timonel.api.kinds.crd.walking import each_schema

_STRINGS = frozenset(
    """
    bsonobjectid uri email hostname ipv4 ipv6 cidr mac uuid uuid3 uuid4 uuid5 isbn isbn10 isbn13 creditcard ssn hexcolor
    rgbcolor byte password date duration datetime k8sshortname k8slongname
    """.split()  # noqa: SIM905
)
_OTHERS = {"integer": ("int32", "int64"), "number": ("float", "double")}


def unrecognized_formats(schema: Any) -> list[str]:
    return [one["format"] for one in each_schema(schema) if one.get("format") and not _known(one)]


def _known(schema: dict[str, Any]) -> bool:
    kind, text = schema.get("type") or "", schema["format"]
    if kind in ("", "string"):
        return text.replace("-", "") in _STRINGS
    return text in _OTHERS.get(kind, ())
