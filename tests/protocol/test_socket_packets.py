"""Socket.IO packets: the document's examples both ways, every bound, round trips, fuzzing."""

import json
import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djactors.protocol import (
    MAX_ACK_ID_DIGITS,
    MAX_JSON_BRACKETS,
    MAX_JSON_COMMAS,
    MAX_JSON_DEPTH,
    MAX_LONG_DIGITS,
    MAX_NAMESPACE_LENGTH,
    RESERVED_EVENTS,
    Packet,
    PacketType,
    ProtocolError,
    SocketPacket,
    SocketPacketDecoder,
    SocketPacketType,
    _socket_packets,
    decode_packet,
    decode_payload,
    decode_socket_text,
    encode_event,
    encode_events_json,
    encode_socket_packet,
    text_frame,
)

from .strategies import (
    ack_ids,
    event_names,
    json_values,
    mutated,
    namespaces,
    thorough,
    values_with_bytes,
    wire_messages,
    wire_texts,
)

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK = SocketPacketType


def hole(number: Any) -> str:
    return json.dumps({"_placeholder": True, "num": number}, separators=(",", ":"))


# The document's examples and the official suite's packets; each drives the encoder and the decoder.
PACKETS: list[tuple[SocketPacket, list[str | bytes]]] = [
    (SocketPacket(CONNECT), ["0"]),
    (SocketPacket(CONNECT, "/", {"token": "123"}), ['0{"token":"123"}']),
    (SocketPacket(CONNECT, "/admin", {"sid": "oSO0OpakMV_3jnilAAAA"}), ['0/admin,{"sid":"oSO0OpakMV_3jnilAAAA"}']),
    (SocketPacket(CONNECT, "/admin"), ["0/admin,"]),
    (SocketPacket(CONNECT_ERROR, "/", {"message": "Not authorized"}), ['4{"message":"Not authorized"}']),
    (
        SocketPacket(CONNECT_ERROR, "/random", {"message": "Invalid namespace"}),
        ['4/random,{"message":"Invalid namespace"}'],
    ),
    (SocketPacket(EVENT, "/", ["foo"]), ['2["foo"]']),
    (SocketPacket(EVENT, "/admin", ["bar"]), ['2/admin,["bar"]']),
    (SocketPacket(EVENT, "/", ["foo"], 12), ['212["foo"]']),
    (SocketPacket(EVENT, "/", ["foo"], 0), ['20["foo"]']),
    (SocketPacket(EVENT, "/admin", ["foo"], 0), ['2/admin,0["foo"]']),
    (SocketPacket(EVENT, "/", ["message", 1, "2", {"3": [True]}]), ['2["message",1,"2",{"3":[true]}]']),
    (SocketPacket(EVENT, "/", ["message-with-ack", 1], 456), ['2456["message-with-ack",1]']),
    (SocketPacket(EVENT, "/", ["ö\u2028\x1e\x00"]), ['2["ö\u2028\\u001e\\u0000"]']),
    (
        SocketPacket(EVENT, "/a?b=1", ["query strings are part of the name"]),
        ['2/a?b=1,["query strings are part of the name"]'],
    ),
    (SocketPacket(ACK, "/admin", ["bar"], 13), ['3/admin,13["bar"]']),
    (SocketPacket(ACK, "/", [], 0), ["30[]"]),
    (SocketPacket(DISCONNECT), ["1"]),
    (SocketPacket(DISCONNECT, "/admin"), ["1/admin,"]),
    (SocketPacket(EVENT, "/", ["baz", b"\x01\x02\x03\x04"]), [f'51-["baz",{hole(0)}]', b"\x01\x02\x03\x04"]),
    (
        SocketPacket(EVENT, "/admin", ["baz", b"\x01", b"\x02"]),
        [f'52-/admin,["baz",{hole(0)},{hole(1)}]', b"\x01", b"\x02"],
    ),
    (SocketPacket(EVENT, "/", ["m", b"\x01", b""], 789), [f'52-789["m",{hole(0)},{hole(1)}]', b"\x01", b""]),
    (
        SocketPacket(EVENT, "/", ["deep", {"a": [{"b": b"\x01"}]}]),
        [f'51-["deep",{{"a":[{{"b":{hole(0)}}}]}}]', b"\x01"],
    ),
    (SocketPacket(EVENT, "/", ["ten", *[b"x"] * 10]), [f'510-["ten",{",".join(map(hole, range(10)))}]', *[b"x"] * 10]),
    (SocketPacket(ACK, "/", ["bar", b"\x01"], 15), [f'61-15["bar",{hole(0)}]', b"\x01"]),
    (SocketPacket(ACK, "/", [b"\x01", b"\x02"], 789), [f"62-789[{hole(0)},{hole(1)}]", b"\x01", b"\x02"]),
]


