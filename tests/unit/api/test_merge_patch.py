"""The examples of RFC 7386, appendix A, as far as the document is an object."""

from typing import Any

import pytest

from timonel.api.errors import BadRequest
from timonel.api.patch.merge import apply_merge_patch


@pytest.mark.parametrize(
    ("doc", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_rfc_examples(doc: dict[str, Any], patch: Any, result: dict[str, Any]) -> None:
    assert apply_merge_patch(doc, patch) == result


def test_a_patch_must_be_an_object() -> None:
    with pytest.raises(BadRequest):
        apply_merge_patch({"a": 1}, ["c"])


def test_the_document_is_left_alone() -> None:
    doc = {"a": {"b": [1]}}
    patched = apply_merge_patch(doc, {"a": {"c": 1}})
    patched["a"]["b"].append(2)
    assert doc == {"a": {"b": [1]}}
