"""The algebra of FieldsV1 trees, against plain sets of paths."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from timonel.api.managed_fields.field_set import (
    SELF,
    FieldSet,
    difference,
    intersection,
    is_field_set,
    ordered,
    paths,
    show_path,
    union,
    without_branch,
)  # fmt: skip

_path = st.lists(st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', "v:1"]), min_size=1, max_size=4).map(tuple)
_members = st.sets(_path, max_size=8)


def _tree(members: set[tuple[str, ...]]) -> FieldSet:
    """The wire form by its definition: a leaf is {}, a member with more below holds "."."""
    tree: dict[str, Any] = {}
    for path in members:
        node = tree
        for step in path:
            node = node.setdefault(step, {})
        node[SELF] = {}

    def settle(node: dict[str, Any]) -> dict[str, Any]:
        return {} if set(node) == {SELF} else {step: settle(below) for step, below in node.items()}

    return {step: settle(below) for step, below in tree.items()}


@given(_members, _members)
def test_algebra(left: set[tuple[str, ...]], right: set[tuple[str, ...]]) -> None:
    a, b = _tree(left), _tree(right)
    assert union(a, b) == _tree(left | right)
    assert difference(a, b) == _tree(left - right)
    assert intersection(a, b) == _tree(left & right)
    assert a == _tree(left)
    assert b == _tree(right)


@given(_members)
def test_paths_and_order(members: set[tuple[str, ...]]) -> None:
    tree = _tree(members)
    assert set(paths(tree)) == members
    assert ordered(tree) == tree
    assert list(ordered(tree)) == sorted(tree)


@given(_members, _path)
def test_branches(members: set[tuple[str, ...]], branch: tuple[str, ...]) -> None:
    kept = {path for path in members if path[: len(branch)] != branch}
    assert without_branch(_tree(members), branch) == _tree(kept)


def test_unchanged_sets_are_the_same_object() -> None:
    tree = _tree({("f:a", "f:b"), ("f:a",)})
    assert difference(tree, _tree({("f:c",), ("f:a", "f:c")})) is tree
    assert union(tree, _tree({("f:a", "f:b")})) is tree


def test_paths_are_shown_as_in_conflicts() -> None:
    assert show_path(("f:spec", "f:ports", 'k:{"port":80,"protocol":"TCP"}', "f:name")) == (
        '.spec.ports[port=80,protocol="TCP"].name'
    )
    assert show_path(("f:metadata", "f:finalizers", 'v:"a/b"')) == '.metadata.finalizers[="a/b"]'
    assert show_path(("f:x", "i:3")) == ".x[3]"


def test_what_clients_send_is_looked_at() -> None:
    assert is_field_set({"f:a": {".": {}, 'k:{"name":"x"}': {}, "v:1": {}, "i:0": {}}})
    for wrong in ({"a": {}}, {"f:a": 1}, {"k:[1]": {}}, {"v:{": {}}, {"i:x": {}}, []):
        assert not is_field_set(wrong)