def receive_all(decoder: SocketPacketDecoder, messages: list[str | bytes]) -> SocketPacket:
    *first, last = messages
    assert [decoder.receive(message) for message in first] == [None] * len(first)
    packet = decoder.receive(last)
    assert packet is not None
    assert not decoder.awaits_attachments
    return packet


@pytest.mark.parametrize(("packet", "messages"), PACKETS)
def test_a_packet_is_written_and_read_as_the_document_says(packet: SocketPacket, messages: list[str | bytes]) -> None:
    encoded = encode_socket_packet(packet)
    assert encoded.messages == messages
    assert encoded.text == b"4" + str(messages[0]).encode()
    assert receive_all(SocketPacketDecoder(), messages) == packet


@pytest.mark.parametrize(
    ("wire", "packet"),
    [
        ("0/random", SocketPacket(CONNECT, "/random")),  # the suite leaves out the comma
        ("1/custom", SocketPacket(DISCONNECT, "/custom")),
        ("0/,", SocketPacket(CONNECT)),
        ("0{}", SocketPacket(CONNECT, "/", {})),
        (f'2["plain",{hole(0)}]', SocketPacket(EVENT, "/", ["plain", {"_placeholder": True, "num": 0}])),
        (f'2["{"9" * 3}"]', SocketPacket(EVENT, "/", ["999"])),
        (f'2{"9" * MAX_ACK_ID_DIGITS}["a"]', SocketPacket(EVENT, "/", ["a"], int("9" * MAX_ACK_ID_DIGITS))),
        ('2["a",18446744073709551616]', SocketPacket(EVENT, "/", ["a", 2**64])),
        ('2["a",{"x":1,"x":2}]', SocketPacket(EVENT, "/", ["a", {"x": 2}])),
    ],
)
def test_other_spellings_that_a_peer_may_use(wire: str, packet: SocketPacket) -> None:
    assert SocketPacketDecoder().receive(wire) == packet


BAD_TEXTS: list[tuple[str, str]] = [
    ("", "packet_type"),
    ("abc", "packet_type"),
    ("7", "packet_type"),
    ("٢[]", "packet_type"),  # an Arabic two
    # the suite's own
    ("2{}", "payload"),
    ('2abc["message-with-ack",1]', "payload"),
    # shapes
    ("2", "payload"),
    ("2[]", "event_name"),
    ("2[1]", "event_name"),
    ("2[null]", "event_name"),
    ('2"a"', "payload"),
    ("25", "payload"),
    ("2null", "payload"),
    ('2["a"]x', "payload"),
    ('2["a"', "payload"),
    ('2["a",NaN]', "payload"),
    ('2["a",1e400]', "payload"),
    ('2["a","\ud800"]', "payload"),  # lone surrogates, raw and escaped
    ('2["a","\\ud800"]', "payload"),
    ("0[]", "payload"),
    ('0"token"', "payload"),
    ("0null", "payload"),
    ("05", "ack_id"),
    ("1{}", "payload"),
    ("10", "ack_id"),
    ("4", "payload"),
    ('4"Not authorized"', "payload"),
    ("4[]", "payload"),
    ("3[]", "ack_id"),
    ("3", "ack_id"),
    ("30", "payload"),
    ("30{}", "payload"),
    # numbers
    ("2" + "1" * (MAX_ACK_ID_DIGITS + 1) + '["a"]', "ack_id"),
    ("2" + "1" * 10_000 + '["a"]', "ack_id"),
    ('2-1["a"]', "payload"),
    ('2٣["a"]', "payload"),
    ('2²["a"]', "payload"),
    ('2["a",' + "1" * 10_000 + "]", "payload"),
    # namespaces
    ("2/" + "n" * MAX_NAMESPACE_LENGTH + ',["a"]', "namespace"),
    ("0/\ud800", "namespace"),
    ("0/a\nb,", "namespace"),
    ("0/a\x00", "namespace"),
    # attachments
    ('5["a"]', "attachments"),
    ('50-["a"]', "attachments"),
    ("511-" + json.dumps(["a"]), "attachments"),
    ("5" + "1" * 10_000 + '-["a"]', "attachments"),
    ('5-["a"]', "attachments"),
    ('51.0-["a"]', "attachments"),
    ('5٣-["a"]', "attachments"),
    ('21-["a"]', "attachments"),
    ("01-", "attachments"),
]


