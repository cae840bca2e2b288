"""One command at a time changes a cluster: `up` and `down` wait for each other.

The lock is a name in the kernel (an abstract Unix socket), so it ends with its holder however that dies, leaves no
file behind, and survives that `down --purge` removes every folder it could have stood in.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import struct
import time
from collections.abc import Callable, Iterator

from timonel.cluster.errors import UserError

WAIT_SECONDS = 300.0


@contextlib.contextmanager
def exclusive(subject: str, say: Callable[[str], None], wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Holds the lock named by `subject`. Raises UserError when another process does not let go of it."""
    address = "\0timonel-" + hashlib.sha256(subject.encode()).hexdigest()[:32]
    deadline = time.monotonic() + wait_seconds
    told = False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as holder:
        while True:
            try:
                holder.bind(address)
                break
            except OSError:
                pid = _holder(address)
            by = f" (pid {pid})" if pid else ""
            if time.monotonic() > deadline:
                raise UserError(f"another timonel command{by} has been at work on this cluster for too long")
            if not told:
                say(f"waiting for another timonel command{by} to end")
                told = True
            time.sleep(0.05)
        holder.listen(8)  # so that others can ask the kernel who listens
        yield


def _holder(address: str) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asker:
        asker.settimeout(1.0)
        try:
            asker.connect(address)
            credentials = asker.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return 0
    pid: int = struct.unpack("3i", credentials)[0]
    return pid
