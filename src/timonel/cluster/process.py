"""What every part's process does around its work: event loop, logging, stop signals, readiness to the supervisor."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable

import uvloop

logger = logging.getLogger(__name__)

COLLECTION_THRESHOLDS = (10_000, 20, 20)
"""Of Python's cycle collector. Its own 700 are fewer than the containers in a few pods, which hold no cycles: looking
for some in them again and again took, by one count of instructions, a fifth of a PATCH (callgrind, single run)."""
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def run_process(work: Callable[[], Awaitable[None]], *, log_level: str = "INFO") -> None:
    """Runs `work` until it ends or SIGTERM or SIGINT cancels it. An error it raises ends the process with 1."""
    logging.basicConfig(level=log_level, format=LOG_FORMAT, stream=sys.stderr)
    gc.set_threshold(*COLLECTION_THRESHOLDS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_stopped(work))


async def _until_stopped(work: Callable[[], Awaitable[None]]) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        logger.info("part stopped pid=%d", os.getpid())


def notify(message: str) -> None:
    """sd_notify(3): tells the supervisor (or systemd) "READY=1" or "STATUS=…"; silent when nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.connect("\0" + address[1:] if address.startswith("@") else address)
            sender.sendall(message.encode())
        except OSError as error:
            logger.warning("supervisor not notified error=%s", error)


async def notify_when(ready: Callable[[], Awaitable[None]]) -> None:
    await ready()
    notify("READY=1")
    keep_what_is_there()


def keep_what_is_there() -> None:
    """What a process has made until it is ready stays until it ends: modules, tables, schemas. The cycle collector
    looks at none of it again, which also leaves those pages as they are."""
    gc.collect()
    gc.freeze()
