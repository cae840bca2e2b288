"""From the bytes of a body to a checked, private object of the right kind; the words are upstream's decoder's.

Field validation (KEP-2885): unknown and duplicate fields are refused with Strict, become warnings with Warn, and are
passed over with Ignore.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from timonel.api.decode import Decoded, cannot_be_handled, decode, strict_decoding_error, with_summary
from timonel.api.errors import BadRequest, FieldError, Invalid, invalid
from timonel.api.field_errors import Path, not_supported, quote
from timonel.api.kinds import BUILTIN
from timonel.api.objects import Object
from timonel.api.protobuf import PROTOBUF, decode_protobuf
from timonel.api.refs import ResourceRef
from timonel.api.repeated_fields import DUPLICATE
from timonel.api.resource import split_api_version
from timonel.api.schema import schemas

_TYPE_META = r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'
UNKNOWN = "unknown field "
FIELD_VALIDATIONS = ("Ignore", "Strict", "Warn")


def decode_object(
    body: bytes,
    content_type: str,
    *,
    definition: str,
    kind: str,
    api_version: str,
    validation: str,
    warnings: list[str],
    alike: Collection[str] = (),
) -> Object:
    """One object of `kind`. Raises BadRequest for anything that is not one.

    `alike` are further versions in which the kind has the same fields: those of old clients.
    """
    decoded = _decode(body, content_type, kind=kind, api_version=api_version)
    obj = {} if decoded.obj is None else decoded.obj
    if why := find_type_problem(obj):
        raise BadRequest(with_summary(why, kind, body))
    if obj.get("kind") == kind and obj.get("apiVersion") in alike:
        obj["apiVersion"] = api_version
    check_kind(obj, kind=kind, api_version=api_version)
    obj.setdefault("metadata", {})
    checked = schemas().check(definition, obj)
    if checked.error is not None:
        raise cannot_handle(kind, api_version, kind, checked.error)
    duplicates = known_duplicates(decoded.duplicates, checked.unknown)
    _report(decoded.in_order([*duplicates, *checked.unknown]), kind, api_version, validation, warnings)
    return obj


def decode_options(body: bytes, content_type: str, *, kind: str, definition: str) -> Object:
    """DeleteOptions and the like, which come with or without kind and under any group's version."""
    if not body.strip():
        return {}
    obj: Object | None = _decode(body, content_type, kind=kind, api_version="", expected="").obj
    if obj is None:
        return {}
    if why := find_type_problem(obj):
        raise BadRequest(why)
    given = obj.get("kind") or kind
    if given != kind:
        raise BadRequest(_not_registered(given, obj.get("apiVersion") or "v1"))
    checked = schemas().check(definition, obj)
    if checked.error is not None:
        raise BadRequest(checked.error)
    return obj


def _decode(body: bytes, content_type: str, *, kind: str, api_version: str, expected: str | None = None) -> Decoded:
    """JSON, YAML or protobuf. `expected` is the kind that messages name, if not `kind`."""
    if content_type == PROTOBUF:
        # Numbers that nobody knows are passed over: field validation is about names.
        return Decoded(decode_protobuf(body, kind=kind, api_version=api_version or "v1"), [])
    return decode(body, content_type, kind if expected is None else expected)


def find_type_problem(obj: Any) -> str:
    """Why a decoded body cannot say its kind and version; "" when it can."""
    why = ""
    if not isinstance(obj, dict):
        why = f"json: cannot unmarshal {_json_type(obj)} into Go value of type {_TYPE_META}"
    else:
        for name in ("apiVersion", "kind"):
            given = obj.get(name)
            if given is not None and not isinstance(given, str):
                why = f"json: cannot unmarshal {_json_type(given)} into Go struct field .{name} of type string"
                break
    return f"couldn't get version/kind; json parse error: {why}" if why else ""


def check_kind(obj: Object, *, kind: str, api_version: str) -> None:
    """Fills kind and apiVersion, which are text, when left out. Raises BadRequest when they are another's."""
    given_kind, given_version = obj.get("kind"), obj.get("apiVersion")
    if not given_kind:
        obj["kind"] = given_kind = kind
    if not given_version:
        obj["apiVersion"] = given_version = api_version
    if (given_kind, given_version) == (kind, api_version):
        return
    raise (
        cannot_handle(given_kind, given_version, kind, why)
        if (why := find_kind_problem(given_kind, given_version, kind=kind, api_version=api_version))
        else BadRequest(
            f"the API version in the data ({given_version}) does not match the expected API version ({api_version})"
        )
    )


