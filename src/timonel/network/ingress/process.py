"""The HAProxy that runs: a master and its worker, which outlive the agent, as Service rules do.

Files are written whole into a folder named by their digest; `current` points at the one in use. A new one is checked
by HAProxy itself before it is taken. At a reload the master starts a new worker, hands the open sockets over to it, and
the old one ends when its last request is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from timonel.network.commands import CommandFailed, run_command

logger = logging.getLogger(__name__)

PROGRAM = "haproxy"
START_SECONDS = 5.0


class ProxyFailed(Exception):
    """HAProxy does not run, or not with these files; `str()` is why."""


class ProxyProcess:
    """`on_end` is told when HAProxy ended that nobody told to."""

    def __init__(self, *, folder: Path, on_end: Callable[[], None]) -> None:
        self._folder = folder
        self._on_end = on_end
        self._pidfd = -1
        self._pid = 0

    @property
    def socket(self) -> Path:
        return self._folder / "haproxy.sock"

    @property
    def is_running(self) -> bool:
        return self._pidfd >= 0

    def folder_of(self, digest: str) -> Path:
        return self._folder / digest

    async def apply(self, digest: str, files: Mapping[str, str]) -> None:
        """Runs with these files from now on. Raises ProxyFailed; what ran before goes on then."""
        target = self.folder_of(digest)
        current = self._folder / "current"
        self._adopt()
        if self.is_running and current.is_symlink() and os.readlink(current) == digest:
            return
        await asyncio.to_thread(_write, target, files)
        try:
            await run_command(PROGRAM, "-c", "-f", str(target / "haproxy.cfg"))
        except CommandFailed as error:
            shutil.rmtree(target, ignore_errors=True)
            raise ProxyFailed(_complaint(str(error))) from error
        new = self._folder / ".current"
        new.unlink(missing_ok=True)
        new.symlink_to(digest)
        os.replace(new, current)
        if self.is_running:
            os.kill(self._pid, signal.SIGUSR2)
            logger.info("HAProxy reloaded pid=%d", self._pid)
        else:
            await self._start()
        for entry in self._folder.iterdir():
            if entry.is_dir() and not entry.is_symlink() and entry.name != digest:
                shutil.rmtree(entry, ignore_errors=True)

    async def stop(self) -> None:
        """When nobody needs it any more."""
        self._adopt()
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)
            logger.info("HAProxy stopped pid=%d", self._pid)
        self.leave()
        await asyncio.to_thread(shutil.rmtree, self._folder, True)

    def leave(self) -> None:
        """Lets it run without being watched."""
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    async def _start(self) -> None:
        """As a daemon: the command ends, with an error if need be, once the worker listens."""
        pid_file = self._folder / "pid"
        pid_file.unlink(missing_ok=True)
        log = self._folder / "log"
        # Not a pipe: the daemon keeps what it was given open, and a pipe's end would never come.
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        configuration = str(self._folder / "current" / "haproxy.cfg")
        try:
            started = await asyncio.create_subprocess_exec(
                *(PROGRAM, "-W", "-D", "-f", configuration, "-p", str(pid_file)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except OSError as error:
            raise ProxyFailed(f"{PROGRAM}: {error}") from error
        finally:
            os.close(output)
        if await started.wait() != 0:
            raise ProxyFailed(_complaint(log.read_text(errors="replace")))
        # The daemon writes its file, and becomes its own waiting master, a moment after the command ended.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                while not self.is_running:
                    self._adopt()
                    await asyncio.sleep(0.01)
        if not self.is_running:
            raise ProxyFailed("HAProxy ended at once")

    def _adopt(self) -> None:
        """One that was started just now, or by an earlier agent."""
        if self.is_running:
            return
        with contextlib.suppress(OSError, ValueError, IndexError):  # the file may be empty yet
            pid = int((self._folder / "pid").read_text().split()[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            is_ours = any(os.fsencode(self._folder) in argument for argument in command)
            if is_ours and os.path.basename(command[0]) == PROGRAM.encode() and _takes_reloads(pid):
                self._watch(pid)
                logger.info("HAProxy runs pid=%d", pid)

    def _watch(self, pid: int) -> None:
        self._pid, self._pidfd = pid, os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._ended)

    def _ended(self) -> None:
        logger.error("HAProxy ended pid=%d", self._pid)
        self.leave()
        self._on_end()


def _takes_reloads(pid: int) -> bool:
    """A master that has just been started would end of the signal. Raises OSError, IndexError."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.split("SigCgt:")[1].split()[0], 16)
    return bool(caught >> (signal.SIGUSR2 - 1) & 1)


def digest_of(files: Mapping[str, str]) -> str:
    """Name of the folder for files that do not know it yet."""
    text = "\0".join(f"{name}\0{content}" for name, content in sorted(files.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write(folder: Path, files: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, content in files.items():
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)


def _complaint(text: str) -> str:
    """The first thing that HAProxy was not content with: "[ALERT] (pid) : what : where"."""
    alerts = [line.partition(") : ")[2].strip() for line in text.splitlines() if "[ALERT]" in line]
    return next((line for line in alerts if line), text.strip())
