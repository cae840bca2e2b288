"""Which fields each message has, read from kubernetes.fields when the first protobuf body arrives."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

SCALARS = frozenset({"string", "bytes", "bool", "int32", "int64", "quantity", "intstr", "time", "microtime", "fields"})
INLINE, WHOLE = "~", "*"


@dataclass(frozen=True, slots=True)
class Field:
    """`type` is a scalar's name or a message's full name; `shape` is "one", "list" or "map"."""

    name: str
    type: str
    shape: str = "one"


Messages = dict[str, dict[int, Field]]
"""Full name, "io.k8s.api.core.v1.Pod", to fields by number."""


@lru_cache(maxsize=1)
def messages() -> Messages:
    return parse_messages(files("timonel.apiserver.protobuf").joinpath("kubernetes.fields").read_text())


def parse_messages(text: str) -> Messages:
    """Raises ValueError for a line it cannot read."""
    found: Messages = {}
    package, name = "", ""
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            package = line.strip("[]")
            continue
        if not line.startswith(" "):
            name, _, line = line.partition(":")
            name = f"{package}.{name}"
            found[name] = {}
        for entry in line.split(","):
            if entry.strip():
                number, field, kind = entry.split()
                found[name][int(number)] = _field(field, kind, package)
    return found


def _field(name: str, kind: str, package: str) -> Field:
    shape = {"[": "list", "{": "map"}.get(kind[0], "one")
    kind = kind.strip("[]{}")
    if kind not in SCALARS and "." not in kind:
        kind = f"{package}.{kind}"
    return Field(name, kind, shape)
