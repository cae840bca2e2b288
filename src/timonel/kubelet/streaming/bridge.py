"""Between a WebSocket with channels (the client) and SPDY streams (the container runtime), for exec and attach.

Each direction is one task that waits until the other side keeps up before it reads on. The session ends with the
runtime's status, which goes out as the last message, or with the client, whose going ends stdin and the connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import orjson
from aiohttp import WSCloseCode, WSMsgType, web

from timonel.api.errors import InternalError
from timonel.api.objects import Object
from timonel.kubelet.streaming.attach_end import AttachEnd
from timonel.kubelet.streaming.backend import StreamRequest
from timonel.kubelet.streaming.byte_stream import ByteStream, send
from timonel.kubelet.streaming.remotecommand import STREAM_TYPE, failure_text, parse_status
from timonel.kubelet.streaming.spdy.connection import (
    Connection,
    DataReceived,
    Event,
    Role,
    StreamClosed,
    StreamEnded,
    StreamOpened,
    StreamReset,
)
from timonel.kubelet.streaming.spdy.frames import ResetStatus, SpdyError
from timonel.kubelet.streaming.websocket import channels
from timonel.kubelet.streaming.websocket.channels import ChannelClosed, ChannelData, ChannelError, ChannelProtocol

logger = logging.getLogger(__name__)

_MAX_STATUS_BYTES = 64 * 1024


class Bridge:
    """What every bridge does: the client's messages and the runtime's events, each in order, one task each."""

    def __init__(self, socket: web.WebSocketResponse, protocol: ChannelProtocol, runtime: ByteStream) -> None:
        self._socket = socket
        self._protocol = protocol
        self._runtime = runtime
        self._spdy = Connection(Role.CLIENT)
        self._writing = asyncio.Lock()
        self._client_left = False

    async def run(self) -> None:
        try:
            await self._open()
            await _first(self._from_runtime, self._from_client)
            await (self._client_gone() if self._client_left else self._runtime_ended())
        except ConnectionError as exc:
            logger.info("ended a stream early error=%s", exc)
        except Exception:
            # There is no HTTP answer left to give; without a status, clients would take the end for success.
            logger.exception("failed to carry a stream")
            with suppress(ConnectionError):
                await self._failed()
        finally:
            await self._runtime.close()
            await self._socket.close()

    # What the kinds of bridge differ in

    async def _open(self) -> None:
        """Opens the streams."""
        raise NotImplementedError

    async def _message(self, message: ChannelData | ChannelClosed) -> None:
        raise NotImplementedError

    async def _event(self, event: Event) -> None:
        raise NotImplementedError

    def _finished(self) -> bool:
        """Nothing more can come from the runtime."""
        return False

    async def _client_gone(self) -> None:
        return

    async def _runtime_ended(self) -> None:
        return

    async def _failed(self) -> None:
        """We made a mistake: says so to the client."""
        return

    # The two directions

    async def _from_client(self) -> None:
        while True:
            message = await self._socket.receive()
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                self._client_left = True
                return
            data = message.data if message.type is WSMsgType.BINARY else message.data.encode()
            try:
                decoded = channels.decode(self._protocol, data)
            except ChannelError as exc:
                logger.info("closed a WebSocket with a bad message error=%s", exc)
                await self._socket.close(code=WSCloseCode.PROTOCOL_ERROR, message=str(exc).encode()[:100])
                self._client_left = True
                return
            if decoded is not None:
                await self._message(decoded)

    async def _from_runtime(self) -> None:
        while not self._finished() and (data := await self._runtime.read()):
            try:
                events = self._spdy.receive_data(data)
            except SpdyError as exc:
                logger.warning("lost the container runtime's stream error=%s", exc)
                return
            for event in events:
                if isinstance(event, StreamOpened):  # not the runtime's to open
                    self._spdy.reset(event.stream_id, ResetStatus.REFUSED_STREAM)
                else:
                    await self._event(event)
            await self._flush()

    async def _flush(self) -> None:
        """Drops bytes for a runtime that has gone: what it sent before is still to be read, its status above all."""
        async with self._writing:
            if data := self._spdy.data_to_send():
                with suppress(ConnectionError):
                    await self._runtime.write(data)

    async def _send_stream(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        """Drops data for a stream the runtime has already closed: a process may end before its input does."""
        try:
            self._spdy.send_data(stream, data, fin=fin)
        except StreamClosed:
            return
        await self._flush()

    async def _send_channel(self, channel: int, data: bytes) -> None:
        try:
            await send(self._socket, channels.encode(self._protocol, channel, data))
        except ConnectionError:
            self._client_left = True
            raise


class CommandBridge(Bridge):
    """exec and attach: one SPDY stream per channel, named by its header."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        protocol: ChannelProtocol,
        runtime: ByteStream,
        streams: StreamRequest,
        attach: AttachEnd | None = None,
    ) -> None:
        super().__init__(socket, protocol, runtime)
        self._wanted = streams
        self._attach = attach
        self._stream_of: dict[int, int] = {}
        self._channel_of: dict[int, int] = {}
        self._open_outputs: set[int] = set()
        self._status = bytearray()
        self._is_connected = False

    async def _open(self) -> None:
        wanted = self._wanted
        for channel, name, is_wanted in (
            (channels.ERROR, "error", True),
            (channels.STDIN, "stdin", wanted.stdin),
            (channels.STDOUT, "stdout", wanted.stdout),
            (channels.STDERR, "stderr", wanted.stderr),
            (channels.RESIZE, "resize", wanted.tty),
        ):
            if is_wanted:
                stream = self._spdy.open_stream([(STREAM_TYPE, name)])
                self._stream_of[channel] = stream
                self._channel_of[stream] = channel
        outputs = (channels.ERROR, channels.STDOUT, channels.STDERR)
        self._open_outputs = {channel for channel in outputs if channel in self._stream_of}
        await self._flush()

    async def _message(self, message: ChannelData | ChannelClosed) -> None:
        stream = self._stream_of.get(message.channel)
        if stream is None or message.channel not in (channels.STDIN, channels.RESIZE):
            return
        if isinstance(message, ChannelClosed):
            await self._send_stream(stream, b"", fin=True)
        elif message.data:
            await self._send_stream(stream, message.data)

    async def _event(self, event: Event) -> None:
        if not self._is_connected:
            self._is_connected = True
            # An empty message on the lowest output channel tells the client that it is connected. It is sent when the
            # runtime first answers: kubectl 1.30 to 1.32 complain of a message that comes in the very first moment.
            lowest = next(c for c in (channels.STDOUT, channels.STDERR, channels.ERROR) if c in self._stream_of)
            await self._send_channel(lowest, b"")
        match event:
            case DataReceived(stream, data):
                channel = self._channel_of.get(stream)
                if channel is None:
                    return
                if channel == channels.ERROR:
                    self._status += data[: _MAX_STATUS_BYTES - len(self._status)]
                else:
                    if self._attach is not None:
                        self._attach.delivered = True
                    await self._send_channel(channel, data)
            case StreamEnded(stream) | StreamReset(stream):
                self._open_outputs.discard(self._channel_of.get(stream, -1))

    def _finished(self) -> bool:
        return not self._open_outputs

    async def _client_gone(self) -> None:
        if (stdin := self._stream_of.get(channels.STDIN)) is not None:
            await self._send_stream(stdin, b"", fin=True)
        self._spdy.go_away()
        await self._flush()

    async def _runtime_ended(self) -> None:
        status = parse_status(bytes(self._status))
        await self._send_status(status if self._attach is None else await self._attach.judge(status))

    async def _failed(self) -> None:
        await self._send_status(InternalError("the kubelet failed to carry the stream").status)

    async def _send_status(self, status: Object) -> None:
        if self._protocol.status:
            await self._send_channel(channels.ERROR, orjson.dumps(status))
        elif text := failure_text(status):
            await self._send_channel(channels.ERROR, text)


async def _first(*directions: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs all until one has ended or lost its connection, then ends the others."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(_until_lost(run()), name=f"bridge{run.__name__}") for run in directions]
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in running:
            task.cancel()


async def _until_lost(run: Coroutine[Any, Any, None]) -> None:
    with suppress(ConnectionError):
        await run
