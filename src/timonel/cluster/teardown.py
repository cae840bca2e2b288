"""Stopping every container of a node and removing what is left on the machine, found by where it lives, not by memory.

Purge must work after any crash, so nothing here relies on the API or on a record of what was made: processes are found
by the node's socket in their command line, mounts by their place, cgroups by their root, links by their name.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from timonel.cluster.layout import Layout, NodeLayout
from timonel.kubelet.cri.grpc_runtime import GrpcRuntime
from timonel.kubelet.cri.runtime import RuntimeFailure

CGROUP_ROOT = Path("/sys/fs/cgroup")
SHIM_SOCKETS = Path("/run/containerd/s")
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


def remove_dead_shim_sockets(layout: Layout) -> None:
    """Shims listen under /run/containerd/s whatever containerd's own folders are, and a killed one leaves its socket.

    To be called before containerd starts, too: it forgets dead shims, and then nothing names their sockets any more.
    """
    for file in layout.run.glob("n*/containerd/io.containerd.runtime.v2.task/*/*/address"):
        with contextlib.suppress(OSError):
            path = Path(file.read_text().strip().removeprefix("unix://"))
            if path.is_relative_to(SHIM_SOCKETS) and not _is_listening(path):
                path.unlink(missing_ok=True)
    for folder in (SHIM_SOCKETS, SHIM_SOCKETS.parent):
        with contextlib.suppress(OSError):
            folder.rmdir()


def _is_listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


def sandboxes_of(node: NodeLayout) -> list[str]:
    """Ids of the sandboxes that containerd keeps a folder for."""
    return [folder.name for folder in (node.containerd_root / "io.containerd.grpc.v1.cri" / "sandboxes").glob("*")]


def contained_processes(root: str) -> set[int]:
    """Processes in our cgroups: containers, also those whose shim was killed and no longer names them."""
    found = set()
    for top in _cgroup_tops(root):
        for file in (top / "cgroup.procs", *top.glob("**/cgroup.procs")):
            with contextlib.suppress(OSError):
                found |= {int(pid) for pid in file.read_text().split()}
    return found


def processes_of(layout: Layout) -> list[int]:
    """Shims, runtimes and parts: whoever names the cluster's folders in the command line. Never ourselves."""
    needles = [f"{folder}/".encode() for folder in (layout.run, layout.data)]
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in (os.getpid(), os.getppid()):
            continue
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().split(b"\0")
            if is_ours(command) and any(needle in argument for argument in command for needle in needles):
                found.append(int(entry.name))
    return found


def is_ours(command: Sequence[bytes]) -> bool:
    """Whether a command line is of a program that `up` starts, and not one that merely looks at the same folders."""
    program = os.path.basename(command[0])
    return (
        program in (b"etcd", b"haproxy")
        or program.startswith((b"containerd", b"runc"))
        or any(argument in (b"timonel.cluster.part", b"timonel.cluster.supervisor") for argument in command)
    )


def end_parts(layout: Layout, seconds: float = 10.0) -> None:
    """Waits for parts whose supervisor was killed, which told them to stop, and kills what does not. Shims stay."""
    deadline = time.monotonic() + seconds
    for pid in processes_of(layout):
        if _program_of(pid) == b"haproxy":  # no part of the supervisor's: it outlives the agent that started it
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
    while pids := [pid for pid in processes_of(layout) if _alive(pid) and not _is_shim(pid)]:
        if time.monotonic() > deadline:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _is_shim(pid: int) -> bool:
    return _program_of(pid).startswith((b"containerd-shim", b"runc"))


def _program_of(pid: int) -> bytes:
    """Its name; empty for a process that is gone."""
    try:
        return os.path.basename(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0])
    except OSError:
        return b""


def kill_processes(layout: Layout, seconds: float = 10.0) -> None:
    """SIGKILLs what processes_of finds, with the containers below shims, and waits until it is gone."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        roots = {*processes_of(layout), *contained_processes(layout.cgroup)}
        pids = [pid for pid in _with_descendants(roots) if _alive(pid)]
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


def remove_cni_results(network: str, sandboxes: Iterable[str]) -> None:
    """Cached results, <network>-<sandbox id>-<interface>: of our network, and of our sandboxes in any network, since
    containerd has one for loopback too. Others' names may begin like ours.
    """
    ours = set(sandboxes)
    for result in CNI_RESULTS.glob("*"):
        match = re.fullmatch(r"(.+)-([0-9a-f]{64})-\w+", result.name)
        if match and (match[1] == network or match[2] in ours):
            result.unlink(missing_ok=True)
    for folder in (CNI_RESULTS, CNI_RESULTS.parent):
        with contextlib.suppress(OSError):
            folder.rmdir()


def remove_cgroups(root: str) -> None:
    """Removes our subtree from every hierarchy (v1) or the only one (v2), leaves first. Others' are not looked at."""
    for top in _cgroup_tops(root):
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def _cgroup_tops(root: str) -> list[Path]:
    hierarchies = (CGROUP_ROOT, *(entry for entry in CGROUP_ROOT.iterdir() if entry.is_dir()))
    tops = [hierarchy / root.lstrip("/") for hierarchy in hierarchies]
    return [top for top in tops if (top / "cgroup.procs").exists()]


def remove_folder(folder: Path) -> None:
    """Deletes a folder of the cluster. Raises OSError, deleting nothing, when something is still mounted in it."""
    if mounts_under([folder], Path("/proc/self/mountinfo").read_text()):
        raise OSError(f"something is still mounted under {folder}; nothing was deleted there")
    shutil.rmtree(folder)
