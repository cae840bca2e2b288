"""What a container may leave in its volumes: folders without end. They are measured and removed like any others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from timonel.kubelet.volumes import mounts
from timonel.kubelet.volumes.trees import remove_tree, used_bytes


def make_deep(root: Path, levels: int, name: str = "d") -> None:
    """Deeper than a path can say, as a program does that goes down level by level."""
    descriptor = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=descriptor)
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=descriptor))
    os.close(descriptor)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    # Whatever a failure leaves would be too deep for pytest to remove, now and in later runs.
    subprocess.run(("rm", "-rf", str(tmp_path)), check=True)


@pytest.mark.parametrize(("levels", "name"), [(1, "d"), (sys.getrecursionlimit() + 500, "d"), (40, "d" * 255)])
def test_folders_of_any_depth(folder: Path, levels: int, name: str) -> None:
    outside = folder / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"x" * 8192)
    root = folder / "volume"
    root.mkdir()
    (root / "file").write_bytes(b"x" * 8192)
    (root / "link").symlink_to(outside)
    expected = sum((root / entry).lstat().st_blocks * 512 for entry in ("file", "link"))
    make_deep(root, levels, name)
    assert used_bytes(str(root)) == expected
    remove_tree(str(root))
    assert not root.exists()
    assert (outside / "kept").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
def test_nothing_is_removed_through_a_mount(folder: Path) -> None:
    """Not even one within the same file system, as volumes are bound into the folders of pods."""
    data, bound = folder / "data", folder / "pod/volumes/bound"
    data.mkdir()
    (data / "file").write_text("kept")
    bound.mkdir(parents=True)
    mounts.bind(str(data), str(bound))
    try:
        with pytest.raises(OSError, match="something is mounted there"):
            remove_tree(str(folder / "pod"))
        assert (data / "file").read_text() == "kept"
    finally:
        mounts.unmount(str(bound))
    remove_tree(str(folder / "pod"))
    assert (data / "file").read_text() == "kept"
