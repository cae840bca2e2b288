"""x-kubernetes-validations: what surrounds a CEL rule. The rule itself is for `rule_compiling`."""

from __future__ import annotations

from timonel.api.field_errors import Path, invalid, not_supported, required
from timonel.api.kinds.crd.walking import Schema, find_field
from timonel.api.kinds.rules import Errors

_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")


def check_validation_rules(errors: Errors, path: Path, schema: Schema) -> None:
    for index, validation in enumerate(schema.get("x-kubernetes-validations") or ()):
        here = path[index]
        rule, message = validation.get("rule") or "", validation.get("message") or ""
        if not rule.strip():
            errors.append(required(here / "rule", "rule is not specified"))
        elif message and not message.strip():
            errors.append(invalid(here / "message", message, "must be non-empty if specified"))
        elif _has_lines(message.strip()):
            errors.append(invalid(here / "message", message, "must not contain line breaks"))
        elif _has_lines(rule.strip()) and not message.strip():
            why = "message must be specified if rule contains line breaks"
            errors.append(required(here / "message", why))
        expression = validation.get("messageExpression") or ""
        if expression and not expression.strip():
            why = "messageExpression must be non-empty if specified"
            errors.append(required(here / "messageExpression", why))
        reason = validation.get("reason")
        if reason is not None and reason not in _REASONS:
            errors.append(not_supported(here / "reason", reason, _REASONS))
        _check_field(errors, here / "fieldPath", validation.get("fieldPath") or "", schema)


def _check_field(errors: Errors, path: Path, field: str, schema: Schema) -> None:
    if not field:
        return
    if not field.strip():
        errors.append(invalid(path, field, "must be non-empty if specified"))
    if _has_lines(field):
        errors.append(invalid(path, field, "must not contain line breaks"))
    if isinstance(find_field(schema, field, subscripts=True), str):
        errors.append(invalid(path, field, "must be a valid path"))


def _has_lines(text: str) -> bool:
    return "\n" in text or "\r" in text
