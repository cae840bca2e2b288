from __future__ import annotations

import json

import pytest

from timonel.storage.codec import encode, resplice, splice


def test_the_stored_form_begins_with_kind_version_and_metadata_and_has_no_revision() -> None:
    obj = {
        "spec": {"a": 1},
        "metadata": {"name": "x", "resourceVersion": "7", "uid": "u"},
        "apiVersion": "v1",
        "kind": "Pod",
        "status": {},
    }
    assert encode(obj) == (
        b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x","uid":"u"},"spec":{"a":1},"status":{}}'
    )
    assert obj["metadata"]["resourceVersion"] == "7"  # the caller's object is left alone


@pytest.mark.parametrize("metadata", [{}, {"name": "x"}, {"labels": {"metadata": "{"}, "name": '"metadata":{'}])
def test_splicing_adds_the_revision_and_nothing_else(metadata: dict[str, object]) -> None:
    plain = encode({"kind": "K", "apiVersion": "g/v1", "metadata": metadata, "data": {"metadata": {"name": "inner"}}})
    wire = splice(plain, 42)
    decoded = json.loads(wire)
    assert decoded["metadata"] == {"resourceVersion": "42", **metadata}
    assert decoded["data"] == {"metadata": {"name": "inner"}}
    assert encode(decoded) == plain
    assert resplice(wire, 1234) == splice(plain, 1234)
