"""Engine.IO packets and payloads: examples of the protocol document, limits, round trips, fuzzing."""

from collections import deque

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from djactors.protocol import (
    CLOSE,
    NOOP,
    PING,
    PONG,
    PROBE_REPLY,
    EncodedPacket,
    Packet,
    PacketType,
    ProtocolError,
    Transport,
    binary_frame,
    decode_packet,
    decode_payload,
    encode_message,
    encode_packet,
    encode_payload,
    handshake_for,
    join_payload,
    open_packet,
    read_handshake,
    take_payload,
    text_frame,
)

from .strategies import mutated, text, thorough

PACKETS: list[tuple[Packet, str | bytes, bytes]] = [
    # packet, WebSocket form, polling form
    (Packet(PacketType.OPEN, '{"sid":"x"}'), '0{"sid":"x"}', b'0{"sid":"x"}'),
    (Packet(PacketType.CLOSE), "1", b"1"),
    (Packet(PacketType.PING), "2", b"2"),
    (Packet(PacketType.PING, "probe"), "2probe", b"2probe"),
    (Packet(PacketType.PONG), "3", b"3"),
    (Packet(PacketType.PONG, "probe"), "3probe", b"3probe"),
    (Packet(PacketType.MESSAGE), "4", b"4"),
    (Packet(PacketType.MESSAGE, "hello"), "4hello", b"4hello"),
    (Packet(PacketType.MESSAGE, "€ \U0001f600"), "4€ \U0001f600", "4€ \U0001f600".encode()),
    (Packet(PacketType.MESSAGE, "bcd"), "4bcd", b"4bcd"),
    (Packet(PacketType.MESSAGE, b"\x01\x02\x03\x04"), b"\x01\x02\x03\x04", b"bAQIDBA=="),
    (Packet(PacketType.MESSAGE, b""), b"", b"b"),
    (Packet(PacketType.UPGRADE), "5", b"5"),
    (Packet(PacketType.NOOP), "6", b"6"),
]


@pytest.mark.parametrize(("packet", "message", "payload"), PACKETS)
def test_a_packet_is_written_and_read_in_both_forms(packet: Packet, message: str | bytes, payload: bytes) -> None:
    assert encode_packet(packet) == message
    assert decode_packet(message) == packet
    assert encode_payload([packet]) == payload
    assert decode_payload(payload) == [packet]


PAYLOADS = [
    (b"4hello\x1e2\x1e4world", ["4hello", "2", "4world"]),
    (b"4test1\x1e4test2\x1e4test3", ["4test1", "4test2", "4test3"]),
    (b"4hello\x1ebAQIDBA==", ["4hello", b"\x01\x02\x03\x04"]),
]


