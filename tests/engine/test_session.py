"""A session's life: its bounds, its timers, its end, and what its handler sees of them."""

from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.engine import EngineServer, EngineSettings, OriginPolicy, Session
from djactors.engine.example import EngineEcho
from djactors.net import CLOSE_TIMEOUT, Request
from djactors.protocol import EncodedPacket
from tests.engine.clients import CALM, SOCKET, Served, TestSocket, receive_answer
from tests.engine.conftest import Serve
from tests.engine.echo import EngineLog, Watched

HELLO = EncodedPacket(b"4hello")


def only_session(served: Served) -> Session:
    (handler,) = served.application.handlers.values()
    return handler.session


def told(served: Served) -> list[list[str]]:
    """What each handler has been told of its end by now."""
    return [handler.closed for handler in served.application.handlers.values()]


async def endings(served: Served) -> list[list[str]]:
    """What each handler is told of its end once everything that is under way has come to rest."""
    await wait_all_tasks_blocked()
    return told(served)


class TestBounds:
    @pytest.mark.parametrize(("number", "size"), [(3, 1), (1, 20_000)], ids=["packets", "bytes"])
    async def test_a_polling_client_that_falls_behind_is_closed_and_others_are_not(
        self, autojump_clock, serve: Serve, number: int, size: int
    ):
        served = await serve(replace(CALM, outbox_packets=3, outbox_bytes=20_000))
        sid = await served.open_session()
        slow = only_session(served)
        other = await served.open_session()
        slow.send([EncodedPacket(b"4" * size)] * number)
        assert not slow.closed
        slow.send([HELLO])
        assert slow.closed
        assert await endings(served) == [["slow_consumer"], []]
        assert (await served.get(sid)).error_code == 1
        await served.post(other, "4hello")
        assert (await served.get(other)).packets == ["4hello"]

    async def test_what_a_poll_has_taken_no_longer_counts(self, autojump_clock, serve: Serve):
        served = await serve(replace(CALM, outbox_packets=20, outbox_bytes=120))
        sid = await served.open_session()
        session = only_session(served)
        for _ in range(5):
            session.send([HELLO] * 20)
            assert len((await served.get(sid)).packets) == 16
            assert len((await served.get(sid)).packets) == 4
        assert not session.closed

    async def test_a_websocket_client_that_does_not_read_is_closed(self, autojump_clock, serve: Serve):
        served = await serve(replace(CALM, outbox_bytes=20_000))
        await served.websocket_session(window=1000)
        session = only_session(served)
        session.send([EncodedPacket(b"4" * 20_000)])
        assert not session.closed
        session.send([EncodedPacket(b"4" * 2_000)])
        assert session.closed
        assert await endings(served) == [["slow_consumer"]]
        assert served.streams[-1].closed

    async def test_a_stream_that_gives_up_first_closes_the_session_too(self, autojump_clock, calm: Served):
        await calm.websocket_session(window=1000)
        session = only_session(calm)
        session.send([EncodedPacket(b"4" * 2_000_000)])
        assert await endings(calm) == [["slow_consumer"]]

    async def test_a_message_over_the_bound_closes_a_websocket(self, autojump_clock, serve: Serve):
        served = await serve(replace(CALM, max_payload=1000))
        websocket = await served.websocket_session()
        websocket.send("4" * 1001)
        assert await websocket.ending() == 1009
        assert await endings(served) == [["transport close"]]


