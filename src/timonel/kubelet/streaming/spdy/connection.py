"""The rules of one SPDY/3.1 connection, client or server side: which frame is legal when, and what it means.

Bytes go in with `receive_data`, events come out; calls like `open_stream` queue bytes that `data_to_send` hands over.
Like the peers this is for (containerd, kubectl), it keeps no flow control windows: a stream is held back by not reading
the connection. WINDOW_UPDATE and SETTINGS are understood and reported, never waited for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from timonel.kubelet.streaming.spdy import frames
from timonel.kubelet.streaming.spdy.frames import (
    Data,
    Frame,
    FrameReader,
    FrameWriter,
    GoAwayStatus,
    Headers,
    HeadersFrame,
    Ping,
    ResetStatus,
    RstStream,
    Settings,
    SpdyError,
    SynReply,
    SynStream,
    WindowUpdate,
)

DATA_CHUNK_BYTES = 64 * 1024
"""Longer writes are cut into frames of this size, so that no peer has to buffer more for one frame."""


class Role(Enum):
    """The client opens streams with odd ids, the server with even ones."""

    CLIENT = 1
    SERVER = 2


class StreamState(Enum):
    OPEN = auto()
    HALF_CLOSED_LOCAL = auto()
    HALF_CLOSED_REMOTE = auto()
    CLOSED = auto()


class Step(Enum):
    """What can happen to a stream. A reset is legal in every state and closes it."""

    SEND = auto()
    SEND_FIN = auto()
    RECEIVE = auto()
    RECEIVE_FIN = auto()


TRANSITIONS: dict[tuple[StreamState, Step], StreamState] = {
    (StreamState.OPEN, Step.SEND): StreamState.OPEN,
    (StreamState.OPEN, Step.SEND_FIN): StreamState.HALF_CLOSED_LOCAL,
    (StreamState.OPEN, Step.RECEIVE): StreamState.OPEN,
    (StreamState.OPEN, Step.RECEIVE_FIN): StreamState.HALF_CLOSED_REMOTE,
    (StreamState.HALF_CLOSED_LOCAL, Step.RECEIVE): StreamState.HALF_CLOSED_LOCAL,
    (StreamState.HALF_CLOSED_LOCAL, Step.RECEIVE_FIN): StreamState.CLOSED,
    (StreamState.HALF_CLOSED_REMOTE, Step.SEND): StreamState.HALF_CLOSED_REMOTE,
    (StreamState.HALF_CLOSED_REMOTE, Step.SEND_FIN): StreamState.CLOSED,
}
"""Every legal step; a step that is not here is refused (ours: StreamClosed, the peer's: a reset)."""


class StreamClosed(Exception):
    """We wanted to send on a stream that no longer takes data."""


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened a stream; answer with `reply` or `reset`."""

    stream_id: int
    headers: Headers


@dataclass(frozen=True, slots=True)
class StreamReplied:
    stream_id: int
    headers: Headers


@dataclass(frozen=True, slots=True)
class HeadersReceived:
    stream_id: int
    headers: Headers


@dataclass(frozen=True, slots=True)
class DataReceived:
    stream_id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The peer will send no more on this stream."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The peer gave the stream up; it is gone in both directions."""

    stream_id: int
    status: int


@dataclass(frozen=True, slots=True)
class PingAnswered:
    id: int


@dataclass(frozen=True, slots=True)
class SettingsReceived:
    entries: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class WindowUpdated:
    stream_id: int
    delta: int


@dataclass(frozen=True, slots=True)
class GoneAway:
    """The peer takes no new streams; those up to `last_good_stream_id` go on."""

    last_good_stream_id: int
    status: int


Event = (
    StreamOpened
    | StreamReplied
    | HeadersReceived
    | DataReceived
    | StreamEnded
    | StreamReset
    | PingAnswered
    | SettingsReceived
    | WindowUpdated
    | GoneAway
)


class Connection:
    def __init__(self, role: Role) -> None:
        self.role = role
        self._reader = FrameReader()
        self._writer = FrameWriter()
        self._out = bytearray()
        self._states: dict[int, StreamState] = {}
        self._next_id = 1 if role is Role.CLIENT else 2
        self._next_ping = 1 if role is Role.CLIENT else 2
        self._last_peer_id = 0
        self._going_away = False

    def data_to_send(self) -> bytes:
        """All bytes queued since the last call."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def state(self, stream_id: int) -> StreamState:
        return self._states.get(stream_id, StreamState.CLOSED)

    @property
    def open_streams(self) -> frozenset[int]:
        return frozenset(self._states)

    # What we do

    def open_stream(self, headers: Iterable[tuple[str, str]], *, fin: bool = False) -> int:
        """Opens a stream and returns its id. Raises StreamClosed once either side has gone away."""
        if self._going_away:
            raise StreamClosed("the connection takes no new streams")
        stream_id = self._next_id
        self._next_id += 2
        self._states[stream_id] = StreamState.HALF_CLOSED_LOCAL if fin else StreamState.OPEN
        self._send(SynStream(stream_id, tuple(headers), fin))
        return stream_id

    def reply(self, stream_id: int, headers: Iterable[tuple[str, str]] = (), *, fin: bool = False) -> None:
        """Accepts a stream the peer opened."""
        self._step(stream_id, Step.SEND_FIN if fin else Step.SEND)
        self._send(SynReply(stream_id, tuple(headers), fin))

    def send_data(self, stream_id: int, data: bytes, *, fin: bool = False) -> None:
        """Raises StreamClosed when the stream no longer takes data."""
        self._step(stream_id, Step.SEND_FIN if fin else Step.SEND)
        view = memoryview(data)
        while len(view) > DATA_CHUNK_BYTES:
            self._send(Data(stream_id, bytes(view[:DATA_CHUNK_BYTES])))
            view = view[DATA_CHUNK_BYTES:]
        if len(view) or fin:
            self._send(Data(stream_id, bytes(view), fin))

    def end_stream(self, stream_id: int) -> None:
        """Half-closes: the peer may still send."""
        self.send_data(stream_id, b"", fin=True)

    def reset(self, stream_id: int, status: int = ResetStatus.CANCEL) -> None:
        """Gives a stream up in both directions; nothing if it is closed already."""
        if self._states.pop(stream_id, None) is not None:
            self._send(RstStream(stream_id, status))

    def ping(self) -> int:
        ping_id = self._next_ping
        self._next_ping += 2
        self._send(Ping(ping_id))
        return ping_id

    def go_away(self, status: int = GoAwayStatus.OK) -> None:
        self._going_away = True
        self._send(frames.GoAway(self._last_peer_id, status))

    # What the peer does

    def receive_data(self, data: bytes) -> list[Event]:
        """Raises SpdyError when the peer broke the protocol; a GOAWAY that says so is then queued."""
        events: list[Event] = []
        try:
            for frame in self._reader.feed(data):
                events.extend(self._receive(frame))
        except SpdyError:
            self.go_away(GoAwayStatus.PROTOCOL_ERROR)
            raise
        return events

    def _receive(self, frame: Frame) -> list[Event]:
        match frame:
            case SynStream():
                return self._receive_syn_stream(frame)
            case SynReply(stream_id, headers, fin):
                return self._arrived(stream_id, StreamReplied(stream_id, headers), fin)
            case HeadersFrame(stream_id, headers, fin):
                return self._arrived(stream_id, HeadersReceived(stream_id, headers), fin)
            case Data(stream_id, data, fin):
                return self._arrived(stream_id, DataReceived(stream_id, data) if data else None, fin)
            case RstStream(stream_id, status):
                known = self._states.pop(stream_id, None)
                return [StreamReset(stream_id, status)] if known is not None else []
            case Ping(ping_id):
                if self._is_ours(ping_id):
                    return [PingAnswered(ping_id)]
                self._send(Ping(ping_id))
                return []
            case Settings(entries, _):
                return [SettingsReceived(entries)]
            case WindowUpdate(stream_id, delta):
                return [WindowUpdated(stream_id, delta)]
            case frames.GoAway(last_good, status):
                self._going_away = True
                return [GoneAway(last_good, status)]

    def _receive_syn_stream(self, frame: SynStream) -> list[Event]:
        stream_id = frame.stream_id
        if stream_id == 0 or self._is_ours(stream_id) or stream_id <= self._last_peer_id:
            raise SpdyError(f"stream id {stream_id} is not the peer's next")
        self._last_peer_id = stream_id
        if self._going_away:
            self._send(RstStream(stream_id, ResetStatus.REFUSED_STREAM))
            return []
        if frame.unidirectional and frame.fin:
            return []
        state = StreamState.OPEN
        if frame.unidirectional:
            state = StreamState.HALF_CLOSED_LOCAL
        elif frame.fin:
            state = StreamState.HALF_CLOSED_REMOTE
        self._states[stream_id] = state
        opened: list[Event] = [StreamOpened(stream_id, frame.headers)]
        if frame.fin:
            opened.append(StreamEnded(stream_id))
        return opened

    def _arrived(self, stream_id: int, event: Event | None, fin: bool) -> list[Event]:
        state = self._states.get(stream_id)
        if state is None:
            # Late frames for a stream that we closed are normal; a stream that never was is not.
            if stream_id == 0 or not self._was_opened(stream_id):
                self._send(RstStream(stream_id, ResetStatus.INVALID_STREAM))
            return []
        after = TRANSITIONS.get((state, Step.RECEIVE_FIN if fin else Step.RECEIVE))
        if after is None:
            self.reset(stream_id, ResetStatus.STREAM_ALREADY_CLOSED)
            return [StreamReset(stream_id, ResetStatus.STREAM_ALREADY_CLOSED)]
        self._enter(stream_id, after)
        events: list[Event] = [event] if event is not None else []
        if fin:
            events.append(StreamEnded(stream_id))
        return events

    def _is_ours(self, number: int) -> bool:
        return (number % 2 == 1) is (self.role is Role.CLIENT)

    def _was_opened(self, stream_id: int) -> bool:
        return stream_id < self._next_id if self._is_ours(stream_id) else stream_id <= self._last_peer_id

    def _step(self, stream_id: int, step: Step) -> None:
        after = TRANSITIONS.get((self.state(stream_id), step))
        if after is None:
            raise StreamClosed(f"stream {stream_id} is {self.state(stream_id).name.lower()}")
        self._enter(stream_id, after)

    def _enter(self, stream_id: int, state: StreamState) -> None:
        if state is StreamState.CLOSED:
            del self._states[stream_id]
        else:
            self._states[stream_id] = state

    def _send(self, frame: Frame) -> None:
        self._out += self._writer.encode(frame)
