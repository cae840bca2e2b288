"""fsGroup. Source: kubernetes.io/docs/tasks/configure-pod-container/security-context."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from timonel.kubelet.volumes.ownership import give_to_group

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to a group that is not its own")
GROUP = 4321


def modes(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_gid, stat.S_IMODE(found.st_mode)


def test_everything_below_is_given(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True, mode=0o700)
    (tmp_path / "a/b/file").write_text("x")
    (tmp_path / "a/b/file").chmod(0o600)
    give_to_group(str(tmp_path), GROUP, only_if_root_differs=False)
    assert modes(tmp_path / "a/b/file") == (GROUP, 0o660)
    for folder in (tmp_path, tmp_path / "a", tmp_path / "a/b"):
        assert modes(folder)[0] == GROUP
        assert modes(folder)[1] & 0o2770 == 0o2770


def test_links_lead_nowhere(tmp_path: Path) -> None:
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    volume.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("x")
    before = modes(outside / "secret"), modes(outside)
    os.symlink(outside, volume / "folder")
    os.symlink(outside / "secret", volume / "file")
    give_to_group(str(volume), GROUP, only_if_root_differs=False)
    assert (modes(outside / "secret"), modes(outside)) == before
    assert modes(volume / "file")[0] == GROUP


def test_only_when_the_root_differs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    give_to_group(str(tmp_path), GROUP, only_if_root_differs=True)
    assert modes(tmp_path / "file")[0] == GROUP
    (tmp_path / "late").write_text("x")
    os.chown(tmp_path / "late", -1, 0)
    give_to_group(str(tmp_path), GROUP, only_if_root_differs=True)
    assert modes(tmp_path / "late")[0] != GROUP
    give_to_group(str(tmp_path), GROUP, only_if_root_differs=False)
    assert modes(tmp_path / "late")[0] == GROUP


def test_folders_as_deep_as_containers_make_them(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(400):
        os.mkdir("d", dir_fd=folder)
        deeper = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = deeper
    os.close(folder)
    give_to_group(str(tmp_path), GROUP, only_if_root_differs=False)
    assert modes(tmp_path / "d/d/d")[0] == GROUP