@pytest.mark.parametrize(("wire", "code"), BAD_TEXTS)
def test_a_bad_text_is_refused_with_its_reason(wire: str, code: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        SocketPacketDecoder().receive(wire)
    assert caught.value.code == code


@pytest.mark.parametrize("name", sorted(RESERVED_EVENTS))
def test_reserved_event_names_are_refused_both_ways(name: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_socket_text(json.dumps([name]).join(["2", ""]))
    assert caught.value.code == "event_name"
    with pytest.raises(ValueError, match="reserved"):
        encode_event(name)
    with pytest.raises(ValueError, match="reserved"):
        encode_events_json([(name, [])])


@pytest.mark.parametrize(
    "wire",
    [
        f'51-["a",{hole(1)}]',
        f'51-["a",{hole(-1)}]',
        f'51-["a",{hole(0.0)}]',
        f'51-["a",{hole(False)}]',
        f'51-["a",{hole("0")}]',
        f'51-["a",{hole(None)}]',
        f'51-["a",{hole(2**70)}]',
        '51-["a",{"_placeholder":true}]',
        f'51-["a",{hole(0)},{hole(0)}]',
        f'52-["a",{hole(0)}]',
        f'52-["a",{hole(0)},{hole(0)}]',
        '51-["a"]',
        '51-["a",{"_placeholder":1,"num":0}]',
        "61-0[]",
    ],
)
def test_placeholders_name_each_attachment_once(wire: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        SocketPacketDecoder().receive(wire)
    assert caught.value.code == "placeholder"


def test_a_placeholder_is_no_event_name() -> None:
    with pytest.raises(ProtocolError) as caught:
        SocketPacketDecoder().receive(f"51-[{hole(0)}]")
    assert caught.value.code == "event_name"


def test_placeholders_may_come_in_any_order() -> None:
    decoder = SocketPacketDecoder()
    packet = receive_all(decoder, [f'52-["a",{hole(1)},{{"x":{hole(0)}}}]', b"first", b"second"])
    assert packet.data == ["a", b"second", {"x": b"first"}]


def test_text_while_attachments_are_due_is_an_error() -> None:
    decoder = SocketPacketDecoder()
    decoder.receive(f'51-["a",{hole(0)}]')
    assert decoder.awaits_attachments
    with pytest.raises(ProtocolError) as caught:
        decoder.receive('2["a"]')
    assert caught.value.code == "attachments"


@pytest.mark.parametrize("before", [[], ['2["a"]'], [f'51-["a",{hole(0)}]', b"x"]])
def test_bytes_that_are_not_due_are_an_error(before: list[str | bytes]) -> None:
    decoder = SocketPacketDecoder()
    for message in before:
        decoder.receive(message)
    with pytest.raises(ProtocolError) as caught:
        decoder.receive(b"x")
    assert caught.value.code == "unannounced_bytes"


def test_attachments_together_are_bounded() -> None:
    decoder = SocketPacketDecoder(max_attachment_bytes=10)
    assert receive_all(decoder, [f'52-["a",{hole(0)},{hole(1)}]', b"12345", b"12345"]).data[1] == b"12345"
    decoder.receive(f'52-["a",{hole(0)},{hole(1)}]')
    decoder.receive(b"12345")
    with pytest.raises(ProtocolError) as caught:
        decoder.receive(b"123456")
    assert caught.value.code == "attachment_bytes"


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_is_bounded_to_the_level(opening: str, closing: str) -> None:
    def nested(levels: int) -> str:
        return '2["a",' + opening * levels + "0" + closing * levels + "]"

    assert decode_socket_text(nested(MAX_JSON_DEPTH - 1)).data[0] == "a"
    for levels in (MAX_JSON_DEPTH, 500, 2_000):
        with pytest.raises(ProtocolError) as caught:
            decode_socket_text(nested(levels))
        assert caught.value.code == "json_depth"


def test_lists_and_objects_are_bounded_in_number() -> None:
    within = '2["a"' + ",[]" * (MAX_JSON_BRACKETS - 1) + "]"
    assert len(decode_socket_text(within).data) == MAX_JSON_BRACKETS
    with pytest.raises(ProtocolError) as caught:
        decode_socket_text(within[:-1] + ",{}]")
    assert caught.value.code == "json_brackets"


def test_a3_values_are_bounded_in_number() -> None:
    within = '2["a"' + ",1.5" * MAX_JSON_COMMAS + "]"
    assert len(decode_socket_text(within).data) == MAX_JSON_COMMAS + 1
    with pytest.raises(ProtocolError) as caught:
        decode_socket_text(within[:-1] + ",1]")
    assert caught.value.code == "json_commas"


def test_a3_digits_of_long_numbers_are_bounded_in_all() -> None:
    within = '2["a"' + f",{'9' * 4_000}" * (MAX_LONG_DIGITS // 4_000 - 1) + "]"
    assert decode_socket_text(within).data[1] == int("9" * 4_000)
    with pytest.raises(ProtocolError) as caught:
        decode_socket_text('2["a"' + f",{'9' * 4_000}" * (MAX_LONG_DIGITS // 4_000 + 2) + "]")
    assert caught.value.code == "json_digits"
    # Short numbers and words cost no more than their number.
    words = '2["' + "a1234567 " * 60_000 + '"' + ",1234567" * 4_000 + "]"
    assert len(decode_socket_text(words).data) == 4_001


@pytest.mark.parametrize(
    "literal", ["1.5", "1e300", "-4.9e-324", "1E5", "0.30000000000000004", "1" * 30 + ".5", "-0.0"]
)
def test_a3_numbers_are_read_as_python_reads_them_and_not_by_a_slow_reader(
    literal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def note(text: str) -> float:
        read.append(text)
        return float(text)

    monkeypatch.setattr(_socket_packets, "float", note, raising=False)
    assert repr(decode_socket_text(f'2["a",{literal}]').data[1]) == repr(float(literal))
    assert read == [literal]


@pytest.mark.parametrize("literal", ["1e400", "-1e400"])
def test_a_number_beyond_all_doubles_is_refused(literal: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_socket_text(f'2["a",{literal}]')
    assert caught.value.code == "payload"


def test_a_hundred_thousand_levels_are_only_a_protocol_error() -> None:
    with pytest.raises(ProtocolError):
        decode_socket_text('2["a",' + "[" * 100_000 + "]" * 100_000 + "]")


def test_brackets_in_strings_and_side_by_side_are_not_nesting() -> None:
    assert decode_socket_text('2["a","' + "[" * 1000 + '"]').data == ["a", "[" * 1000]
    assert len(decode_socket_text('2["a"' + ",[{}]" * 1000 + "]").data) == 1001


@pytest.mark.parametrize("wire", ["2" + "[" * 100_000, '2["a",' + '{"":' * 100_000, "0" + '{"a":' * 100_000])
def test_unfinished_nesting_of_any_depth_is_only_a_protocol_error(wire: str) -> None:
    with pytest.raises(ProtocolError):
        decode_socket_text(wire)


# ----------------------------------------------------------------------------------------------------- encoding


def test_not_a_number_never_leaves() -> None:
    assert encode_event("a", math.nan, math.inf, -math.inf).text == b'42["a",null,null,null]'


@pytest.mark.parametrize("data", [bytearray(b"ab"), memoryview(b"ab"), b"ab"])
def test_anything_like_bytes_is_an_attachment(data: Any) -> None:
    assert encode_event("a", (data,)).messages == [f'51-["a",[{hole(0)}]]', b"ab"]


def test_a_binary_type_without_bytes_is_encoded_as_plain() -> None:
    assert encode_socket_packet(SocketPacket(BINARY_EVENT, "/", ["a"])).messages == ['2["a"]']


def endless() -> list[Any]:
    around: list[Any] = []
    around.append(around)
    return around


@pytest.mark.parametrize(
    ("packet", "error"),
    [
        (SocketPacket(EVENT, "/", ["a", *[b""] * 11]), ValueError),
        (SocketPacket(EVENT, "/", ["a", b"x", {"_placeholder": True, "num": 7}]), ValueError),
        (SocketPacket(EVENT, "/", ["a", "\ud800"]), ValueError),
        (SocketPacket(EVENT, "/", ["\ud800"]), ValueError),
        (SocketPacket(EVENT, "/", ["a", endless()]), ValueError),
        (SocketPacket(EVENT, "/", ["a", object()]), TypeError),
        (SocketPacket(EVENT, "/", []), TypeError),
        (SocketPacket(EVENT, "/", [1]), TypeError),
        (SocketPacket(EVENT, "/", "a"), TypeError),
        (SocketPacket(EVENT, "/", ["a"], -1), ValueError),
        (SocketPacket(EVENT, "admin", ["a"]), ValueError),
        (SocketPacket(EVENT, "/a,b", ["a"]), ValueError),
        (SocketPacket(EVENT, "/a\x1eb", ["a"]), ValueError),
        (SocketPacket(EVENT, "/" + "n" * MAX_NAMESPACE_LENGTH, ["a"]), ValueError),
        (SocketPacket(ACK, "/", []), ValueError),
        (SocketPacket(ACK, "/", {}, 1), TypeError),
        (SocketPacket(CONNECT, "/", []), TypeError),
        (SocketPacket(CONNECT, "/", None, 1), ValueError),
        (SocketPacket(CONNECT_ERROR), TypeError),
        (SocketPacket(CONNECT_ERROR, "/", "no"), TypeError),
        (SocketPacket(DISCONNECT, "/", {}), ValueError),
    ],
)
def test_what_a_caller_gets_wrong_is_its_own_error(packet: SocketPacket, error: type[Exception]) -> None:
    with pytest.raises(error):
        encode_socket_packet(packet)


def test_an_event_of_ready_json_is_the_same_event() -> None:
    body, offset = b'{"id":1,"title":"\xc3\xb6"}', b'"e.12"'
    [shared] = encode_events_json([("notification:new", (body, offset))])
    assert shared.text == encode_event("notification:new", {"id": 1, "title": "ö"}, "e.12").text
    assert shared.frame == text_frame(shared.text)
    assert shared.payload is shared.text
    [quoted] = encode_events_json([('quo"te', [])], namespace="/n")
    assert quoted.text == encode_event('quo"te', namespace="/n").text


@thorough
@given(event_names, namespaces, ack_ids, st.lists(json_values, max_size=4))
def test_any_event_survives_both_layers_and_both_transports(
    name: str, namespace: str, ack_id: int | None, args: list[Any]
) -> None:
    packet = SocketPacket(EVENT, namespace, [name, *args], ack_id)
    encoded = encode_socket_packet(packet)
    by_polling = decode_payload(encoded.payload)
    assert by_polling == [decode_packet(encoded.text.decode())]
    assert isinstance(by_polling[0].data, str)
    assert decode_socket_text(by_polling[0].data) == packet


@thorough
@given(st.sampled_from([EVENT, ACK]), namespaces, st.integers(0, 2**53), st.lists(values_with_bytes, max_size=4))
def test_bytes_anywhere_in_the_arguments_arrive_where_they_were(
    packet_type: SocketPacketType, namespace: str, ack_id: int, args: list[Any]
) -> None:
    packet = SocketPacket(packet_type, namespace, ["name", *args], ack_id)
    try:
        encoded = encode_socket_packet(packet)
    except ValueError:
        return  # over ten attachments
    assert receive_all(SocketPacketDecoder(), encoded.messages) == packet
    by_polling = [packet.data for packet in decode_payload(encoded.payload)]
    assert receive_all(SocketPacketDecoder(), by_polling) == packet


# ---------------------------------------------------------------------------------------------------- fuzzing


@thorough
@given(wire_texts)
def test_any_text_whatever_decodes_or_raises_a_protocol_error(wire: str) -> None:
    try:
        packet = decode_socket_text(wire)
    except ProtocolError:
        return
    if not packet.attachments:
        assert decode_socket_text(encode_socket_packet(packet).text[1:].decode()) == packet


valid_texts = st.sampled_from([str(messages[0]).encode() for _, messages in PACKETS])


@thorough
@given(mutated(valid_texts))
def test_mutated_packets_decode_or_raise_a_protocol_error(wire: bytes) -> None:
    text = wire.decode(errors="surrogateescape")
    with suppress(ProtocolError):
        decode_socket_text(text)


@thorough
@given(st.lists(wire_messages, max_size=12))
def test_any_messages_in_any_order_raise_nothing_but_protocol_errors(messages: list[str | bytes]) -> None:
    decoder = SocketPacketDecoder(max_attachment_bytes=60)
    with suppress(ProtocolError):
        for message in messages:
            decoder.receive(message)


def test_an_engine_message_is_what_the_socket_layer_reads() -> None:
    packet = decode_packet(encode_event("a", b"x").text.decode())
    assert packet == Packet(PacketType.MESSAGE, f'51-["a",{hole(0)}]')
