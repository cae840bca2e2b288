"""How much the rules of a schema may cost: each of them, as often as its place can occur, and all together.

Source: kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions ("Resource use by
validation functions")
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from timonel.api.field_errors import Path, forbidden
from timonel.api.kinds.crd.walking import Schema
from timonel.api.kinds.rules import Errors

RULE_LIMIT = 10_000_000
_SCHEMA_LIMIT = 100_000_000
_MOST = 2**64 - 1
_LARGEST_REQUEST = 3 * 1024 * 1024  # bytes
_SHOWN = 4
_HINT = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are "
    "declared)"
)


@dataclass(slots=True)
class TotalCost:
    """Of the rules of one schema, with those that contribute most."""

    total: int = 0
    expensive: list[tuple[int, Path]] = field(default_factory=list)

    def add(self, path: Path, cost: int) -> None:
        self.total = min(self.total + cost, _MOST)
        if cost >= _SCHEMA_LIMIT // 100:
            self.expensive = sorted([*self.expensive, (cost, path)], key=lambda one: -one[0])[:_SHOWN]

    def findings(self, path: Path) -> Errors:
        if self.total <= _SCHEMA_LIMIT:
            return []
        why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
        errors = [forbidden(one, why) for _, one in self.expensive]
        what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        return [*errors, forbidden(path, exceeds(what, self.total, _SCHEMA_LIMIT))]


@dataclass(frozen=True, slots=True)
class Occurrence:
    """How often a place of the schema can occur in an object; None: no bound is declared."""

    times: int | None
    total: TotalCost
    limited: bool = True  # a rule may not cost more than its own limit

    def inside(self, schema: Schema) -> Occurrence:
        """A place directly inside that of the schema."""
        factor = _most_elements(schema)
        times = None if self.times is None or factor is None else min(self.times * factor, _MOST)
        return replace(self, times=times)

    def cost(self, one: int, least_bytes: int) -> int:
        """Of a rule that costs `one` each time; without a bound, as often as its values fit into a request."""
        times = _LARGEST_REQUEST // (least_bytes + 1) if self.times is None else self.times
        return min(one * times, _MOST)


def _most_elements(schema: Schema) -> int | None:
    kind, bound = schema.get("type"), 1
    if kind == "object" and schema.get("additionalProperties") is not None:
        bound = schema.get("maxProperties", -1)
        return None if "maxProperties" not in schema else max(bound, 0)
    if kind == "array":
        return None if "maxItems" not in schema else max(schema["maxItems"], 0)
    return bound


def exceeds(what: str, cost: int, limit: int) -> str:
    factor = cost / limit
    if factor > 100:
        shown = "more than 100x"
    else:
        shown = f"{factor:f}x" if factor < 1.5 else f"{factor:.1f}x"
    return f"{what} exceeds budget by factor of {shown} {_HINT}"
