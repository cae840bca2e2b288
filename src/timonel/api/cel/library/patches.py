"""What mutating policies make: Object{…} and JSONPatch{…}, and the escaping of keys in JSON pointers.

Source: kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy; RFC 6901
"""

from __future__ import annotations

from timonel.api.cel import types
from timonel.api.cel.environment import Field, Struct
from timonel.api.cel.overloads import Overload, declare

_PATCH = Struct(
    {
        "op": Field(types.STRING),
        "path": Field(types.STRING),
        "from": Field(types.STRING),
        "value": Field(types.DYN),
    },
    others=types.UNKNOWN,  # takes no value, which the issue says and not that there is no such field
)
_OBJECT = Struct({}, others=types.DYN)


def patch_struct(name: str) -> Struct | None:
    if name == "JSONPatch":
        return _PATCH
    return _OBJECT if name == "Object" or name.startswith("Object.") else None


PATCHES: tuple[Overload, ...] = (
    declare(
        "string_jsonpatch_escapeKey_string", "jsonpatch.escapeKey", "(string) -> string",
        lambda key: key.replace("~", "~0").replace("/", "~1"),
    ),
)  # fmt: skip
