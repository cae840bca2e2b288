"""Whether an attach that ended was one: a container may end while the runtime attaches to it.

Attached to a process that is just gone, or has just said its last, containerd delivers nothing and calls it a success.
`kubectl run` would believe it, and what the command printed would be lost. Told of a failure it shows the log, where
everything is. So an attach that is over at once, without a byte, of a container that ended then and has a log, failed.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

import orjson

from timonel.api.clock import Clock
from timonel.api.errors import ApiError, InternalError
from timonel.api.objects import Object
from timonel.kubelet.streaming.backend import StreamingBackend
from timonel.kubelet.streaming.byte_stream import ByteStream
from timonel.kubelet.streaming.remotecommand import STREAM_TYPE, header, parse_status
from timonel.kubelet.streaming.spdy.frames import Data, Frame, FrameReader, FrameWriter, SpdyError, SynStream

_AT_ONCE_SECONDS = 2.0
"""An attach that lasted longer was one, even to a container that then ended without a word."""
_END_SECONDS = 1.0
"""How much later than the streams the runtime may say that the container has ended."""


class AttachEnd:
    """Of one attach, made before the runtime is asked for it."""

    def __init__(self, *, backend: StreamingBackend, clock: Clock, container_id: str) -> None:
        self._backend = backend
        self._clock = clock
        self._container_id = container_id
        self._began = clock.monotonic()
        self.delivered = False
        """Some output has reached the client."""

    def check_runs(self) -> None:
        """Raises InternalError with the runtime's words for a container that has ended."""
        if self._backend.has_ended(self._container_id):
            raise InternalError("container is in CONTAINER_EXITED state")

    async def judge(self, status: Object) -> Object:
        """The Status to give the client instead of the runtime's."""
        if status.get("status") == "Success" and not self.delivered and await self._came_late():
            return InternalError("the container ended while it was attached to; its log has what it printed").status
        return status

    async def _came_late(self) -> bool:
        if self._clock.monotonic() - self._began > _AT_ONCE_SECONDS:
            return False
        with suppress(TimeoutError, ApiError, OSError):
            async with asyncio.timeout(_END_SECONDS):
                await self._backend.wait_ended(self._container_id)
            log = await self._backend.container_log(self._container_id)
            return (await asyncio.to_thread(os.stat, log.path)).st_size > 0
        return False


class JudgedAttach:
    """The runtime's side of an attach whose client speaks SPDY (v4.channel.k8s.io): only the final Status may change.

    Frames from the runtime are taken apart and put together again; those to it pass as they are, and tell which stream
    is which.
    """

    def __init__(self, runtime: ByteStream, end: AttachEnd) -> None:
        self._runtime = runtime
        self._end = end
        self._from_client = FrameReader()
        self._from_runtime = FrameReader()
        self._to_client = FrameWriter()
        self._types: dict[int, str] = {}

    async def write(self, data: bytes) -> None:
        """Drops bytes for a runtime that has gone: what it sent before is still to be read, its status above all."""
        try:
            for frame in self._from_client.feed(data):
                if isinstance(frame, SynStream):
                    self._types[frame.stream_id] = header(frame.headers, STREAM_TYPE)
        except SpdyError as exc:
            raise ConnectionError(f"the client does not speak SPDY: {exc}") from exc
        with suppress(ConnectionError):
            await self._runtime.write(data)

    async def read(self) -> bytes:
        out = b""
        while not out and (data := await self._runtime.read()):
            try:
                for frame in self._from_runtime.feed(data):
                    out += self._to_client.encode(await self._judged(frame))
            except SpdyError as exc:
                raise ConnectionError(f"the container runtime does not speak SPDY: {exc}") from exc
        return out

    async def _judged(self, frame: Frame) -> Frame:
        if not isinstance(frame, Data) or not frame.data:
            return frame
        if self._types.get(frame.stream_id) != "error":
            self._end.delivered = True
            return frame
        status = parse_status(frame.data)
        judged = await self._end.judge(status)
        return frame if judged is status else Data(frame.stream_id, orjson.dumps(judged), frame.fin)

    async def close(self) -> None:
        await self._runtime.close()
