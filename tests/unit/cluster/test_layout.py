"""Names and places: derived from the cluster's name, within the kernel's limits, never shared by two clusters."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timonel.cluster.errors import UserError
from timonel.cluster.layout import layout_of

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?", fullmatch=True)
LONGEST_LINK_NAME = 15
LONGEST_SOCKET_ADDRESS = 107


def test_the_unnamed_cluster_has_the_documented_places() -> None:
    layout = layout_of()
    assert layout.data == Path("/var/lib/timonel")
    assert layout.run == Path("/run/timonel")
    assert layout.admin_kubeconfig == Path("/var/lib/timonel/admin.kubeconfig")
    assert layout.nft_table == "timonel"
    assert layout.context == "timonel"
    assert layout.node(1, "host").namespace == ""
    assert layout.node(2, "host-2").namespace != ""


def test_every_node_of_a_named_cluster_is_in_a_namespace() -> None:
    layout = layout_of("alpha")
    assert layout.node(1, layout.node_name(1)).namespace == "timonel-alpha-1"


@given(NAMES, NAMES, st.integers(1, 100))
def test_named_clusters_never_meet(first: str, second: str, index: int) -> None:
    one, other = layout_of(first), layout_of(second)
    node = one.node(index, one.node_name(index))
    assert len(one.bridge) <= LONGEST_LINK_NAME
    assert len(node.host_link) <= LONGEST_LINK_NAME
    assert len(str(node.containerd_socket)) <= LONGEST_SOCKET_ADDRESS
    if first != second:
        assert one.bridge != other.bridge
        assert one.data != other.data
        assert one.cgroup != other.cgroup
        assert one.context != other.context
        assert node.namespace != other.node(index, other.node_name(index)).namespace


@pytest.mark.parametrize("name", ["Alpha", "a b", "-a", "a-", "../x", "x" * 21, "ä"])
def test_impossible_names_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="cluster name"):
        layout_of(name)
