"""One session's states: every packet in every state, the upgrade in every order, the heartbeat, closing."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djactors.protocol import (
    Closed,
    CloseReason,
    CloseTransport,
    EngineSession,
    Message,
    Packet,
    PacketType,
    ProtocolError,
    SendPing,
    SendProbeReply,
    SessionSettings,
    State,
    Transport,
    Upgraded,
    decode_packet,
)

from .strategies import thorough

POLLING, WEBSOCKET = Transport.POLLING, Transport.WEBSOCKET
SETTINGS = SessionSettings(ping_interval=25.0, ping_timeout=20.0, upgrade_timeout=10.0)
PROBE, SWITCH, HELLO = "2probe", "5", "4hello"


class Driver:
    """A session at a time of the test's own, fed with what arrives on the wire."""

    def __init__(self, transport: Transport = POLLING, settings: SessionSettings = SETTINGS) -> None:
        self.now = 100.0
        self.session = EngineSession("s", transport, settings, self.now)

    def polling(self, wire: str | bytes) -> object:
        return self.session.receive(decode_packet(wire), POLLING, self.now)

    def websocket(self, wire: str | bytes) -> object:
        return self.session.receive(decode_packet(wire), WEBSOCKET, self.now)

    def tick_after(self, seconds: float) -> object:
        self.now += seconds
        return self.session.tick(self.now)


def driver_in(state: State) -> Driver:
    driver = Driver()
    if state is not State.POLLING:
        driver.session.begin_upgrade(driver.now)
    if state in (State.PROBED, State.WEBSOCKET):
        driver.websocket(PROBE)
    if state is State.WEBSOCKET:
        driver.websocket(SWITCH)
    if state is State.CLOSED:
        driver.session.close()
    assert driver.session.state is state
    return driver


VIOLATION = "violation"
CARRYING = {
    HELLO: Message("hello"),
    "4": Message(""),
    "3": None,
    "3probe": None,
    "6": None,
    "1": Closed(CloseReason.CLIENT),
    "0": VIOLATION,
    "2": VIOLATION,
    PROBE: VIOLATION,
    SWITCH: VIOLATION,
}
NOTHING = dict.fromkeys(CARRYING, VIOLATION)
TABLE = {
    (State.POLLING, POLLING): CARRYING,
    (State.POLLING, WEBSOCKET): NOTHING,
    (State.UPGRADING, POLLING): CARRYING,
    (State.UPGRADING, WEBSOCKET): NOTHING | {PROBE: SendProbeReply()},
    (State.PROBED, POLLING): CARRYING,
    (State.PROBED, WEBSOCKET): NOTHING | {PROBE: SendProbeReply(), SWITCH: Upgraded()},
    (State.WEBSOCKET, POLLING): NOTHING,
    (State.WEBSOCKET, WEBSOCKET): CARRYING,
    (State.CLOSED, POLLING): dict.fromkeys(CARRYING, None),
    (State.CLOSED, WEBSOCKET): dict.fromkeys(CARRYING, None),
}
CASES = [(*place, wire, outcome) for place, outcomes in TABLE.items() for wire, outcome in outcomes.items()]


@pytest.mark.parametrize(("state", "transport", "wire", "outcome"), CASES)
def test_every_packet_means_what_the_table_says(state: State, transport: Transport, wire: str, outcome: object) -> None:
    driver = driver_in(state)
    receive = driver.polling if transport is POLLING else driver.websocket
    if outcome == VIOLATION:
        with pytest.raises(ProtocolError):
            receive(wire)
        assert driver.session.state is state
    else:
        assert receive(wire) == outcome


@pytest.mark.parametrize(
    ("state", "transport", "outcome", "after"),
    [
        (State.POLLING, POLLING, Closed(CloseReason.TRANSPORT), State.CLOSED),
        (State.POLLING, WEBSOCKET, None, State.POLLING),
        (State.UPGRADING, POLLING, Closed(CloseReason.TRANSPORT), State.CLOSED),
        (State.UPGRADING, WEBSOCKET, CloseTransport(WEBSOCKET, CloseReason.TRANSPORT), State.POLLING),
        (State.PROBED, POLLING, Closed(CloseReason.TRANSPORT), State.CLOSED),
        (State.PROBED, WEBSOCKET, CloseTransport(WEBSOCKET, CloseReason.TRANSPORT), State.POLLING),
        (State.WEBSOCKET, POLLING, None, State.WEBSOCKET),
        (State.WEBSOCKET, WEBSOCKET, Closed(CloseReason.TRANSPORT), State.CLOSED),
        (State.CLOSED, POLLING, None, State.CLOSED),
        (State.CLOSED, WEBSOCKET, None, State.CLOSED),
    ],
)
def test_a_lost_transport_ends_the_session_only_if_it_carries_it(
    state: State, transport: Transport, outcome: object, after: State
) -> None:
    driver = driver_in(state)
    assert driver.session.transport_lost(transport) == outcome
    assert driver.session.state is after


