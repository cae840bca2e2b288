"""Finding what is ours on the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from timonel.cluster import teardown
from timonel.cluster.teardown import is_ours, mounts_under, remove_cni_results

MOUNTINFO = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
90 22 0:40 / /var/lib/timonel/nodes/a/kubelet/pods/u/volumes/secret rw - tmpfs tmpfs rw
91 90 0:41 / /var/lib/timonel/nodes/a/kubelet/pods/u/volumes/secret/in\\040side rw - tmpfs tmpfs rw
92 22 0:42 / /var/lib/timonel-other/x rw - tmpfs tmpfs rw
93 22 0:43 / /run/timonel/n1/containerd/rootfs rw - overlay overlay rw
"""


def test_mounts_are_found_by_place_innermost_first() -> None:
    found = mounts_under([Path("/var/lib/timonel"), Path("/run/timonel")], MOUNTINFO)
    assert found == [
        "/run/timonel/n1/containerd/rootfs",
        "/var/lib/timonel/nodes/a/kubelet/pods/u/volumes/secret/in side",
        "/var/lib/timonel/nodes/a/kubelet/pods/u/volumes/secret",
    ]


def test_cached_cni_results_of_clusters_whose_names_begin_alike_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "cni" / "results"
    results.mkdir(parents=True)
    monkeypatch.setattr(teardown, "CNI_RESULTS", results)
    mine, other = "a" * 64, "b" * 64
    for name in (
        f"timonel-{mine}-eth0",
        f"cni-loopback-{mine}-lo",
        f"timonel-{'c' * 64}-eth0",
        f"timonel-two-{other}-eth0",
        f"cni-loopback-{other}-lo",
    ):
        (results / name).touch()
    remove_cni_results("timonel", [mine])
    assert {file.name for file in results.iterdir()} == {f"timonel-two-{other}-eth0", f"cni-loopback-{other}-lo"}
    remove_cni_results("timonel-two", [other])
    assert not results.parent.exists()


@pytest.mark.parametrize(
    ("command", "ours"),
    [
        ("/usr/bin/containerd-shim-runc-v2 -address /run/timonel/n1/containerd.sock", True),
        ("containerd --config /var/lib/timonel/nodes/a/containerd.toml", True),
        ("/usr/bin/python3 -m timonel.cluster.part agent /run/timonel/parts/agent.json", True),
        ("python3 -m timonel.cluster.supervisor /run/timonel/parts.json /run/timonel/supervisor.sock", True),
        ("python3 backup.py /var/lib/timonel/server/store.db", False),
        ("tail -f /var/lib/timonel/logs/server.log", False),
    ],
)
def test_only_programs_that_up_starts_are_ours(command: str, ours: bool) -> None:
    assert is_ours([word.encode() for word in command.split()]) is ours
