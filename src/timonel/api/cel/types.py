"""Types of expressions, and their two spellings: in issues of the checker, and where a result's type is wrong.

Source: github.com/google/cel-spec/blob/master/doc/langdef.md#gradual-type-checking
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

_MOST_PARTS = 300
_MOST_KEPT = 1024


@dataclass(frozen=True, slots=True)
class Type:
    kind: str  # one of the names below
    name: str = ""  # of structs, opaque types and parameters
    params: tuple[Type, ...] = ()
    parts: int = field(default=1, init=False, repr=False, compare=False)
    """How many types it is made of, itself included."""

    def __post_init__(self) -> None:
        if self.params:
            object.__setattr__(self, "parts", 1 + sum(param.parts for param in self.params))

    def __str__(self) -> str:
        """As the checker spells it: "list(int)"."""
        if self.kind == "function":
            return f"({', '.join(map(str, self.params))})"
        name = self.name or _SPELLED.get(self.kind, self.kind)
        return f"{name}({', '.join(map(str, self.params))})" if self.params else name

    def declared(self) -> str:
        """As it is spelt where an expression has the wrong type: "google.protobuf.Timestamp"."""
        name = self.name or DECLARED.get(self.kind, self.kind)
        return f"{name}({', '.join(param.declared() for param in self.params)})" if self.params else name


_SPELLED = {"error": "!error!", "null": "null", "unknown": ""}
DECLARED = {
    "any": "google.protobuf.Any",
    "duration": "google.protobuf.Duration",
    "timestamp": "google.protobuf.Timestamp",
    "null": "null_type",
    "error": "!error!",
}

DYN, ANY, ERROR, NULL = Type("dyn"), Type("any"), Type("error"), Type("null")
BOOL, INT, UINT, DOUBLE = Type("bool"), Type("int"), Type("uint"), Type("double")
STRING, BYTES = Type("string"), Type("bytes")
DURATION, TIMESTAMP = Type("duration"), Type("timestamp")
TYPE = Type("type")
UNKNOWN = Type("unknown")


def composed(kind: str, name: str, params: tuple[Type, ...]) -> Type:
    """A type of others; dyn, where it is made of more than any real one: {a: a} doubles it with each step."""
    made = Type(kind, name, params)
    return made if made.parts <= _MOST_PARTS else DYN


@lru_cache(_MOST_KEPT)
def list_of(item: Type) -> Type:
    return composed("list", "", (item,))


@lru_cache(_MOST_KEPT)
def map_of(key: Type, value: Type) -> Type:
    return composed("map", "", (key, value))


@lru_cache(_MOST_KEPT)
def type_of_type(what: Type) -> Type:
    return composed("type", "", (what,))


@lru_cache(_MOST_KEPT)
def optional_of(what: Type) -> Type:
    return composed("opaque", "optional_type", (what,))


@lru_cache(_MOST_KEPT)
def struct_of(name: str) -> Type:
    return Type("struct", name)


def parameter(name: str) -> Type:
    return Type("param", name)


def is_optional(what: Type) -> bool:
    return what.kind == "opaque" and what.name == "optional_type"


def is_dyn(what: Type) -> bool:
    return what.kind in ("dyn", "any")


def is_dyn_or_error(what: Type) -> bool:
    return what.kind in ("dyn", "any", "error")


NAMED_TYPES: dict[str, Type] = {
    "bool": BOOL,
    "bytes": BYTES,
    "double": DOUBLE,
    "duration": DURATION,
    "google.protobuf.Duration": DURATION,
    "google.protobuf.Timestamp": TIMESTAMP,
    "int": INT,
    "list": list_of(DYN),
    "map": map_of(DYN, DYN),
    "null_type": NULL,
    "string": STRING,
    "timestamp": TIMESTAMP,
    "type": TYPE,
    "uint": UINT,
    "optional_type": optional_of(DYN),
    "net.IP": Type("opaque", "net.IP"),
    "net.CIDR": Type("opaque", "net.CIDR"),
}
"""Types that expressions can name."""
