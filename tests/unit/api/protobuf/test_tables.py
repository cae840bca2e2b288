"""The tables against the published schema, which they were not made from."""

from __future__ import annotations

import pytest

from timonel.api.kinds import BUILTIN
from timonel.api.protobuf.tables import META, PACKAGES, find_message, message_of, numbers_of, read_table
from timonel.api.schema import raw_definitions

DEFINITIONS = raw_definitions()


def fields_of(package: str, name: str) -> list[str]:
    """The JSON names of a message, with those of what it has inline."""
    return [
        inner
        for field, _ in numbers_of(package, name)
        for inner in (fields_of(package, field[1:]) if field.startswith("*") else [field])
    ]


@pytest.mark.parametrize("package", [*PACKAGES.values(), META])
def test_every_field_of_a_definition_has_one_number(package: str) -> None:
    for name in read_table(package):
        numbers = [number for _, number in numbers_of(package, name)]
        assert len(numbers) == len(set(numbers)), name
        definition = DEFINITIONS.get(f"{package}.{name}")
        if definition is None:
            continue  # only ever inline
        found = fields_of(package, name)
        assert len(found) == len(set(found)), name
        # kind and apiVersion of a whole object are in the envelope.
        top = {"kind", "apiVersion"} if "x-kubernetes-group-version-kind" in definition else set()
        assert set(found) == set(definition["properties"]) - top, name


@pytest.mark.parametrize("package", [*PACKAGES.values(), META])
def test_every_message_compiles(package: str) -> None:
    for name in read_table(package):
        if f"{package}.{name}" in DEFINITIONS:
            assert message_of(f"{package}.{name}").numbers or not read_table(package)[name]


def test_every_kind_that_can_be_written_has_a_message() -> None:
    written = [row for row in BUILTIN.rows if {"create", "update", "patch"} & set(row.verbs)]
    assert written
    for row in written:
        assert find_message(row.ref.api_version, row.ref.kind) is not None, row.ref


def test_evictions_of_old_clients_are_read_as_those_of_today() -> None:
    assert find_message("policy/v1beta1", "Eviction") == find_message("policy/v1", "Eviction")
    assert find_message("policy/v1beta1", "PodDisruptionBudget") is None