@pytest.mark.parametrize(("payload", "messages"), PAYLOADS)
def test_a_payload_holds_its_packets_in_order(payload: bytes, messages: list[str | bytes]) -> None:
    packets = [decode_packet(message) for message in messages]
    assert decode_payload(payload) == packets
    assert encode_payload(packets) == payload


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "packet_type"),
        (b"abc", "packet_type"),
        (b"7", "packet_type"),
        (b"xyz", "packet_type"),
        ("٤hello".encode(), "packet_type"),  # an Arabic four is a digit, but not ours
        (b"4a\x1e", "packet_type"),
        (b"\x1e4a", "packet_type"),
        (b"4a\x1e\x1e4b", "packet_type"),
        (b"4\xff", "utf8"),
        (b"4\xed\xa0\x80", "utf8"),  # a surrogate in UTF-8
        (b"bA", "base64"),
        (b"bAQIDBA", "base64"),
        (b"bAQ ID BA==", "base64"),
        ("bÄÄÄÄ".encode(), "base64"),
    ],
)
def test_a_bad_payload_is_refused_with_its_reason(payload: bytes, code: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_payload(payload)
    assert caught.value.code == code


@pytest.mark.parametrize("message", ["", "abc", "7", "\ud800", "b=", "é"])
def test_a_bad_text_message_is_refused(message: str) -> None:
    with pytest.raises(ProtocolError):
        decode_packet(message)


def test_a_client_that_forces_base64_on_websocket_is_understood() -> None:
    assert decode_packet("bAQIDBA==") == Packet(PacketType.MESSAGE, b"\x01\x02\x03\x04")


def test_payload_limits_hold_to_the_packet_and_the_byte() -> None:
    three = b"6\x1e6\x1e6"
    assert len(decode_payload(three, max_packets=3, max_bytes=5)) == 3
    with pytest.raises(ProtocolError) as caught:
        decode_payload(three, max_packets=2)
    assert caught.value.code == "payload_packets"
    with pytest.raises(ProtocolError) as caught:
        decode_payload(three, max_bytes=4)
    assert caught.value.code == "payload_bytes"


def test_a_payload_of_separators_alone_is_refused_before_it_is_split() -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_payload(b"\x1e" * 1_000_000)
    assert caught.value.code == "payload_packets"


def test_what_the_format_cannot_carry_is_the_senders_error() -> None:
    with pytest.raises(ValueError, match="U\\+001E"):
        encode_payload([Packet(PacketType.MESSAGE, "a\x1eb")])
    with pytest.raises(ValueError, match="bytes"):
        encode_packet(Packet(PacketType.PING, b"probe"))


def test_the_open_packet_says_what_the_official_suite_expects() -> None:
    handshake = handshake_for("s1", Transport.POLLING, ping_interval=0.3, ping_timeout=0.2, max_payload=1_000_000)
    packet = open_packet(handshake)
    assert packet.text == (
        b'0{"sid":"s1","upgrades":["websocket"],"pingInterval":300,"pingTimeout":200,"maxPayload":1000000}'
    )
    assert read_handshake(decode_packet(packet.text.decode())) == handshake


def test_a_websocket_session_has_nothing_to_upgrade_to() -> None:
    handshake = handshake_for("s1", Transport.WEBSOCKET, ping_interval=25, ping_timeout=20)
    assert (handshake.upgrades, handshake.ping_interval, handshake.ping_timeout) == ([], 25_000, 20_000)


@pytest.mark.parametrize("wire", ["0", "0{}", "0[]", "0" + "[" * 100_000, "4x", b"\x00", '0{"sid":1}', '0"\ud800"'])
def test_a_bad_open_packet_is_refused(wire: str | bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_handshake(decode_packet(wire))
    assert caught.value.code == "handshake"


def test_the_constant_packets_are_what_they_say() -> None:
    assert [packet.text for packet in (CLOSE, PING, PONG, NOOP, PROBE_REPLY)] == [b"1", b"2", b"3", b"6", b"3probe"]
    assert PING.frame == b"\x81\x012"


def test_a_packet_with_attachments_leaves_whole_by_either_transport() -> None:
    packet = EncodedPacket(b'452-["a"]', (b"\x01\x02\x03\x04", b""))
    assert packet.frame == text_frame('452-["a"]') + binary_frame(b"\x01\x02\x03\x04") + binary_frame(b"")
    assert packet.payload == b'452-["a"]\x1ebAQIDBA==\x1eb'
    assert packet.messages == ['52-["a"]', b"\x01\x02\x03\x04", b""]
    assert (packet.packet_count, packet.size) == (3, 13)
    assert decode_payload(packet.payload)[1:] == [Packet(PacketType.MESSAGE, data) for data in packet.attachments]


def test_every_session_gets_the_very_same_bytes() -> None:
    packet = EncodedPacket(b"4hello", (b"\x01",))
    assert packet.frame is packet.frame
    assert packet.payload is packet.payload


def test_a_poll_answer_has_at_most_sixteen_packets_and_never_half_of_one() -> None:
    outbox = deque([PING, *(EncodedPacket(b'452-["a"]', (b"1", b"2")) for _ in range(6))])
    first = take_payload(outbox)
    assert len(decode_payload(first)) == 16
    second = take_payload(outbox)
    assert len(decode_payload(second)) == 3
    assert not outbox


def test_a_packet_over_the_poll_limit_still_leaves_alone() -> None:
    big = EncodedPacket(b"4x", tuple(b"y" for _ in range(20)))
    outbox = deque([big, PING])
    assert take_payload(outbox) == big.payload
    assert list(outbox) == [PING]


def test_a_payload_joins_shared_packets() -> None:
    assert join_payload([PING, EncodedPacket(b"4a"), NOOP]) == b"2\x1e4a\x1e6"


messages = text.filter(lambda data: "\x1e" not in data) | st.binary(max_size=20)
packets = st.builds(Packet, st.just(PacketType.MESSAGE), messages) | st.builds(
    Packet, st.sampled_from(PacketType), text.filter(lambda data: "\x1e" not in data)
)


@thorough
@given(st.lists(packets, min_size=1, max_size=20))
def test_any_packets_survive_the_round_trip(packets: list[Packet]) -> None:
    assert decode_payload(encode_payload(packets)) == packets
    assert [decode_packet(encode_packet(packet)) for packet in packets] == packets


@thorough
@given(st.binary(max_size=200) | mutated(st.lists(packets, min_size=1, max_size=5).map(encode_payload)))
@example(b"b" + b"=" * 100)
def test_any_bytes_whatever_decode_or_raise_a_protocol_error(body: bytes) -> None:
    try:
        decoded = decode_payload(body, max_packets=50, max_bytes=100)
    except ProtocolError:
        return
    assert decoded
    for packet in decoded:
        assert isinstance(packet, Packet)


@thorough
@given(st.text() | st.binary())
def test_any_message_whatever_decodes_or_raises_a_protocol_error(message: str | bytes) -> None:
    try:
        packet = decode_packet(message)
        read_handshake(packet)
    except ProtocolError:
        pass


@pytest.mark.parametrize(
    ("data", "message", "payload"),
    [
        ("", "4", b"4"),
        ("hello €", "4hello €", "4hello €".encode()),
        (b"", b"", b"b"),
        (b"\x01\x02\x03\x04", b"\x01\x02\x03\x04", b"bAQIDBA=="),
    ],
)
def test_a_message_alone_is_one_packet_in_both_forms(data: str | bytes, message: str | bytes, payload: bytes) -> None:
    encoded = encode_message(data)
    assert encoded.messages == [data]
    assert encoded.packet_count == 1
    assert encoded.frame == (text_frame(message) if isinstance(message, str) else binary_frame(message))
    assert encoded.payload == payload
    assert decode_payload(encoded.payload) == [Packet(PacketType.MESSAGE, data)]


def test_a_message_that_polling_cannot_carry_is_not_encoded() -> None:
    with pytest.raises(ValueError, match=r"U\+001E"):
        encode_message("one\x1etwo")
