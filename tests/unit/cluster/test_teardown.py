"""Finding what is ours on the machine."""

from __future__ import annotations

from pathlib import Path

from timonel.cluster.teardown import mounts_under

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
