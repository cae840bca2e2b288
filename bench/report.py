"""Rows of figures, aligned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    what: str
    value: float
    unit: str
    budget: str = ""


def render(rows: Sequence[Row]) -> str:
    width = max(len(row.what) for row in rows)
    lines = []
    for row in rows:
        value = f"{row.value:,.0f}" if row.value >= 100 else f"{row.value:,.2f}"
        budget = f"   budget {row.budget}" if row.budget else ""
        lines.append(f"{row.what:<{width}}  {value:>10} {row.unit}{budget}")
    return "\n".join(lines)
