"""subPath stays within its volume. Source: kubernetes.io/blog/2018/04/04/fixing-subpath-volume-vulnerability."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from timonel.kubelet.volumes import mounts
from timonel.kubelet.volumes.subpath import SubPathError, bind_subpath, open_beneath


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


def test_a_bound_folder_is_bound_once_and_its_end_is_not_the_end_of_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mount_namespaces(7): unmounting below a shared bind unmounts at its source too, unless the bind is a slave."""
    table: list[str] = []
    flags: list[int] = []

    def mount(source: str, target: str, kind: str = "", flags_: int = 0, options: str = "", **more: int) -> None:
        flags.append(more.get("flags", flags_))
        if flags[-1] & mounts.MS_BIND:
            table.append(target)

    monkeypatch.setattr(mounts, "mount", mount)
    monkeypatch.setattr(mounts, "mount_points", lambda below: [point for point in table if point == below])
    monkeypatch.setattr(mounts, "unmount", table.remove)
    (tmp_path / "volume/sub").mkdir(parents=True)
    target = str(tmp_path / "subpaths/0")
    for _ in range(3):  # runs of the container
        bind_subpath(str(tmp_path / "volume"), "sub", target)
    assert table == [target]
    assert [each & ~mounts.MS_REC for each in flags[:3]] == [mounts.MS_BIND, mounts.MS_SLAVE, mounts.MS_SHARED]
