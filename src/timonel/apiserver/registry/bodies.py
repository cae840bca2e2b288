"""From the bytes of a body to a checked, private object of the right kind; the words are upstream's decoder's.

Field validation (KEP-2885): unknown and duplicate fields are refused with Strict, become warnings with Warn, and are
passed over with Ignore.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from timonel.api.decode import Decoded, cannot_be_handled, decode, strict_decoding_error
from timonel.api.errors import BadRequest, FieldError, Invalid, invalid
from timonel.api.field_errors import Path, not_supported, quote
from timonel.api.objects import Object
from timonel.api.protobuf import PROTOBUF, decode_protobuf
from timonel.api.refs import ResourceRef
from timonel.api.resource import split_api_version
from timonel.api.schema import schemas

FIELD_VALIDATIONS = ("Ignore", "Warn", "Strict")


def decode_object(
    body: bytes,
    content_type: str,
    *,
    definition: str,
    kind: str,
    api_version: str,
    validation: str,
    warnings: list[str],
) -> Object:
    """One object of `kind`. Raises BadRequest for anything that is not one."""
    decoded = _decode(body, content_type, kind=kind, api_version=api_version)
    obj = decoded.obj
    if not isinstance(obj, dict):
        raise unrecognized(body, kind, f"json: cannot unmarshal {_json_type(obj)} into Go value of type struct")
    check_kind(obj, kind=kind, api_version=api_version, body=body)
    obj.setdefault("metadata", {})
    checked = schemas().check(definition, obj)
    if checked.error is not None:
        raise cannot_handle(kind, api_version, kind, checked.error)
    _report([*checked.unknown, *decoded.duplicates], kind, api_version, validation, warnings)
    return obj


def decode_options(body: bytes, content_type: str, *, kind: str, definition: str) -> Object:
    """DeleteOptions and the like, which come with or without kind and under any group's version."""
    if not body.strip():
        return {}
    obj = _decode(body, content_type, kind=kind, api_version="").obj
    if not isinstance(obj, dict):
        raise unrecognized(body, kind, f"json: cannot unmarshal {_json_type(obj)} into Go value of type struct")
    given = obj.get("kind")
    if given not in (None, "", kind):
        raise BadRequest(f"the object provided is unrecognized (must be of type {kind}): got {given}")
    checked = schemas().check(definition, obj)
    if checked.error is not None:
        raise cannot_handle(kind, obj.get("apiVersion") or "v1", kind, checked.error)
    return obj


def _decode(body: bytes, content_type: str, *, kind: str, api_version: str) -> Decoded:
    """JSON, YAML or protobuf."""
    if content_type == PROTOBUF:
        # Numbers that nobody knows are passed over: field validation is about names.
        return Decoded(decode_protobuf(body, kind=kind, api_version=api_version or "v1"), [])
    return decode(body, content_type, kind)


def check_kind(obj: Object, *, kind: str, api_version: str, body: bytes = b"") -> None:
    """Fills kind and apiVersion when left out. Raises BadRequest when they are another's."""
    given_kind, given_version = obj.get("kind"), obj.get("apiVersion")
    for given in (given_kind, given_version):
        if given is not None and not isinstance(given, str):
            raise unrecognized(
                body, kind, f"json: cannot unmarshal {_json_type(given)} into Go struct field of type string"
            )
    if not given_kind:
        obj["kind"] = given_kind = kind
    if not given_version:
        obj["apiVersion"] = given_version = api_version
    if given_kind != kind:
        _, version = split_api_version(given_version)
        raise BadRequest(
            f'{given_kind} in version "{version}" cannot be handled as a {kind}: no kind "{given_kind}" is registered '
            f'for version "{given_version}" at this path'
        )
    if given_version != api_version:
        raise BadRequest(
            f"the API version in the data ({given_version}) does not match the expected API version ({api_version})"
        )


def check_patched(
    obj: Object,
    *,
    definition: str,
    shown: Callable[[], str],
    duplicates: Sequence[str],
    validation: str,
    warnings: list[str],
) -> None:
    """The schema check of a patched object. Upstream answers 422 about the field "patch" of no kind in particular.

    `shown` renders the value that the message quotes.
    """
    checked = schemas().check(definition, obj)
    found = [*checked.unknown, *duplicates]
    if checked.error is not None:
        raise _bad_patch(shown(), checked.error)
    if found and validation == "Strict":
        raise _bad_patch(shown(), strict_decoding_error(found))
    if validation == "Warn":
        warnings += found


def _bad_patch(shown: str, why: str) -> Invalid:
    error = FieldError("FieldValueInvalid", "patch", f"Invalid value: {quote(shown)}: {why}")
    return invalid(ResourceRef("", "", "", ""), "", [error])


def go_map(value: object) -> str:
    """A JSON value as Go prints decoded JSON with %+v: map[a:1 b:[x y]], keys sorted."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{go_map(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(go_map, value)) + "]"
    if value is None:
        return "<nil>"
    return str(value).lower() if isinstance(value, bool) else str(value)


def parse_validation(text: str) -> str:
    """The fieldValidation option; Warn when not given."""
    if not text:
        return "Warn"
    if text not in FIELD_VALIDATIONS:
        options = ResourceRef("meta.k8s.io", "", "createoptions", "CreateOptions")
        raise invalid(options, "", [not_supported(Path("fieldValidation"), text, (*FIELD_VALIDATIONS, ""))])
    return text


def cannot_handle(given_kind: str, api_version: str, kind: str, why: str) -> BadRequest:
    _, version = split_api_version(api_version)
    return cannot_be_handled(given_kind, version, kind, why)


def unrecognized(body: bytes, kind: str, why: str) -> BadRequest:
    shown = body[:30].hex(" ").replace(" ", "")
    more = " ..." if len(body) > 30 else ""
    return BadRequest(f"the object provided is unrecognized (must be of type {kind}): {why} ({shown}{more})")


def _report(found: list[str], kind: str, api_version: str, validation: str, warnings: list[str]) -> None:
    if not found or validation == "Ignore":
        return
    if validation == "Strict":
        raise cannot_handle(kind, api_version, kind, strict_decoding_error(found))
    warnings += found


def _json_type(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    names: dict[type, str] = {str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")
