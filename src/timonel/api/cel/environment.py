"""What an expression can name: variables, functions, macros, and structs with their fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

from timonel.api.cel import macros
from timonel.api.cel.macros import Macros
from timonel.api.cel.overloads import Overload, Table, table_of
from timonel.api.cel.types import Type


@dataclass(frozen=True, slots=True)
class Field:
    type: Type
    key: str = ""  # the property's own name, where the field's is escaped


@dataclass(frozen=True, slots=True)
class Struct:
    fields: Mapping[str, Field]
    others: Type | None = None  # of fields that are not listed; None: there are none


FindStruct = Callable[[str], "Struct | None"]


@dataclass(frozen=True, eq=False)
class Environment:
    """Compared by identity: make one per set of declarations, and keep it."""

    variables: Mapping[str, Type]
    functions: Table = field(default_factory=lambda: _functions())
    macros: Macros = field(default_factory=lambda: macros.STANDARD)
    find_struct: FindStruct = lambda name: None

    def with_variables(self, **variables: Type) -> Environment:
        return replace(self, variables={**self.variables, **variables})

    def field_of(self, struct: str, name: str) -> Field | None:
        found = self.find_struct(struct)
        if found is None:
            return None
        # Reserved words are escaped as names of fields, but cannot be mistaken after a dot.
        known = found.fields.get(name) or found.fields.get(f"__{name}__")
        return known if known is not None or found.others is None else Field(found.others)


@cache
def standard_functions() -> Table:
    """Of the language and of every library that Kubernetes has everywhere."""
    from timonel.api.cel.library import everywhere  # here: the libraries' modules are many

    return table_of(everywhere())


def _functions() -> Table:
    return standard_functions()


def extended(functions: Table, *more: Overload) -> Table:
    return table_of((overload for overloads in functions.values() for overload in overloads), more)
