"""Namespaces: every packet in every state, joining, leaving, and the official suite's Socket.IO cases."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djactors.protocol import (
    AckReceived,
    ConnectRequested,
    DisconnectRequested,
    EventReceived,
    NotJoinedError,
    ProtocolError,
    SocketSession,
)

from .strategies import thorough, wire_messages


def joined(*namespaces: str) -> SocketSession:
    session = SocketSession()
    for namespace in namespaces or ("/",):
        session.receive(f"0{namespace},")
        session.accept(namespace, "s1")
    return session


def pending() -> SocketSession:
    session = SocketSession()
    session.receive("0")
    return session


VIOLATION = "violation"
PACKETS = ("0", '2["a",1]', '27["a"]', "37[1]", "1", '4{"message":"x"}')
TABLE = {
    "unknown": (SocketSession, [ConnectRequested("/", {}), *[VIOLATION] * 5]),
    "pending": (pending, [VIOLATION] * 6),
    "joined": (
        joined,
        [
            VIOLATION,
            EventReceived("/", "a", [1], None),
            EventReceived("/", "a", [], 7),
            AckReceived("/", 7, [1]),
            DisconnectRequested("/"),
            VIOLATION,
        ],
    ),
}
CASES = [
    (state, wire, outcome)
    for state, (_, outcomes) in TABLE.items()
    for wire, outcome in zip(PACKETS, outcomes, strict=True)
]


@pytest.mark.parametrize(("state", "wire", "outcome"), CASES)
def test_every_packet_means_what_the_table_says(state: str, wire: str, outcome: object) -> None:
    session = TABLE[state][0]()
    if outcome == VIOLATION:
        with pytest.raises(ProtocolError) as caught:
            session.receive(wire)
        assert caught.value.code == "unexpected_packet"
    else:
        assert session.receive(wire) == outcome


@pytest.mark.parametrize(
    ("wire", "request_event", "reply"),
    [
        ("0", ConnectRequested("/", {}), b'40{"sid":"s1"}'),
        ('0{"token":"123"}', ConnectRequested("/", {"token": "123"}), b'40{"sid":"s1"}'),
        ("0/custom,", ConnectRequested("/custom", {}), b'40/custom,{"sid":"s1"}'),
        ('0/custom,{"token":"abc"}', ConnectRequested("/custom", {"token": "abc"}), b'40/custom,{"sid":"s1"}'),
    ],
)
def test_a_client_joins_a_namespace(wire: str, request_event: ConnectRequested, reply: bytes) -> None:
    session = SocketSession()
    assert session.is_idle
    assert session.receive(wire) == request_event
    assert not session.is_idle
    assert not session.is_joined(request_event.namespace)
    assert session.accept(request_event.namespace, "s1").text == reply
    assert session.is_joined(request_event.namespace)


def test_a_recovery_id_rides_in_the_reply() -> None:
    assert pending().accept("/", "s1", {"pid": "p1"}).text == b'40{"sid":"s1","pid":"p1"}'


def test_an_unknown_namespace_is_refused_in_the_suites_words() -> None:
    session = SocketSession()
    assert session.receive("0/random") == ConnectRequested("/random", {})
    assert session.refuse("/random", "Invalid namespace").text == b'44/random,{"message":"Invalid namespace"}'
    assert session.is_idle


def test_a_refusal_carries_data_for_the_program_and_the_client_may_try_again() -> None:
    session = pending()
    refusal = session.refuse("/", "Unauthorized", {"code": "expired"})
    assert refusal.text == b'44{"message":"Unauthorized","data":{"code":"expired"}}'
    assert session.receive("0") == ConnectRequested("/", {})


@pytest.mark.parametrize("wire", ['0"token"', "0[]", "05", "0null", "abc"])
def test_a_connect_without_an_object_is_a_violation(wire: str) -> None:
    with pytest.raises(ProtocolError):
        SocketSession().receive(wire)


def test_leaving_one_namespace_leaves_the_other_alone() -> None:
    session = joined("/", "/custom")
    assert session.receive("1/custom") == DisconnectRequested("/custom")
    assert session.receive('2["message","x"]') == EventReceived("/", "message", ["x"], None)
    with pytest.raises(ProtocolError):
        session.receive('2/custom,["message"]')


def test_a_namespace_that_was_left_can_be_joined_again() -> None:
    session = joined()
    session.receive("1")
    assert session.is_idle
    assert session.receive("0") == ConnectRequested("/", {})


def test_the_server_puts_a_client_out() -> None:
    session = joined("/", "/custom")
    assert session.disconnect("/custom").text == b"41/custom,"
    assert session.disconnect().text == b"41"
    assert session.is_idle


def test_namespaces_are_bounded() -> None:
    session = SocketSession(max_namespaces=2)
    session.receive("0/a,")
    session.receive("0/b,")
    with pytest.raises(ProtocolError) as caught:
        session.receive("0/c,")
    assert caught.value.code == "namespaces"


def test_the_echo_of_the_official_suite() -> None:
    session = joined()
    event = session.receive('2["message",1,"2",{"3":[true]}]')
    assert isinstance(event, EventReceived)
    assert session.emit("message-back", *event.args).messages == ['2["message-back",1,"2",{"3":[true]}]']
    event = session.receive('2456["message-with-ack",1,"2",{"3":[false]}]')
    assert isinstance(event, EventReceived)
    assert event.ack_id is not None
    assert session.ack("/", event.ack_id, *event.args).messages == ['3456[1,"2",{"3":[false]}]']


def test_the_binary_echo_of_the_official_suite() -> None:
    session = joined()
    holes = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'
    for head in (f'52-["message",{holes}]', b"\x01\x02\x03"):
        assert session.receive(head) is None
    assert session.receive(b"\x04\x05\x06") == EventReceived("/", "message", [b"\x01\x02\x03", b"\x04\x05\x06"], None)
    back = session.emit("message-back", b"\x01\x02\x03", b"\x04\x05\x06")
    assert back.messages == [f'52-["message-back",{holes}]', b"\x01\x02\x03", b"\x04\x05\x06"]
    assert session.ack("/", 789, b"\x01", b"\x02").messages == [f"62-789[{holes}]", b"\x01", b"\x02"]


def test_an_ack_id_of_zero_is_an_ack_id() -> None:
    session = joined()
    assert session.receive('20["a"]') == EventReceived("/", "a", [], 0)
    assert session.ack("/", 0).text == b"430[]"
    assert session.emit("a", ack_id=0).text == b'420["a"]'
    assert session.receive("30[]") == AckReceived("/", 0, [])


def test_a_binary_event_for_a_namespace_that_is_not_joined_is_a_violation() -> None:
    session = joined()
    session.receive('51-/other,["a",{"_placeholder":true,"num":0}]')
    with pytest.raises(ProtocolError):
        session.receive(b"x")


def test_the_server_cannot_use_a_namespace_that_is_not_there() -> None:
    session = SocketSession()
    with pytest.raises(NotJoinedError):
        session.accept("/", "s1")
    with pytest.raises(NotJoinedError):
        session.refuse("/", "no")
    for session in (SocketSession(), pending()):
        with pytest.raises(NotJoinedError):
            session.emit("a")
        with pytest.raises(NotJoinedError):
            session.ack("/", 1)
        with pytest.raises(NotJoinedError):
            session.disconnect()


def test_a_reply_that_cannot_be_encoded_leaves_the_client_pending() -> None:
    session = pending()
    with pytest.raises(TypeError):
        session.accept("/", "s1", {"bad": object()})
    with pytest.raises(TypeError):
        session.refuse("/", "no", object())
    assert session.refuse("/", "no").text == b'44{"message":"no"}'


@thorough
@given(st.lists(wire_messages | st.sampled_from(["accept", "refuse", "put out"]), max_size=20))
def test_no_order_of_messages_and_answers_raises_anything_but_protocol_errors(steps: list[str | bytes]) -> None:
    session = SocketSession(max_namespaces=2)
    asked: list[str] = []
    try:
        for step in steps:
            if step == "put out":
                if session.is_joined():
                    session.disconnect()
            elif step in ("accept", "refuse"):
                for namespace in asked:
                    answer = session.accept if step == "accept" else session.refuse
                    answer(namespace, "x")
                asked.clear()
            else:
                event = session.receive(step)
                if isinstance(event, ConnectRequested):
                    asked.append(event.namespace)
    except ProtocolError:
        pass
