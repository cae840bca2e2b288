"""Until custom resources are built, clients can learn that there are none, and no more."""

from __future__ import annotations

from timonel.api.kinds import BUILTIN
from timonel.api.kinds.customresourcedefinition import CUSTOM_RESOURCE_DEFINITIONS
from timonel.api.schema import schemas


def test_definitions_can_be_listed_but_not_made() -> None:
    row = BUILTIN.row(CUSTOM_RESOURCE_DEFINITIONS.ref)
    assert row.verbs == ("get", "list", "watch")
    assert row.ref.path() == "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert schemas().has(row.definition)
