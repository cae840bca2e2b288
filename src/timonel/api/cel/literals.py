"""Values of literals as they stand in the text."""

from __future__ import annotations

from timonel.api.cel.values import INT_MAX, INT_MIN, UINT_MAX, UInt, whole_number

_SIMPLE = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "'": "'", '"': '"', "`": "`", "?": "?",
}  # fmt: skip
_DIGITS = {"x": 2, "X": 2, "u": 4, "U": 8}


class BadLiteral(ValueError):
    """The text of the issue."""


def int_literal(text: str) -> int:
    value = int(text.replace("0x", ""), 16) if "0x" in text else whole_number(text)
    if not INT_MIN <= value <= INT_MAX:
        raise BadLiteral("invalid int literal")
    return value


def uint_literal(text: str) -> UInt:
    digits = text[:-1]
    value = int(digits, 16) if digits.startswith("0x") else whole_number(digits)
    if value > UINT_MAX:
        raise BadLiteral("invalid uint literal")
    return UInt(value)


def float_literal(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise BadLiteral("invalid double literal")
    return value


def string_literal(text: str) -> str:
    body, raw = _body(text)
    if raw or "\\" not in body:
        return body
    out: list[str] = []
    for char, code in _parts(body):
        if code >= 0 and (code > 0x10FFFF or 0xD800 <= code <= 0xDFFF):
            raise BadLiteral("invalid unicode code point")
        out.append(chr(code) if code >= 0 else char)
    return "".join(out)


def bytes_literal(text: str) -> bytes:
    """`text` without the b. Escapes in numbers are bytes."""
    body, raw = _body(text)
    if raw or "\\" not in body:
        return body.encode()
    out = bytearray()
    for char, code in _parts(body, in_bytes=True):
        if code >= 0:
            out.append(code)
        else:
            out += char.encode()
    return bytes(out)


def _body(text: str) -> tuple[str, bool]:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    raw = text[0] in "rR"
    text = text[1:] if raw else text
    width = 3 if len(text) >= 6 and text[:3] in ('"""', "'''") else 1
    return text[width:-width], raw


def _parts(body: str, *, in_bytes: bool = False) -> list[tuple[str, int]]:
    """Characters as they are with -1, and codes of escapes in numbers."""
    parts: list[tuple[str, int]] = []
    at = 0
    while at < len(body):
        if body[at] != "\\":
            parts.append((body[at], -1))
            at += 1
            continue
        kind = body[at + 1]
        if kind in _SIMPLE:
            parts.append((_SIMPLE[kind], -1))
            at += 2
        elif kind in _DIGITS:
            if in_bytes and kind in "uU":
                raise BadLiteral("unable to unescape string")
            end = at + 2 + _DIGITS[kind]
            parts.append(("", int(body[at + 2 : end], 16)))
            at = end
        else:
            parts.append(("", int(body[at + 1 : at + 4], 8)))
            at += 4
    return parts
