"""Makes, fills and removes pods' cgroups on the host: the cgroupfs driver.

Version 2 has one tree; version 1 has one per controller, each mounted on its own, and the runtime adds a pod's cgroup
to those we do not fill. Removal therefore looks everywhere. File operations here are on kernel file systems: they do
not wait for a disk.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterable
from pathlib import Path

from timonel.api.objects import Object
from timonel.kubelet.cgroups.limits import BRANCHES, TOP, Limits, burstable_shares, pod_cgroup, pod_limits, render

log = logging.getLogger(__name__)

_FILLED_V1 = ("cpu", "cpuacct", "memory", "pids")
_ENABLED_V2 = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")


class Cgroups:
    """`root` is our subtree, such as "/timonel/node"; `mount` where cgroup file systems are."""

    def __init__(self, *, root: str, mount: str = "/sys/fs/cgroup", max_pids: int = 0) -> None:
        self._root = root.strip("/")
        self._mount = Path(mount)
        self._max_pids = max_pids
        self.unified = (self._mount / "cgroup.controllers").exists()
        self._burstable = -1

    def _trees(self) -> list[Path]:
        """Every hierarchy; in version 1 `cpu` and `cpuacct` may be links to one that is mounted for both."""
        if self.unified:
            return [self._mount]
        entries = (self._mount / name for name in os.listdir(self._mount))
        return sorted(path for path in entries if path.is_dir() and not path.is_symlink())

    def _filled(self) -> list[Path]:
        if self.unified:
            return [self._mount]
        found = {(self._mount / name).resolve() for name in _FILLED_V1 if (self._mount / name).is_dir()}
        return sorted(found)

    def ensure_tree(self, shares: int) -> None:
        """Our root and its branches. `shares`: the CPU that all pods together may claim against the host's rest."""
        for branch in BRANCHES:
            self._make(branch)
        self._write(TOP, Limits(shares=shares))
        self._write(f"{TOP}/besteffort", Limits())

    def ensure_pod(self, pod: Object) -> str:
        """Makes the pod's cgroup with its limits; returns its path as the runtime wants it. Raises OSError."""
        path = pod_cgroup(pod)
        self._make(path)
        self._write(path, pod_limits(pod, self._max_pids))
        return self.runtime_path(pod)

    def widen_pod(self, pod: Object) -> None:
        """Gives the pod's cgroup what it is to have wherever that is more: before its containers are resized."""
        path = pod_cgroup(pod)
        for controller, name, text in render(pod_limits(pod, self._max_pids), unified=self.unified):
            file = self._file(controller, path, name)
            try:
                if _bound(text) > _bound(file.read_text()):
                    file.write_text(text)
            except FileNotFoundError:
                continue

    def memory_usage(self, pod: Object, container_id: str) -> int | None:
        """Bytes a container uses now; None when there is no telling."""
        name = "memory.current" if self.unified else "memory.usage_in_bytes"
        try:
            return int(self._file("memory", f"{pod_cgroup(pod)}/{container_id}", name).read_text())
        except (OSError, ValueError):
            return None

    def cpus(self, pod: Object, container_id: str) -> str | None:
        """Which ones a container may run on now, "0-1,4"; None when there is no telling."""
        try:
            return self._file("cpuset", f"{pod_cgroup(pod)}/{container_id}", "cpuset.cpus").read_text().strip()
        except OSError:
            return None

    def _file(self, controller: str, path: str, name: str) -> Path:
        tree = self._mount if self.unified else self._mount / controller
        return tree / self._root / path / name

    def runtime_path(self, pod: Object) -> str:
        return f"/{self._root}/{pod_cgroup(pod)}"

    def balance(self, pods: Iterable[Object]) -> None:
        """Weighs the burstable branch by the pods there are now."""
        shares = burstable_shares(pods)
        if shares != self._burstable:
            self._write(f"{TOP}/burstable", Limits(shares=shares))
            self._burstable = shares

    def pod_uids(self) -> set[str]:
        """Of all pods that have a cgroup in any hierarchy."""
        found = set()
        for tree in self._trees():
            for branch in BRANCHES:
                try:
                    names = os.listdir(tree / self._root / branch)
                except OSError:
                    continue
                found |= {name.removeprefix("pod") for name in names if name.startswith("pod")}
        return found

    def remove_pod(self, uid: str) -> bool:
        """Kills what is still in the pod's cgroup and removes it everywhere; False: something is left, try again."""
        gone = True
        for tree in self._trees():
            for branch in BRANCHES:
                path = tree / self._root / branch / f"pod{uid}"
                if path.is_dir():
                    gone &= _remove(path)
        return gone

    def _make(self, path: str) -> None:
        relative = Path(self._root) / path
        for tree in self._filled():
            if self.unified:
                self._make_unified(tree, relative)
            else:
                (tree / relative).mkdir(parents=True, exist_ok=True)

    def _make_unified(self, tree: Path, relative: Path) -> None:
        """Each level must hand its controllers down before the next can have them."""
        current = tree
        for part in relative.parts:
            wanted = set((current / "cgroup.controllers").read_text().split()).intersection(_ENABLED_V2)
            control = current / "cgroup.subtree_control"
            missing = wanted - set(control.read_text().split())
            if missing:
                control.write_text(" ".join(f"+{name}" for name in sorted(missing)))
            current = current / part
            current.mkdir(exist_ok=True)

    def _write(self, path: str, limits: Limits) -> None:
        for controller, name, text in render(limits, unified=self.unified):
            file = self._file(controller, path, name)
            try:
                if file.read_text().strip() != text:
                    file.write_text(text)
            except FileNotFoundError:
                continue  # a controller this kernel does not have
            except OSError as exc:
                # A quota below what children have already got, for instance: the pod runs, less closely bound.
                log.warning("cgroup limit not set file=%s text=%s error=%s", file, text, exc)


def _bound(text: str) -> float:
    """The number a limit's file begins with; no limit is more than any."""
    first = text.split()[0] if text.split() else "0"
    return float("inf") if first in ("max", "-1") else float(first)


def _remove(path: Path) -> bool:
    gone = True
    for current, _, _ in os.walk(path, topdown=False):
        _kill_processes(Path(current))
        try:
            os.rmdir(current)
        except FileNotFoundError:
            continue
        except OSError:
            gone = False  # processes take a moment to die
    return gone


def _kill_processes(path: Path) -> None:
    try:
        pids = (path / "cgroup.procs").read_text().split()
    except OSError:
        return
    for pid in pids:
        if pid == "0":
            continue  # a process of another pid namespace has no number here; for kill(2), 0 is our own process group
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            continue
