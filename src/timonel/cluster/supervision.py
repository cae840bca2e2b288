"""Speaking to the supervisor: start it, ask it, stop it. Synchronous, for the command line."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from timonel.cluster.errors import UserError
from timonel.cluster.layout import Layout
from timonel.cluster.spawn import Part
from timonel.cluster.teardown import end_parts, remove_dead_shim_sockets


def ask(layout: Layout, operation: str, timeout_seconds: float = 30.0) -> dict[str, Any] | None:
    """The supervisor's answer, or None when there is no supervisor."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_seconds)
        try:
            connection.connect(str(layout.supervisor_socket))
            connection.sendall(json.dumps({"op": operation}).encode() + b"\n")
            answer = connection.makefile("rb").readline()
        except (FileNotFoundError, ConnectionError):
            return None
        except TimeoutError:
            raise UserError(f"the supervisor at {layout.supervisor_socket} does not answer") from None
    return json.loads(answer) if answer else None


def write_parts(layout: Layout, parts: Sequence[Part]) -> bool:
    """Returns whether the file changed."""
    text = json.dumps([asdict(part) for part in parts], indent=1)
    try:
        if layout.parts_file.read_text() == text:
            return False
    except FileNotFoundError:
        pass
    temporary = layout.parts_file.with_suffix(".new")
    temporary.write_text(text)
    os.replace(temporary, layout.parts_file)
    return True


def ensure_supervisor(layout: Layout, parts: Sequence[Part]) -> bool:
    """Starts the supervisor with these parts, or hands a running one the new list.

    Returns whether anything changed. Raises UserError when the supervisor does not start or does not answer.
    """
    changed = write_parts(layout, parts)
    if ask(layout, "status") is not None:
        if changed:
            ask(layout, "reload", timeout_seconds=60.0)
        return changed
    end_parts(layout)
    remove_dead_shim_sockets(layout)
    log = layout.logs / "supervisor.log"
    with open(log, "ab") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "timonel.cluster.supervisor"),
                *map(str, (layout.parts_file, layout.supervisor_socket, log)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
        )
    deadline = time.monotonic() + 15
    while ask(layout, "status") is None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise UserError(f"the supervisor did not start; its log is {log}")
        time.sleep(0.02)
    return True


def stop_supervisor(layout: Layout, timeout_seconds: float = 60.0) -> bool:
    """Stops every part and the supervisor; returns whether there was one."""
    status = ask(layout, "status")
    if status is None:
        return False
    ask(layout, "stop")
    pid = int(status["pid"])
    deadline = time.monotonic() + timeout_seconds
    while Path(f"/proc/{pid}").exists() and _state(pid) != "Z":
        if time.monotonic() > deadline:
            raise UserError(f"the supervisor (pid {pid}) did not stop within {timeout_seconds:.0f} s")
        time.sleep(0.02)
    return True


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
