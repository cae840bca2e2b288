"""Secret: like a ConfigMap, with types that promise certain keys; `stringData` is a convenience for writers."""

from __future__ import annotations

from base64 import b64decode, b64encode

import orjson

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, invalid, required, too_long
from timonel.api.json_errors import explain_json_error
from timonel.api.kinds.certificates.pem import key_pair_problem
from timonel.api.kinds.columns import AGE, NAME, cell_at, plain
from timonel.api.kinds.configmap import MAX_BYTES, check_frozen, decoded_length
from timonel.api.kinds.fields import text_at
from timonel.api.kinds.rules import Errors, check_immutable, check_text
from timonel.api.names import validate_config_key
from timonel.api.objects import Object
from timonel.api.resource import Column, Resource, Strategy

SERVICE_ACCOUNT_TOKEN = "kubernetes.io/service-account-token"
SERVICE_ACCOUNT_NAME = "kubernetes.io/service-account.name"
_DATA = Path("data")
_JSON_KEYS = {"kubernetes.io/dockercfg": ".dockercfg", "kubernetes.io/dockerconfigjson": ".dockerconfigjson"}


class SecretStrategy(Strategy):
    tracks_generation = False

    def default(self, obj: Object) -> None:
        if not obj.get("type"):
            obj["type"] = "Opaque"
        texts = obj.pop("stringData", None)
        if texts:
            data = obj.setdefault("data", {})
            for key, text in texts.items():
                data[key] = b64encode(text.encode()).decode()

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        data = obj.get("data") or {}
        size = 0
        for key, value in data.items():
            check_text(errors, _DATA[key], key, validate_config_key)
            size += decoded_length(value)
        if size > MAX_BYTES:
            errors.append(too_long(_DATA, MAX_BYTES))
        _check_type(errors, obj, data)
        return errors

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        if obj.get("type") != "kubernetes.io/tls":
            return []
        data = obj.get("data") or {}
        problem = key_pair_problem(b64decode(data.get("tls.crt") or ""), b64decode(data.get("tls.key") or ""))
        return [f"tls: {problem}"] if problem else []

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        check_immutable(errors, Path("type"), new.get("type"), old.get("type"))
        check_frozen(errors, new, old, ("data",))
        return errors + self.validate_create(new)


def _check_type(errors: Errors, secret: Object, data: Object) -> None:
    """The keys that a type promises."""
    kind = secret.get("type") or ""
    if kind == SERVICE_ACCOUNT_TOKEN:
        if not (secret["metadata"].get("annotations") or {}).get(SERVICE_ACCOUNT_NAME):
            errors.append(required((Path("metadata") / "annotations")[SERVICE_ACCOUNT_NAME]))
    elif kind in _JSON_KEYS:
        key = _JSON_KEYS[kind]
        if key not in data:
            errors.append(required(_DATA[key]))
        elif (problem := _json_problem(data[key])) is not None:
            errors.append(invalid(_DATA[key], "<secret contents redacted>", problem))
    elif kind == "kubernetes.io/basic-auth":
        if "username" not in data and "password" not in data:
            errors += [required(_DATA["username"]), required(_DATA["password"])]
    elif kind == "kubernetes.io/ssh-auth":
        if not data.get("ssh-privatekey"):
            errors.append(required(_DATA["ssh-privatekey"]))
    elif kind == "kubernetes.io/tls":
        errors += [required(_DATA[key]) for key in ("tls.crt", "tls.key") if key not in data]


def _json_problem(encoded: str) -> str | None:
    body = b64decode(encoded)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        return explain_json_error(body, exc)
    return None if isinstance(value, dict) else "json: cannot unmarshal into Go value of type map[string]interface {}"


SECRETS = Resource(
    ref=refs.SECRETS,
    definition="io.k8s.api.core.v1.Secret",
    singular="secret",
    strategy=SecretStrategy(),
    columns=(
        NAME,
        Column("Type", cell_at("type"), description="What the keys mean."),
        Column("Data", plain(lambda obj: len(obj.get("data") or ())), description="Number of keys."),
        AGE,
    ),
    selectable_fields={"type": text_at("type")},
    storage_prefix="/registry/secrets/",
)
