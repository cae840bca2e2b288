"""Selectors are remembered as they were read, but for long ones: a million characters each would fill the memory."""

from __future__ import annotations

from timonel.api.kinds import BUILTIN
from timonel.api.refs import PODS
from timonel.apiserver.registry import selection
from timonel.apiserver.registry.selection import select


def remembered() -> int:
    return sum(each.cache_info().currsize for each in (selection._labels, selection._fields, selection._predicate))


def test_short_ones_are_remembered_and_long_ones_are_not() -> None:
    row = BUILTIN.row(PODS)
    select(row, "", "app=remembered", "status.phase!=Odd")
    known = remembered()
    assert select(row, "", "app=remembered", "status.phase!=Odd").matches is not None
    assert remembered() == known
    values = ",".join(f"v{number}" for number in range(2000))
    assert select(row, "", f"app in ({values})", "").matches is not None
    assert select(row, "", "", f"metadata.name={'x' * 10_000}").name == "x" * 10_000
    assert remembered() == known
