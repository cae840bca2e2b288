"""Starting one part: its process, network namespace, host name, log, and the promise to die with the supervisor.

Everything happens between fork and exec in the child itself, so the pid the supervisor sees is the part's own.
Containers are never in these process groups: containerd's shims outlive containerd by design.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUTS = 0x04000000
_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True, slots=True)
class Part:
    """One supervised process, as written to parts.json."""

    name: str
    argv: tuple[str, ...]
    log: str
    env: Mapping[str, str] = field(default_factory=dict)
    namespace: str = ""
    """Network namespace under /run/netns; "" is the supervisor's own."""
    host_name: str = ""
    """Set in a UTS namespace of its own when not empty."""
    stop_seconds: float = 10.0
    """Time between SIGTERM and SIGKILL."""

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Part:
        return cls(**{**data, "argv": tuple(data["argv"])})


def start_process(part: Part, notify_socket: str) -> subprocess.Popen[bytes]:
    """Raises OSError when the program, the log or the namespace is not there."""
    environment = {**os.environ, **part.env, "NOTIFY_SOCKET": notify_socket}
    with open(part.log, "ab") as log:
        return subprocess.Popen(
            part.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            preexec_fn=_child_setup(part),
            start_new_session=True,
        )


def _child_setup(part: Part) -> Callable[[], None]:
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()
    namespace_file = f"/run/netns/{part.namespace}" if part.namespace else ""

    def check(result: int, what: str) -> None:
        if result != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"{what}: {os.strerror(code)}")

    def setup() -> None:
        check(libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0), "prctl")
        if os.getppid() != parent:
            os._exit(1)  # the supervisor died before the promise was made
        if namespace_file:
            fd = os.open(namespace_file, os.O_RDONLY)
            check(libc.setns(fd, _CLONE_NEWNET), f"entering network namespace {part.namespace}")
            os.close(fd)
        if part.host_name:
            check(libc.unshare(_CLONE_NEWUTS), "unshare")
            name = part.host_name.encode()
            check(libc.sethostname(name, len(name)), "sethostname")

    return setup
