"""Port-forward over WebSocket channels: two channels per port (data, error) to two SPDY streams per port.

Old clients speak it, the official Python one for example; kubectl tunnels SPDY instead (see `byte_stream.Tunnel`).
"""

from __future__ import annotations

from aiohttp import web

from timonel.kubelet.streaming.bridge import Bridge
from timonel.kubelet.streaming.byte_stream import ByteStream
from timonel.kubelet.streaming.remotecommand import PORT, REQUEST_ID, STREAM_TYPE
from timonel.kubelet.streaming.spdy.connection import DataReceived, Event, StreamEnded, StreamReset
from timonel.kubelet.streaming.websocket.channels import ChannelClosed, ChannelData, ChannelProtocol


class PortBridge(Bridge):
    """Channel 2n carries the data of the n-th port of the query, channel 2n+1 its errors as text."""

    def __init__(
        self, socket: web.WebSocketResponse, protocol: ChannelProtocol, runtime: ByteStream, ports: list[int]
    ) -> None:
        super().__init__(socket, protocol, runtime)
        self._ports = ports
        self._data_streams: list[int] = []
        self._channel_of: dict[int, int] = {}
        self._open_ports: set[int] = set()

    async def _open(self) -> None:
        for number, port in enumerate(self._ports):
            headers = [(PORT, str(port)), (REQUEST_ID, str(number))]
            error = self._spdy.open_stream([(STREAM_TYPE, "error"), *headers])
            self._spdy.end_stream(error)
            data = self._spdy.open_stream([(STREAM_TYPE, "data"), *headers])
            self._data_streams.append(data)
            self._channel_of |= {data: 2 * number, error: 2 * number + 1}
            self._open_ports.add(data)
            for channel in (2 * number, 2 * number + 1):
                await self._send_channel(channel, port.to_bytes(2, "little"))
        await self._flush()

    async def _message(self, message: ChannelData | ChannelClosed) -> None:
        number, is_error = divmod(message.channel, 2)
        if is_error or number >= len(self._data_streams) or isinstance(message, ChannelClosed):
            return
        await self._send_stream(self._data_streams[number], message.data)

    async def _event(self, event: Event) -> None:
        match event:
            case DataReceived(stream, data):
                if (channel := self._channel_of.get(stream)) is not None:
                    await self._send_channel(channel, data)
            case StreamEnded(stream) | StreamReset(stream):
                self._open_ports.discard(stream)

    def _finished(self) -> bool:
        return not self._open_ports
