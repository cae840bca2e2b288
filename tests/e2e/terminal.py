"""Programs that go on running while a test talks to them: kubectl with a terminal, a watch, a port-forward."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence


class Session:
    """A running program. `expect` reads what it prints; leaving the context ends it.

    With `terminal`, its input and output are one pseudo terminal, as when a person types.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str], *, terminal: bool = False) -> None:
        self.command = command
        self.output = ""
        """Everything printed so far, standard error included."""
        self._position = 0
        self._ended = False
        if terminal:
            ours, theirs = pty.openpty()
            self._in = self._out = ours
            self.resize(24, 80)
        else:
            theirs_in, self._in = os.pipe()
            self._out, theirs = os.pipe()
        self.process = subprocess.Popen(
            command,
            stdin=theirs if terminal else theirs_in,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, **env},
            start_new_session=True,
        )
        os.close(theirs)
        if not terminal:
            os.close(theirs_in)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._out, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if hasattr(self, "process"):
            self.process.send_signal(signal.SIGWINCH)

    def send(self, text: str) -> None:
        os.write(self._in, text.encode())

    def expect(self, pattern: str, timeout: float = 20) -> re.Match[str]:
        """The first match after the previous one's end; fails when it does not come."""
        deadline = time.monotonic() + timeout
        while True:
            match = re.compile(pattern, re.MULTILINE).search(self.output, self._position)
            if match:
                self._position = match.end()
                return match
            if self._ended or not self._read(deadline - time.monotonic()):
                why = "ended" if self._ended else f"not within {timeout:.0f} s"
                raise AssertionError(f"{shlex.join(self.command)}: no {pattern!r}: {why}; printed:\n{self.output}")

    def wait(self, timeout: float = 20) -> int:
        """Reads to the end and returns the exit code."""
        deadline = time.monotonic() + timeout
        while not self._ended:
            if not self._read(deadline - time.monotonic()):
                raise AssertionError(f"{shlex.join(self.command)}: runs on; printed:\n{self.output}")
        return self.process.wait(timeout=max(deadline - time.monotonic(), 1))

    def _read(self, seconds: float) -> bool:
        if not select.select([self._out], [], [], max(seconds, 0))[0]:
            return False
        try:
            data = os.read(self._out, 65536)
        except OSError:  # a terminal whose other side is closed
            data = b""
        self.output += data.decode(errors="replace").replace("\r\n", "\n")
        self._ended = not data
        return True

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for descriptor in {self._in, self._out}:
            os.close(descriptor)