class TestTimers:
    async def test_a_peer_that_is_gone_without_a_word_is_found_by_the_heartbeat(self, autojump_clock, calm: Served):
        started = trio.current_time()
        await calm.websocket_session()
        polling = await calm.open_session()
        calm.start(sid=polling)
        while calm.application.engine.sessions:
            await trio.sleep(0.5)
        assert trio.current_time() - started <= CALM.ping_interval + CALM.ping_timeout + 0.5
        assert await endings(calm) == [["ping timeout"], ["ping timeout"]]
        assert calm.streams[0].closed

    async def test_a_client_that_answers_lives_on(self, autojump_clock, calm: Served):
        websocket = await calm.websocket_session()
        for _ in range(20):
            assert await websocket.receive() == "2"
            await trio.sleep(CALM.ping_timeout - 1)
            websocket.send("3")
        assert await endings(calm) == [[]]

    async def test_the_handler_hears_of_each_ping(self, autojump_clock, calm: Served):
        websocket = await calm.websocket_session()
        for _ in range(3):
            assert await websocket.receive() == "2"
            websocket.send("3")
        (handler,) = calm.application.handlers.values()
        assert handler.ticks == 3

    async def test_a_timeout_that_is_longer_than_the_interval_keeps_the_interval(self, autojump_clock, serve: Serve):
        served = await serve(replace(CALM, ping_interval=1.0, ping_timeout=20.0))
        started = trio.current_time()
        websocket = await served.websocket_session()
        for number in range(1, 5):
            assert await websocket.receive() == "2"
            assert trio.current_time() - started == pytest.approx(number)
            websocket.send("3")

    async def test_a_client_that_has_connected_may_stay(self, autojump_clock, serve: Serve):
        served = await serve(replace(CALM, connect_timeout=5.0), SOCKET)
        websocket = await served.joined()
        await trio.sleep(6)
        websocket.send('42["message"]')
        assert await websocket.receive() == '42["message-back"]'

    async def test_a_polling_client_that_never_connects_is_told_to_go(self, autojump_clock, serve: Serve):
        served = await serve(replace(CALM, connect_timeout=5.0), SOCKET)
        sid = await served.open_session()
        poll = served.start(sid=sid)
        await wait_all_tasks_blocked()
        assert (await receive_answer(poll)).packets == ["1"]
        assert await endings(served) == [["connect_timeout"]]

    async def test_a_client_that_left_every_namespace_is_closed_at_a_later_heartbeat(
        self, autojump_clock, serve: Serve
    ):
        served = await serve(replace(CALM, connect_timeout=5.0), SOCKET)
        websocket = await served.joined()
        websocket.send("41")
        await websocket.ending()
        assert await endings(served) == [["connect_timeout"]]

    async def test_a_pong_that_came_during_a_stall_is_read_before_it_is_missed(self, mock_clock, serve: Serve):
        served = await serve()
        websocket = await served.websocket_session()
        sid = await served.open_session()
        mock_clock.jump(25)
        assert await websocket.receive() == "2"
        assert (await served.get(sid)).packets == ["2"]
        # The loop stands still for longer than the timeout; the clients answered in time.
        websocket.send("3")
        served.start("POST", sid=sid, body="3")
        mock_clock.jump(21)
        assert await endings(served) == [[], []]

    async def test_a_pong_that_did_not_come_during_a_stall_is_missed(self, mock_clock, serve: Serve):
        served = await serve()
        websocket = await served.websocket_session()
        mock_clock.jump(25)
        assert await websocket.receive() == "2"
        mock_clock.jump(21)
        assert await endings(served) == [["ping timeout"]]


