"""The cgroups of pods, on folders that look like cgroup file systems. Source: concepts/architecture/cgroups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.kubelet.pods import container, pod, sidecar
from timonel.api.objects import Object
from timonel.kubelet.cgroups.limits import Limits, pod_cgroup, pod_limits
from timonel.kubelet.cgroups.manager import Cgroups
from timonel.kubelet.containers.resources import cpu_quota, cpu_shares, cpu_weight
from timonel.kubelet.pods.qos import oom_score_adjust, qos_class

SMALL = {"cpu": "250m", "memory": "64Mi"}


def with_resources(**resources: Object) -> Object:
    return container("c", resources=resources)


def test_numbers() -> None:
    assert [cpu_shares(m) for m in (0, 1, 250, 1000)] == [2, 2, 256, 1024]
    assert [cpu_quota(m) for m in (0, 1, 250, 1500)] == [0, 1000, 25_000, 150_000]
    assert [cpu_weight(s) for s in (2, 1024, 262_144)] == [1, 39, 10_000]


def test_quality_of_service() -> None:
    assert qos_class(pod(container("c"))) == "BestEffort"
    assert qos_class(pod(with_resources(requests={"cpu": "1"}))) == "Burstable"
    assert qos_class(pod(with_resources(limits=SMALL, requests=SMALL))) == "Guaranteed"
    assert qos_class(pod(with_resources(limits=SMALL), container("d"))) == "Burstable"
    assert qos_class(pod(with_resources(limits=SMALL, requests={**SMALL, "cpu": "0.25"}))) == "Guaranteed"


def test_who_is_killed_first() -> None:
    gigabyte = 1 << 30
    assert oom_score_adjust(pod(container("c")), container("c"), gigabyte) == 1000
    guaranteed = with_resources(limits=SMALL, requests=SMALL)
    assert oom_score_adjust(pod(guaranteed), guaranteed, gigabyte) == -997
    burstable = with_resources(requests={"memory": "256Mi"})
    assert oom_score_adjust(pod(burstable), burstable, gigabyte) == 750
    tiny = with_resources(requests={"memory": "1"})
    assert oom_score_adjust(pod(tiny), tiny, gigabyte) == 999


def test_limits_of_a_whole_pod() -> None:
    assert pod_limits(pod(with_resources(limits=SMALL, requests=SMALL))) == Limits(256, 25_000, 64 << 20)
    assert pod_limits(pod(with_resources(limits=SMALL), container("d"))) == Limits(256, 0, 0)
    init = container("i", resources={"requests": {"cpu": "2"}})
    assert pod_limits(pod(with_resources(requests={"cpu": "1"}), init=(init,))).shares == 2048
    side = sidecar("s", resources={"requests": {"cpu": "1"}})
    assert pod_limits(pod(with_resources(requests={"cpu": "1"}), init=(side,))).shares == 2048


def test_places() -> None:
    assert pod_cgroup(pod(container("c"))) == "kubepods/besteffort/poduid-web"
    assert pod_cgroup(pod(with_resources(requests=SMALL))) == "kubepods/burstable/poduid-web"
    assert pod_cgroup(pod(with_resources(limits=SMALL, requests=SMALL))) == "kubepods/poduid-web"


class Folders:
    """Writes into new cgroup folders the files a kernel would put there."""

    def __init__(self, mount: Path, trees: dict[str, dict[str, str]]) -> None:
        self.mount = mount
        self.trees = trees

    def fill(self) -> None:
        for tree, files in self.trees.items():
            root = self.mount / tree
            root.mkdir(exist_ok=True)
            for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
                for name, text in files.items():
                    if not (folder / name).exists():
                        (folder / name).write_text(text)


@pytest.fixture
def empty_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """rmdir of a real cgroup ignores the kernel's files in it."""
    real = os.rmdir

    def rmdir(path: str) -> None:
        for entry in Path(path).iterdir():
            if entry.is_file():
                entry.unlink()
        real(path)

    monkeypatch.setattr(os, "rmdir", rmdir)


@pytest.mark.usefixtures("empty_files")
def test_version_one(tmp_path: Path) -> None:
    folders = Folders(
        tmp_path,
        {
            "cpu": {"cpu.shares": "1024", "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "-1"},
            "memory": {"memory.limit_in_bytes": "9223372036854771712"},
            "pids": {"pids.max": "max"},
            "freezer": {},
        },
    )
    folders.fill()
    cgroups = Cgroups(root="/t/node", mount=str(tmp_path))
    assert not cgroups.unified
    cgroups.ensure_tree(2048)
    of = pod(with_resources(limits=SMALL, requests=SMALL))
    cgroups.ensure_pod(of)
    folders.fill()
    assert cgroups.ensure_pod(of) == "/t/node/kubepods/poduid-web"
    place = "t/node/kubepods/poduid-web"
    assert (tmp_path / "cpu" / place / "cpu.shares").read_text() == "256"
    assert (tmp_path / "cpu" / place / "cpu.cfs_quota_us").read_text() == "25000"
    assert (tmp_path / "memory" / place / "memory.limit_in_bytes").read_text() == str(64 << 20)
    (tmp_path / "freezer" / place / "container").mkdir(parents=True)  # the runtime's doing
    assert cgroups.pod_uids() == {"uid-web"}
    assert cgroups.remove_pod("uid-web")
    assert cgroups.pod_uids() == set()


@pytest.mark.usefixtures("empty_files")
def test_processes_that_have_no_number_here_are_not_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """cgroups(7): a process outside the reader's pid namespace reads as 0. To kill(2), 0 is the caller's own group."""
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, by: killed.append(pid))
    place = tmp_path / "cpu" / "t/node/kubepods/poduid-web"
    place.mkdir(parents=True)
    (place / "cgroup.procs").write_text("0\n4294967\n")
    assert Cgroups(root="/t/node", mount=str(tmp_path)).remove_pod("uid-web")
    assert killed == [4294967]


@pytest.mark.usefixtures("empty_files")
def test_version_two(tmp_path: Path) -> None:
    files = {
        "cgroup.controllers": "cpu io memory pids", "cgroup.subtree_control": "", "cpu.weight": "100",
        "cpu.max": "max 100000", "memory.max": "max", "pids.max": "max",
    }  # fmt: skip
    folders = Folders(tmp_path, {".": files})
    for part in ("t", "t/node", "t/node/kubepods", "t/node/kubepods/burstable", "t/node/kubepods/besteffort"):
        (tmp_path / part).mkdir()
    folders.fill()
    cgroups = Cgroups(root="/t/node", mount=str(tmp_path))
    assert cgroups.unified
    cgroups.ensure_tree(2048)
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +io +memory +pids"
    of = pod(with_resources(requests={"cpu": "1"}, limits={"cpu": "2", "memory": "64Mi"}))
    cgroups.ensure_pod(of)
    folders.fill()
    cgroups.ensure_pod(of)
    place = tmp_path / "t/node/kubepods/burstable/poduid-web"
    assert (place / "cpu.weight").read_text() == "39"
    assert (place / "cpu.max").read_text() == "200000 100000"
    assert (place / "memory.max").read_text() == str(64 << 20)
    assert cgroups.remove_pod("uid-web")
    assert not place.exists()