def find_kind_problem(given_kind: str, given_version: str, *, kind: str, api_version: str) -> str:
    """Why an object of the given kind cannot be taken for one of `kind`; "" when only the version is another."""
    given = BUILTIN.find_kind(*split_api_version(given_version), given_kind)
    if given is None:
        return _not_registered(given_kind, given_version)
    theirs, ours = _internal_type(given_version, given_kind), _internal_type(api_version, kind)
    if theirs != ours:
        _, version = split_api_version(given_version)
        return f"converting ({version}.{given_kind}) to ({ours}): unknown conversion"
    return ""


def _not_registered(kind: str, api_version: str) -> str:
    return f"no kind {quote(kind)} is registered for version {quote(api_version)}"


def _internal_type(api_version: str, kind: str) -> str:
    """What upstream calls the type behind all versions of a kind, in messages: core.Pod, apps.Deployment."""
    group, _ = split_api_version(api_version)
    return f"{'core' if group in ('', 'events.k8s.io') else group.partition('.')[0]}.{kind}"


def check_patched(
    obj: Object,
    live: Object,
    *,
    kind: str,
    api_version: str,
    definition: str,
    shown: Callable[[], str],
    duplicates: Sequence[str],
    validation: str,
    warnings: list[str],
    touched: Collection[str] | None = None,
) -> None:
    """The check of a patched object's kind and schema; `live` is what it was, whose parts are not checked again.
    `touched` are the fields at its top that may differ, if that is known.

    Upstream answers 422 about the field "patch" of no kind in particular.

    `shown` renders the value that the message quotes.
    """
    given_kind, given_version = obj.setdefault("kind", kind), obj.setdefault("apiVersion", api_version)
    if (given_kind, given_version) != (kind, api_version) and (
        why := find_kind_problem(given_kind, given_version, kind=kind, api_version=api_version)
    ):
        raise _bad_patch(shown(), why)
    obj["apiVersion"] = api_version
    checked = schemas().check_changes(definition, obj, live, touched)
    found = [*duplicates, *sorted(checked.unknown)]
    if checked.error is not None:
        raise _bad_patch(shown(), checked.error)
    if found and validation == "Strict":
        raise _bad_patch(shown(), strict_decoding_error(found))
    if validation == "Warn":
        warnings += found


def _bad_patch(shown: str, why: str) -> Invalid:
    error = FieldError("FieldValueInvalid", "patch", f"Invalid value: {quote(shown)}: {why}")
    return invalid(ResourceRef("", "", "", ""), "", [error])


def check_validation(text: str) -> list[FieldError]:
    """Findings about the fieldValidation option; "" means Warn."""
    if not text or text in FIELD_VALIDATIONS:
        return []
    return [not_supported(Path("fieldValidation"), text, ("", *FIELD_VALIDATIONS))]


def cannot_handle(given_kind: str, api_version: str, kind: str, why: str) -> BadRequest:
    _, version = split_api_version(api_version)
    return cannot_be_handled(given_kind, version, kind, why)


def _report(found: list[str], kind: str, api_version: str, validation: str, warnings: list[str]) -> None:
    if not found or validation == "Ignore":
        return
    if validation == "Strict":
        raise cannot_handle(kind, api_version, kind, strict_decoding_error(found))
    warnings += as_warnings(found)


def known_duplicates(duplicates: list[str], unknown: list[str]) -> list[str]:
    """Without those inside of fields that nobody knows, which upstream does not look into."""
    if not duplicates or not unknown:
        return duplicates
    inside = tuple(DUPLICATE + text.removeprefix(UNKNOWN)[:-1] + more for text in unknown for more in (".", "["))
    return [text for text in duplicates if not text.startswith(inside)]


def as_warnings(found: Iterable[str]) -> list[str]:
    """One warning per finding: YAML's come as one text of several lines under a heading."""
    texts = []
    for text in found:
        first, *rest = text.split("\n")
        texts += [line.strip() for line in rest] or [first]
    return texts


def _json_type(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    names: dict[type, str] = {str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")