# ------------------------------------------------------------------------------------------------------ upgrade


def test_messages_flow_by_polling_until_the_upgrade_and_by_websocket_from_then_on() -> None:
    driver = Driver()
    assert driver.polling("4a") == Message("a")
    driver.session.begin_upgrade(driver.now)
    assert driver.polling("4b") == Message("b")
    assert driver.websocket(PROBE) == SendProbeReply()
    assert driver.polling("4c") == Message("c")
    assert driver.session.transport is POLLING
    assert driver.websocket(SWITCH) == Upgraded()
    assert driver.session.transport is WEBSOCKET
    assert driver.websocket("4d") == Message("d")
    assert driver.websocket(b"\x00") == Message(b"\x00")


def test_a_get_is_answered_at_once_only_between_the_probe_and_the_switch() -> None:
    answers = {state: driver_in(state).session.answers_polls_at_once for state in State}
    assert [state for state, at_once in answers.items() if at_once] == [State.PROBED]


def test_a_message_by_websocket_before_the_switch_ends_the_upgrade_and_polling_goes_on() -> None:
    driver = driver_in(State.PROBED)
    with pytest.raises(ProtocolError):
        driver.websocket(HELLO)
    lost = driver.session.transport_lost(WEBSOCKET, CloseReason.VIOLATION)
    assert lost == CloseTransport(WEBSOCKET, CloseReason.VIOLATION)
    assert not driver.session.answers_polls_at_once
    assert driver.polling(HELLO) == Message("hello")


def test_a_websocket_that_dies_during_its_probe_can_be_followed_by_another() -> None:
    driver = driver_in(State.PROBED)
    driver.session.transport_lost(WEBSOCKET)
    driver.session.begin_upgrade(driver.now)
    driver.websocket(PROBE)
    assert driver.websocket(SWITCH) == Upgraded()


@pytest.mark.parametrize("state", [State.UPGRADING, State.PROBED, State.WEBSOCKET, State.CLOSED])
def test_a_second_websocket_is_refused_and_harms_nothing(state: State) -> None:
    driver = driver_in(state)
    with pytest.raises(ProtocolError) as caught:
        driver.session.begin_upgrade(driver.now)
    assert caught.value.code == "second_websocket"
    assert driver.session.state is state


def test_a_post_that_was_on_its_way_while_the_session_upgraded_is_refused_alone() -> None:
    driver = driver_in(State.WEBSOCKET)
    with pytest.raises(ProtocolError):
        driver.polling(HELLO)
    assert driver.session.transport_lost(POLLING, CloseReason.VIOLATION) is None
    assert driver.websocket(HELLO) == Message("hello")


def test_a_probe_with_another_word_is_none() -> None:
    driver = driver_in(State.UPGRADING)
    with pytest.raises(ProtocolError):
        driver.websocket("2probf")


@pytest.mark.parametrize("state", [State.UPGRADING, State.PROBED])
def test_an_upgrade_that_is_not_completed_in_time_is_given_up(state: State) -> None:
    driver = driver_in(state)
    assert driver.session.next_deadline == driver.now + 10.0
    assert driver.tick_after(9.9) is None
    assert driver.tick_after(0.1) == CloseTransport(WEBSOCKET, CloseReason.UPGRADE_TIMEOUT)
    assert driver.session.state is State.POLLING
    assert driver.polling(HELLO) == Message("hello")


def test_a_completed_upgrade_has_no_deadline_left() -> None:
    driver = driver_in(State.WEBSOCKET)
    assert driver.session.next_deadline == driver.now + 25.0
    assert driver.tick_after(24.9) is None


def test_a_client_that_closes_in_the_middle_of_its_upgrade_closes_the_session() -> None:
    driver = driver_in(State.PROBED)
    assert driver.polling("1") == Closed(CloseReason.CLIENT)
    assert driver.websocket(SWITCH) is None
    assert driver.session.state is State.CLOSED


# ---------------------------------------------------------------------------------------------------- heartbeat


@pytest.mark.parametrize("transport", [POLLING, WEBSOCKET])
def test_the_server_pings_at_its_interval_for_as_long_as_pongs_come(transport: Transport) -> None:
    driver = Driver(transport)
    answer = driver.polling if transport is POLLING else driver.websocket
    for _ in range(3):
        assert driver.tick_after(24.0) is None
        assert driver.tick_after(1.0) == SendPing()
        assert answer("3") is None
    assert driver.session.state is not State.CLOSED


def test_messages_do_not_delay_the_ping() -> None:
    driver = Driver()
    driver.now += 24.0
    driver.polling(HELLO)
    assert driver.tick_after(1.0) == SendPing()


