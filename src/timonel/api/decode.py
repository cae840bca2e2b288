"""Request bodies, JSON or YAML, to plain values: with the duplicate fields found, and guarded against hostile input.

Source: kubernetes.io/docs/reference/using-api/api-concepts (field validation, resource encodings).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
import yaml

from timonel.api.errors import BadRequest, UnsupportedMediaType
from timonel.api.field_errors import quote
from timonel.api.json_errors import explain_json_error
from timonel.api.yaml_loader import YamlError, load_yaml

JSON_TYPES = frozenset(
    {
        "application/json",
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    }
)
YAML_TYPES = frozenset({"application/yaml", "application/apply-patch+yaml"})

MAX_DEPTH = 200
"""Levels of lists and objects in a body. orjson writes at most 254, and lists and managed fields add some."""
_ENVELOPE_DEPTH = 254 - MAX_DEPTH

_MAX_DUPLICATES = 100


@dataclass(frozen=True, slots=True)
class Decoded:
    """`duplicates`: messages such as 'duplicate field "spec.foo"'; of such fields the last value counts."""

    obj: Any
    duplicates: list[str]


def decode(body: bytes, content_type: str = "application/json", kind: str = "") -> Decoded:
    """Reads a body; `content_type` is the header's value, parameters and all ("" is JSON).

    Raises UnsupportedMediaType for other types and BadRequest for what cannot be read; with `kind` the message
    says what was expected, as upstream's does. A pod of 2 KB costs about 17 µs, 12 of them orjson's.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    try:
        if not media_type or media_type in JSON_TYPES:
            return _decode_json(body)
        if media_type in YAML_TYPES:
            return _decode_yaml(body)
    except _Unreadable as exc:
        raise BadRequest(with_summary(str(exc), kind, body)) from None
    raise UnsupportedMediaType(
        f"the body of the request was in an unknown format - accepted media types include: "
        f"{', '.join(sorted(JSON_TYPES | YAML_TYPES))}"
    )


def cannot_be_handled(kind: str, version: str, expected_kind: str, why: str) -> BadRequest:
    """The 400 for a body of the right shape and wrong content: a type error, or in strict mode an unknown field."""
    return BadRequest(f"{kind} in version {quote(version)} cannot be handled as a {expected_kind}: {why}")


def strict_decoding_error(findings: list[str]) -> str:
    """What is wrong in strict mode: `findings` are `Decoded.duplicates` and `Checked.unknown`."""
    return f"strict decoding error: {', '.join(findings)}"


class _Unreadable(ValueError):
    """The message is upstream's reason."""


def _decode_json(body: bytes) -> Decoded:
    try:
        obj = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise _Unreadable(f"couldn't get version/kind; json parse error: {explain_json_error(body, exc)}") from None
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and is_too_deep(obj):
        raise _Unreadable("couldn't get version/kind; json parse error: exceeded max depth")
    if _may_have_duplicates(body, obj):
        obj, duplicates = _load_with_duplicates(body)
        return Decoded(obj, duplicates)
    return Decoded(obj, [])


def is_too_deep(obj: Any) -> bool:
    """Whether a value has more levels than MAX_DEPTH: the answer is orjson's, so it costs one writing of the value."""
    wrapped = obj
    for _ in range(_ENVELOPE_DEPTH):
        wrapped = [wrapped]
    try:
        orjson.dumps(wrapped)
    except orjson.JSONEncodeError:
        return True
    return False


def _may_have_duplicates(body: bytes, obj: Any) -> bool:
    """False only when there are none: the value, written again, has as many quotes as the body.

    Each key and string has two, and quotes inside are always written as a backslash and a quote, but for \\u0022.
    4 µs for 2 KB, where looking at every key with the standard library costs 45.
    """
    return b"\\u0022" in body or body.count(b'"') != orjson.dumps(obj).count(b'"')


def _load_with_duplicates(body: bytes) -> tuple[Any, list[str]]:
    import json

    # Each object with repeated keys, by identity, so that their paths can be found afterwards.
    repeated: dict[int, tuple[dict[str, Any], list[str]]] = {}

    def make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            seen: set[str] = set()
            again = [key for key, _ in pairs if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
            repeated[id(made)] = (made, again)
        return made

    obj = json.loads(body, object_pairs_hook=make_object)
    return obj, list_duplicates(obj, {key: names for key, (_, names) in repeated.items()})


def list_duplicates(obj: Any, repeated: dict[int, list[str]]) -> list[str]:
    """Messages for the repeated keys of objects given by id(), outermost first."""
    found: dict[str, None] = {}
    pending: list[tuple[Any, str]] = [(obj, "")] if repeated else []
    while pending:
        value, path = pending.pop()
        children: list[tuple[Any, str]] = []
        if isinstance(value, dict):
            for name in repeated.get(id(value), ()):
                found[f"duplicate field {quote(f'{path}.{name}' if path else name)}"] = None
            children = [(child, f"{path}.{name}" if path else name) for name, child in value.items()]
        elif isinstance(value, list):
            children = [(child, f"{path}[{index}]") for index, child in enumerate(value)]
        pending.extend(reversed(children))
    return list(found)[:_MAX_DUPLICATES]


def _decode_yaml(body: bytes) -> Decoded:
    # kubectl sends JSON under the YAML media type of server-side apply; JSON is YAML, and ten times faster to read.
    if body.lstrip()[:1] == b"{":
        try:
            return _decode_json(body)
        except _Unreadable:
            pass  # YAML in braces, or broken: the YAML reader says which
    try:
        obj, repeated = load_yaml(body, MAX_DEPTH)
    except YamlError as exc:
        raise _Unreadable(f"error converting YAML to JSON: {exc}") from None
    except yaml.YAMLError as exc:
        raise _Unreadable(f"error converting YAML to JSON: yaml: {_first_line(exc)}") from None
    return Decoded(obj, repeated)


def _first_line(exc: yaml.YAMLError) -> str:
    mark = getattr(exc, "problem_mark", None)
    problem = getattr(exc, "problem", None) or str(exc).splitlines()[0]
    return f"line {mark.line + 1}: {problem}" if mark is not None else problem


def with_summary(why: str, kind: str, body: bytes) -> str:
    """Why a body cannot be read, with what was expected and how the body begins, unless `kind` is ""."""
    if not kind:
        return why
    return f"the object provided is unrecognized (must be of type {kind}): {why} ({_summary(body)})"


def _summary(body: bytes) -> str:
    """The start of the body, in hexadecimal when it does not look like JSON."""
    if not body:
        return "<empty>"
    start = body[:30]
    shown = start.decode("utf-8", "replace") if body[:1] == b"{" else start.hex()
    return f"{shown} ..." if len(body) > 30 else shown
