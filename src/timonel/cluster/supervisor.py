"""The supervisor: keeps the parts running, and answers `timonel status` on a Unix socket.

It starts what parts.json lists, restarts what ends (0.2 s doubling to 10 s, reset after 30 s of life), and learns
readiness by the sd_notify protocol (READY=1, STATUS=…), which containerd speaks too. It knows nothing of Kubernetes
and imports little: 17 MB resident, most of it asyncio. When it dies its parts get SIGTERM (containers stay); the next
`timonel up` starts a new one.

Requests on the socket are one JSON line, answered by one: {"op": "status" | "reload" | "stop"}.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    # asyncio does without TLS where there is none, and the supervisor speaks none: 4.5 MB resident.
    sys.modules["ssl"] = None  # type: ignore[assignment]

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import shutil
import signal
import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timonel.cluster.spawn import Part, start_process

logger = logging.getLogger(__name__)

FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 10.0
STEADY_SECONDS = 30.0
"""A part that lived this long starts again without delay."""
LOG_LIMIT_BYTES = 16 * 1024 * 1024
LOG_CHECK_SECONDS = 600.0
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(slots=True)
class PartState:
    part: Part
    state: str = "starting"
    """starting → ready → (ended: backing off → starting) → stopped"""
    pid: int = 0
    started: float = 0.0
    restarts: int = 0
    last_exit: str = ""
    message: str = ""
    task: asyncio.Task[None] | None = None
    stopping: bool = False

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.part.name,
            "state": self.state,
            "pid": self.pid,
            "restarts": self.restarts,
            "lastExit": self.last_exit,
            "message": self.message,
            "uptimeSeconds": time.monotonic() - self.started if self.pid else 0,
            "residentBytes": resident_bytes(self.pid) if self.pid else 0,
        }


def resident_bytes(pid: int) -> int:
    """VmRSS of a process, 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


