"""The protobuf form of an OpenAPI v2 document, which kubectl before 1.27 asks for and takes no other.

A small writer for the messages of gnostic's `openapi.v2` package that our documents need; field numbers are those of
its OpenAPIv2.proto (github.com/google/gnostic-models). Pure; bytes are joined bottom-up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from timonel.api.objects import Object

_VARINT, _BYTES = 0, 2
_EXTENSION = "x-"
_SCHEMA_VENDOR = 31


def encode_document(document: Object) -> bytes:
    """A Swagger document as `openapi.v2.Document`. 0.5 s for all of Kubernetes: call it off the event loop."""
    return b"".join((
        _text(1, document["swagger"]),
        _message(2, _text(1, document["info"]["title"]) + _text(2, document["info"]["version"])),
        _message(8, b"".join(_named(2, path, _path_item(item)) for path, item in document["paths"].items())),
        _message(9, b"".join(_named(1, name, _schema(each)) for name, each in document["definitions"].items())),
        b"".join(_message(12, _security_requirement(each)) for each in document.get("security", ())),
        _message(13, b"".join(_named(1, name, _message(2, _api_key(each)))
                              for name, each in document.get("securityDefinitions", {}).items())),
    ))  # fmt: skip


# Wire format: developers.google.com/protocol-buffers/docs/encoding


def _number(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


_TAGS = {(field, kind): _number(field << 3 | kind) for field in range(1, 33) for kind in (_VARINT, _BYTES)}


def _message(field: int, content: bytes) -> bytes:
    return b"%b%b%b" % (_TAGS[field, _BYTES], _number(len(content)), content)


def _text(field: int, value: str | None) -> bytes:
    return _message(field, value.encode()) if value else b""


def _texts(field: int, values: Iterable[str]) -> bytes:
    return b"".join(_message(field, value.encode()) for value in values)


def _flag(field: int, value: bool) -> bytes:
    return _TAGS[field, _VARINT] + b"\x01" if value else b""


def _named(field: int, name: str, content: bytes) -> bytes:
    """One entry of gnostic's ordered maps: a message of name and value."""
    return _message(field, _text(1, name) + _message(2, content))


# Messages


def _path_item(item: Object) -> bytes:
    fields = (("get", 2), ("put", 3), ("post", 4), ("delete", 5), ("options", 6), ("head", 7),
              ("patch", 8))  # fmt: skip
    made = [_message(field, _operation(item[method])) for method, field in fields if method in item]
    made += [_message(9, _parameters_item(each)) for each in item.get("parameters", ())]
    return b"".join(made)


def _operation(operation: Object) -> bytes:
    answers = b"".join(_named(1, code, _message(1, _response(each))) for code, each in operation["responses"].items())
    return b"".join((
        _texts(1, operation.get("tags", ())),
        _text(3, operation.get("description")),
        _text(5, operation.get("operationId")),
        _texts(6, operation.get("produces", ())),
        _texts(7, operation.get("consumes", ())),
        b"".join(_message(8, _parameters_item(each)) for each in operation.get("parameters", ())),
        _message(9, answers),
        _texts(10, operation.get("schemes", ())),
        _extensions(13, operation),
    ))  # fmt: skip


def _response(response: Object) -> bytes:
    made = _text(1, response.get("description"))
    if "schema" in response:
        made += _message(2, _message(1, _schema(response["schema"])))
    return made


def _parameters_item(parameter: Object) -> bytes:
    place = parameter["in"]
    if place == "body":
        body = (
            _text(1, parameter.get("description"))
            + _text(2, parameter["name"])
            + _text(3, place)
            + _flag(4, parameter.get("required", False))
            + _message(5, _schema(parameter["schema"]))
        )
        return _message(1, _message(1, body))
    required = _flag(1, parameter.get("required", False))
    described = _text(2, place) + _text(3, parameter.get("description")) + _text(4, parameter["name"])
    unique = parameter.get("uniqueItems", False)
    if place == "path":
        content = required + described + _text(5, parameter["type"]) + _flag(19, unique)
        return _message(1, _message(2, _message(4, content)))
    content = required + described + _text(6, parameter["type"]) + _flag(20, unique)
    return _message(1, _message(2, _message(3, content)))


def _schema(schema: Object) -> bytes:
    made = [
        _text(1, schema.get("$ref")),
        _text(2, schema.get("format")),
        _text(4, schema.get("description")),
        _texts(19, schema.get("required", ())),
    ]
    made += [_message(20, _any(value)) for value in schema.get("enum", ())]
    values = schema.get("additionalProperties")
    if isinstance(values, dict):
        made.append(_message(21, _message(1, _schema(values))))
    elif values:
        made.append(_message(21, _flag(2, True)))
    if "type" in schema:
        made.append(_message(22, _text(1, schema["type"])))
    if "items" in schema:
        made.append(_message(23, _message(1, _schema(schema["items"]))))
    if "properties" in schema:
        named = (_named(1, name, _schema(each)) for name, each in schema["properties"].items())
        made.append(_message(25, b"".join(named)))
    made.append(_extensions(_SCHEMA_VENDOR, schema))
    return b"".join(made)


def _extensions(field: int, content: Mapping[str, Any]) -> bytes:
    return b"".join(_named(field, key, _any(value)) for key, value in content.items() if key.startswith(_EXTENSION))


def _any(value: Any) -> bytes:
    """gnostic keeps free values as YAML text, of which JSON is a part."""
    return _text(2, orjson.dumps(value).decode() + "\n")


def _api_key(definition: Object) -> bytes:
    return (
        _text(1, definition["type"])
        + _text(2, definition["name"])
        + _text(3, definition["in"])
        + _text(4, definition.get("description"))
    )


def _security_requirement(requirement: Object) -> bytes:
    return b"".join(_named(1, name, _texts(1, scopes)) for name, scopes in requirement.items())
