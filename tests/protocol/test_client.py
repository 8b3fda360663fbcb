"""Client and server as a connected pair: what one side writes is what the other side understands."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djactors.protocol import (
    CLOSE,
    MAX_EARLY_EVENTS,
    NOOP,
    PING,
    PONG,
    PROBE_REPLY,
    UPGRADE,
    AckReceived,
    ClientEngine,
    ClientState,
    Closed,
    CloseReason,
    Connected,
    ConnectRequested,
    Disconnected,
    DisconnectRequested,
    EncodedPacket,
    EngineSession,
    EventReceived,
    JsonLimits,
    Message,
    NotJoinedError,
    Opened,
    Packet,
    PacketType,
    ProtocolError,
    Refused,
    Send,
    SendPing,
    SendProbeReply,
    SessionSettings,
    SocketClient,
    SocketSession,
    Transport,
    Upgraded,
    decode_packet,
    decode_payload,
    encode_event,
    open_packet,
)

from .strategies import event_names, json_values, thorough, values_with_bytes, wire_messages

POLLING, WEBSOCKET = Transport.POLLING, Transport.WEBSOCKET


class Pair:
    """One client and one server, with what each sends carried over by hand."""

    def __init__(self, transport: Transport = POLLING) -> None:
        self.now = 0.0
        self.server = EngineSession("engine-sid", transport, SessionSettings(), self.now)
        self.client = ClientEngine(transport)
        self.server_sockets = SocketSession()
        self.client_sockets = SocketClient()

    def open(self) -> object:
        return self.to_client(open_packet(self.server.handshake()))[0]

    def join(self, namespace: str = "/", extra: dict[str, Any] | None = None) -> None:
        self.to_server(self.client_sockets.connect(namespace))
        self.to_client(self.server_sockets.accept(namespace, "s1", extra))

    def to_server(self, packet: EncodedPacket, transport: Transport | None = None) -> list[object]:
        transport = transport or self.client.transport
        outcomes = [self.server.receive(each, transport, self.now) for each in wire(packet, transport)]
        return [self.server_sockets.receive(each.data) if isinstance(each, Message) else each for each in outcomes]

    def to_client(self, packet: EncodedPacket, transport: Transport | None = None) -> list[object]:
        transport = transport or self.server.transport
        outcomes = [self.client.receive(each, transport) for each in wire(packet, transport)]
        return [self.client_sockets.receive(each.data) if isinstance(each, Message) else each for each in outcomes]


def wire(packet: EncodedPacket, transport: Transport) -> list[Packet]:
    if transport is POLLING:
        return decode_payload(packet.payload)
    return [decode_packet(packet.text.decode()), *map(decode_packet, packet.attachments)]


@pytest.mark.parametrize("transport", list(Transport))
def test_a_pair_opens_joins_talks_and_leaves(transport: Transport) -> None:
    pair = Pair(transport)
    assert isinstance(pair.open(), Opened)
    assert pair.to_server(pair.client_sockets.connect("/", {"token": "t"})) == [ConnectRequested("/", {"token": "t"})]
    assert pair.to_client(pair.server_sockets.accept("/", "s1")) == [Connected("/", "s1", None)]
    request, ack_id = pair.client_sockets.emit_with_ack("read", {"id": 1})
    assert ack_id == 0
    assert pair.to_server(request) == [EventReceived("/", "read", [{"id": 1}], 0)]
    assert pair.to_client(pair.server_sockets.ack("/", 0, {"ok": True})) == [AckReceived("/", 0, [{"ok": True}])]
    assert pair.to_client(pair.server_sockets.emit("ask", ack_id=3)) == [EventReceived("/", "ask", [], 3)]
    assert pair.to_server(pair.client_sockets.ack("/", 3, b"\x00")) == [None, AckReceived("/", 3, [b"\x00"])]
    assert pair.to_server(pair.client_sockets.disconnect()) == [DisconnectRequested("/")]
    assert pair.to_server(EncodedPacket(b"1")) == [Closed(CloseReason.CLIENT)]


def test_a_pair_upgrades_with_messages_before_during_and_after() -> None:
    pair = Pair()
    pair.open()
    pair.join()
    pair.server.begin_upgrade(pair.now)
    assert pair.to_server(pair.client.begin_upgrade(), WEBSOCKET) == [SendProbeReply()]
    assert pair.to_server(pair.client_sockets.emit("during")) == [EventReceived("/", "during", [], None)]
    assert pair.to_client(encode_event("down", 1)) == [EventReceived("/", "down", [1], None)]
    assert pair.to_client(NOOP, POLLING) == [None]
    assert pair.to_client(PROBE_REPLY, WEBSOCKET) == [Send(UPGRADE)]
    # the answer to the last poll may still be on its way
    assert pair.to_client(encode_event("down", 2), POLLING) == [EventReceived("/", "down", [2], None)]
    assert pair.to_server(UPGRADE, WEBSOCKET) == [Upgraded()]
    assert pair.to_server(pair.client_sockets.emit("after")) == [EventReceived("/", "after", [], None)]
    assert pair.to_client(encode_event("down", 3)) == [EventReceived("/", "down", [3], None)]


def test_a_pair_keeps_its_heartbeat() -> None:
    pair = Pair()
    pair.open()
    for _ in range(3):
        pair.now = pair.server.next_deadline
        assert pair.server.tick(pair.now) == SendPing()
        assert pair.to_client(PING) == [Send(PONG)]
        assert pair.to_server(PONG) == [None]


def test_a_refused_client_learns_why() -> None:
    pair = Pair()
    pair.open()
    pair.to_server(pair.client_sockets.connect())
    refusal = pair.server_sockets.refuse("/", "Unauthorized", {"code": "expired"})
    assert pair.to_client(refusal) == [Refused("/", "Unauthorized", {"code": "expired"})]
    assert pair.client_sockets.sockets == {}


def test_what_was_on_its_way_when_a_client_left_is_nothing_to_it() -> None:
    pair = Pair()
    pair.open()
    pair.join()
    on_its_way = [pair.server_sockets.emit("news"), pair.server_sockets.ack("/", 1), pair.server_sockets.disconnect()]
    pair.client_sockets.disconnect()
    for packet in on_its_way:
        assert pair.to_client(packet) == [None]
    with pytest.raises(ProtocolError):
        pair.client_sockets.receive('2/other,["news"]')


def test_a_client_put_out_of_a_namespace_cannot_emit_there() -> None:
    pair = Pair()
    pair.open()
    pair.join()
    assert pair.to_client(pair.server_sockets.disconnect()) == [Disconnected("/")]
    with pytest.raises(NotJoinedError):
        pair.client_sockets.emit("a")


def test_a_client_remembers_its_offset_only_where_recovery_is_on() -> None:
    for extra, offset in (({"pid": "p1"}, "e.2"), (None, None)):
        pair = Pair()
        pair.open()
        pair.join("/", extra)
        for args in (["e.1"], [{"id": 1}, "e.2"], [{"id": 2}]):
            pair.to_client(encode_event("new", *args))
        assert pair.client_sockets.sockets["/"].offset == offset


def test_the_server_closes_a_polling_client_with_a_packet() -> None:
    pair = Pair()
    pair.open()
    assert pair.to_client(CLOSE) == [Closed(CloseReason.SERVER)]
    assert pair.client.state is ClientState.CLOSED
    assert pair.to_client(PING) == [None]


def test_an_upgrade_starts_from_open_polling_alone() -> None:
    for client in (ClientEngine(POLLING), ClientEngine(WEBSOCKET)):
        with pytest.raises(ValueError, match="polling"):
            client.begin_upgrade()


@pytest.mark.parametrize("wire_packet", ["2", "4x", "0", "0[]", "3"])
def test_a_server_opens_first(wire_packet: str) -> None:
    with pytest.raises(ProtocolError):
        ClientEngine(POLLING).receive(decode_packet(wire_packet), POLLING)


@pytest.mark.parametrize("reply", ["0", "0{}", '0{"sid":1}', '0{"sid":"s","pid":1}', "1", "0/x,{}", "30[]"])
def test_a_reply_out_of_order_is_a_protocol_error(reply: str) -> None:
    client = SocketClient()
    client.connect()
    with pytest.raises(ProtocolError):
        client.receive(reply)


@thorough
@given(st.sampled_from(Transport), event_names, st.lists(json_values | values_with_bytes, max_size=3))
def test_any_event_arrives_by_any_transport(transport: Transport, name: str, args: list[Any]) -> None:
    pair = Pair(transport)
    pair.open()
    pair.join()
    try:
        packet = pair.client_sockets.emit(name, *args)
    except ValueError:
        return  # over ten attachments
    expected = EventReceived("/", name, args, None)
    assert pair.to_server(packet)[-1] == expected
    assert pair.to_client(packet)[-1] == expected


@thorough
@given(
    st.sampled_from(Transport),
    st.lists(st.tuples(st.sampled_from(Transport), wire_messages | st.sampled_from(["2", "6", "3probe", "42[1]"]))),
)
def test_no_server_makes_a_client_raise_anything_but_protocol_errors(
    start: Transport, steps: list[tuple[Transport, str | bytes]]
) -> None:
    pair = Pair(start)
    pair.open()
    pair.client_sockets.connect()
    for transport, message in steps:
        if pair.client.state is ClientState.OPEN and pair.client.transport is POLLING:
            pair.client.begin_upgrade()
        try:
            outcome = pair.client.receive(decode_packet(message), transport)
            pair.client_sockets.receive(message)
            if isinstance(outcome, Message):
                pair.client_sockets.receive(outcome.data)
        except ProtocolError:
            pass


def test_a_client_knows_an_upgrade_packet_is_not_for_it() -> None:
    pair = Pair()
    pair.open()
    with pytest.raises(ProtocolError):
        pair.client.receive(Packet(PacketType.UPGRADE), POLLING)


def test_events_before_the_answer_are_kept_until_it_comes() -> None:
    client = SocketClient()
    client.connect()
    assert client.receive('2["missed",1,"offset-1"]') is None
    assert client.receive('51-["missed",{"_placeholder":true,"num":0},"offset-2"]') is None
    assert client.receive(b"bytes") is None
    connected = client.receive('0{"sid":"s","pid":"p"}')
    assert isinstance(connected, Connected)
    assert [event.args for event in connected.early] == [[1, "offset-1"], [b"bytes", "offset-2"]]
    assert client.sockets["/"].offset == "offset-2"
    assert isinstance(client.receive('2["live"]'), EventReceived)


def test_the_events_before_the_answer_are_bounded() -> None:
    client = SocketClient()
    client.connect()
    for _ in range(MAX_EARLY_EVENTS):
        client.receive('2["a"]')
    with pytest.raises(ProtocolError):
        client.receive('2["a"]')


def test_a_client_may_take_more_json_than_a_server() -> None:
    long = "2" + '["numbers",[' + ",".join("1" * 5000) + "]]"
    strict, generous = SocketClient(), SocketClient(json_limits=JsonLimits(commas=10_000))
    for client in (strict, generous):
        client.connect()
        client.receive('0{"sid":"s"}')
    assert isinstance(generous.receive(long), EventReceived)
    with pytest.raises(ProtocolError):
        strict.receive(long)