class TestEnd:
    async def test_a_handler_is_told_once_and_after_its_own_call(self, autojump_clock, calm: Served):
        await calm.websocket_session()
        session = only_session(calm)
        session.close("first")
        session.close("second")
        assert told(calm) == [[]]
        assert await endings(calm) == [["first"]]
        assert calm.log.closed == [("websocket", "first")]

    async def test_a_websocket_gets_what_was_sent_before_its_close(self, autojump_clock, calm: Served):
        websocket = await calm.websocket_session()
        session = only_session(calm)
        session.send([HELLO, HELLO])
        session.close("drained")
        session.send([HELLO])
        assert await websocket.receive_many(2) == ["4hello", "4hello"]
        assert await websocket.ending() == 1000

    async def test_a_websocket_that_does_not_answer_the_goodbye_is_let_go_in_time_and_heard_no_more(
        self, autojump_clock, calm: Served
    ):
        websocket = await calm.websocket_session()
        only_session(calm).close("drained")
        websocket.send("4unheard")
        await trio.sleep(CLOSE_TIMEOUT - 0.5)
        assert not calm.streams[0].closed
        await trio.sleep(1)
        assert calm.streams[0].closed
        assert await websocket.peer.receive_all() == b"\x88\x02\x03\xe8"
        assert await endings(calm) == [["drained"]]

    async def test_a_websocket_that_is_not_told_goodbye_is_dropped_at_once(self, autojump_clock, calm: Served):
        await calm.websocket_session()
        only_session(calm).close("gone", say_goodbye=False)
        assert calm.streams[0].closed

    async def test_messages_behind_the_close_packet_are_dropped(self, autojump_clock, calm: Served):
        websocket = await calm.websocket_session()
        websocket.send("4one", "1", "4two")
        assert await websocket.receive() == "4one"
        assert await websocket.ending() == 1000
        sid = await calm.open_session()
        assert (await calm.post(sid, "4one\x1e1\x1e4two")).body == "ok"
        assert (await calm.get(sid)).packets == ["6"]

    @pytest.mark.parametrize("ending", ["end", "reset", "close"])
    async def test_a_client_that_leaves_ends_its_session(self, autojump_clock, calm: Served, ending: str):
        websocket = await calm.websocket_session()
        if ending == "close":
            websocket.close()
        else:
            getattr(websocket.peer, ending)()
        assert await endings(calm) == [["transport close"]]

    async def test_a_client_that_is_found_gone_by_writing_to_it_ends_its_session(self, autojump_clock, calm: Served):
        websocket = await calm.websocket_session()
        websocket.peer.reset()
        only_session(calm).send([HELLO])
        assert only_session(calm).closed
        assert await endings(calm) == [["transport close"]]

    @pytest.mark.parametrize("ending", ["end", "reset"])
    async def test_a_client_that_leaves_its_poll_ends_its_session(self, autojump_clock, calm: Served, ending: str):
        poll = calm.start(sid=await calm.open_session())
        await wait_all_tasks_blocked()
        getattr(poll, ending)()
        assert await endings(calm) == [["transport close"]]

    async def test_a_handler_is_told_even_if_the_server_stops_meanwhile(self, autojump_clock, nursery):
        server = EngineServer(
            EngineSettings(),
            lambda session: Watched(session, EngineEcho(session)),
            origins=OriginPolicy(),
            random_token=lambda: "secret",
            telemetry=EngineLog(),
        )
        async with trio.open_nursery() as running:
            await running.start(server.run)
            await server.handle(Request(query={"EIO": "4", "transport": "polling"}))
            (session,) = server.sessions
            handler = session.handler
            session.close("drained")
            running.cancel_scope.cancel()
        assert handler.closed == ["drained"]

    async def test_a_poll_that_is_cancelled_ends_its_session(self, autojump_clock, calm: Served):
        sid = await calm.open_session()
        with trio.move_on_after(1):
            await calm.application.engine.handle(Request(query={"EIO": "4", "transport": "polling", "sid": sid}))
        assert await endings(calm) == [["transport close"]]

    async def test_a_session_that_ends_during_its_handshake_is_closed(self, autojump_clock, calm: Served):
        peer = calm.start_websocket()
        while not calm.application.handlers:
            await trio.lowlevel.checkpoint()
        only_session(calm).close("drained")
        await receive_answer(peer)
        assert await TestSocket(peer).ending() == 1000
        assert await endings(calm) == [["drained"]]

    async def test_a_client_that_leaves_during_the_handshake_leaves_nothing_behind(self, autojump_clock, calm: Served):
        peer = calm.start_websocket()
        peer.reset()
        await trio.sleep(5)
        assert not calm.application.engine.sessions
        assert not calm.errors

    async def test_a_thousand_sessions_leave_nothing_behind(self, autojump_clock, calm: Served):
        for _ in range(500):
            sid = await calm.open_session()
            await calm.post(sid, "1")
            websocket = await calm.websocket_session()
            websocket.close()
            websocket.peer.end()
        await trio.sleep(120)
        server = calm.application.engine
        assert not server.sessions
        assert await endings(calm) == [["client close"], ["transport close"]] * 500
        assert all(stream.closed for stream in calm.streams)
        assert not any(vars(server)[name] for name in ("_sessions", "_leaving", "_untold"))
        assert len(server._heartbeat) == 0


