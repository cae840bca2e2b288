from typing import Any

import pytest

from timonel.api.errors import BadRequest, Invalid, RequestEntityTooLarge
from timonel.api.patch.json_patch import apply_json_patch, find_unknown_members

_DOC: dict[str, Any] = {"a": {"b": [1, 2, 3]}, "x/y": {"~": 1}, "n": None, "t": True}


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ({"op": "add", "path": "/a/c", "value": 5}, {"a": {"b": [1, 2, 3], "c": 5}}),
        ({"op": "add", "path": "/a/b/1", "value": 5}, {"a": {"b": [1, 5, 2, 3]}}),
        ({"op": "add", "path": "/a/b/-", "value": 5}, {"a": {"b": [1, 2, 3, 5]}}),
        ({"op": "add", "path": "/a/b/3", "value": 5}, {"a": {"b": [1, 2, 3, 5]}}),
        ({"op": "remove", "path": "/a/b/0"}, {"a": {"b": [2, 3]}}),
        ({"op": "remove", "path": "/a/b/-1"}, {"a": {"b": [1, 2]}}),
        ({"op": "replace", "path": "/a/b", "value": "z"}, {"a": {"b": "z"}}),
        ({"op": "replace", "path": "/a/new", "value": "z"}, {"a": {"b": [1, 2, 3], "new": "z"}}),
        ({"op": "replace", "path": "/x~1y/~0", "value": 2}, {"x/y": {"~": 2}}),
        ({"op": "move", "from": "/a/b/0", "path": "/a/b/2"}, {"a": {"b": [2, 3, 1]}}),
        ({"op": "copy", "from": "/a/b", "path": "/a/c"}, {"a": {"b": [1, 2, 3], "c": [1, 2, 3]}}),
        ({"op": "test", "path": "/a/b", "value": [1, 2, 3]}, {}),
        ({"op": "test", "path": "/none", "value": None}, {}),
    ],
)
def test_operations(operation: dict[str, Any], expected: dict[str, Any]) -> None:
    assert apply_json_patch(_DOC, [operation]) == {**_DOC, **expected}


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        ({"op": "add", "path": "/q/c"}, 'add operation does not apply: doc is missing path: "/q/c": missing value'),
        (
            {"op": "add", "path": "/a/b/9", "value": 1},
            "error in add for path: '/a/b/9': Unable to access invalid index: 9: invalid index referenced",
        ),
        (
            {"op": "remove", "path": "/a/c"},
            "error in remove for path: '/a/c': Unable to remove nonexistent key: c: missing value",
        ),
        (
            {"op": "replace", "path": "/a/b/9"},
            "replace operation does not apply: doc is missing key: /a/b/9: missing value",
        ),
        ({"op": "test", "path": "/a/b/0", "value": 2}, "testing value /a/b/0 failed: test failed"),
        ({"op": "test", "path": "/t", "value": 1}, "testing value /t failed: test failed"),
        ({"op": "frob", "path": "/a"}, "Unexpected kind: frob"),
        ({"path": "/a"}, "Unexpected kind: unknown"),
        ({"op": "remove"}, "remove operation failed to decode path: missing value"),
    ],
)
def test_what_does_not_apply_is_refused_and_explained(operation: dict[str, Any], why: str) -> None:
    with pytest.raises(Invalid) as caught:
        apply_json_patch(_DOC, [operation])
    assert caught.value.message == "the server rejected our request due to an error in our request"
    assert caught.value.details["causes"][0]["message"] == why


def test_a_failed_patch_leaves_the_document_alone() -> None:
    doc = {"a": {"b": 1}}
    with pytest.raises(Invalid):
        apply_json_patch(doc, [{"op": "remove", "path": "/a/b"}, {"op": "test", "path": "/a", "value": 0}])
    assert doc == {"a": {"b": 1}}


def test_the_result_shares_nothing() -> None:
    doc = {"a": {"b": [1]}}
    apply_json_patch(doc, [])["a"]["b"].append(2)
    assert doc == {"a": {"b": [1]}}


def test_malformed_patches() -> None:
    for patch in ({"op": "add"}, "x", [1]):
        with pytest.raises(BadRequest):
            apply_json_patch(_DOC, patch)
    with pytest.raises(RequestEntityTooLarge, match="allowed maximum operations in a JSON patch is 10000, got 10001"):
        apply_json_patch(_DOC, [{}] * 10_001)
    assert find_unknown_members([{"op": "add", "vlaue": 1}]) == ['json patch unknown field "[0].vlaue"']


def test_copies_cannot_blow_the_object_up() -> None:
    operations = [{"op": "copy", "from": "/a", "path": f"/a/{number}"} for number in range(40)]
    with pytest.raises(Invalid) as caught:
        apply_json_patch({"a": {"b": "x" * 100}}, operations)
    assert "exceeding the limit" in caught.value.details["causes"][0]["message"]


def test_the_result_cannot_be_deeper_than_a_body_may_be() -> None:
    deep: Any = 1
    for _ in range(150):
        deep = {"a": deep}
    nested = [{"op": "add", "path": "/a" * 100 + "/b", "value": deep}]
    grown = [{"op": "copy", "from": "/a", "path": "/a/c"}] * 400
    for doc, operations in (({"a": deep}, nested), ({"a": {"b": 1}}, grown)):
        with pytest.raises(BadRequest, match="exceeds max depth"):
            apply_json_patch(doc, operations)
