from timonel.api import field_errors as fe
from timonel.api.field_errors import Path


def test_paths() -> None:
    path = Path("spec") / "containers"
    assert str(path[0] / "name") == "spec.containers[0].name"
    assert str(Path("data")["a key"]) == "data[a key]"
    assert str(Path() / "spec") == "spec"


def test_messages() -> None:
    path = Path("spec")
    cases = [
        (fe.required(path), "FieldValueRequired", "Required value"),
        (fe.required(path, "why"), "FieldValueRequired", "Required value: why"),
        (fe.invalid(path, "x", "why"), "FieldValueInvalid", 'Invalid value: "x": why'),
        (fe.invalid(path, -1, "why"), "FieldValueInvalid", "Invalid value: -1: why"),
        (fe.invalid(path, True, "why"), "FieldValueInvalid", "Invalid value: true: why"),
        (fe.invalid(path, {"a": "<b>"}, "why"), "FieldValueInvalid", 'Invalid value: {"a":"\\u003cb\\u003e"}: why'),
        (fe.invalid(path, None, "why"), "FieldValueInvalid", "Invalid value: null: why"),
        (fe.invalid(path, fe.OMITTED, "why"), "FieldValueInvalid", "Invalid value: why"),
        (
            fe.not_supported(path, "x", ["a", "b"]),
            "FieldValueNotSupported",
            'Unsupported value: "x": supported values: "a", "b"',
        ),
        (fe.duplicate(path, "x"), "FieldValueDuplicate", 'Duplicate value: "x"'),
        (fe.not_found(path, "x"), "FieldValueNotFound", 'Not found: "x"'),
        (fe.forbidden(path, "why"), "FieldValueForbidden", "Forbidden: why"),
        (fe.too_long(path, 63), "FieldValueTooLong", "Too long: may not be more than 63 bytes"),
        (fe.too_long(path, 1, characters=True), "FieldValueTooLong", "Too long: may not be more than 1 character"),
        (fe.too_many(path, 3, 1), "FieldValueTooMany", "Too many: 3: must have at most 1 item"),
        (fe.internal(path, "why"), "InternalError", "Internal error: why"),
        (fe.type_invalid(path, 1, "why"), "FieldValueTypeInvalid", "Invalid value: 1: why"),
    ]
    for error, reason, message in cases:
        assert (error.field, error.reason, error.message) == ("spec", reason, message)


def test_strings_are_quoted_as_go_does() -> None:
    assert fe.quote('a"b\\c\n\t\x00') == '"a\\"b\\\\c\\n\\t\\x00"'
    assert fe.quote("é☃") == '"é☃"'
    assert fe.quote("\u200b") == '"\\u200b"'