def test_a_pong_that_does_not_come_in_time_closes_the_session() -> None:
    driver = Driver()
    assert driver.tick_after(25.0) == SendPing()
    driver.polling(HELLO)  # no substitute for the pong
    assert driver.tick_after(19.9) is None
    assert driver.tick_after(0.1) == Closed(CloseReason.PING_TIMEOUT)
    assert driver.session.tick(driver.now) is None
    assert driver.session.next_deadline == inf


def test_pongs_that_nothing_asked_for_move_no_deadline() -> None:
    driver = Driver()
    deadline = driver.session.next_deadline
    driver.now += 20.0
    driver.polling("3")
    driver.polling("3whatever")
    assert driver.session.next_deadline == deadline
    assert driver.tick_after(5.0) == SendPing()


def test_a_late_pong_keeps_the_cadence() -> None:
    driver = Driver()
    driver.tick_after(25.0)
    driver.now += 15.0
    driver.polling("3")
    assert driver.tick_after(9.9) is None
    assert driver.tick_after(0.1) == SendPing()


def test_a_pong_later_than_the_interval_is_followed_by_one_ping_at_once() -> None:
    driver = Driver(settings=SessionSettings(ping_interval=1.0, ping_timeout=5.0))
    assert driver.tick_after(1.0) == SendPing()
    assert driver.tick_after(3.0) is None
    driver.polling("3")
    assert driver.session.tick(driver.now) == SendPing()
    assert driver.session.tick(driver.now) is None


def test_a_loop_that_was_held_up_sends_one_ping_and_gives_the_whole_timeout() -> None:
    driver = Driver()
    assert driver.tick_after(1000.0) == SendPing()
    assert driver.session.tick(driver.now) is None
    assert driver.tick_after(19.9) is None


def test_a_ping_sent_by_polling_may_be_answered_by_the_websocket() -> None:
    driver = Driver()
    driver.tick_after(25.0)
    driver.session.begin_upgrade(driver.now)
    driver.websocket(PROBE)
    driver.websocket(SWITCH)
    driver.websocket("3")
    assert driver.tick_after(24.9) is None
    assert driver.tick_after(0.1) == SendPing()


# ------------------------------------------------------------------------------------------------------ closing


def test_a_close_is_told_once() -> None:
    driver = Driver()
    assert driver.session.close() == Closed(CloseReason.SERVER)
    assert driver.session.close() is None
    assert driver.session.transport_lost(POLLING) is None


def test_what_follows_a_close_in_the_same_payload_is_ignored() -> None:
    driver = Driver()
    assert driver.polling("1") == Closed(CloseReason.CLIENT)
    assert driver.polling(HELLO) is None


def test_a_session_describes_itself_for_its_open_packet() -> None:
    handshake = Driver().session.handshake()
    assert (handshake.sid, handshake.upgrades, handshake.ping_interval) == ("s", ["websocket"], 25_000)
    assert Driver(WEBSOCKET).session.handshake().upgrades == []


STEPS = st.one_of(
    st.tuples(
        st.just("packet"),
        st.sampled_from(Transport),
        st.builds(Packet, st.sampled_from(PacketType), st.sampled_from(["", "probe", "x"])),
    ),
    st.tuples(st.just("binary"), st.sampled_from(Transport), st.binary(max_size=3)),
    st.tuples(st.just("lost"), st.sampled_from(Transport), st.none()),
    st.tuples(st.just("upgrade"), st.none(), st.none()),
    st.tuples(st.just("tick"), st.floats(0.0, 60.0), st.none()),
)


@thorough
@given(st.sampled_from(Transport), st.lists(STEPS, max_size=40))
def test_no_order_of_events_breaks_a_session(start: Transport, steps: list[tuple[str, object, object]]) -> None:
    driver = Driver(start)
    session = driver.session
    for kind, where, what in steps:
        was_closed, was_upgraded = session.state is State.CLOSED, session.state is State.WEBSOCKET
        outcome: object = None
        try:
            if kind == "tick":
                assert isinstance(where, float)
                outcome = driver.tick_after(where)
            elif kind == "upgrade":
                session.begin_upgrade(driver.now)
            else:
                assert isinstance(where, Transport)
                if kind == "lost":
                    outcome = session.transport_lost(where)
                else:
                    packet = what if isinstance(what, Packet) else Packet(PacketType.MESSAGE, bytes(what))  # type: ignore[call-overload]
                    outcome = session.receive(packet, where, driver.now)
        except ProtocolError:
            assert (session.state is State.CLOSED) is was_closed
        assert isinstance(outcome, Closed) is (session.state is State.CLOSED and not was_closed)
        if was_closed:
            assert outcome is None
        if was_upgraded:
            assert session.state in (State.WEBSOCKET, State.CLOSED)
        while session.tick(driver.now) is not None:
            pass
        assert session.next_deadline > driver.now