class Faulty(Watched):
    """Fails where it is told to."""

    fails_in = ""

    def __init__(self, session: Session) -> None:
        super().__init__(session, EngineEcho(session))

    def on_message(self, data: str | bytes) -> None:
        if data == "fail":
            raise RuntimeError("on_message")
        super().on_message(data)

    def on_close(self, reason: str) -> None:
        super().on_close(reason)
        if self.fails_in == "on_close":
            raise RuntimeError(self.fails_in)

    def on_tick(self, now: float) -> None:
        if self.fails_in == "on_tick":
            raise RuntimeError(self.fails_in)


class TestFaultyHandler:
    @pytest.fixture
    async def faulty(self, calm: Served) -> Served:
        engine = calm.application.engine

        def make(session: Session) -> Any:
            calm.application.handlers[session.sid] = handler = Faulty(session)
            return handler

        engine._make_handler = make
        return calm

    async def test_a_failure_over_a_websocket_message_ends_that_session(self, autojump_clock, faulty: Served):
        websocket = await faulty.websocket_session()
        other = await faulty.websocket_session()
        websocket.send("4fail")
        await websocket.ending()
        assert await endings(faulty) == [["transport close"], []]
        assert len(faulty.errors) == 1
        other.send("4hello")
        assert await other.receive() == "4hello"

    async def test_a_failure_over_a_posted_message_ends_that_session(self, autojump_clock, faulty: Served):
        sid = await faulty.open_session()
        assert (await faulty.post(sid, "4fail")).status == 500
        assert (await faulty.get(sid)).error_code == 1
        assert await endings(faulty) == [["server close"]]

    @pytest.mark.parametrize("where", ["on_close", "on_tick"])
    async def test_a_failure_elsewhere_is_reported_and_stops_nobody(self, autojump_clock, faulty: Served, where: str):
        websockets = [await faulty.websocket_session() for _ in range(2)]
        for handler in faulty.application.handlers.values():
            handler.fails_in = where
        for _ in range(2):
            for websocket in websockets:
                assert await websocket.receive() == "2"
                websocket.send("3")
        for websocket in websockets:
            websocket.close()
        await wait_all_tasks_blocked()
        assert len(faulty.log.errors) == (2 if where == "on_close" else 4)
        assert await endings(faulty) == [["transport close"]] * 2


class TestSecret:
    async def test_row_20_guessing_a_sid_finds_nothing_and_harms_nobody(self, autojump_clock, calm: Served):
        sid = await calm.open_session()
        for guess in (sid + "x", sid[:-1] + "0", sid.upper(), "../" + sid, "a" * 5000, "\0"):
            assert (await calm.get(guess)).error_code == 1
            assert (await calm.post(guess, "4stolen")).error_code == 1
            answer, _ = await calm.try_websocket(sid=guess)
            assert answer.error_code == 1
        await calm.post(sid, "4hello")
        assert (await calm.get(sid)).packets == ["4hello"]

    async def test_a_request_that_may_not_use_a_session_sees_an_unknown_sid(self, autojump_clock, nursery):
        server = EngineServer(
            EngineSettings(),
            EngineEcho,
            origins=OriginPolicy(),
            random_token=lambda: "secret",
            telemetry=EngineLog(),
            may_use=lambda session, request: request.headers.get("x-proof") == "mine",
        )
        await nursery.start(server.run)
        query = {"EIO": "4", "transport": "polling"}
        await server.handle(Request(query=query))
        query["sid"] = "secret"
        assert (await server.handle(Request("POST", query=query, body=b"4a"))).status == 400
        assert (
            await server.handle(Request("POST", query=query, body=b"4a", headers={"x-proof": "mine"}))
        ).body == b"ok"

    async def test_a_sid_is_not_shown_in_logs(self, autojump_clock, calm: Served):
        sid = await calm.open_session()
        assert sid not in repr(only_session(calm))
