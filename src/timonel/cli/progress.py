"""Progress of a long command: a line per step with its time, and a spinner while a person watches."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.status import Status


class Progress:
    def __init__(self) -> None:
        self._console = Console(file=sys.stdout, highlight=False)
        self._started = time.monotonic()
        self._spinner: Status | None = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._spinner = self._console.status("working")
            self._spinner.start()
        return self

    def step(self, text: str) -> None:
        self._console.print(f"[{time.monotonic() - self._started:5.1f} s] {text}", markup=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._spinner is not None:
            self._spinner.stop()
