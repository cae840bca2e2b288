"""Stopping every container of a node and removing what is left on the machine, found by where it lives, not by memory.

Purge must work after any crash, so nothing here relies on the API or on a record of what was made: processes are found
by the node's socket in their command line, mounts by their place, cgroups by their root, links by their name.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from timonel.cluster.layout import Layout, NodeLayout
from timonel.kubelet.cri.grpc_runtime import GrpcRuntime
from timonel.kubelet.cri.runtime import RuntimeFailure

CGROUP_ROOT = Path("/sys/fs/cgroup")
CNI_RESULTS = Path("/var/lib/cni/results")
"""libcni's own cache; CNI DEL empties it, a crash may not."""


async def remove_sandboxes(node: NodeLayout, grace_seconds: int) -> list[str]:
    """Stops all containers of the node's containerd (SIGTERM, then SIGKILL after the grace) and removes the sandboxes.

    Returns what could not be removed, as text; the caller goes on to remove leftovers by force.
    """
    runtime = GrpcRuntime(endpoint=f"unix://{node.containerd_socket}")
    problems: list[str] = []

    async def attempt(what: str, action: object) -> None:
        try:
            await action  # type: ignore[misc]
        except RuntimeFailure as error:
            problems.append(f"{what}: {error}")

    try:
        containers = await runtime.list_containers()
        await asyncio.gather(
            *(attempt(f"container {item.id}", runtime.stop_container(item.id, grace_seconds)) for item in containers)
        )
        sandboxes = await runtime.list_pod_sandboxes()
        await asyncio.gather(*(attempt(f"sandbox {item.id}", runtime.stop_pod_sandbox(item.id)) for item in sandboxes))
        await asyncio.gather(
            *(attempt(f"sandbox {item.id}", runtime.remove_pod_sandbox(item.id)) for item in sandboxes)
        )
    except RuntimeFailure as error:
        problems.append(str(error))
    finally:
        await runtime.close()
    return problems


def container_namespaces(node: NodeLayout) -> set[str]:
    """Paths of the network namespaces of the node's containers, from the runtime bundles that shims run."""
    paths = set()
    for bundle in (node.containerd_state / "io.containerd.runtime.v2.task" / "k8s.io").glob("*/config.json"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            for item in json.loads(bundle.read_text())["linux"]["namespaces"]:
                if item["type"] == "network" and "/netns/cni-" in item.get("path", ""):
                    paths.add(item["path"])
    return paths


def processes_of(layout: Layout) -> list[int]:
    """Shims, runtimes and parts: whoever names the cluster's folders in the command line. Never ourselves."""
    needles = [f"{folder}/".encode() for folder in (layout.run, layout.data)]
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in (os.getpid(), os.getppid()):
            continue
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().split(b"\0")
            program = os.path.basename(command[0])
            if program.startswith((b"containerd", b"runc", b"python", b"haproxy")) and any(
                needle in argument for argument in command for needle in needles
            ):
                found.append(int(entry.name))
    return found


def kill_processes(layout: Layout, seconds: float = 10.0) -> None:
    """SIGKILLs what processes_of finds, with the containers below shims, and waits until it is gone."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pids = [pid for pid in _with_descendants(processes_of(layout)) if _alive(pid)]
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _with_descendants(roots: Iterable[int]) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    pending = list(roots)
    while pending:
        pid = pending.pop()
        if pid != os.getpid():
            yield pid
            pending += children.get(pid, [])


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def mounts_under(folders: Iterable[Path], mountinfo: str) -> list[str]:
    """Mount points at or below the folders, innermost first. `mountinfo` as in proc_pid_mountinfo(5)."""
    roots = [str(folder) for folder in folders]
    points = [line.split()[4].encode().decode("unicode_escape") for line in mountinfo.splitlines()]
    return [point for point in reversed(points) if any(point == root or point.startswith(root + "/") for root in roots)]


def unmount_all(folders: Iterable[Path]) -> None:
    for point in mounts_under(folders, Path("/proc/self/mountinfo").read_text()):
        if subprocess.run(["umount", point], capture_output=True, check=False).returncode != 0:
            subprocess.run(["umount", "-l", point], capture_output=True, check=False)


def remove_network_namespaces(paths: Iterable[str]) -> None:
    for path in paths:
        subprocess.run(["ip", "netns", "del", os.path.basename(path)], capture_output=True, check=False)


def remove_cni_results(network: str) -> None:
    for result in CNI_RESULTS.glob(f"{network}-*"):
        result.unlink(missing_ok=True)
    for folder in (CNI_RESULTS, CNI_RESULTS.parent):
        with contextlib.suppress(OSError):
            folder.rmdir()


def remove_cgroups(root: str) -> None:
    """Removes our subtree from every hierarchy (v1) or the only one (v2), leaves first. Others' are not looked at."""
    for hierarchy in (CGROUP_ROOT, *(entry for entry in CGROUP_ROOT.iterdir() if entry.is_dir())):
        top = hierarchy / root.lstrip("/")
        if not (top / "cgroup.procs").exists():
            continue
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def remove_folder(folder: Path) -> None:
    """Deletes a folder of the cluster. Raises OSError, deleting nothing, when something is still mounted in it."""
    if mounts_under([folder], Path("/proc/self/mountinfo").read_text()):
        raise OSError(f"something is still mounted under {folder}; nothing was deleted there")
    shutil.rmtree(folder)
