"""ConfigMap: files and settings for pods, optionally frozen by `immutable`."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, forbidden, invalid, too_long
from timonel.api.kinds.columns import AGE, NAME, plain
from timonel.api.kinds.rules import Errors, check_text
from timonel.api.names import validate_config_key
from timonel.api.objects import Object
from timonel.api.resource import Column, Resource, Strategy

FROZEN = "field is immutable when `immutable` is set"
MAX_BYTES = 1024 * 1024  # all values together


class ConfigMapStrategy(Strategy):
    tracks_generation = False

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
        size = 0
        for key, value in data.items():
            check_text(errors, Path("data")[key], key, validate_config_key)
            if key in binary:
                errors.append(invalid(Path("data")[key], key, "duplicate of key present in binaryData"))
            size += len(value) if value.isascii() else len(value.encode())
        for key, value in binary.items():
            check_text(errors, Path("binaryData")[key], key, validate_config_key)
            size += decoded_length(value)
        if size > MAX_BYTES:
            errors.append(too_long(Path(""), MAX_BYTES))
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        check_frozen(errors, new, old, ("data", "binaryData"))
        return errors + self.validate_create(new)


def check_frozen(errors: Errors, new: Object, old: Object, fields: tuple[str, ...]) -> None:
    """What `immutable: true` in the old object forbids, for ever."""
    if not old.get("immutable"):
        return
    if not new.get("immutable"):
        errors.append(forbidden(Path("immutable"), FROZEN))
    for field in fields:
        if (new.get(field) or {}) != (old.get(field) or {}):
            errors.append(forbidden(Path(field), FROZEN))


def decoded_length(text: str) -> int:
    """Bytes that a base64 text stands for."""
    return len(text) * 3 // 4 - text[-2:].count("=")


CONFIG_MAPS = Resource(
    ref=refs.CONFIGMAPS,
    definition="io.k8s.api.core.v1.ConfigMap",
    singular="configmap",
    short_names=("cm",),
    strategy=ConfigMapStrategy(),
    columns=(
        NAME,
        Column(
            "Data",
            plain(lambda obj: len(obj.get("data") or ()) + len(obj.get("binaryData") or ())),
            description="Number of keys.",
        ),
        AGE,
    ),
    storage_prefix="/registry/configmaps/",
)
