"""The lower storey: one session's sockets, without tasks, straight on a session."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from djactors.engine import BaseSocket, SocketHandler
from djactors.protocol import AckReceived, EncodedPacket, EventReceived, NotJoinedError, ProtocolError, encode_event


class FakeSession:
    """What a handler uses of a session."""

    def __init__(self) -> None:
        self.proven = False
        self.peer = "192.0.2.1"
        self.sent: list[list[str | bytes]] = []
        self.reason: str | None = None

    def send(self, packets: Sequence[EncodedPacket]) -> None:
        if self.reason is None:
            self.sent.append([message for packet in packets for message in packet.messages])

    def prove(self) -> None:
        self.proven = True

    def when_drained(self, callback: Callable[[], None]) -> None:
        callback()

    def close(self, reason: str) -> None:
        self.reason = reason

    def take(self) -> list[list[str | bytes]]:
        sent, self.sent = self.sent, []
        return sent


class Desk(SocketHandler[BaseSocket]):
    """Writes down what it is told, and answers nothing of itself."""

    def __init__(self, session: FakeSession, **options: Any) -> None:
        super().__init__(session, **options)  # type: ignore[arg-type]
        self.told: list[tuple[str, BaseSocket, Any]] = []

    def serves(self, namespace: str) -> bool:
        return namespace in ("/", "/two")

    def new_socket(self, namespace: str) -> BaseSocket:
        return BaseSocket(self, namespace)

    def new_sid(self) -> str:
        return "public"

    def on_connect(self, socket: BaseSocket, auth: dict[str, Any]) -> None:
        self.told.append(("connect", socket, auth))

    def on_accept(self, socket: BaseSocket, sid: str) -> None:
        self.told.append(("accept", socket, sid))

    def on_event(self, socket: BaseSocket, event: EventReceived) -> None:
        self.told.append(("event", socket, (event.name, event.args, event.ack_id)))

    def on_ack(self, socket: BaseSocket, ack: AckReceived) -> None:
        self.told.append(("ack", socket, (ack.ack_id, ack.args)))

    def on_disconnect(self, socket: BaseSocket, reason: str) -> None:
        self.told.append(("disconnect", socket, reason))

    def take(self) -> list[tuple[str, BaseSocket, Any]]:
        told, self.told = self.told, []
        return told


@pytest.fixture
def session() -> FakeSession:
    return FakeSession()


@pytest.fixture
def desk(session: FakeSession) -> Desk:
    return Desk(session)


def connect(desk: Desk, packet: str = "0") -> BaseSocket:
    desk.on_message(packet)
    [(_, socket, _)] = desk.take()
    return socket


def test_a_connect_is_answered_when_the_program_likes(desk: Desk, session: FakeSession) -> None:
    assert desk.is_idle
    desk.on_message('0{"token":"t"}')
    [(what, socket, auth)] = desk.take()
    assert (what, auth, desk.sockets, desk.is_idle) == ("connect", {"token": "t"}, (socket,), False)
    assert session.take() == []
    socket.accept("a pid", [encode_event("hello")])
    assert session.take() == [['0{"sid":"public","pid":"a pid"}', '2["hello"]']]
    assert desk.take() == [("accept", socket, "public")]
    with pytest.raises(NotJoinedError):
        socket.accept()
    with pytest.raises(NotJoinedError):
        socket.refuse("No")


def test_a_refused_socket_is_gone_and_the_client_may_ask_again(desk: Desk, session: FakeSession) -> None:
    socket = connect(desk)
    socket.refuse("No", [1])
    assert session.take() == [['4{"message":"No","data":[1]}']]
    assert (socket.alive, desk.sockets, desk.take()) == (False, (), [])
    socket.accept()
    socket.refuse("No")
    socket.emit("hello")
    socket.disconnect()
    assert (session.take(), session.reason) == ([], None)
    again = connect(desk)
    again.accept()
    assert session.take() == [['0{"sid":"public"}']]


def test_a_namespace_that_is_not_there_is_refused_at_once(desk: Desk, session: FakeSession) -> None:
    desk.on_message("0/three")
    assert session.take() == [['4/three,{"message":"Invalid namespace"}']]
    assert (desk.take(), desk.is_idle) == ([], True)


def test_each_namespace_has_a_socket_of_its_own(desk: Desk, session: FakeSession) -> None:
    one, two = connect(desk), connect(desk, "0/two")
    for socket in (one, two):
        socket.accept()
    session.take()
    desk.take()
    desk.on_message('2/two,7["event",1]')
    desk.on_message('30["answer"]')
    desk.on_message('51-["bytes",{"_placeholder":true,"num":0}]')
    desk.on_message(b"\x00")
    assert desk.take() == [
        ("event", two, ("event", [1], 7)),
        ("ack", one, (0, ["answer"])),
        ("event", one, ("bytes", [b"\x00"], None)),
    ]
    two.ack(7, "done", b"\x01")
    two.emit("news")
    two.send([encode_event("more", namespace="/two")])
    assert session.take() == [
        ['61-/two,7["done",{"_placeholder":true,"num":0}]', b"\x01"],
        ['2/two,["news"]'],
        ['2/two,["more"]'],
    ]
    desk.on_message("1/two,")
    assert desk.take() == [("disconnect", two, "left")]
    assert (one.alive, two.alive, desk.sockets) == (True, False, (one,))


def test_the_ack_of_an_event_is_not_given_to_who_came_after(desk: Desk, session: FakeSession) -> None:
    socket = connect(desk)
    socket.accept()
    desk.on_message('20["event"]')
    desk.on_message("1")
    assert [what for what, _, _ in desk.take()] == ["accept", "event", "disconnect"]
    connect(desk).accept()
    session.take()
    socket.ack(0, "late")
    assert session.take() == []


def test_the_end_of_the_session_is_told_of_each_socket_that_was_not_refused(desk: Desk) -> None:
    pending, joined = connect(desk), connect(desk, "0/two")
    joined.accept()
    desk.take()
    desk.on_close("transport close")
    assert desk.take() == [("disconnect", pending, "transport close"), ("disconnect", joined, "transport close")]
    assert (pending.alive, joined.alive, desk.is_idle) == (False, False, True)


def test_a_socket_is_let_go_with_its_session_or_put_out_alone(desk: Desk, session: FakeSession) -> None:
    one, two = connect(desk), connect(desk, "0/two")
    with pytest.raises(NotJoinedError):
        two.disconnect("banned", reconnect=False)
    two.accept()
    session.take()
    desk.take()
    two.disconnect("banned", reconnect=False)
    assert (session.take(), session.reason) == ([["1/two,"]], None)
    assert desk.take() == [("disconnect", two, "banned")]
    one.disconnect("overload")
    assert session.reason == "overload"


@pytest.mark.parametrize("message", ["", "9", "2", '2["a"]', "0{", '2/two,["a"]', b"\x00", '50-["a"]'])
def test_what_breaks_the_protocol_is_for_the_session_to_end(desk: Desk, message: str | bytes) -> None:
    with pytest.raises(ProtocolError):
        desk.on_message(message)
    assert desk.take() == []


def test_attachments_are_bounded(session: FakeSession) -> None:
    desk = Desk(session, max_attachment_bytes=10)
    connect(desk).accept()
    desk.on_message('51-["a",{"_placeholder":true,"num":0}]')
    with pytest.raises(ProtocolError, match="10 bytes"):
        desk.on_message(b"x" * 11)


def test_what_is_shown_of_a_socket_is_no_secret(desk: Desk) -> None:
    socket = connect(desk)
    assert repr(socket) == "<BaseSocket / of 192.0.2.1>"
    desk.on_close("drained")
    assert repr(socket) == "<BaseSocket / of 192.0.2.1, gone>"
