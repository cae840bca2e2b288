"""Keeps container logs bounded: the runtime writes a file, and when it grows too large it is given a new one.

Rotated files stay beside it as `<n>.log.<time>`, all but the newest compressed; the oldest go.
Source: kubernetes.io/docs/concepts/cluster-administration/logging, "Log rotation".
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import os
import shutil
from collections.abc import Callable, Iterable

from timonel.api.clock import Clock
from timonel.kubelet.cri.runtime import Runtime, RuntimeFailure

log = logging.getLogger(__name__)

_TIME = "%Y%m%d-%H%M%S"


class LogRotation:
    """`running` lists (container id, log path) of all containers that run."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        clock: Clock,
        running: Callable[[], Iterable[tuple[str, str]]],
        max_bytes: int,
        max_files: int,
        check_seconds: float,
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._running = running
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._check_seconds = check_seconds

    async def run(self) -> None:
        while True:
            await self._clock.sleep(self._check_seconds)
            for container_id, path in self._running():
                if path and _size(path) > self._max_bytes:
                    await self._rotate(container_id, path)

    async def _rotate(self, container_id: str, path: str) -> None:
        rotated = f"{path}.{self._clock.now().strftime(_TIME)}"
        try:
            await asyncio.to_thread(make_room, path, self._max_files - 2)
            os.rename(path, rotated)
        except OSError as exc:
            log.warning("log not rotated path=%s error=%s", path, exc)
            return
        try:
            await self._runtime.reopen_container_log(container_id)
        except RuntimeFailure as exc:
            # The runtime goes on writing into the renamed file: give it back its name, and try again later.
            log.warning("log not reopened path=%s error=%s", path, exc)
            try:
                os.rename(rotated, path)
            except OSError as gone:  # with its pod, most likely, which is also why nothing was reopened
                log.info("log not given back its name path=%s error=%s", path, gone)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def make_room(path: str, keep: int) -> None:
    """Compresses what was rotated before and leaves the newest `keep` of it. Blocking: run it in a thread."""
    directory, name = os.path.split(path)
    rotated = sorted(
        entry for entry in os.listdir(directory) if entry.startswith(f"{name}.") and not entry.endswith(".tmp")
    )
    for old in rotated[: max(0, len(rotated) - keep)]:
        os.unlink(os.path.join(directory, old))
    for entry in rotated[max(0, len(rotated) - keep) :]:
        if entry.endswith(".gz"):
            continue
        plain = os.path.join(directory, entry)
        with open(plain, "rb") as source, gzip.open(f"{plain}.tmp", "wb") as target:
            shutil.copyfileobj(source, target)
        os.rename(f"{plain}.tmp", f"{plain}.gz")
        os.unlink(plain)
