"""subPath stays within its volume. Source: kubernetes.io/blog/2018/04/04/fixing-subpath-volume-vulnerability."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from timonel.kubelet.volumes.subpath import SubPathError, open_beneath


def opened(root: Path, path: str) -> str:
    descriptor = open_beneath(str(root), path)
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def test_directories_are_made(tmp_path: Path) -> None:
    assert opened(tmp_path, "a/b") == str(tmp_path / "a/b")
    assert (tmp_path / "a/b").is_dir()


def test_links_inside_are_followed(tmp_path: Path) -> None:
    (tmp_path / "..v1").mkdir()
    (tmp_path / "..v1/key").write_text("x")
    os.symlink("..v1", tmp_path / "..data")
    os.symlink("..data/key", tmp_path / "key")
    assert opened(tmp_path, "key") == str(tmp_path / "..v1/key")


@pytest.mark.parametrize("target", ["/etc", "../outside", "/"])
def test_links_out_are_refused(tmp_path: Path, target: str) -> None:
    root = tmp_path / "volume"
    root.mkdir()
    (tmp_path / "outside").mkdir()
    os.symlink(target, root / "link")
    with pytest.raises(SubPathError):
        open_beneath(str(root), "link")
    with pytest.raises(SubPathError):
        open_beneath(str(root), "link/below")


def test_a_neighbour_with_the_same_beginning_is_outside(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume2").mkdir()
    os.symlink("../volume2", tmp_path / "volume/link")
    with pytest.raises(SubPathError):
        open_beneath(str(tmp_path / "volume"), "link")


def test_a_component_swapped_for_a_link_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The race: the path is checked, then a directory of it becomes a link before it is opened."""
    (tmp_path / "a/b").mkdir(parents=True)
    real = os.path.realpath

    def swap(path: str, **more: bool) -> str:
        resolved = real(path, **more)
        if resolved.endswith("/a/b"):
            os.rename(tmp_path / "a", tmp_path / "moved")
            os.symlink("/etc", tmp_path / "a")
        return resolved

    monkeypatch.setattr(os.path, "realpath", swap)
    with pytest.raises(SubPathError, match="became a symbolic link"):
        open_beneath(str(tmp_path), "a/b")
