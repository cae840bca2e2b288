"""The rules of a SPDY/3.1 connection: states of streams, ids, pings, resets, going away."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timonel.kubelet.streaming.spdy.connection import (
    TRANSITIONS,
    Connection,
    DataReceived,
    Event,
    GoneAway,
    PingAnswered,
    Role,
    SettingsReceived,
    Step,
    StreamClosed,
    StreamEnded,
    StreamOpened,
    StreamReplied,
    StreamReset,
    StreamState,
    WindowUpdated,
)
from timonel.kubelet.streaming.spdy.frames import (
    Data,
    Frame,
    FrameReader,
    FrameWriter,
    GoAway,
    ResetStatus,
    RstStream,
    Settings,
    SpdyError,
    SynStream,
    WindowUpdate,
)


@pytest.fixture
def pair() -> tuple[Connection, Connection]:
    return Connection(Role.CLIENT), Connection(Role.SERVER)


def carry(sender: Connection, receiver: Connection) -> list[Event]:
    return receiver.receive_data(sender.data_to_send())


def wire(*frames: Frame) -> bytes:
    writer = FrameWriter()
    return b"".join(writer.encode(frame) for frame in frames)


def sent(connection: Connection) -> list[Frame]:
    return list(FrameReader().feed(connection.data_to_send()))


def test_a_stream_from_opening_to_both_ends(pair: tuple[Connection, Connection]) -> None:
    client, server = pair
    stream = client.open_stream([("streamType", "stdin")])
    assert stream == 1
    assert carry(client, server) == [StreamOpened(1, (("streamtype", "stdin"),))]
    server.reply(1)
    assert carry(server, client) == [StreamReplied(1, ())]
    client.send_data(1, b"hello")
    client.end_stream(1)
    assert carry(client, server) == [DataReceived(1, b"hello"), StreamEnded(1)]
    assert server.state(1) is StreamState.HALF_CLOSED_REMOTE
    server.send_data(1, b"bye", fin=True)
    assert carry(server, client) == [DataReceived(1, b"bye"), StreamEnded(1)]
    assert client.open_streams == server.open_streams == frozenset()


def test_ids_are_odd_for_the_client_and_even_for_the_server(pair: tuple[Connection, Connection]) -> None:
    client, server = pair
    assert [client.open_stream([]) for _ in range(3)] == [1, 3, 5]
    assert [server.open_stream([]) for _ in range(3)] == [2, 4, 6]


def test_long_data_is_cut_into_frames_of_at_most_64_kib(pair: tuple[Connection, Connection]) -> None:
    client, server = pair
    client.open_stream([])
    client.send_data(1, b"x" * 200_000, fin=True)
    events = carry(client, server)[1:]
    assert [len(event.data) for event in events if isinstance(event, DataReceived)] == [65536, 65536, 65536, 3392]
    assert events[-1] == StreamEnded(1)


@pytest.mark.parametrize("state", [s for s in StreamState if s is not StreamState.CLOSED])
@pytest.mark.parametrize("step", list(Step))
def test_a_direction_that_ended_takes_nothing_more(state: StreamState, step: Step) -> None:
    ours = step in (Step.SEND, Step.SEND_FIN)
    ended = StreamState.HALF_CLOSED_LOCAL if ours else StreamState.HALF_CLOSED_REMOTE
    assert ((state, step) in TRANSITIONS) == (state is not ended)


def test_sending_on_a_closed_stream_is_our_error(pair: tuple[Connection, Connection]) -> None:
    client, _ = pair
    client.open_stream([], fin=True)
    with pytest.raises(StreamClosed, match="half_closed_local"):
        client.send_data(1, b"late")
    client.reset(1)
    with pytest.raises(StreamClosed, match="closed"):
        client.send_data(1, b"later")


def test_data_after_the_peers_end_resets_the_stream() -> None:
    server = Connection(Role.SERVER)
    events = server.receive_data(wire(SynStream(1, (), fin=True), Data(1, b"x")))
    assert events == [StreamOpened(1, ()), StreamEnded(1), StreamReset(1, ResetStatus.STREAM_ALREADY_CLOSED)]
    assert sent(server) == [RstStream(1, ResetStatus.STREAM_ALREADY_CLOSED)]


def test_data_for_a_stream_that_never_was_is_answered_with_a_reset() -> None:
    server = Connection(Role.SERVER)
    assert server.receive_data(wire(Data(9, b"x"))) == []
    assert sent(server) == [RstStream(9, ResetStatus.INVALID_STREAM)]


def test_late_data_for_a_stream_we_reset_is_dropped() -> None:
    server = Connection(Role.SERVER)
    server.receive_data(wire(SynStream(1, ())))
    server.reset(1)
    server.data_to_send()
    assert server.receive_data(wire(Data(1, b"late"), RstStream(1, 5))) == []
    assert server.data_to_send() == b""


@pytest.mark.parametrize("ids", [[2], [3, 1], [1, 1], [0]])
def test_stream_ids_out_of_order_end_the_connection(ids: list[int]) -> None:
    server = Connection(Role.SERVER)
    with pytest.raises(SpdyError, match="not the peer's next"):
        server.receive_data(wire(*(SynStream(i, ()) for i in ids)))
    assert isinstance(sent(server)[-1], GoAway)


def test_pings_are_answered_and_ours_are_reported(pair: tuple[Connection, Connection]) -> None:
    client, server = pair
    assert client.ping() == 1
    assert carry(client, server) == []
    assert carry(server, client) == [PingAnswered(1)]
    assert server.ping() == 2


def test_after_going_away_no_stream_is_opened_and_the_old_ones_go_on(pair: tuple[Connection, Connection]) -> None:
    client, server = pair
    client.open_stream([])
    carry(client, server)
    server.go_away()
    assert carry(server, client) == [GoneAway(1, 0)]
    with pytest.raises(StreamClosed):
        client.open_stream([])
    server.send_data(1, b"rest", fin=True)
    assert carry(server, client) == [DataReceived(1, b"rest"), StreamEnded(1)]


def test_a_stream_opened_after_we_went_away_is_refused() -> None:
    server = Connection(Role.SERVER)
    server.go_away()
    server.data_to_send()
    assert server.receive_data(wire(SynStream(1, ()))) == []
    assert sent(server) == [RstStream(1, ResetStatus.REFUSED_STREAM)]


def test_settings_and_windows_are_reported(pair: tuple[Connection, Connection]) -> None:
    _, server = pair
    assert server.receive_data(wire(Settings(((7, 0, 65536),)), WindowUpdate(0, 100))) == [
        SettingsReceived(((7, 0, 65536),)),
        WindowUpdated(0, 100),
    ]


@given(
    st.lists(
        st.tuples(st.sampled_from(["open", "data", "end", "reset", "ping"]), st.integers(0, 3), st.binary(max_size=40)),
        max_size=20,
    ),
    st.data(),
)
def test_any_split_gives_the_same_events(script: list[tuple[str, int, bytes]], data: st.DataObject) -> None:
    client = Connection(Role.CLIENT)
    stream_ids: list[int] = []
    out = b""
    for verb, index, payload in script:
        stream = stream_ids[index % len(stream_ids)] if stream_ids else 0
        try:
            match verb:
                case "open":
                    stream_ids.append(client.open_stream([("port", str(index))]))
                case "data":
                    client.send_data(stream, payload)
                case "end":
                    client.end_stream(stream)
                case "reset":
                    client.reset(stream)
                case "ping":
                    client.ping()
        except StreamClosed:
            pass
        out += client.data_to_send()
    whole, pieces = Connection(Role.SERVER), Connection(Role.SERVER)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(out)), max_size=10)))
    events = [
        event
        for start, end in zip([0, *cuts], [*cuts, len(out)], strict=True)
        for event in pieces.receive_data(out[start:end])
    ]
    assert events == whole.receive_data(out)
    assert pieces.data_to_send() == whole.data_to_send()