class Supervisor:
    def __init__(self, *, parts_file: Path, socket_path: Path, own_log: Path | None = None) -> None:
        self._own_log = own_log
        self._parts_file = parts_file
        self._socket_path = socket_path
        self._notify_path = socket_path.with_name("notify.sock")
        self._parts: dict[str, PartState] = {}
        self._exits: dict[int, asyncio.Future[int]] = {}
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Until asked to stop by the socket, SIGTERM or SIGINT; then stops every part, last started first."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        # Shims whose containerd was killed come to us instead of the machine's init, and are reaped here.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        notify = self._open_notify_socket()
        loop.add_reader(notify, self._receive_notification, notify)
        self._socket_path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._serve, str(self._socket_path))
        os.chmod(self._socket_path, 0o600)
        rotation = asyncio.create_task(self._rotate_logs(), name="log-rotation")
        try:
            await self.reload()
            await self._stop.wait()
        finally:
            rotation.cancel()
            for state in reversed(list(self._parts.values())):
                await self._end(state)
            server.close()
            loop.remove_reader(notify)
            notify.close()
            self._notify_path.unlink(missing_ok=True)
            self._socket_path.unlink(missing_ok=True)

    async def reload(self) -> None:
        """Starts what is new in parts.json, stops what is gone, restarts what changed."""
        wanted = {part.name: part for part in read_parts(self._parts_file)}
        for name, state in reversed(list(self._parts.items())):
            if wanted.get(name) != state.part:
                await self._end(state)
                del self._parts[name]
        for name, part in wanted.items():
            if name not in self._parts:
                state = self._parts[name] = PartState(part)
                state.task = asyncio.create_task(self._keep(state), name=f"part-{name}")

    async def _keep(self, state: PartState) -> None:
        delay = 0.0
        while not state.stopping:
            state.state = "starting"
            state.message = ""
            try:
                process = start_process(state.part, str(self._notify_path))
            except OSError as error:
                state.last_exit = f"not started: {error}"
                logger.error("part failed to start name=%s error=%s", state.part.name, error)
            else:
                state.pid, state.started = process.pid, time.monotonic()
                logger.info("part started name=%s pid=%d", state.part.name, process.pid)
                code = await self._exit_of(process.pid)
                process.returncode = code
                state.last_exit = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
                logger.info("part ended name=%s pid=%d how=%s", state.part.name, state.pid, state.last_exit)
                if time.monotonic() - state.started >= STEADY_SECONDS:
                    delay = 0.0
                state.pid = 0
            if state.stopping:
                break
            state.restarts += 1
            state.state = "backing off"
            await asyncio.sleep(delay)
            delay = min(max(delay * 2, FIRST_DELAY_SECONDS), LONGEST_DELAY_SECONDS)
        state.state = "stopped"

    async def _end(self, state: PartState) -> None:
        state.stopping = True
        state.state = "stopping"
        task = state.task
        if task is None:
            return
        if not state.pid:
            task.cancel()
        elif not await self._signal_and_wait(state, signal.SIGTERM, state.part.stop_seconds):
            logger.warning("part killed after it ignored SIGTERM name=%s", state.part.name)
            await self._signal_and_wait(state, signal.SIGKILL, 5.0)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def _signal_and_wait(self, state: PartState, number: signal.Signals, seconds: float) -> bool:
        with contextlib.suppress(ProcessLookupError):
            os.kill(state.pid, number)
        assert state.task is not None
        done, _ = await asyncio.wait({state.task}, timeout=seconds)
        return bool(done)

    def _exit_of(self, pid: int) -> asyncio.Future[int]:
        future = self._exits.get(pid)
        if future is None:
            future = self._exits[pid] = asyncio.get_running_loop().create_future()
        return future

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if any(state.pid == pid for state in self._parts.values()):
                future = self._exit_of(pid)
                if not future.done():
                    future.set_result(os.waitstatus_to_exitcode(status))
                self._exits.pop(pid, None)

    def _open_notify_socket(self) -> socket.socket:
        self._notify_path.unlink(missing_ok=True)
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        notify.bind(str(self._notify_path))
        os.chmod(self._notify_path, 0o600)
        return notify

    def _receive_notification(self, notify: socket.socket) -> None:
        try:
            data, ancillary, _, _ = notify.recvmsg(4096, socket.CMSG_SPACE(12))
        except BlockingIOError:
            return
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                pid = struct.unpack("iii", payload[:12])[0]
                self._note(pid, data.decode(errors="replace"))

    def _note(self, pid: int, text: str) -> None:
        state = next((state for state in self._parts.values() if state.pid == pid), None)
        if state is None:
            return
        for line in text.splitlines():
            key, _, value = line.partition("=")
            if key == "READY" and value == "1":
                state.state = "ready"
            elif key == "STATUS":
                state.message = value

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = json.loads(await reader.readline())
            writer.write(json.dumps(await self._answer(request.get("op"))).encode() + b"\n")
            await writer.drain()
        except (ValueError, OSError, AttributeError) as error:
            logger.warning("request on the supervisor's socket failed error=%s", error)
        finally:
            writer.close()

    async def _answer(self, operation: Any) -> dict[str, Any]:
        if operation == "status":
            return {"pid": os.getpid(), "parts": [state.describe() for state in self._parts.values()]}
        if operation == "reload":
            await self.reload()
            return {"ok": True}
        if operation == "stop":
            self._stop.set()
            return {"ok": True}
        return {"error": f"unknown operation {operation!r}"}

    async def _rotate_logs(self) -> None:
        """Logs are opened for appending, so copying and truncating loses at most what is written in between."""
        while True:
            logs = [Path(state.part.log) for state in self._parts.values()]
            for log in [*logs, self._own_log] if self._own_log else logs:
                rotate_log(log)
            await asyncio.sleep(LOG_CHECK_SECONDS)


def rotate_log(log: Path) -> None:
    with contextlib.suppress(OSError):
        if log.stat().st_size > LOG_LIMIT_BYTES:
            shutil.copyfile(log, log.with_name(log.name + ".1"))
            os.truncate(log, 0)


def read_parts(path: Path) -> list[Part]:
    return [Part.from_json(item) for item in json.loads(path.read_text())]


def main(arguments: list[str]) -> None:
    """`python -m timonel.cluster.supervisor PARTS_FILE SOCKET LOG`, started by `timonel up` in a session of its own.

    LOG is where its output already goes; it is told so that it can keep it short.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    parts_file, socket_path, log = map(Path, arguments)
    asyncio.run(Supervisor(parts_file=parts_file, socket_path=socket_path, own_log=log).run())


if __name__ == "__main__":
    main(sys.argv[1:])
