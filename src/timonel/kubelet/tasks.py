"""Tasks that come and go with pods, within the life of the part that starts them.

A plain task group would have to be open before the first pod is known, and refuses tasks once it is ending, while pods
still unwind. This one takes them at any time: what is started before `run` is watched over from then on, and what is
started after the end is cancelled at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


class Tasks:
    """`run` lasts until cancelled, or until an error escapes one of the tasks: a lost task is a failure.

    Whoever starts a task for one pod, or one object, handles the errors that this one's oddness may cause, and goes
    on; what escapes then is a defect of the part itself.
    """

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self._lost = asyncio.Event()
        self._error: BaseException | None = None
        self._is_over = False

    def start(self, work: Coroutine[object, object, None], *, name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        if self._is_over:
            task.cancel()
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and self._error is None:
            self._error = error
            self._lost.set()

    async def run(self) -> None:
        """Raises the first error that escaped a task, also one from before."""
        try:
            await self._lost.wait()
            assert self._error is not None
            raise self._error
        finally:
            await self.close()

    async def close(self) -> None:
        """Cancels all tasks and waits for their end."""
        self._is_over = True
        left = list(self._running)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
